"""What the gateway counts of its requests: few numbers, cheap to keep, the same however many tenants there are."""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Final

from tenantry.gateway.request import Scope, Send

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

    def begin(self, send: Send) -> Measured:
        self.in_flight += 1
        return Measured(send)

    def end(self, measured: Measured) -> None:
        self.in_flight -= 1
        self.by_class[measured.status // 100] += 1
        self.seconds_counts[bisect_left(SECONDS_BOUNDS, measured.seconds)] += 1
        self.seconds_sum += measured.seconds


class Measured:
    """One request. `seconds` is how long the head of its response took, 0 while there is none."""

    __slots__ = ("_began", "_send", "seconds", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began = time.monotonic()
        self.status = 0
        self.seconds = 0.0

    async def send(self, message: Scope) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.seconds = time.monotonic() - self._began
        await self._send(message)

    async def send_last(self, message: Scope) -> None:
        """`send`, on a connection that is not to be used again."""
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await self.send(message)
