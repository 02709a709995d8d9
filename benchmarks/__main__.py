"""The command line: `python -m benchmarks`, which is what `make bench` calls.

The table goes to the standard output and to results/latest.json, all other words to the standard error. Exit status:
0 everything was measured (whether or not a target is met), 1 something could not be, 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.crowd import TENANTS
from benchmarks.failure import BenchmarkError
from benchmarks.machine import describe_machine
from benchmarks.nginx import find_nginx
from benchmarks.rows import Row
from benchmarks.suite import NAMES, Plan, run
from benchmarks.table import render
from benchmarks.turns import Effort
from benchmarks.wrk import CONNECTIONS, find_wrk

_FOLDER: Final = Path(__file__).parent
_FULL: Final = Effort(rounds=5, seconds=5, warm_seconds=2)
_QUICK: Final = Effort(rounds=1, seconds=1, warm_seconds=1)
_QUICK_TENANTS: Final = 20


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # As Ctrl-C: everything that was started is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    base: Path = options.work
    base.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=base)).resolve()
    try:
        return _run(options, work)
    except BenchmarkError as error:
        _say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _say("stopped")
        return 128 + signal.SIGINT
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(options: argparse.Namespace, work: Path) -> int:
    quick: bool = options.quick
    default = _QUICK if quick else _FULL
    effort = Effort(options.rounds or default.rounds, options.seconds or default.seconds, default.warm_seconds)
    nginx = find_nginx()
    plan = Plan(
        names=frozenset(options.only or NAMES),
        effort=effort,
        tenants=_QUICK_TENANTS if quick else TENANTS,
        work=work,
        wrk=find_wrk(),
        nginx=nginx,
        with_peer=not options.without_peer,
        say=_say,
    )
    machine = describe_machine(
        work,
        nginx=nginx,
        wrk=plan.wrk,
        with_peer=plan.with_peer,
        connections=CONNECTIONS,
        rounds=effort.rounds,
        seconds=effort.seconds,
    )
    outcome = run(plan)
    print(render(outcome.comparisons, outcome.others))
    if outcome.failures:
        _say(f"{len(outcome.failures)} of the figures could not be had; nothing was written:")
        for failure in outcome.failures:
            _say(f"  {failure}")
        return 1
    if options.only:
        return 0  # a part is no result
    results: Path = options.results
    results.mkdir(parents=True, exist_ok=True)
    _write(results / "latest.json", outcome.rows())
    _write(results / "machine.json", machine)
    return 0


def _write(file: Path, content: list[Row] | msgspec.Struct) -> None:
    temporary = file.with_suffix(".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    temporary.replace(file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="The example platform beside the same Workers in Miniflare, in turns, in one run.",
    )
    parser.add_argument("--quick", action="store_true", help="a rehearsal: one short round, and 20 tenants")
    parser.add_argument("--rounds", type=_positive, help=f"rounds of each load ({_FULL.rounds})")
    parser.add_argument("--seconds", type=_positive, help=f"seconds of each load in a round ({_FULL.seconds})")
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="NAME", help=f"measure this alone: {', '.join(NAMES)}"
    )
    parser.add_argument("--without-peer", action="store_true", help="measure our side alone")
    parser.add_argument(
        "--results", type=Path, default=_FOLDER / "results", help="where latest.json and machine.json go"
    )
    parser.add_argument(
        "--work", type=Path, default=_FOLDER / ".run", help="where the data of the run lies: on a disk, not in memory"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
