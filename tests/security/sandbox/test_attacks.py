"""Tries to cross every layer from inside a real sealed process: as root, as an ordinary user, and at `container`."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_FOLDER = Path(__file__).parent


def _load_attacks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sandbox_attacks", _FOLDER / "arena" / "attacks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_attacks = _load_attacks()

# Who runs the host, and how much isolation it asks for.
_SETTINGS = ["strict", "strict as nobody", "container"]


@pytest.fixture
def found(
    request: pytest.FixtureRequest, setting: str, driver: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a host of this setting saw of all attacks. One run serves the tests of all test processes."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / f"sandbox attacks {setting}.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not (text := file.read()):
            text = _run(request, setting, driver)
            file.write(text)
    outcomes: dict[str, Any] = json.loads(text)
    return outcomes


def _run(request: pytest.FixtureRequest, setting: str, driver: list[str]) -> str:
    level, _, user = setting.partition(" as ")
    # `container` has no root of its own: its workers have to be able to reach the interpreter.
    python = sys.executable if level == "strict" and not user else request.getfixturevalue("public_python")
    # When we are an ordinary user already, the two strict settings are the same.
    ordinary: Any = {"user": 65534, "group": 65534, "extra_groups": []} if user and os.geteuid() == 0 else {}
    run = subprocess.run([python, *driver, level], capture_output=True, text=True, timeout=60, check=False, **ordinary)
    assert run.returncode == 0, run.stderr
    return run.stdout


def _cases() -> list[Any]:
    return [
        pytest.param(setting, name, id=f"{setting}: {name}")
        for setting in _SETTINGS
        for name, attack in _attacks.ATTACKS.items()
        if getattr(attack, setting.partition(" ")[0]) is not None
    ]


@pytest.mark.parametrize(("setting", "name"), _cases())
def test_attack_ends_as_it_must(setting: str, name: str, found: dict[str, Any]) -> None:
    expected: str = getattr(_attacks.ATTACKS[name], setting.partition(" ")[0])
    outcome = found["outcomes"][name]
    if expected.startswith("= "):
        assert outcome == expected
    else:
        assert re.fullmatch(expected, outcome), f"{outcome} where {expected} was due"


@pytest.mark.parametrize("setting", _SETTINGS)
def test_forbidden_system_calls_are_refused_one_by_one(setting: str, found: dict[str, Any]) -> None:
    assert len(found["calls"]) > 100
    assert {name: answer for name, answer in found["calls"].items() if answer != "EPERM"} == {}


@pytest.mark.parametrize("setting", _SETTINGS)
def test_seen_from_outside_a_worker_is_filtered_and_has_no_capabilities(setting: str, found: dict[str, Any]) -> None:
    outside = found["outside"]
    assert outside["NoNewPrivs"] == "1"
    assert outside["Seccomp"] == "2"
    assert {int(outside[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
    assert outside["Groups"] == ""
    assert "0" not in outside["Uid"].split()
    if setting.startswith("strict"):
        assert int(outside["CapBnd"], 16) == 0
        assert outside["NSpid"].split()[-1] == "1"


@pytest.mark.parametrize("setting", ["strict"])
def test_seen_from_outside_a_worker_shares_no_namespace_with_the_host(setting: str, found: dict[str, Any]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may look at the namespaces of a process that is not dumpable")
    assert found["outside"]["shared_namespaces"] == ["time", "time_for_children"]
    assert found["outside"]["environ"] == "TZ=UTC\0LANG=C.UTF-8\0HOME=/tmp\0"


def test_a_mount_inside_a_bundle_is_read_only_too(arena: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount something inside a bundle")
    bundle = arena / "bundles" / "mine"
    arguments = [sys.executable, str(arena / "scripts" / "submount.py"), str(arena)]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.strip() == "EROFS", run.stderr
    assert sorted(os.listdir(bundle)) == ["main.py"]
