"""Names from clients: what passes is safe as a path below a folder, what is not safe is refused and never mended."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.control.errors import Invalid
from tenantry.control.names import (
    bucket_name_untrusted,
    database_name_untrusted,
    kv_title_untrusted,
    module_name_untrusted,
    namespace_name_untrusted,
    script_name_untrusted,
)

HOSTILE_PIECES = st.sampled_from(
    ["", ".", "..", "a", "b.py", "/", "\\", "\0", "\n", "~", "%2e%2e", "C:", "é", "\u202e", "\ud800"]
)


@given(st.one_of(st.text(max_size=600), st.lists(HOSTILE_PIECES, max_size=40).map("/".join)))
def test_a_module_name_stays_inside_its_folder_or_is_refused(name: str) -> None:
    refusal: Invalid | None = None
    try:
        plain = module_name_untrusted(name)
    except Invalid as error:
        refusal = error
    if refusal is not None:
        assert refusal.code == 10021
        assert refusal.message.isascii(), "a hostile name is escaped in messages"
        assert len(refusal.message) < 400
        return
    path = PurePosixPath(plain)
    assert not path.is_absolute()
    assert plain == str(path), "no other spelling of the same file passes"
    assert not set(path.parts) & {"..", ".", ""}
    assert os.path.normpath(f"/root/{plain}") == f"/root/{plain}"
    assert "\0" not in plain
    assert not set(plain) & set("\n\r\\\x7f\u2028")
    assert len(plain.encode()) <= 512
    assert module_name_untrusted(plain) == plain


@pytest.mark.parametrize(
    "name", ["entry.py", "a/b/c.py", "python_modules/x-1.2.dist-info/RECORD", "ünï/çode.py", "a b.py"]
)
def test_ordinary_module_names_pass(name: str) -> None:
    assert module_name_untrusted(name) == name
    assert module_name_untrusted(f"./{name}") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "./",
        "..",
        "/",
        "/etc/passwd",
        "../a.py",
        "a/../../b.py",
        "a/..",
        "a//b.py",
        "a/",
        "a/./b.py",
        "././a.py",
        ".//a.py",
        "a\0.py",
        "a\\..\\b.py",
        "a\nb.py",
        "a\x7f.py",
        "a\u2028.py",
        "\ud800.py",
        "a" * 256,
        "a/" * 33 + "a",
        "é/" * 31 + "x" * 512,
    ],
)
def test_hostile_module_names_are_refused(name: str) -> None:
    with pytest.raises(Invalid):
        module_name_untrusted(name)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            script_name_untrusted,
            ["a", "Customer_1-x", "0", "_x", "a" * 255],
            ["", "-a", "a/b", "a.b", "é", "a" * 256, "a\n"],
        ),
        (namespace_name_untrusted, ["bindings", "a-b_c"], ["", "-a", "a b", "a" * 65, "..", "a\n"]),
        (
            bucket_name_untrusted,
            ["abc", "a-1", "0" * 63],
            ["", "ab", "Abc", "-ab", "ab-", "a_b", "a" * 64, "a.b", "abc\n"],
        ),
        (database_name_untrusted, ["db", "my_db-1"], ["", "-a", "a b", "a" * 129, "../x"]),
        (kv_title_untrusted, ["My title ✓", "a/b"], ["", "  ", "a\nb", "a\0b", "\ud800", "x" * 513]),
    ],
)
def test_the_table_of_names(check, good: list[str], bad: list[str]) -> None:  # type: ignore[no-untyped-def]
    for name in good:
        assert check(name) == name
    for name in bad:
        with pytest.raises(Invalid):
            check(name)
