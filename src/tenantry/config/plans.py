"""What the operator lets a Worker use: the platform's file says it for all of them, and for one.

    [limits]                              # for every Worker
    concurrent_invocations = 100
    memory_mib = 128

    [[worker]]
    path = "customer-worker-1"
    limits = { memory_mib = 256 }         # for this one; the rest as above

The author of a Worker asks for `cpu_ms` and `subrequests` in its own configuration, and gets what it asks for up to
what stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from tenantry.config.limits import (
    CONCURRENT_INVOCATIONS_DEFAULT,
    CONCURRENT_INVOCATIONS_MAX,
    CPU_MS_MAX,
    CPU_MS_MIN,
    MEMORY_MIB_DEFAULT,
    MEMORY_MIB_MAX,
    MEMORY_MIB_MIN,
    QUEUED_INVOCATIONS_DEFAULT,
    QUEUED_INVOCATIONS_MAX,
    REQUEST_BODY_BYTES_MAX,
    STARTUP_CPU_MS_DEFAULT,
    STARTUP_SECONDS_DEFAULT,
    STARTUP_SECONDS_MAX,
    SUBREQUESTS_MAX,
    WALL_SECONDS_DEFAULT,
    WALL_SECONDS_MAX,
)
from tenantry.errors import ConfigError

__all__ = ["DEFAULT_PLANS", "Plan", "PlanFile", "Plans", "parse_plan", "parse_plans"]


@dataclass(frozen=True, slots=True)
class Plan:
    """`cpu_ms` and `subrequests`: None leaves it to the Worker's author, within the platform's bounds.
    `request_body_bytes`: None is no limit, for bodies stream. It holds for the gateway's Worker, where bodies arrive.
    """

    concurrent_invocations: int = CONCURRENT_INVOCATIONS_DEFAULT
    queued_invocations: int = QUEUED_INVOCATIONS_DEFAULT
    cpu_ms: int | None = None
    wall_seconds: float = WALL_SECONDS_DEFAULT
    memory_mib: int = MEMORY_MIB_DEFAULT
    subrequests: int | None = None
    request_body_bytes: int | None = None
    startup_cpu_ms: int = STARTUP_CPU_MS_DEFAULT
    startup_seconds: float = STARTUP_SECONDS_DEFAULT


@dataclass(frozen=True, slots=True)
class Plans:
    """The plan of each Worker: `workers` by (namespace, name), for the others `default`."""

    default: Plan = Plan()
    workers: Mapping[tuple[str | None, str], Plan] = field(default_factory=dict)

    def of(self, namespace: str | None, name: str) -> Plan:
        return self.workers.get((namespace, name), self.default)

    @property
    def memory_mib_max(self) -> int:
        """The most that any of them gives."""
        return max(plan.memory_mib for plan in (self.default, *self.workers.values()))


DEFAULT_PLANS: Final = Plans()


class PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table as it stands in a file. What is left out comes from the plan below."""

    concurrent_invocations: int | None = None
    queued_invocations: int | None = None
    cpu_ms: int | None = None
    wall_seconds: float | None = None
    memory_mib: int | None = None
    subrequests: int | None = None
    request_body_bytes: int | None = None
    startup_cpu_ms: int | None = None
    startup_seconds: float | None = None


_RANGES: Final[dict[str, tuple[float, float]]] = {
    "concurrent_invocations": (1, CONCURRENT_INVOCATIONS_MAX),
    "queued_invocations": (0, QUEUED_INVOCATIONS_MAX),
    "cpu_ms": (CPU_MS_MIN, CPU_MS_MAX),
    "wall_seconds": (1, WALL_SECONDS_MAX),
    "memory_mib": (MEMORY_MIB_MIN, MEMORY_MIB_MAX),
    "subrequests": (1, SUBREQUESTS_MAX),
    "request_body_bytes": (0, REQUEST_BODY_BYTES_MAX),
    "startup_cpu_ms": (CPU_MS_MIN, CPU_MS_MAX),
    "startup_seconds": (1, STARTUP_SECONDS_MAX),
}


def parse_plan(given: PlanFile, where: str, below: Plan = DEFAULT_PLANS.default) -> Plan:
    """The plan that a table makes of the one below it. Raises ConfigError, which begins with `where`."""
    values = {name: getattr(below, name) for name in _RANGES}
    for name, (least, most) in _RANGES.items():
        value = getattr(given, name)
        if value is None:
            continue
        if not least <= value <= most:  # NaN, too, is not between them
            raise ConfigError(f"{where}.{name} is {value:g}, which is not between {least:g} and {most:g}")
        values[name] = value
    return Plan(**values)


def parse_plans(
    default: Plan, own: Mapping[tuple[str | None, str], tuple[PlanFile, str]], gateway_worker: str
) -> Plans:
    """`own` is the table of each Worker that has one, and where it stands. Raises ConfigError."""
    plans: dict[tuple[str | None, str], Plan] = {}
    for address, (given, where) in own.items():
        below = default
        if address == (None, gateway_worker):
            # It holds an invocation for each that its tenants run and queue: one tenant alone must not fill it.
            below = replace(
                default,
                concurrent_invocations=CONCURRENT_INVOCATIONS_MAX,
                queued_invocations=CONCURRENT_INVOCATIONS_MAX,
            )
        elif given.request_body_bytes is not None:
            raise ConfigError(f"{where}.request_body_bytes can be set for the gateway's Worker only")
        plans[address] = parse_plan(given, where, below)
    return Plans(default, plans)
