"""The posture of live worker processes, seen from outside; and that the look sees what is wrong with others."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tenantry.doctor.arena import Arena, open_arena
from tenantry.doctor.attacks.model import Attack
from tenantry.doctor.posture import ASPECTS, deviations, inspect_process
from tenantry.errors import ConfigError
from tenantry.sandbox import ResourceLimits

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at all of a sealed process")


@pytest.fixture
async def arena() -> AsyncIterator[Arena]:
    async with open_arena("strict") as arena:
        yield arena


async def _worker(arena: Arena, code: str = "result = 1") -> int:
    attacker = arena.deploy(Attack(id="", name="worker"))
    await arena.outcome(attacker, code)
    (pid,) = arena.pids(attacker)
    return pid


async def test_a_worker_deviates_in_nothing(arena: Arena) -> None:
    pid = await _worker(arena)
    posture = inspect_process(pid)
    assert posture.deviations == []
    if os.geteuid() == 0:
        assert posture.unseen == []


async def test_what_a_worker_may_open_is_no_deviation(arena: Arena) -> None:
    code = """
import builtins, select
builtins.kept = [open('entry.py'), open('/tmp/x', 'w'), open(os.__file__), os.open('/', 0), os.pipe(), select.epoll()]
"""
    assert deviations(await _worker(arena, code)) == []


async def test_two_workers_share_no_namespace(arena: Arena) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may look at the namespaces of a process that is not dumpable")
    one, other = await asyncio.gather(_worker(arena), _worker(arena))
    for kind in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup"):
        assert os.readlink(f"/proc/{one}/ns/{kind}") != os.readlink(f"/proc/{other}/ns/{kind}")


def test_an_ordinary_process_deviates_in_every_aspect_that_it_can() -> None:
    seen = {deviation.aspect for deviation in deviations(os.getpid())}
    assert seen >= {"namespaces", "privileges", "mounts", "environment", "limits"}


def test_a_limit_that_is_higher_than_the_policys_is_a_deviation(tmp_path: Path) -> None:
    found = [str(each) for each in deviations(os.getpid(), limits=ResourceLimits(open_files_max=1))]
    assert any("Max open files" in text for text in found)


@root_only
async def test_a_deviation_is_seen_for_each_thing_that_is_changed(arena: Arena, tmp_path: Path) -> None:
    pid = await _worker(arena)
    proc = tmp_path / "proc"

    def forge(name: str, change: Callable[[str], str]) -> list[str]:
        """The process, had the kernel said something else of one file."""
        folder = proc / str(pid)
        folder.mkdir(parents=True, exist_ok=True)
        for link in ("fd", "fdinfo", "ns", "net", "status", "mountinfo", "environ", "limits"):
            (folder / link).unlink(missing_ok=True)
            (folder / link).symlink_to(f"/proc/{pid}/{link}")
        (proc / "self").unlink(missing_ok=True)
        (proc / "self").symlink_to("/proc/self")
        text = (folder / name).read_text()
        (folder / name).unlink()
        (folder / name).write_text(change(text))
        return [deviation.aspect for deviation in deviations(pid, proc=proc)]

    assert forge("status", lambda text: text) == []
    assert forge("status", lambda text: text.replace("Seccomp:\t2", "Seccomp:\t0")) == ["privileges"]
    assert forge("status", lambda text: text.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0")) == ["privileges"]
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        change = f"{capabilities}:\t0000000000000000", f"{capabilities}:\t0000000000200000"
        assert forge("status", lambda text, change=change: text.replace(*change)) == ["privileges"]
    assert forge("environ", lambda text: text + "SECRET=1\0") == ["environment"]
    assert "mounts" in forge("mountinfo", lambda text: text + "99 1 0:1 / /etc ro,nosuid,nodev - ext4 x x\n")
    assert "mounts" in forge("mountinfo", lambda text: text.replace(" /app ro,", " /app rw,"))
    assert "mounts" in forge("mountinfo", lambda text: text.replace(" /sdk ro,nosuid", " /sdk ro"))
    assert "limits" in forge("limits", lambda text: re.sub(r"(Max core file size +)0", r"\g<1>9", text))


def test_a_process_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no process"):
        deviations(2**30)


def test_every_aspect_has_a_name() -> None:
    assert set(ASPECTS) == {
        "descriptors",
        "sockets",
        "namespaces",
        "privileges",
        "mounts",
        "environment",
        "limits",
        "dumpable",
    }
