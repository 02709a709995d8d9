"""The cases of `kv_cases` on the host: the SDK's wrapper on the service, for each engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kv_cases
import pytest
from kv_on_host import HostSubject

ROOT = Path(__file__).parents[3]

# What hostile callers try on KV, and the tests that try it. The numbers are those of the platform's list of threats.
THREATS: dict[str, tuple[str, ...]] = {
    "T1: keys that are paths, escapes, NUL, empty, 513 bytes, lone surrogates, RTL marks": (
        "tests/conformance/kv/kv_cases.py::every_legal_key_is_stored_exactly_and_listed_in_byte_order",
        "tests/conformance/kv/kv_cases.py::what_is_no_key_is_refused",
        "tests/integration/control/test_api_kv.py::test_any_key_is_stored_and_found_exactly",
        "tests/integration/control/test_api_kv.py::test_what_is_no_key_is_refused",
        "tests/unit/services/kv/test_kv_sqlite.py::test_an_id_that_is_no_safe_name_is_refused",
    ),
    "T2: cursors of others, forged or huge; a limit of -1": (
        "tests/conformance/kv/kv_cases.py::a_cursor_is_good_for_its_own_listing_only",
        "tests/conformance/kv/test_kv_listing.py::test_a_forged_or_huge_cursor_is_refused",
        "tests/conformance/kv/test_kv_rules.py::test_refused",
        "tests/integration/control/test_api_kv.py::test_a_cursor_of_another_namespace_or_prefix_is_refused",
        "tests/integration/control/test_api_kv.py::test_a_limit_out_of_range_is_refused",
        "tests/integration/host/test_host_kv.py::test_what_a_worker_cannot_name_it_cannot_reach",
    ),
    "T3: negative TTLs, the year 9999, 10 MB of metadata": (
        "tests/conformance/kv/kv_cases.py::expirations_are_60_seconds_ahead_or_more",
        "tests/conformance/kv/kv_cases.py::what_is_no_number_is_zero_and_what_is_too_large_a_type_error",
        "tests/conformance/kv/kv_cases.py::metadata_has_at_most_1024_bytes_of_utf8",
        "tests/integration/control/test_api_kv.py::test_an_expiration_that_is_none_is_refused",
        "tests/integration/control/test_api_kv.py::test_a_form_that_is_wrong_changes_nothing",
    ),
    "T4: more than 25 MiB without a length": (
        "tests/conformance/kv/kv_cases.py::a_stream_without_a_length_is_stopped_above_25_mib",
        "tests/conformance/kv/test_kv_values.py::test_a_stream_without_length_is_stopped_one_byte_above_the_limit",
        "tests/integration/control/test_api_kv.py::test_the_largest_value_and_one_byte_more",
    ),
    "T15: a full disk; a flood of writes": (
        "tests/unit/services/kv/test_kv_sqlite.py::test_a_full_store_refuses_the_write_and_goes_on",
        "tests/integration/host/test_host_kv.py::test_a_worker_that_writes_as_fast_as_it_can_leaves_room_for_others",
    ),
    "T24: what was deleted, under an id that somebody still has": (
        "tests/unit/services/kv/test_kv_sqlite.py::test_a_deleted_namespace_stays_so_after_a_restart",
        "tests/integration/control/test_api_kv.py::test_deleting_one_removes_its_bytes_and_what_is_bound_to_it_is_refused",
        "tests/integration/host/test_host_kv.py::test_a_worker_bound_to_a_deleted_namespace_is_refused_whatever_it_does",
    ),
    "T25: what others store, found out by what is shared": (
        "tests/conformance/kv/kv_cases.py::namespaces_do_not_see_each_other",
        "tests/unit/services/kv/test_kv_consistency.py::test_other_namespaces_are_strong_as_ever",
    ),
}


@pytest.mark.parametrize("case", list(kv_cases.CASES))
async def test_case(case: str, kv: Any) -> None:
    function, _ = kv_cases.CASES[case]
    await function(HostSubject(kv.service.open("mine"), kv.service.open("other"), kv.clock))


@pytest.mark.parametrize("threat", list(THREATS))
def test_every_threat_has_its_tests(threat: str) -> None:
    for test in THREATS[threat]:
        path, _, name = test.partition("::")
        assert re.search(rf"^ *(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), test


def test_every_rule_of_the_reference_has_a_case() -> None:
    shown = {rule for _, rules in kv_cases.CASES.values() for rule in rules}
    assert shown == set(kv_cases.RULES)
    for place in kv_cases.ELSEWHERE.values():
        assert (ROOT / place).is_file(), place
