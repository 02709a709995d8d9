"""Who guesses tokens is slowed down: so many failures of an address, and it waits.

Tokens have 256 random bits, so nobody guesses one anyway. This keeps the attempts from costing the platform much, and
has them show in the log. Values in, values out: time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from tenantry.control.limits import FAILURE_ADDRESSES, FAILURE_SECONDS, FAILURES_MAX

__all__ = ["Failures"]


@dataclass(slots=True)
class _Counted:
    since: float
    count: int = 0


class Failures:
    """Failed authentications by address, in windows of FAILURE_SECONDS. Bounded: the address longest unseen goes."""

    def __init__(self) -> None:
        self._counted: OrderedDict[str, _Counted] = OrderedDict()

    def wait_seconds(self, address: str, now: float) -> float:
        """How long the address has to wait before it is listened to again; 0 for not at all."""
        counted = self._counted.get(address)
        if counted is None or counted.count < FAILURES_MAX:
            return 0.0
        return max(0.0, counted.since + FAILURE_SECONDS - now)

    def failed(self, address: str, now: float) -> bool:
        """Count one. True for the one by which the address becomes too many."""
        counted = self._counted.get(address)
        if counted is None or now - counted.since >= FAILURE_SECONDS:
            counted = self._counted[address] = _Counted(now)
        self._counted.move_to_end(address)
        counted.count += 1
        if len(self._counted) > FAILURE_ADDRESSES:
            self._counted.popitem(last=False)
        return counted.count == FAILURES_MAX
