"""The patterns of `_redirects`, `_headers` and `run_worker_first`."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.services.assets.patterns import Glob, PatternError, Template, fill


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("/a", "/a", {}),
        ("/a", "/ab", None),
        ("/*", "/", {"splat": ""}),
        ("/*", "/a/b", {"splat": "a/b"}),
        ("/a/*", "/a", None),
        ("/a/*/z", "/a/b/c/z", {"splat": "b/c"}),
        ("/a/*/z", "/a/z", None),
        ("/:one", "/x", {"one": "x"}),
        ("/:one", "/", None),
        ("/:one", "/x/y", None),
        ("/:one/:two", "/x/y", {"one": "x", "two": "y"}),
        ("/:one.html", "/x.y.html", {"one": "x.y"}),
        ("/:id/:id_2", "/1/2", {"id": "1", "id_2": "2"}),
        ("/blog/*/:last", "/blog/2026/01/post", {"splat": "2026/01", "last": "post"}),
        ("/:first/*/:last", "/a/b/c", {"first": "a", "splat": "b", "last": "c"}),
        ("/a.c", "/abc", None),
        ("https://example.com/*", "/x", {"splat": "x"}),
        ("https://:sub.com/*", "/x", {"sub": "example", "splat": "x"}),
        ("https://other.com/*", "/x", None),
    ],
)
def test_the_table_of_templates(pattern: str, path: str, values: dict[str, str] | None) -> None:
    assert Template(pattern).match("example.com", path) == values


@pytest.mark.parametrize("pattern", ["/*/*", "/:a/:a", "/:splat/*"])
def test_two_values_of_one_name_are_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        Template(pattern)


def test_a_placeholder_without_a_value_stays() -> None:
    assert fill("/:a/:ab/:c", {"a": "1", "ab": "2"}) == "/1/2/:c"


@given(st.text("ab/*", max_size=8), st.text("ab/", max_size=12))
def test_a_glob_matches_what_the_regular_expression_matches(pattern: str, text: str) -> None:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert Glob(pattern).matches(text) == (re.fullmatch(expression, text) is not None)


@given(
    st.lists(st.sampled_from(["a", "b", "/", ":x", ":y", ":z", "*"]), max_size=7),
    st.text("ab/", max_size=9),
)
def test_a_template_matches_what_the_regular_expression_matches(parts: list[str], text: str) -> None:
    """Whether it does; what its placeholders stand for may differ where that is a matter of taste."""
    names = [part for part in parts if part[0] in ":*"]
    # `:x` and then `a` would be a longer name.
    clean = all(not (one[0] == ":" and two in ("a", "b")) for one, two in itertools.pairwise(parts))
    if len(set(names)) < len(names) or not clean:
        return
    expression = "".join("[^/]+" if part[0] == ":" else ".*" if part == "*" else re.escape(part) for part in parts)
    matched = Template("".join(parts)).match("", text)
    assert (matched is not None) == (re.fullmatch(expression, text) is not None)
    if matched is not None:
        filled = "".join(
            matched[part[1:]] if part[0] == ":" else matched["splat"] if part == "*" else part for part in parts
        )
        assert filled == text


def test_what_a_regular_expression_would_take_for_ever_is_decided_at_once() -> None:
    """With one it is a thousand million million ways to divide the path; this test would not end."""
    assert Template("/" + "".join(f":p{number}" for number in range(60)) + "!").match("", "/" + "x" * 4000) is None
    assert not Glob("/" + "a*" * 60 + "!").matches("/" + "a" * 4000)
