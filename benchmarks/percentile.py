"""Percentiles of a few hundred figures."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

__all__ = ["percentile"]


def percentile(figures: Sequence[float], percent: float) -> float:
    """The nearest rank: a figure that was measured, never one between two."""
    assert figures, "percentiles of nothing"
    assert 0 < percent <= 100
    ordered = sorted(figures)
    return ordered[ceil(percent / 100 * len(ordered)) - 1]
