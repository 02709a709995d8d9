"""`observability` of a Worker's settings: which of its invocations its log keeps.

What fails or says something is kept anyway (`log_ring`). This is about the rest, which by default is not.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from tenantry.control.errors import Invalid

__all__ = ["kept_rate_untrusted"]

_Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Logs(msgspec.Struct, frozen=True):
    enabled: bool = True
    head_sampling_rate: _Rate | None = None
    invocation_logs: bool = True


class _Observability(msgspec.Struct, frozen=True):
    enabled: bool = False
    head_sampling_rate: _Rate | None = None
    logs: _Logs | None = None


def kept_rate_untrusted(observability: dict[str, Any] | None) -> float:
    """The share of silent invocations to keep, between 0 and 1. Raises Invalid (10021)."""
    try:
        given = msgspec.convert(observability or {}, _Observability)
    except msgspec.ValidationError as error:
        raise Invalid(10021, f"observability: {error}") from error
    logs = given.logs or _Logs()
    is_on = given.enabled if given.logs is None else given.logs.enabled
    if not is_on or not logs.invocation_logs:
        return 0.0
    for rate in (logs.head_sampling_rate, given.head_sampling_rate):
        if rate is not None:
            return rate
    return 1.0
