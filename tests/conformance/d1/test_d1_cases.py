"""The cases of D1 on the host: the SDK's wrapper on the service, for each engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import d1_cases_errors
import d1_cases_limits
import d1_cases_results
import pytest
from d1_facade import CASES, ELSEWHERE, RULES

ROOT = Path(__file__).parents[3]
MODULES = (d1_cases_errors, d1_cases_limits, d1_cases_results)
"""Importing them registers the cases."""


@dataclass
class HostSubject:
    db: Any
    other: Any


@pytest.mark.parametrize("name", list(CASES))
async def test_case(name: str, service: Any, open_database: Any) -> None:
    function, _ = CASES[name]
    await function(HostSubject(open_database(service, "mine"), open_database(service, "other")))


def test_every_rule_of_the_reference_has_a_case() -> None:
    shown = {rule for _, rules in CASES.values() for rule in rules}
    assert shown == set(RULES)
    for place in ELSEWHERE.values():
        assert (ROOT / place).is_file(), place
