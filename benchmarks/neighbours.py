"""Noisy neighbours: how much later a quiet customer is answered while another one misbehaves.

    python -m benchmarks.neighbours [--seconds 60] [--only spin_c]

The quiet customer is asked for one small thing a hundred times a second, on a schedule that does not wait for late
answers: what is measured is the time from when a request was due. Each neighbour is measured in a turn of its own,
between two times of quiet of half its length, so that a machine that changes its mind during the run hurts both
alike. A neighbour has a Worker of its own in the same dispatch namespace, and clients of its own, in a process of
their own, that keep it at what it does.

In life all these clients are on other machines. Here they share the processors with the platform, so they are kept from
having a part in what is measured: those of neighbours run when nobody else wants to (SCHED_IDLE), the quiet customer's,
which sleeps nearly all of the time, before everybody else (SCHED_RR, where root may), alone as well as beside others.

What else the machine does hurts more when a neighbour has the other processor, and is not the neighbour's doing. So the
figure is given twice: of all answers, and of those that nobody else's program took the processor from meanwhile.

Exit status: 0 everything was measured (whether or not a target is met), 1 something could not be.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from benchmarks.failure import BenchmarkError
from benchmarks.ours import Platform, running_platform
from benchmarks.percentile import percentile
from benchmarks.strangers import Strangers

__all__ = ["NEIGHBOURS", "NeighbourRow", "main"]

_SOURCES: Final = Path(__file__).with_name("neighbourhood")
_RESULTS: Final = Path(__file__).with_name("results")
_ROOT: Final = Path(__file__).parents[1]

NEIGHBOURS: Final = {
    "fork": "forks for ever",
    "allocate": "allocates for ever",
    "spin_python": "spins in Python",
    "spin_c": "spins in C",
    "log": "floods its log",
    "never_read": "never reads its body",
    "stream": "streams for ever",
    "crash": "crashes in a loop",
    "threads": "spins in 60 threads",
    "calls": "asks for a key for ever",
    "disk": "writes to its bucket for ever",
    "connect": "is connected to for ever",
}
_ALL: Final = "all of them at once"

_RATE: Final = 100
"""Requests of the quiet customer in a second."""
_WARM_REQUESTS: Final = 200
_STRANGERS_MS_MAX: Final = 0.5
"""More than this of a processor's time, between an answer and the one before it, and it counts as disturbed."""
_UNDISTURBED_MIN: Final = 100
"""Of fewer answers there is no 99th percentile."""
_RATIO_MAX: Final = 1.2
_GROWTH_MIB_MAX: Final = 64
_LATE_SECONDS_MAX: Final = 30.0
_CALM_SECONDS_MAX: Final = 90.0
"""One that spins on after its clients have left is ended when it has used its 30 s of CPU time."""
_CALM_POLL_SECONDS: Final = 0.2
_RISE_SECONDS: Final = 1.0
"""What a neighbour gets to be in full swing before it is measured what that does."""


class NeighbourRow(msgspec.Struct, frozen=True):
    """One entry of results/neighbours.json. `met` says whether `ratio`, beside to alone, is at most `target`."""

    name: str
    unit: str
    alone: float
    beside: float
    ratio: float
    target: float
    met: bool


def make_row(name: str, unit: str, alone: float, beside: float, target: float) -> NeighbourRow:
    ratio = beside / alone
    rounded = [float(f"{figure:.4g}") for figure in (alone, beside, ratio, target)]
    return NeighbourRow(name, unit, rounded[0], rounded[1], rounded[2], rounded[3], ratio <= target)


class Answer(NamedTuple):
    milliseconds: float
    """Since its request was due."""
    disturbed: bool
    """Another program of this machine had a processor meanwhile."""


