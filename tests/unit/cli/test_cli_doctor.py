"""`tenantry doctor`: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tenantry.cli import main
from tenantry.cli.client import Client
from tenantry.doctor import machine, suite
from tenantry.doctor.machine import LayerView, MachineView
from tenantry.doctor.suite import Verdict


def _doctor(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", *arguments])
    return int(stopped.value.code or 0)


def _found(monkeypatch: pytest.MonkeyPatch, level: str, reason: str = "") -> None:
    layers = [
        LayerView("landlock", level == "strict", "container", "ABI 7", "" if level == "strict" else "a newer kernel"),
        LayerView("cgroup v2", False, "no level", "not mounted", "Delegate=yes"),
    ]
    monkeypatch.setattr(machine, "examine", lambda: MachineView(level, reason, layers))


def test_a_machine_that_can_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _found(monkeypatch, "strict")
    assert _doctor() == 0
    out = capsys.readouterr().out
    assert "isolation level: strict" in out
    assert "Delegate=yes" in out


def test_a_machine_that_cannot_is_told_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _found(monkeypatch, "none", "landlock: not in this kernel")
    assert _doctor() == 1
    captured = capsys.readouterr()
    assert "a newer kernel" in captured.out
    assert "landlock: not in this kernel" in captured.err


def test_the_layers_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _found(monkeypatch, "strict")
    assert _doctor("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["level"] == "strict"
    assert set(found["layers"][0]) == {"layer", "present", "needed_for", "detail", "advice"}


@pytest.mark.parametrize(("contained", "status"), [(True, 0), (None, 0), (False, 1)])
def test_attacks_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], contained: bool | None, status: int
) -> None:
    verdicts = [Verdict("F1", "read /etc/shadow", True, "ENOENT"), Verdict("K1", "a bomb", contained, "so it ended")]
    monkeypatch.setattr(suite, "run_suite", lambda isolation, progress: verdicts)
    assert _doctor("--attack", "--json") == status
    assert json.loads(capsys.readouterr().out) == [
        {"id": "F1", "attack": "read /etc/shadow", "contained": True, "detail": "ENOENT"},
        {"id": "K1", "attack": "a bomb", "contained": contained, "detail": "so it ended"},
    ]


def test_attacks_as_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def run_suite(isolation: str, progress: Any) -> list[Verdict]:
        asked.append(isolation)
        return [Verdict("F1", "[bold]read", False, "it did")]

    monkeypatch.setattr(suite, "run_suite", run_suite)
    assert _doctor("--attack", "--isolation", "container") == 1
    captured = capsys.readouterr()
    assert asked == ["container"]
    assert "[bold]read" in captured.out
    assert "0 of 1 attacks are contained." in captured.out
    assert "F1 [bold]read: it did" in captured.err


def test_live_asks_the_platform_and_looks_at_its_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    about = {"control": "http://127.0.0.1:1", "admin_token": "t", "account_id": "a"}
    (tmp_path / "dev.json").write_text(json.dumps(about))
    monkeypatch.setattr(Client, "processes", lambda _: [{"pid": os.getpid()}, {"pid": 2**30}])
    assert _doctor("--live", str(tmp_path), "--json") == 1  # this process is no sealed worker
    found = json.loads(capsys.readouterr().out)
    assert {each["pid"] for each in found} == {os.getpid()}
    assert "privileges" in {each["aspect"] for each in found}


def test_live_without_a_platform_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _doctor("--live", str(tmp_path)) == 1
    assert "no platform is running" in capsys.readouterr().err


def test_attack_and_live_do_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _doctor("--attack", "--live", str(tmp_path)) == 1
    assert "--live" in capsys.readouterr().err
