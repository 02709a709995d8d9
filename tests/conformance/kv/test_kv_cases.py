"""The cases of `kv_cases` on the host: the SDK's wrapper on the service, for each engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kv_cases
import pytest
from kv_on_host import HostSubject

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("case", list(kv_cases.CASES))
async def test_case(case: str, kv: Any) -> None:
    function, _ = kv_cases.CASES[case]
    await function(HostSubject(kv.service.open("mine"), kv.service.open("other"), kv.clock))


def test_every_rule_of_the_reference_has_a_case() -> None:
    shown = {rule for _, rules in kv_cases.CASES.values() for rule in rules}
    assert shown == set(kv_cases.RULES)
    for place in kv_cases.ELSEWHERE.values():
        assert (ROOT / place).is_file(), place
