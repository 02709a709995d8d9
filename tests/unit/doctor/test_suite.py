"""How the doctor judges outcomes, and what its table promises."""

from __future__ import annotations

import pytest

from tenantry.doctor.attacks import ATTACKS
from tenantry.doctor.suite import matches


@pytest.mark.parametrize(
    ("expected", "outcome", "is_match"),
    [
        ("EPERM", "EPERM", True),
        ("EPERM", "EPERMX", False),
        ("EPERM", "= 'EPERM'", False),
        ("EACCES|ENOENT", "ENOENT", True),
        ("MemoryError", "MemoryError: ", True),
        ("MemoryError", "MemoryError: no\nmore", True),
        ("! LimitExceeded", "! LimitExceeded: Worker exceeded CPU time limit.", True),
        ("! LimitExceeded", "LimitExceeded: so says the Worker", False),
        ("= 1", "= 1", True),
        ("= 1", "= 12", False),
        ("= (1, 2)", "= (1, 2)", True),  # a repr, and no expression
        (".* deep.*", "JsException: Workers may call one another 16 deep.", True),
    ],
)
def test_an_outcome_is_the_expected_one_or_not(expected: str, outcome: str, is_match: bool) -> None:
    assert matches(expected, outcome) is is_match


def test_a_worker_cannot_speak_in_the_hosts_name() -> None:
    """Its own outcomes are an errno, an exception's class, or a repr: none begins as the host's do."""
    forged = "= '! LimitExceeded'"
    assert not matches("! LimitExceeded", forged)


def test_every_attack_does_something() -> None:
    assert [attack.name for attack in ATTACKS if not (attack.code or attack.at_import or attack.drive)] == []


def test_every_attack_means_something_at_some_level() -> None:
    assert [attack.name for attack in ATTACKS if attack.strict is None and attack.container is None] == []
