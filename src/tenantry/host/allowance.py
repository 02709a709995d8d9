"""What one Worker may use: its author's wishes, as far as the operator's plan lets them come true."""

from __future__ import annotations

from dataclasses import dataclass

from tenantry.config.deployment import WorkerLimits
from tenantry.config.limits import CPU_MS_DEFAULT, CPU_MS_MAX, CPU_MS_MIN, SUBREQUESTS_DEFAULT, SUBREQUESTS_MAX
from tenantry.config.plans import Plan

__all__ = ["DEFAULT_ALLOWANCE", "Allowance", "allow"]


@dataclass(frozen=True, slots=True)
class Allowance:
    """CPU, wall time and subrequests are one invocation's, memory and start-up one process's."""

    cpu_seconds: float
    wall_seconds: float
    subrequests: int
    memory_bytes: int
    start_cpu_seconds: float
    start_seconds: float


def allow(wishes: WorkerLimits, plan: Plan) -> Allowance:
    return Allowance(
        cpu_seconds=_least(wishes.cpu_ms, plan.cpu_ms, CPU_MS_DEFAULT, CPU_MS_MIN, CPU_MS_MAX) / 1000,
        wall_seconds=plan.wall_seconds,
        subrequests=_least(wishes.subrequests, plan.subrequests, SUBREQUESTS_DEFAULT, 0, SUBREQUESTS_MAX),
        memory_bytes=plan.memory_mib * 1024 * 1024,
        start_cpu_seconds=plan.startup_cpu_ms / 1000,
        start_seconds=plan.startup_seconds,
    )


def _least(wished: int | None, planned: int | None, default: int, least: int, most: int) -> int:
    if wished is None:
        return default if planned is None else planned
    return max(least, min(wished, most if planned is None else planned))


DEFAULT_ALLOWANCE = allow(WorkerLimits(), Plan())
