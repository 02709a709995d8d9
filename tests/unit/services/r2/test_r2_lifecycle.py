"""The plan of a lifecycle: values in, what is due out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from tenantry.services.r2 import R2Service, sweeper
from tenantry.services.r2.engines.files import FilesEngine
from tenantry.services.r2.lifecycle import due_objects, due_uploads, object_prefixes
from tenantry.services.r2.model import ObjectMetadata, ObjectRecord, UploadRecord, Usage
from tenantry.services.r2.options import PutOptions
from tenantry.services.r2.settings import (
    DEFAULT_LIFECYCLE,
    DateCondition,
    InvalidSettings,
    LifecycleRule,
    Transition,
    checked_lifecycle,
)

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000


def rules(*documents: dict[str, object]) -> tuple[LifecycleRule, ...]:
    numbered = [{"id": str(number), **document} for number, document in enumerate(documents)]
    return msgspec.convert(numbered, tuple[LifecycleRule, ...])


def deletes(prefix: str, days: int) -> dict[str, object]:
    condition = {"type": "Age", "maxAge": days * 86_400}
    return {"conditions": {"prefix": prefix}, "deleteObjectsTransition": {"condition": condition}}


def cools(prefix: str, days: int) -> dict[str, object]:
    transition = {"condition": {"type": "Age", "maxAge": days * 86_400}, "storageClass": "InfrequentAccess"}
    return {"conditions": {"prefix": prefix}, "storageClassTransitions": [transition]}


def record(key: str, age_ms: int, storage_class: str = "Standard") -> ObjectRecord:
    return ObjectRecord(key, "v", 0, "e", NOW_MS - age_ms, ObjectMetadata(storage_class))


@pytest.mark.parametrize(
    ("given", "prefixes"),
    [
        ((), []),
        (DEFAULT_LIFECYCLE, []),
        (rules(deletes("b", 1), deletes("a", 1), cools("a", 2)), ["a", "b"]),
        (rules(deletes("a/", 1), deletes("a/b/", 1), cools("a0", 1)), ["a/", "a0"]),
        (rules(deletes("", 1), deletes("a", 1)), [""]),
        (rules({**deletes("", 1), "enabled": False}, deletes("a", 1)), ["a"]),
    ],
)
def test_what_has_to_be_walked_through_is_walked_through_once(
    given: tuple[LifecycleRule, ...], prefixes: list[str]
) -> None:
    assert object_prefixes(given) == prefixes


def test_an_age_is_reached_to_the_millisecond_and_the_prefix_counts() -> None:
    records = [record("a/old", DAY_MS), record("a/young", DAY_MS - 1), record("b/old", DAY_MS * 9)]
    due = due_objects(rules(deletes("a/", 1)), records, NOW_MS)
    assert ([one.key for one in due.expired], due.cooled) == (["a/old"], [])


def test_what_expires_is_not_cooled_and_what_is_cool_stays_so() -> None:
    records = [record("a", DAY_MS * 5), record("b", DAY_MS * 2), record("c", DAY_MS * 2, "InfrequentAccess")]
    due = due_objects(rules(cools("", 1), deletes("", 5)), records, NOW_MS)
    assert [one.key for one in due.expired] == ["a"]
    assert [one.key for one in due.cooled] == ["b"]


def test_a_date_counts_from_its_midnight_on() -> None:
    date = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    (rule,) = rules(deletes("", 1))
    dated = (msgspec.structs.replace(rule, delete_objects_transition=Transition(DateCondition(date))),)
    assert due_objects(dated, [record("a", 0)], NOW_MS).expired
    assert not due_objects(dated, [record("a", 0)], NOW_MS - 1).expired


def test_uploads_are_due_after_seven_days_by_default() -> None:
    uploads = [UploadRecord(f"{age}", "k", NOW_MS - age, ObjectMetadata()) for age in (7 * DAY_MS, 7 * DAY_MS - 1)]
    assert due_uploads(DEFAULT_LIFECYCLE, uploads, NOW_MS) == uploads[:1]
    assert due_uploads((), uploads, NOW_MS) == []


def test_a_date_without_a_zone_is_utc_and_an_id_is_of_one_rule() -> None:
    document = {"id": "a", "deleteObjectsTransition": {"condition": {"type": "Date", "date": "2030-01-01T00:00:00"}}}
    (rule,) = checked_lifecycle(msgspec.convert([document], tuple[LifecycleRule, ...]))
    assert b"2030-01-01T00:00:00Z" in msgspec.json.encode(rule)
    with pytest.raises(InvalidSettings, match="an id of its own"):
        checked_lifecycle((rule, rule))


async def test_the_service_sweeps_by_itself_and_stops_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "SWEEP_START_SECONDS", 0)
    now_ms = NOW_MS
    service = R2Service(FilesEngine(tmp_path / "r2", durable=False), lambda: now_ms)
    bucket = service.bucket("bucket")
    await bucket.create_upload("key", PutOptions())
    now_ms += 7 * DAY_MS
    service.start_sweeping()
    service.start_sweeping()  # once is enough
    async with asyncio.timeout(20):
        while await bucket.usage() != Usage():
            await asyncio.sleep(0.005)
    tasks = asyncio.all_tasks()
    await service.aclose()
    assert len(tasks - asyncio.all_tasks()) == 1
