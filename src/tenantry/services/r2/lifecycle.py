"""A bucket's lifecycle as a plan: rules, records and the time in; what is due out. Nothing is done or read here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tenantry.services.r2.model import ObjectRecord, UploadRecord
from tenantry.services.r2.settings import AgeCondition, DateCondition, LifecycleRule

__all__ = ["DueObjects", "due_objects", "due_uploads", "object_prefixes"]


@dataclass(frozen=True, slots=True)
class DueObjects:
    """`expired` are to be deleted, `cooled` get the storage class InfrequentAccess."""

    expired: list[ObjectRecord]
    cooled: list[ObjectRecord]


def _holds(condition: AgeCondition | DateCondition, since_ms: int, now_ms: int) -> bool:
    if isinstance(condition, AgeCondition):
        return now_ms - since_ms >= condition.max_age * 1000
    date = condition.date if condition.date.tzinfo is not None else condition.date.replace(tzinfo=UTC)
    return datetime.fromtimestamp(now_ms / 1000, UTC) >= date


def object_prefixes(rules: Sequence[LifecycleRule]) -> list[str]:
    """The parts of a bucket that have to be walked through: no prefix twice, and none inside another."""
    prefixes = sorted(
        {
            rule.conditions.prefix
            for rule in rules
            if rule.enabled and (rule.delete_objects_transition or rule.storage_class_transitions)
        }
    )
    outer: list[str] = []
    for prefix in prefixes:
        if not outer or not prefix.startswith(outer[-1]):
            outer.append(prefix)
    return outer


def due_objects(rules: Sequence[LifecycleRule], records: Iterable[ObjectRecord], now_ms: int) -> DueObjects:
    """What is due among `records`. Where one object is due for both, it expires."""
    enabled = [rule for rule in rules if rule.enabled]
    due = DueObjects([], [])
    for record in records:
        matching = [rule for rule in enabled if record.key.startswith(rule.conditions.prefix)]
        if any(
            rule.delete_objects_transition
            and _holds(rule.delete_objects_transition.condition, record.uploaded_ms, now_ms)
            for rule in matching
        ):
            due.expired.append(record)
        elif record.metadata.storage_class != "InfrequentAccess" and any(
            _holds(transition.condition, record.uploaded_ms, now_ms)
            for rule in matching
            for transition in rule.storage_class_transitions or ()
        ):
            due.cooled.append(record)
    return due


def due_uploads(rules: Sequence[LifecycleRule], uploads: Iterable[UploadRecord], now_ms: int) -> list[UploadRecord]:
    """The open uploads that are to be aborted."""
    return [
        upload
        for upload in uploads
        if any(
            rule.enabled
            and rule.abort_multipart_uploads_transition
            and upload.key.startswith(rule.conditions.prefix)
            and _holds(rule.abort_multipart_uploads_transition.condition, upload.created_ms, now_ms)
            for rule in rules
        )
    ]
