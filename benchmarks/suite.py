"""A whole run: starts both sides, measures one thing after the other, and ends what it started.

A figure that cannot be had does not stop the run; it fails it at its end, and then nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.crowd import measure_crowd
from benchmarks.download import measure_download
from benchmarks.failure import BenchmarkError
from benchmarks.fixtures import Tenants
from benchmarks.loads import LOADS, Load, Side
from benchmarks.ours import Platform, running_platform
from benchmarks.peer import running_peer
from benchmarks.rows import Comparison, Row, rows_of
from benchmarks.turns import Effort, compare

__all__ = ["CROWD", "DOWNLOAD", "NAMES", "Outcome", "Plan", "run"]

_EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "multi-tenant"
_HELLO: Final = Path(__file__).with_name("hello")

CROWD: Final = "tenants"
DOWNLOAD: Final = "download"
NAMES: Final = (*(load.name for load in LOADS), DOWNLOAD, CROWD)
"""What can be measured by itself."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure and how. `work` is a folder for the data of the run, on the disk that is to be measured."""

    names: frozenset[str]
    effort: Effort
    tenants: int
    work: Path
    wrk: str
    nginx: str | None
    with_peer: bool
    say: Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    comparisons: list[Comparison] = field(default_factory=list)
    others: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def rows(self) -> list[Row]:
        return [*(row for comparison in self.comparisons for row in rows_of(comparison)), *self.others]


def run(plan: Plan) -> Outcome:
    """Raises BenchmarkError when a side cannot be started."""
    outcome = Outcome()
    if plan.names - {CROWD}:
        with _both_sides(plan) as (platform, ours, peer):
            _measure_loads(plan, ours, peer, outcome)
            if DOWNLOAD in plan.names:
                with _noted(plan, outcome):
                    row = measure_download(platform, plan.nginx, plan.work, plan.effort.rounds, plan.say)
                    outcome.others.append(row)
    if CROWD in plan.names:
        plan.say(f"deploying {plan.tenants} tenants")
        with _noted(plan, outcome):
            outcome.others += measure_crowd(_EXAMPLE, plan.work, plan.tenants)
    return outcome


def _measure_loads(plan: Plan, ours: Side, peer: Side | None, outcome: Outcome) -> None:
    loads: list[Load] = [load for load in LOADS if load.name in plan.names]
    if any(load.user is not None for load in loads):
        for side in (ours, *([peer] if peer is not None else [])):
            side.tenants.seed()
    for load in loads:
        with _noted(plan, outcome):
            outcome.comparisons.append(compare(plan.wrk, load, ours, peer, plan.effort, plan.say))


@contextmanager
def _both_sides(plan: Plan) -> Iterator[tuple[Platform, Side, Side | None]]:
    with ExitStack() as stack:
        plan.say("starting the platform")
        platform = stack.enter_context(running_platform("platform", _EXAMPLE, plan.work))
        hello = stack.enter_context(running_platform("hello", _HELLO, plan.work))
        ours = _side(stack, "ours", platform.gateway, hello.gateway)
        peer: Side | None = None
        if plan.with_peer:
            plan.say("starting the peer (the first time, npm installs it)")
            started = stack.enter_context(running_peer(plan.work))
            peer = _side(stack, "peer", started.gateway, started.hello)
        yield platform, ours, peer


def _side(stack: ExitStack, name: str, gateway: str, hello: str) -> Side:
    tenants = Tenants(name, gateway)
    stack.callback(tenants.close)
    return Side(name, gateway, hello, tenants)


@contextmanager
def _noted(plan: Plan, outcome: Outcome) -> Iterator[None]:
    try:
        yield
    except BenchmarkError as error:
        outcome.failures.append(str(error))
        plan.say(f"FAILED: {error}")