@dataclass(frozen=True, slots=True)
class _Quiet:
    """The customer whose answers are waited for."""

    gateway: str

    def measure(self, seconds: float) -> list[Answer]:
        """Raises BenchmarkError for a bad answer."""
        connection = self._connect()
        with Strangers(os.getpid()) as strangers:
            ahead = _run_ahead()
            try:
                return list(self._answers(connection, seconds, strangers))
            except (OSError, http.client.HTTPException) as error:
                raise BenchmarkError(f"the quiet customer got no answer: {type(error).__name__}: {error}") from error
            finally:
                connection.close()
                if ahead:
                    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    @staticmethod
    def _answers(connection: http.client.HTTPConnection, seconds: float, strangers: Strangers) -> Iterator[Answer]:
        started = time.perf_counter()
        for number in range(int(seconds * _RATE)):
            due = started + number / _RATE
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            elif wait < -_LATE_SECONDS_MAX:
                raise BenchmarkError("the quiet customer's answers do not come any more")
            _ask(connection)
            milliseconds = (time.perf_counter() - due) * 1000
            yield Answer(milliseconds, strangers.used_ms() > _STRANGERS_MS_MAX)

    def warm(self) -> None:
        connection = self._connect()
        for _ in range(_WARM_REQUESTS):
            _ask(connection)
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        address = urlsplit(self.gateway)
        return http.client.HTTPConnection(str(address.hostname), address.port, timeout=_LATE_SECONDS_MAX)


def _run_ahead() -> bool:
    """Let this process go before others. False when this user may not."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        return False
    return True


def _ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/quiet")
    response = connection.getresponse()
    body = response.read()
    if response.status != 200 or body != b"hello":
        raise BenchmarkError(f"the quiet customer's answer was {response.status}: {body[:300]!r}")


def compare(name: str, alone: Sequence[Answer], beside: Sequence[Answer]) -> list[NeighbourRow]:
    """The figure of all answers, and of those that were not disturbed, if there are enough."""
    rows = [_compare(name, alone, beside)]
    calm = [[answer for answer in answers if not answer.disturbed] for answers in (alone, beside)]
    if min(map(len, calm)) >= _UNDISTURBED_MIN:
        rows.append(_compare(f"{name}, undisturbed", *calm))
    return rows


def _compare(name: str, alone: Sequence[Answer], beside: Sequence[Answer]) -> NeighbourRow:
    figures = [percentile([answer.milliseconds for answer in answers], 99) for answers in (alone, beside)]
    return make_row(name, "ms", *figures, _RATIO_MAX)


@contextmanager
def _clients(gateway: str, habits: Sequence[str], log: Path) -> Iterator[None]:
    """Clients of these neighbours, a process for each."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for habit in habits:
            with log.open("ab") as output:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "benchmarks.neighbour_clients", gateway, habit],
                        stdin=subprocess.PIPE,  # it ends with it
                        stdout=output,
                        stderr=output,
                        cwd=_ROOT,
                    )
                )
        yield
        if any(process.poll() is not None for process in processes):
            raise BenchmarkError(f"the clients of a neighbour ended by themselves: {log.read_text()[-1000:]}")
    finally:
        for process in processes:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def _wait_calm(platform: Platform) -> None:
    """Until no neighbour has anything to do any more."""
    deadline = time.monotonic() + _CALM_SECONDS_MAX
    while any(entry["in_flight"] for entry in platform.processes() if entry["worker"] in NEIGHBOURS):
        platform.child.check()
        if time.monotonic() > deadline:
            _say("a neighbour goes on although its clients have left")
            return
        time.sleep(_CALM_POLL_SECONDS)


