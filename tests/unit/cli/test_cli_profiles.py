"""Profiles: kept for their owner only, chosen by name, and never sent to another address."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenantry.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("TENANTRY_URL", "TENANTRY_TOKEN", "TENANTRY_ACCOUNT", "TENANTRY_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "tenantry" / "profiles.toml"


@pytest.fixture
def run(file: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


def test_a_profile_is_all_that_a_command_needs(server: Any, run: Run, file: Path) -> None:
    assert run("profiles", "add", "here", "--url", server.control_url, "--token", server.admin_token)[0] == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, out, err = run("tokens", "list", "--json")
    assert (code, err) == (0, "")
    assert [token["name"] for token in json.loads(out)] == ["test"]


def test_the_environment_chooses_and_what_is_given_wins(server: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("profiles", "add", "away", "--url", "http://127.0.0.1:1", "--token", "tnt_of_away")
    run("profiles", "add", "here", "--url", server.control_url, "--token", server.admin_token)
    code, _, err = run("tokens", "list")
    assert code == 1
    assert "127.0.0.1:1 does not answer" in err
    monkeypatch.setenv("TENANTRY_PROFILE", "here")
    assert run("tokens", "list")[0] == 0
    monkeypatch.setenv("TENANTRY_PROFILE", "absent")
    code, _, err = run("tokens", "list")
    assert "no profile 'absent'; there are: away, here" in err
    monkeypatch.delenv("TENANTRY_PROFILE")
    assert run("profiles", "use", "here")[0] == 0
    assert run("tokens", "list")[0] == 0


def test_a_token_goes_to_its_own_address_only(server: Any, run: Run) -> None:
    run("profiles", "add", "here", "--url", server.control_url, "--token", server.admin_token)
    code, _, err = run("tokens", "list", "--url", "http://127.0.0.1:1")
    assert code == 1
    assert "no API token" in err


def test_the_list_has_no_tokens(run: Run) -> None:
    run("profiles", "add", "a", "--url", "http://a", "--token", "canary")
    run("profiles", "add", "b", "--url", "http://b", "--token", "canary", "--account", "f" * 32)
    code, out, _ = run("profiles", "list")
    assert (code, out) == (0, "* a  http://a\n  b  http://b\n")
    out = run("profiles", "list", "--json")[1]
    assert "canary" not in out
    assert json.loads(out)[1] == {"name": "b", "url": "http://b", "account": "f" * 32, "default": False}
    assert run("profiles", "remove", "a")[0] == 0
    assert run("profiles", "remove", "a")[0] == 1
    assert run("profiles", "list")[1] == "  b  http://b\n"


@pytest.mark.parametrize("text", ["colour = 1", "[profile.a]", "= 1", 'default = "a"\n[profile.a]\nurl = 1'])
def test_a_file_that_cannot_be_read_is_named(run: Run, file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    code, _, err = run("profiles", "list")
    assert code == 1
    assert "profiles.toml" in err


def test_a_name_that_is_none(run: Run) -> None:
    code, _, err = run("profiles", "add", "a.b", "--url", "http://a", "--token", "t")
    assert code == 1
    assert "not a profile's name" in err
