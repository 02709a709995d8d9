"""The files of a project go up under wrangler's names and content types."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenantry.config import modules
from tenantry.config.wrangler import load_project
from tenantry.errors import ConfigError

Write = Callable[[dict[str, str | bytes]], Path]

PYTHON = "text/x-python"
DATA = "application/octet-stream"


def config(**more: Any) -> str:
    return json.dumps({"name": "w", "main": "src/entry.py", "compatibility_date": "2026-01-15", **more})


def uploaded(folder: Path) -> dict[str, str]:
    return {module.name: module.content_type for module in load_project(folder).modules()}


def test_what_matches_a_rule_below_the_module_root_goes_up_under_its_path(write: Write) -> None:
    folder = write(
        {
            "wrangler.jsonc": config(),
            "src/entry.py": "",
            "src/lib/helper.py": "",
            "src/lib/deep/page.html": "",
            "src/query.sql": "",
            "src/note.txt": "",
            "src/blob.bin": "",
            "src/code.wasm": "",
            "src/picture.png": "",
            "src/lib/helper.pyc": "",
            "src/.hidden/also.py": "",
            "src/.wrangler/state.py": "",
            "beside.py": "",
        }
    )

    assert uploaded(folder) == {
        "entry.py": PYTHON,
        ".hidden/also.py": PYTHON,
        "blob.bin": DATA,
        "code.wasm": "application/wasm",
        "lib/deep/page.html": "text/plain",
        "lib/helper.py": PYTHON,
        "note.txt": "text/plain",
        "query.sql": "text/plain",
    }


def test_the_entry_is_first_and_not_twice(write: Write) -> None:
    folder = write({"wrangler.jsonc": config(), "src/entry.py": "", "src/a.py": ""})

    assert [module.name for module in load_project(folder).modules()] == ["entry.py", "a.py"]


def test_an_entry_outside_the_project_brings_its_neighbours_and_the_projects_packages(write: Write) -> None:
    folder = write(
        {
            "one/wrangler.jsonc": config(main="../user-worker/src/entry.py"),
            "one/python_modules/lib.py": "",
            "one/local.py": "",
            "user-worker/src/entry.py": "",
            "user-worker/src/more.py": "",
        }
    )

    assert uploaded(folder / "one") == {"entry.py": PYTHON, "more.py": PYTHON, "python_modules/lib.py": DATA}


def test_vendored_files_go_up_as_data_but_compiled_python(write: Write) -> None:
    folder = write(
        {
            "wrangler.jsonc": config(),
            "src/entry.py": "",
            "python_modules/pyvenv.cfg": "",
            "python_modules/.synced": "",
            "python_modules/pkg/__init__.py": "",
            "python_modules/pkg/__pycache__/__init__.cpython-313.pyc": "",
            "python_modules/pkg/native.so": "",
            "python_modules/workers/glue.mjs": "",
        }
    )

    assert uploaded(folder) == {
        "entry.py": PYTHON,
        "python_modules/.synced": DATA,
        "python_modules/pkg/__init__.py": DATA,
        "python_modules/pkg/native.so": DATA,
        "python_modules/pyvenv.cfg": DATA,
        "python_modules/workers/glue.mjs": "application/javascript+module",
    }


def test_the_exclusion_of_vendored_files_can_be_set(write: Write) -> None:
    folder = write(
        {
            "wrangler.jsonc": config(python_modules={"exclude": ["**/tests/**", "*.cfg"]}),
            "src/entry.py": "",
            "python_modules/pyvenv.cfg": "",
            "python_modules/pkg/tests/test_a.py": "",
            "python_modules/pkg/a.pyc": "",
        }
    )

    assert set(uploaded(folder)) == {"entry.py", "python_modules/pkg/a.pyc"}


def test_with_the_entry_in_the_project_folder_packages_are_not_taken_twice(write: Write) -> None:
    folder = write({"wrangler.jsonc": config(main="entry.py"), "entry.py": "", "python_modules/lib.py": ""})

    assert uploaded(folder) == {"entry.py": PYTHON, "python_modules/lib.py": DATA}


def test_packages_inside_a_module_root_that_is_not_the_project_are_refused(write: Write) -> None:
    folder = write(
        {"a/wrangler.jsonc": config(main="../entry.py"), "entry.py": "", "a/python_modules/lib.py": ""},
    )

    with pytest.raises(ConfigError, match="lies inside the module root"):
        load_project(folder / "a").modules()


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([{"type": "Text", "globs": ["**/*.md"]}], {"entry.py", "a.py", "read.md"}),
        ([{"type": "Text", "globs": ["**/*.md"], "fallthrough": True}], {"entry.py", "a.py", "read.md", "x.txt"}),
        ([{"type": "Data", "globs": ["*.txt"]}], {"entry.py", "a.py", "x.txt"}),
    ],
)
def test_a_rule_replaces_the_default_of_its_type_unless_it_falls_through(
    write: Write, rules: list[dict[str, Any]], expected: set[str]
) -> None:
    folder = write({"wrangler.jsonc": config(rules=rules), "src/entry.py": "", "src/a.py": "", "src/read.md": ""})
    write({"src/x.txt": ""})

    assert set(uploaded(folder)) == expected


def test_an_unknown_rule_type_is_refused(write: Write) -> None:
    folder = write({"wrangler.jsonc": config(rules=[{"type": "Pearl", "globs": []}]), "src/entry.py": ""})

    with pytest.raises(ConfigError, match="'Pearl' is none of"):
        load_project(folder).modules()


def test_base_dir_is_where_names_begin(write: Write) -> None:
    folder = write({"wrangler.jsonc": config(base_dir="."), "src/entry.py": "", "other/a.py": ""})

    assert set(uploaded(folder)) == {"entry.py", "other/a.py"}


def test_linked_folders_are_followed_and_circles_end(write: Write) -> None:
    folder = write({"wrangler.jsonc": config(), "src/entry.py": "", "shared/a.py": ""})
    (folder / "src/shared").symlink_to(folder / "shared")
    (folder / "src/circle").symlink_to(folder / "src")
    (folder / "src/broken.py").symlink_to(folder / "absent")

    assert set(uploaded(folder)) == {"entry.py", "shared/a.py"}


def test_too_many_and_too_large_files_are_refused_before_they_are_read(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write({"wrangler.jsonc": config(), "src/entry.py": "x" * 10, "src/a.py": ""})
    monkeypatch.setattr(modules, "MODULE_BYTES_TOTAL_MAX", 9)
    with pytest.raises(ConfigError, match="larger than 9 bytes"):
        load_project(folder).modules()
    monkeypatch.setattr(modules, "MODULES_MAX", 0)
    with pytest.raises(ConfigError, match="more than 0 files"):
        load_project(folder).modules()


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("**/*.py", ["a.py", "x/y/a.py", ".py"], ["a.pyc", "a.py/b"]),
        ("*.txt", ["a.txt"], ["x/a.txt"]),
        ("lib/**", ["lib/a", "lib/x/y"], ["a", "libs/a"]),
        ("**/tests/**", ["tests/a", "x/tests/y/z"], ["tests.py", "a/testsuite/b"]),
        ("a**b", ["ab", "axxb"], ["a/b"]),
        ("**/*.wasm?module", ["x.wasm?module"], ["x.wasmXmodule", "x.wasm"]),
        ("[a].py", ["[a].py"], ["a.py"]),
    ],
)
def test_the_table_of_globs(pattern: str, matching: list[str], other: list[str]) -> None:
    glob = modules._glob(pattern)

    assert [name for name in (*matching, *other) if glob.fullmatch(name)] == matching
