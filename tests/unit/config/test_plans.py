"""The operator's limits: defaults, one Worker's own, and every mistake named with its path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenantry.config.deployment import WorkerLimits
from tenantry.config.limits import CONCURRENT_INVOCATIONS_MAX
from tenantry.config.plans import Plan, PlanFile, parse_plan
from tenantry.config.platform import load_platform
from tenantry.errors import ConfigError
from tenantry.host.allowance import allow

Write = Callable[[dict[str, str | bytes]], Path]

PLATFORM = """
[gateway]
worker = "dispatcher"
LIMITS
[[worker]]
path = "dispatcher"
FRONT
[[worker]]
path = "one"
namespace = "bindings"
CUSTOMER
[[worker]]
path = "two"
namespace = "bindings"
"""


def platform(write: Write, limits: str = "", front: str = "", customer: str = "") -> Any:
    files: dict[str, str | bytes] = {
        "tenantry.toml": PLATFORM.replace("LIMITS", limits).replace("FRONT", front).replace("CUSTOMER", customer)
    }
    for name in ("dispatcher", "one", "two"):
        config = {"name": name, "main": "entry.py", "compatibility_date": "2026-01-15"}
        files[f"{name}/wrangler.jsonc"] = json.dumps(config)
        files[f"{name}/entry.py"] = ""
    return load_platform(write(files))


def test_a_worker_has_the_platforms_limits_but_for_its_own(write: Write) -> None:
    plans = platform(
        write, "[limits]\nmemory_mib = 64\ncpu_ms = 500", customer="limits = { memory_mib = 256, wall_seconds = 2.5 }"
    ).plans

    assert plans.of("bindings", "one") == Plan(memory_mib=256, cpu_ms=500, wall_seconds=2.5)
    assert plans.of("bindings", "two") == plans.of("bindings", "unknown") == Plan(memory_mib=64, cpu_ms=500)
    assert plans.memory_mib_max == 256


def test_the_gateways_worker_has_room_for_all_of_its_tenants(write: Write) -> None:
    limits = "[limits]\nconcurrent_invocations = 10\nrequest_body_bytes = 100"
    plan = platform(write, limits).plans.of(None, "dispatcher")
    assert plan.concurrent_invocations == plan.queued_invocations == CONCURRENT_INVOCATIONS_MAX
    assert plan.request_body_bytes == 100

    plan = platform(write, limits, front="limits = { concurrent_invocations = 20 }").plans.of(None, "dispatcher")
    assert plan.concurrent_invocations == 20


@pytest.mark.parametrize(
    ("limits", "customer", "problem"),
    [
        ("[limits]\nconcurrent = 1", "", "unknown field `concurrent`"),
        ("[limits]\nconcurrent_invocations = 0", "", "$.limits.concurrent_invocations is 0, which is not between 1"),
        ("[limits]\nconcurrent_invocations = 4097", "", "$.limits.concurrent_invocations"),
        ("[limits]\nqueued_invocations = -1", "", "$.limits.queued_invocations"),
        ("[limits]\ncpu_ms = 9", "", "$.limits.cpu_ms"),
        ("[limits]\nwall_seconds = nan", "", "$.limits.wall_seconds"),
        ("[limits]\nwall_seconds = 0.5", "", "$.limits.wall_seconds"),
        ("[limits]\nmemory_mib = 15", "", "$.limits.memory_mib"),
        ('[limits]\nmemory_mib = "128"', "", "$.limits.memory_mib"),
        ("[limits]\nsubrequests = 0", "", "$.limits.subrequests"),
        ("[limits]\nrequest_body_bytes = -1", "", "$.limits.request_body_bytes"),
        ("[limits]\nstartup_cpu_ms = 1", "", "$.limits.startup_cpu_ms"),
        ("[limits]\nstartup_seconds = 1000", "", "$.limits.startup_seconds"),
        ("", "limits = { memory_mib = 1 }", "$.worker[1].limits.memory_mib"),
        ("", "limits = { request_body_bytes = 1 }", "can be set for the gateway's Worker only"),
    ],
)
def test_a_mistake_is_named_with_its_path(write: Write, limits: str, customer: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        platform(write, limits, customer=customer)
    assert problem in str(raised.value)
    assert "tenantry.toml" in str(raised.value)


def test_the_table_has_what_a_plan_has() -> None:
    fields = set(PlanFile.__struct_fields__)
    assert fields == set(Plan.__dataclass_fields__)
    every = msgspec.convert(dict.fromkeys(fields, 100), PlanFile)
    assert parse_plan(every, "$") == Plan(**dict.fromkeys(fields, 100))  # type: ignore[arg-type]  # of mixed numbers


@pytest.mark.parametrize(
    ("wished", "planned", "cpu_seconds"),
    [
        (None, None, 30),
        (None, 5_000, 5),
        (60_000, None, 60),
        (60_000, 5_000, 5),
        (1_000, 5_000, 1),
        (1, None, 0.01),
        (10**9, None, 300),
    ],
)
def test_an_author_gets_what_it_asks_for_up_to_the_plan(
    wished: int | None, planned: int | None, cpu_seconds: float
) -> None:
    assert allow(WorkerLimits(cpu_ms=wished), Plan(cpu_ms=planned)).cpu_seconds == cpu_seconds
