"""A figure of the result: ours, the peer's, how they compare, and what was wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from benchmarks.wrk import Sample

__all__ = ["Comparison", "Row", "Target", "make_row", "rows_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """What the design asks for: of our own figure, or of its ratio to the peer's."""

    subject: Literal["ours", "ratio"]
    comparison: Literal[">=", "<="]
    value: float

    def __str__(self) -> str:
        return f"{self.subject} {self.comparison} {self.value:g}"

    def met(self, ours: float, ratio: float | None) -> bool | None:
        """None when what it is about was not measured."""
        figure = ours if self.subject == "ours" else ratio
        if figure is None:
            return None
        return figure >= self.value if self.comparison == ">=" else figure <= self.value


class Row(msgspec.Struct, frozen=True):
    """One entry of results/latest.json. `ratio` is above 1 where ours is better, for rates and for times alike."""

    name: str
    unit: str
    ours: float
    peer: float | None
    ratio: float | None
    target: str | None
    met: bool | None


def make_row(
    name: str,
    unit: str,
    ours: float,
    peer: float | None = None,
    target: Target | None = None,
    *,
    less_is_better: bool = False,
) -> Row:
    ratio: float | None = None
    if peer is not None:
        above, below = (peer, ours) if less_is_better else (ours, peer)
        ratio = above / below if below else None
    return Row(
        name,
        unit,
        _rounded(ours),
        None if peer is None else _rounded(peer),
        None if ratio is None else _rounded(ratio),
        None if target is None else str(target),
        None if target is None else target.met(ours, ratio),
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """One load, measured on ours and, unless the run is without it, on the peer."""

    name: str
    ours: Sample
    peer: Sample | None
    target: Target | None = None


def rows_of(comparison: Comparison) -> list[Row]:
    """Three rows: requests/s, which the target is about, and the latencies under that load."""
    name, ours, peer = comparison.name, comparison.ours, comparison.peer
    return [
        make_row(
            name,
            "requests/s",
            ours.requests_per_second,
            None if peer is None else peer.requests_per_second,
            comparison.target,
        ),
        make_row(f"{name}, p50", "ms", ours.p50_ms, None if peer is None else peer.p50_ms, less_is_better=True),
        make_row(f"{name}, p99", "ms", ours.p99_ms, None if peer is None else peer.p99_ms, less_is_better=True),
    ]


def _rounded(figure: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{figure:.4g}")
