"""Which files of a folder are assets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenantry.config.assets import IgnoreRules, collect_assets
from tenantry.config.limits import ASSET_FILE_BYTES_MAX
from tenantry.config.wrangler import load_project
from tenantry.errors import ConfigError


def write(folder: Path, *names: str, **texts: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(texts.get(name, name))
    return folder


@pytest.mark.parametrize(
    ("lines", "ignored", "kept"),
    [
        (["*.map"], ["a.map", "x/y.map"], ["a.mapx", "map"]),
        (["/a"], ["a"], ["b/a"]),
        (["x/a"], ["x/a"], ["y/x/a"]),
        (["x/**"], ["x/a", "x/y/z"], ["x", "y/x/a"]),
        (["**/a"], ["a", "x/y/a"], ["ab"]),
        (["x/**/a"], ["x/a", "x/y/z/a"], ["x/ab"]),
        (["*.js", "!keep.js"], ["a.js"], ["keep.js", "x/keep.js"]),
        (["a?c", "[0-9].txt", "[!a].md"], ["abc", "x/7.txt", "b.md"], ["a/c", "x.txt", "a.md"]),
        (["# comment", "", r"\#a", "trailing  "], ["#a", "trailing"], ["# comment"]),
        (["[z-a]", "/"], [], ["z", "x"]),
    ],
)
def test_the_table_of_ignored_names(lines: list[str], ignored: list[str], kept: list[str]) -> None:
    rules = IgnoreRules(lines)
    assert [name for name in ignored if not rules.ignores(name)] == []
    assert [name for name in kept if rules.ignores(name)] == []


def test_a_rule_for_folders_is_for_folders() -> None:
    rules = IgnoreRules(["build/"])
    assert rules.ignores("x/build", is_folder=True)
    assert not rules.ignores("build")


def test_everything_is_an_asset_but_the_rules_and_what_they_name(tmp_path: Path) -> None:
    texts = {".assetsignore": "*.map\nprivate/\n", "_headers": "/*\n  A: b\n", "_redirects": "/a /b\n"}
    write(tmp_path, "index.html", "x/ä b.css", "x/a.map", "private/x", "x/_headers", ".well-known/x", *texts, **texts)
    (tmp_path / "loop").symlink_to(tmp_path)

    found = collect_assets(tmp_path)

    assert set(found.files) == {"/index.html", "/x/ä b.css", "/x/_headers", "/.well-known/x"}
    assert (found.headers, found.redirects) == (texts["_headers"], texts["_redirects"])


def test_what_cannot_be_an_asset_is_named(tmp_path: Path) -> None:
    (tmp_path / "large.bin").touch()
    with (tmp_path / "large.bin").open("wb") as large:
        large.truncate(ASSET_FILE_BYTES_MAX + 1)
    with pytest.raises(ConfigError, match=r"large\.bin.*keep it in R2"):
        collect_assets(tmp_path)
    (tmp_path / ".assetsignore").write_text("large.bin\n")
    write(tmp_path, "_worker.js")
    with pytest.raises(ConfigError, match=r"_worker\.js: is code"):
        collect_assets(tmp_path)


def test_a_project_may_have_assets_and_no_code(tmp_path: Path) -> None:
    config = {
        "name": "w",
        "compatibility_date": "2026-01-15",
        "assets": {"directory": "./dist", "html_handling": "none"},
    }
    write(tmp_path / "dist", "index.html")
    (tmp_path / "wrangler.jsonc").write_text(json.dumps(config))

    project = load_project(tmp_path)

    assert project.assets is not None
    assert (project.main, project.main_module, project.modules()) == (None, None, [])
    assert (project.assets.directory, project.assets.config) == (tmp_path / "dist", {"html_handling": "none"})
    assert project.watched == (tmp_path, tmp_path, tmp_path / "dist")


@pytest.mark.parametrize(
    ("assets", "words"),
    [
        ({"directory": "./none"}, "no such folder"),
        ({"directory": ""}, "no such folder"),
        ({}, "missing required field `directory`"),
        ({"directory": ".", "html_handling": "x"}, "Invalid enum value 'x'"),
        ({"directory": ".", "binding": "ASSETS"}, 'there is no "main"'),
    ],
)
def test_the_table_of_refused_settings(tmp_path: Path, assets: dict[str, str], words: str) -> None:
    config = {"name": "w", "compatibility_date": "2026-01-15", "assets": assets}
    (tmp_path / "wrangler.jsonc").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=words):
        load_project(tmp_path)
