"""`tenantry doctor --attack`, attack by attack: as root, as an ordinary user, and at `container`.

The table is the package's own: what an operator can run is what is tested. A host of each setting runs all of it once,
in a process of its own; the tests are about what it reported.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tenantry
from tenantry.doctor.attacks import ATTACKS, NOT_ATTACKED

# Who runs the host, and how much isolation it asks for.
SETTINGS = ["strict", "strict as nobody", "container"]
_FOUND: dict[str, dict[str, dict[str, Any]]] = {}
_SKIPPED = "skipped: "
_COMMAND = "from tenantry.cli import main; main()"


@pytest.fixture
def found(
    request: pytest.FixtureRequest, setting: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What a host of this setting reported, by name. One run serves the tests of all test processes."""
    if setting in _FOUND:
        return _FOUND[setting]
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / f"doctor attacks {setting}.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not (text := file.read()):
            try:
                text = _run(request, setting)
            except pytest.skip.Exception as reason:
                text = f"{_SKIPPED}{reason}"  # so that it is found out once
            file.write(text)
    if text.startswith(_SKIPPED):
        pytest.skip(text.removeprefix(_SKIPPED))
    return _FOUND.setdefault(setting, {verdict["attack"]: verdict for verdict in json.loads(text)})


def _run(request: pytest.FixtureRequest, setting: str) -> str:
    level, _, user = setting.partition(" as ")
    # `container` has no root of its own: its workers have to be able to reach the interpreter.
    python = sys.executable if level == "strict" and not user else request.getfixturevalue("public_python")
    # When we are an ordinary user already, the two strict settings are the same.
    ordinary: Any = {"user": 65534, "group": 65534, "extra_groups": []} if user and os.geteuid() == 0 else {}
    # Ours and our dependencies; the standard library is the interpreter's own.
    path = [Path(module.__file__ or "").parents[1] for module in (tenantry, msgspec)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, path))}

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, *arguments],
            **ordinary,
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    if start("-c", "import tenantry.cli.doctor, tenantry.doctor.suite").returncode != 0:
        pytest.skip("the packages of these tests cannot be used by another user, or by his interpreter")
    run = start("-c", _COMMAND, "doctor", "--attack", "--json", "--isolation", level)
    assert run.stdout, run.stderr
    verdicts = json.loads(run.stdout)
    assert run.returncode == any(verdict["contained"] is False for verdict in verdicts), run.stderr
    return run.stdout


def _cases() -> list[Any]:
    return [
        pytest.param(
            setting,
            attack.name,
            id=f"{setting}: {attack.id} {attack.name}",
            # One test process for each setting: another would only wait for what this one finds out.
            marks=pytest.mark.xdist_group(f"attacks at {setting}"),
        )
        for setting in SETTINGS
        for attack in ATTACKS
        if attack.expected(setting.partition(" ")[0]) is not None
    ]


@pytest.mark.parametrize(("setting", "name"), _cases())
def test_the_attack_is_contained(setting: str, name: str, found: dict[str, dict[str, Any]]) -> None:
    verdict = found[name]
    if verdict["contained"] is None:
        pytest.skip(verdict["detail"])
    assert verdict["contained"], verdict["detail"]


def test_every_row_of_the_list_is_attacked_or_said_not_to_be() -> None:
    rows = {
        *(f"F{number}" for number in (1, 2, 3, 4, 6, 7, 9, 10, 11, 12, 14, 15)),
        *(f"S{number}" for number in (1, 2, 4, 6, 8, 10)),
        *(f"K{number}" for number in (1, 2, 3, 4, 6, 7, 8, 9, 11, 13, 14, 16, 19, 21, 22, 23, 24)),
        *(f"R{number}" for number in (1, 2, 3, 4, 6, 7, 8, 10, 11, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23)),
        *(f"P{number}" for number in (1, 3, 5, 6, 7, 9, 10, 12, 13, 14)),
        *(f"Y{number}" for number in (1, 3, 4, 6, 8, 9, 10, 12)),
        *(f"N{number}" for number in (1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)),
        *(f"O{number}" for number in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14)),
    }
    attacked = {attack.id for attack in ATTACKS}
    assert attacked | NOT_ATTACKED.keys() == rows
    assert not attacked & NOT_ATTACKED.keys()


def test_what_is_said_to_be_tried_elsewhere_is_there() -> None:
    root = Path(__file__).parents[2]
    named = {path for reason in NOT_ATTACKED.values() for path in re.findall(r"[\w/]+/[\w/]+\.(?:py|md)", reason)}
    assert len(named) > 5
    assert [path for path in sorted(named) if not (root / path).is_file()] == []


def test_nothing_of_ours_unpickles() -> None:
    package = Path(tenantry.__file__).parent
    guilty = [
        str(path)
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"import (pickle|shelve)|marshal\.load", line) and "attacks" not in path.parts
    ]
    assert guilty == []