def _memory_mib(pid: int) -> float:
    """What the host holds: its resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def write_platform(folder: Path) -> None:
    common = {"main": "entry.py", "compatibility_date": "2026-05-01", "compatibility_flags": ["python_workers"]}
    dispatcher = {"dispatch_namespaces": [{"binding": "DISPATCHER", "namespace": "street"}]}
    _write_worker(folder / "dispatcher", "dispatcher", {**common, **dispatcher})
    _write_worker(folder / "quiet", "quiet", {**common, "kv_namespaces": [{"binding": "KV"}]})
    entries = ['[gateway]\nworker = "dispatcher"\n\n[[worker]]\npath = "dispatcher"\n']
    for habit in NEIGHBOURS:
        _write_worker(
            folder / habit,
            "loud",
            {
                **common,
                "vars": {"HABIT": habit},
                "kv_namespaces": [{"binding": "KV"}],
                "r2_buckets": [{"binding": "BUCKET", "bucket_name": f"{habit.replace('_', '-')}-files"}],
            },
        )
    for name in ("quiet", *NEIGHBOURS):
        entries.append(f'\n[[worker]]\npath = "{name}"\nnamespace = "street"\ncustomer = "{name}"\n')
    (folder / "tenantry.toml").write_text("".join(entries))


def _write_worker(folder: Path, source: str, config: dict[str, object]) -> None:
    folder.mkdir(parents=True)
    shutil.copyfile(_SOURCES / source / "entry.py", folder / "entry.py")
    (folder / "wrangler.jsonc").write_text(json.dumps({"name": folder.name, **config}))


def measure(work: Path, seconds: float, only: Sequence[str]) -> list[NeighbourRow]:
    """Raises BenchmarkError when the platform, or the quiet customer, does not answer as it must."""
    folder = work / "platform-source"
    write_platform(folder)
    turns = [(NEIGHBOURS[habit], [habit]) for habit in NEIGHBOURS if not only or habit in only]
    if not only:
        turns.append((_ALL, list(NEIGHBOURS)))
    rows = []
    with running_platform("neighbourhood", folder, work) as platform:
        quiet = _Quiet(platform.gateway)
        quiet.warm()
        memory_before = _memory_mib(platform.child.pid)
        for name, habits in turns:
            alone = quiet.measure(seconds / 2)
            with _clients(platform.gateway, habits, work / "clients.log"):
                time.sleep(_RISE_SECONDS)
                beside = quiet.measure(seconds)
            _wait_calm(platform)
            alone += quiet.measure(seconds / 2)
            of = f"p99 of a quiet customer whose neighbour {name}" if len(habits) == 1 else f"p99 beside {name}"
            compared = compare(of, alone, beside)
            rows += compared
            for row in compared:
                _say(f"{row.name}: {row.alone} ms alone, {row.beside} ms beside")
            memory_after = _memory_mib(platform.child.pid)
            target = (memory_before + _GROWTH_MIB_MAX) / memory_before
            after = f"one that {name}" if len(habits) == 1 else name
            about = f"memory of the host, before the first and after {after}"
            rows.append(make_row(about, "MiB", memory_before, memory_after, target))
            _say(f"{rows[-1].name}: {rows[-1].alone} MiB, {rows[-1].beside} MiB")
    return rows


def render(rows: Sequence[NeighbourRow]) -> str:
    lines = [("figure", "unit", "alone", "beside", "ratio", "target", "met")]
    lines += [
        (
            row.name,
            row.unit,
            f"{row.alone:.2f}",
            f"{row.beside:.2f}",
            f"{row.ratio:.2f}",
            f"≤ {row.target:.2f}",
            _met(row),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    table = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines]
    table.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(table)


def _met(row: NeighbourRow) -> str:
    return "yes" if row.met else "no"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbours", description="Noisy neighbours.")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (10)")
    parser.add_argument("--only", action="append", choices=tuple(NEIGHBOURS), help="this neighbour alone")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where neighbours.json goes")
    parser.add_argument("--work", type=Path, default=_RESULTS.with_name(".run"), help="where the data of the run lies")
    options = parser.parse_args(arguments)
    # As Ctrl-C: everything that was started is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options.work.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="neighbours-", dir=options.work)).resolve()
    try:
        rows = measure(work, options.seconds, options.only or ())
    except BenchmarkError as error:
        _say(f"error: {error}")
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(render(rows))
    unmet = [row.name for row in rows if not row.met]
    print(f"{len(rows) - len(unmet)} of {len(rows)} targets are met.")
    if not options.only:  # a part is no result
        options.results.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n"
        (options.results / "neighbours.json").write_bytes(text)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
