"""Limits by cgroup v2, where the tests may delegate one to a host; and that a host takes none that is not its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tenantry.sandbox.cgroups import find_delegated

_CONTROLLERS = {"memory", "pids"}


def _root() -> Path | None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return next((Path(cells[1]) for cells in mounts if cells[2] == "cgroup2"), None)


@pytest.fixture(scope="module")
def cgroup() -> Iterator[Path]:
    root = _root()
    if root is None:
        pytest.skip("cgroup v2 is not mounted")
    if missing := _CONTROLLERS - set((root / "cgroup.controllers").read_text().split()):
        pytest.skip(f"cgroup v2 has no controllers {', '.join(sorted(missing))} on this machine")
    folder = root / f"tenantry-test-{os.getpid()}"
    try:
        (root / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in _CONTROLLERS))
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"these tests may not delegate a cgroup: {error}")
    yield folder
    for path in (folder / "workers", folder / "host", folder):
        with suppress(FileNotFoundError):
            path.rmdir()


@pytest.fixture(scope="module")
def seen(cgroup: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = Path(__file__).with_name("delegated.py")
    folder = tmp_path_factory.mktemp("delegated")
    folder.chmod(0o755)
    run = subprocess.run(
        [sys.executable, str(script), str(cgroup), "strict", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_a_worker_has_a_cgroup_of_its_own_with_its_limits(seen: dict[str, Any]) -> None:
    worker = seen["worker"]
    assert worker["members"]
    assert worker["host"] == "host"
    assert worker["memory.max"] == (128 + 32) << 20
    assert worker["swap"] in ("0", None)
    assert worker["pids.max"] == "64"


def test_a_worker_that_is_too_large_is_told_so(seen: dict[str, Any]) -> None:
    assert seen["worker"]["outcome"] == "! LimitExceeded: Worker exceeded memory limit."
    assert "more than 128 MiB" in "".join(seen["worker"]["logs"])


def test_the_kernel_ends_the_one_that_is_too_large_and_no_other(seen: dict[str, Any]) -> None:
    assert seen["killed"] == {"code": -9, "for memory": True, "the other for memory": False}


def test_no_cgroup_is_left(seen: dict[str, Any]) -> None:
    assert seen["left"] == []


# What is not delegated: a /proc and a cgroup file system made of files. ------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """One on which this process is alone in a cgroup that it may divide."""
    proc, own = tmp_path / "proc", tmp_path / "cgroup" / "service"
    (proc / "self").mkdir(parents=True)
    own.mkdir(parents=True)
    (proc / "mounts").write_text(f"proc /proc proc rw 0 0\ncgroup2 {tmp_path}/cgroup cgroup2 rw 0 0\n")
    (proc / "self" / "cgroup").write_text("4:memory:/\n0::/service\n")
    (own / "cgroup.type").write_text("domain\n")
    (own / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (own / "cgroup.subtree_control").write_text("\n")
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n")
    return tmp_path


def test_a_cgroup_of_ones_own_is_found(machine: Path) -> None:
    assert find_delegated(machine / "proc") == machine / "cgroup" / "service"


def test_a_cgroup_with_others_in_it_is_not_taken(machine: Path) -> None:
    (machine / "cgroup" / "service" / "cgroup.procs").write_text(f"1\n{os.getpid()}\n")
    with pytest.raises(OSError, match="others are in"):
        find_delegated(machine / "proc")


def test_the_root_of_all_cgroups_is_not_taken(machine: Path) -> None:
    (machine / "cgroup" / "service" / "cgroup.type").unlink()
    with pytest.raises(OSError, match="root of all cgroups"):
        find_delegated(machine / "proc")


def test_a_controller_that_is_missing_is_named(machine: Path) -> None:
    (machine / "cgroup" / "service" / "cgroup.controllers").write_text("cpu memory\n")
    with pytest.raises(OSError, match="no controllers pids"):
        find_delegated(machine / "proc")


def test_a_machine_without_cgroups_says_so(machine: Path) -> None:
    (machine / "proc" / "mounts").write_text("proc /proc proc rw 0 0\n")
    with pytest.raises(OSError, match="not mounted"):
        find_delegated(machine / "proc")
