"""Workers with sockets: they reach the listener in their own network namespace, and nothing else."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SPEC = importlib.util.spec_from_file_location("socket_attacks", Path(__file__).parent / "arena" / "socket_attacks.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_attacks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_attacks)

settings = pytest.mark.parametrize("setting", ["root", "nobody"])


@pytest.fixture
def found(
    request: pytest.FixtureRequest, setting: str, arena: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a host that this user runs saw. One run serves the tests of all test processes."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / f"sockets {setting}.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not (text := file.read()):
            text = _run(request, setting, arena)
            file.write(text)
    outcomes: dict[str, Any] = json.loads(text)
    return outcomes


def _run(request: pytest.FixtureRequest, setting: str, arena: Path) -> str:
    python = sys.executable if setting == "root" else request.getfixturevalue("public_python")
    # When we are an ordinary user already, both are the same.
    ordinary: Any = {"user": 65534, "group": 65534, "extra_groups": []}
    if setting == "root" or os.geteuid() != 0:
        ordinary = {}
    arguments = [python, str(arena / "scripts" / "drive_sockets.py"), str(arena)]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, **ordinary)
    assert run.returncode == 0, run.stderr
    return run.stdout


@settings
@pytest.mark.parametrize("name", _attacks.ATTACKS)
def test_a_worker_with_sockets_gets_no_further_than_its_listener(
    setting: str, name: str, found: dict[str, Any]
) -> None:
    _, expected = _attacks.ATTACKS[name]
    outcome = found["outcomes"][name]
    assert re.fullmatch(expected, outcome), f"{outcome} where {expected} was due"


@settings
def test_nothing_arrives_at_the_host(setting: str, found: dict[str, Any]) -> None:
    assert found["host was reached"] is False


@settings
def test_each_worker_has_a_listener_of_its_own(setting: str, found: dict[str, Any]) -> None:
    assert found["neighbours"] == {"loud": "loud", "quiet": None}


@settings
def test_beside_workers_with_sockets_others_have_none(setting: str, found: dict[str, Any]) -> None:
    assert found["without"] == "EPERM"
