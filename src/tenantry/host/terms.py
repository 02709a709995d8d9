"""The terms of an invocation: what its caller, or the binding that it came through, laid down for it.

They only ever tighten: a limit holds beside the Worker's own and the platform's, whichever is smaller. What an
invocation gives away (a function, an object) is called on the terms of the invocation that gave it, so that no way
around them comes back with an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tenantry.errors import BindingError
from tenantry.host.limits import CPU_SECONDS_MIN

__all__ = ["NO_TERMS", "OutboundRoute", "OutboundWorker", "Terms", "read_terms_untrusted"]


@dataclass(frozen=True, slots=True)
class OutboundWorker:
    """What a dispatch namespace binding says of its outbound Worker, and the parameters that a caller may give it."""

    service: str
    entrypoint: str | None
    params: frozenset[str]

    @staticmethod
    def of(fields: Mapping[str, Any]) -> OutboundWorker | None:
        """From the fields of a binding, as the control plane checked them."""
        outbound = fields.get("outbound")
        if outbound is None:
            return None
        worker = outbound["worker"]
        return OutboundWorker(
            worker["service"], worker.get("entrypoint"), frozenset(param["name"] for param in outbound["params"])
        )


@dataclass(frozen=True, slots=True)
class OutboundRoute:
    """Where the fetches of one invocation go. `params` are plain values; they may be secrets."""

    worker: OutboundWorker
    params: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """None: nothing beyond the Worker's own."""

    cpu_seconds_max: float | None = None
    subrequests_max: int | None = None
    outbound: OutboundRoute | None = None


NO_TERMS: Final = Terms()


def read_terms_untrusted(given: Mapping[str, Any], outbound: OutboundWorker | None) -> Terms:
    """The terms of a call through a binding. Raises BindingError. What is not known, or not declared, is left out."""
    limits = given.get("limits")
    if limits is None:
        limits = {}
    if not isinstance(limits, dict):
        raise BindingError("limits must be an object.", "TypeError")
    cpu_ms = _number(limits, "cpuMs")
    subrequests = _number(limits, "subRequests")
    values = given.get("outbound")
    if values is not None and not isinstance(values, dict):
        raise BindingError("outbound must be an object.", "TypeError")
    route = None
    if outbound is not None:
        route = OutboundRoute(
            outbound, {name: value for name, value in (values or {}).items() if name in outbound.params}
        )
    return Terms(
        None if cpu_ms is None else max(cpu_ms / 1000, CPU_SECONDS_MIN),
        None if subrequests is None else int(subrequests),
        route,
    )


def _number(limits: Mapping[str, Any], name: str) -> float | None:
    value = limits.get(name)
    if value is None:
        return None
    # A bool is an int to Python; NaN fails the comparison.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 2**53:
        raise BindingError(f"limits.{name} must be a number that is not negative.", "TypeError")
    return value
