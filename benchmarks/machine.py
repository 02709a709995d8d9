"""The machine that the figures are of, and the versions that made them: results/machine.json."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["Machine", "cpu_model", "describe_machine", "filesystem_of", "memory_bytes"]

_ROOT: Final = Path(__file__).parents[1]


class Machine(msgspec.Struct, frozen=True):
    """`load_average` is of the minute before the run: on a busy machine the figures are the machine's."""

    date: str
    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    filesystem: str
    python: str
    tenantry: str
    commit: str | None
    node: str | None
    miniflare: str | None
    wrk: str | None
    nginx: str | None
    load_average: float
    connections: int
    rounds: int
    seconds: int


def describe_machine(
    work: Path, *, nginx: str | None, wrk: str, with_peer: bool, connections: int, rounds: int, seconds: int
) -> Machine:
    return Machine(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu=cpu_model(_read("/proc/cpuinfo")) or platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(memory_bytes(_read("/proc/meminfo")) / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        filesystem=filesystem_of(work.resolve(), _read("/proc/self/mounts")),
        python=platform.python_version(),
        tenantry=version("tenantry"),
        commit=_commit(),
        node=_version(["node", "--version"]) if with_peer else None,
        miniflare=_miniflare() if with_peer else None,
        wrk=_version([wrk, "--version"]),
        nginx=_version([nginx, "-v"]) if nginx is not None else None,
        load_average=round(os.getloadavg()[0], 2),
        connections=connections,
        rounds=rounds,
        seconds=seconds,
    )


def cpu_model(cpuinfo: str) -> str | None:
    """The first processor's name. ARM kernels give none."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else None


def memory_bytes(meminfo: str) -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB$", meminfo, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def filesystem_of(path: Path, mounts: str) -> str:
    """The type of the file system that a resolved path is on: on one in memory, a durable write costs nothing."""
    best, kind = "", "unknown"
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[1])
        # The last of several mounts on one point is the one that is seen.
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, words[2]
    return kind


def _read(file: str) -> str:
    try:
        return Path(file).read_text(errors="replace")
    except OSError:
        return ""


def _commit() -> str | None:
    commit = _output(["git", "-C", str(_ROOT), "rev-parse", "--short=12", "HEAD"])
    if commit is None:
        return None
    # What the run itself writes is no change of what was measured.
    changed = _output(["git", "-C", str(_ROOT), "status", "--porcelain", "--", "src", "examples", "benchmarks/peers"])
    return f"{commit} with changes" if changed else commit


def _miniflare() -> str:
    """What is installed for the run: this comes before."""
    lock = msgspec.json.decode((Path(__file__).with_name("peers") / "package-lock.json").read_bytes())
    return str(lock["packages"]["node_modules/miniflare"]["version"])


def _version(command: Sequence[str]) -> str | None:
    """The first thing that looks like a version, from either output: wrk and nginx differ, and wrk exits with 1."""
    text = _output(command, any_status=True)
    found = re.search(r"\d+\.\d+[^\s]*", text or "")
    return found[0] if found else None


def _output(command: Sequence[str], *, any_status: bool = False) -> str | None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if any_status else subprocess.DEVNULL,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if any_status or done.returncode == 0 else None
