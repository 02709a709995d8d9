"""What the gateway counts of its requests: few numbers, cheap to keep, the same however many tenants there are."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

__all__ = ["SECONDS_BOUNDS", "RequestStats"]

SECONDS_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets that durations are counted in; one more is for what is longer."""


class RequestStats:
    """Since the start: answers by class of status, durations to the head of the response, and what is in flight."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.by_class = [0] * 6
        """Index 1 to 5 is the first digit of the status; 0 is for requests that ended without a response."""
        self.seconds_counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self.seconds_sum = 0.0

    def begin(self) -> None:
        self.in_flight += 1

    def end(self, status: int, seconds: float) -> None:
        """`status` is 0, and so are `seconds`, where there was no response."""
        self.in_flight -= 1
        self.by_class[status // 100] += 1
        self.seconds_counts[bisect_left(SECONDS_BOUNDS, seconds)] += 1
        self.seconds_sum += seconds
