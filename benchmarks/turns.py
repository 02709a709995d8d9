"""One load on one side after the other, in turns: what the machine does meanwhile meets both of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import wrk
from benchmarks.failure import BenchmarkError
from benchmarks.fixtures import check
from benchmarks.loads import Load, Side
from benchmarks.rows import Comparison
from benchmarks.wrk import Sample

__all__ = ["Effort", "compare"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a run takes: so many rounds, each of them so many seconds on each side after warming up."""

    rounds: int
    seconds: int
    warm_seconds: int


def compare(
    program: str, load: Load, ours: Side, peer: Side | None, effort: Effort, say: Callable[[str], None]
) -> Comparison:
    """A B A B …, and the medians. Raises BenchmarkError when a side does not answer as it must."""
    sides = [ours] if peer is None else [ours, peer]
    for side in sides:
        load.check(side)
    samples: dict[str, list[Sample]] = {side.name: [] for side in sides}
    for _ in range(effort.rounds):
        for side in sides:
            samples[side.name].append(_measure(program, load, side, effort))
    for side in sides:
        load.check(side)
    medians = {name: wrk.median_sample(taken) for name, taken in samples.items()}
    say(f"{load.name}: {', '.join(_words(name, taken) for name, taken in samples.items())}")
    return Comparison(load.name, medians[ours.name], None if peer is None else medians[peer.name], load.target)


def _measure(program: str, load: Load, side: Side, effort: Effort) -> Sample:
    def run(seconds: int) -> Sample:
        return wrk.run(
            program,
            load.url(side),
            seconds,
            connections=load.connections,
            headers=load.headers(),
            script=load.script,
            arguments=load.arguments,
        )

    try:
        run(max(effort.warm_seconds, load.seconds_min))
        before = _operations(load, side)
        sample = run(max(effort.seconds, load.seconds_min))
        done = _operations(load, side) - before
    except BenchmarkError as error:
        raise BenchmarkError(f"{side.name}: {load.name}: {error}") from error
    # Some more than the answers that wrk saw: it leaves without waiting for the last ones.
    check(
        done >= sample.requests or not load.counts, f"{side.name}: {load.name}: {sample.requests} answers, {done} done"
    )
    return sample


def _operations(load: Load, side: Side) -> int:
    return side.tenants.operations(load.user) if load.counts and load.user is not None else 0


def _words(name: str, samples: Sequence[Sample]) -> str:
    return f"{name} {' '.join(f'{sample.requests_per_second:,.0f}' for sample in samples)}/s"
