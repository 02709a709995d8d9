"""What can be set for a bucket as a whole: default storage class, CORS policy, lifecycle.

The shapes are those of Cloudflare's REST API (`PUT .../r2/buckets/{b}/cors` and `.../lifecycle`); they are stored as
they are. The S3 endpoint has the same two under other names. `checked_cors` and `checked_lifecycle` refuse what a
bucket could not obey.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from tenantry.services.r2.limits import (
    CORS_AGE_SECONDS_MAX,
    CORS_RULES_MAX,
    LIFECYCLE_RULES_MAX,
    SETTINGS_LIST_ITEMS_MAX,
    SETTINGS_TEXT_CHARACTERS_MAX,
    UPLOAD_DAYS_DEFAULT,
)

__all__ = [
    "DEFAULT_LIFECYCLE",
    "AgeCondition",
    "BucketSettings",
    "CorsAllowed",
    "CorsRule",
    "DateCondition",
    "InvalidSettings",
    "LifecycleRule",
    "RuleConditions",
    "StorageClassTransition",
    "Transition",
    "checked_cors",
    "checked_lifecycle",
]

_AGE_SECONDS_MAX: Final = 2**31


class InvalidSettings(ValueError):
    """The message says which rule cannot be, and why. It may be shown to whoever sent it."""


class CorsAllowed(msgspec.Struct, frozen=True, rename="camel"):
    """What a page of another origin may do. `*` in an origin or a header stands for anything."""

    origins: tuple[str, ...]
    methods: tuple[Literal["GET", "PUT", "POST", "DELETE", "HEAD"], ...]
    headers: tuple[str, ...] | UnsetType = UNSET


class CorsRule(msgspec.Struct, frozen=True, rename="camel"):
    allowed: CorsAllowed
    id: str | UnsetType = UNSET
    expose_headers: tuple[str, ...] | UnsetType = UNSET
    max_age_seconds: int | UnsetType = UNSET


class AgeCondition(msgspec.Struct, frozen=True, rename="camel", tag_field="type", tag="Age"):
    """So many seconds after the object was stored, or the upload begun."""

    max_age: int


class DateCondition(msgspec.Struct, frozen=True, rename="camel", tag_field="type", tag="Date"):
    """From a moment on, whatever the age."""

    date: datetime


class Transition(msgspec.Struct, frozen=True, rename="camel"):
    condition: AgeCondition | DateCondition


class AgeTransition(msgspec.Struct, frozen=True, rename="camel"):
    """Uploads are aborted by their age only."""

    condition: AgeCondition


class StorageClassTransition(msgspec.Struct, frozen=True, rename="camel"):
    condition: AgeCondition | DateCondition
    storage_class: Literal["InfrequentAccess"] = "InfrequentAccess"


class RuleConditions(msgspec.Struct, frozen=True, rename="camel"):
    prefix: str = ""


class LifecycleRule(msgspec.Struct, frozen=True, rename="camel"):
    """What becomes of the objects and uploads whose key has a prefix."""

    id: str
    enabled: bool = True
    conditions: RuleConditions = RuleConditions()
    delete_objects_transition: Transition | UnsetType | None = UNSET
    abort_multipart_uploads_transition: AgeTransition | UnsetType | None = UNSET
    storage_class_transitions: tuple[StorageClassTransition, ...] | UnsetType | None = UNSET


DEFAULT_LIFECYCLE: Final = (
    LifecycleRule(
        id="Default Multipart Abort Rule",
        abort_multipart_uploads_transition=AgeTransition(AgeCondition(UPLOAD_DAYS_DEFAULT * 86_400)),
    ),
)
"""What every new bucket has, as on R2."""


class BucketSettings(msgspec.Struct, frozen=True):
    """It is also the stored form: add fields with a default."""

    storage_class: str = "Standard"
    cors: tuple[CorsRule, ...] = ()
    lifecycle: tuple[LifecycleRule, ...] = DEFAULT_LIFECYCLE


def checked_cors(rules: Sequence[CorsRule]) -> tuple[CorsRule, ...]:
    """The rules, if a bucket can have them. Raises InvalidSettings."""
    if len(rules) > CORS_RULES_MAX:
        raise InvalidSettings(f"a bucket has at most {CORS_RULES_MAX} CORS rules")
    for number, rule in enumerate(rules, 1):
        where = f"CORS rule {number}"
        if not rule.allowed.origins or not rule.allowed.methods:
            raise InvalidSettings(f"{where}: give at least one origin and one method in `allowed`")
        for items in (rule.allowed.origins, rule.allowed.methods, rule.allowed.headers, rule.expose_headers):
            _check_texts(where, () if items is UNSET else items)
        for origin in rule.allowed.origins:
            if origin.count("*") > 1:
                raise InvalidSettings(f"{where}: the origin {origin!a} has more than one '*'")
            if origin != "*" and ("://" not in origin or origin.endswith("/")):
                raise InvalidSettings(
                    f"{where}: {origin!a} is no origin: write it as https://example.com, with no path or slash behind"
                )
        for header in () if rule.allowed.headers is UNSET else rule.allowed.headers:
            if header.count("*") > 1:
                raise InvalidSettings(f"{where}: the header {header!a} has more than one '*'")
        _check_texts(where, () if rule.id is UNSET else (rule.id,))
        if rule.max_age_seconds is not UNSET and not 0 <= rule.max_age_seconds <= CORS_AGE_SECONDS_MAX:
            raise InvalidSettings(f"{where}: maxAgeSeconds is from 0 to {CORS_AGE_SECONDS_MAX}")
    return tuple(rules)


def checked_lifecycle(rules: Sequence[LifecycleRule]) -> tuple[LifecycleRule, ...]:
    """The rules, if a bucket can have them, with dates in UTC. Raises InvalidSettings."""
    if len(rules) > LIFECYCLE_RULES_MAX:
        raise InvalidSettings(f"a bucket has at most {LIFECYCLE_RULES_MAX} lifecycle rules")
    known: set[str] = set()
    for rule in rules:
        where = f"lifecycle rule {rule.id[:80]!a}"
        _check_texts(where, (rule.id,))
        if not rule.id or rule.id in known:
            raise InvalidSettings(f"{where}: every rule needs an id of its own")
        known.add(rule.id)
        if len(rule.conditions.prefix) > SETTINGS_TEXT_CHARACTERS_MAX:
            raise InvalidSettings(f"{where}: the prefix is longer than {SETTINGS_TEXT_CHARACTERS_MAX} characters")
        classes = rule.storage_class_transitions or ()
        if len(classes) > SETTINGS_LIST_ITEMS_MAX:
            raise InvalidSettings(f"{where}: more than {SETTINGS_LIST_ITEMS_MAX} storage class transitions")
        given = [one for one in (rule.delete_objects_transition, rule.abort_multipart_uploads_transition) if one]
        if not given and not classes:
            raise InvalidSettings(f"{where}: it does nothing: give it a transition")
        for transition in (*given, *classes):
            condition = transition.condition
            if isinstance(condition, AgeCondition) and not 0 <= condition.max_age <= _AGE_SECONDS_MAX:
                raise InvalidSettings(f"{where}: maxAge is a number of seconds from 0 to {_AGE_SECONDS_MAX}")
    return tuple(_in_utc(rule) for rule in rules)


def _in_utc(rule: LifecycleRule) -> LifecycleRule:
    """A date without a zone is UTC, as in S3."""

    def fixed(condition: AgeCondition | DateCondition) -> AgeCondition | DateCondition:
        if isinstance(condition, DateCondition) and condition.date.tzinfo is None:
            return DateCondition(condition.date.replace(tzinfo=UTC))
        return condition

    deletion, classes = rule.delete_objects_transition, rule.storage_class_transitions
    return msgspec.structs.replace(
        rule,
        delete_objects_transition=Transition(fixed(deletion.condition)) if deletion else deletion,
        storage_class_transitions=tuple(msgspec.structs.replace(one, condition=fixed(one.condition)) for one in classes)
        if classes
        else classes,
    )


def _check_texts(where: str, texts: Iterable[str]) -> None:
    items = list(texts)
    if len(items) > SETTINGS_LIST_ITEMS_MAX:
        raise InvalidSettings(f"{where}: a list has more than {SETTINGS_LIST_ITEMS_MAX} entries")
    for text in items:
        # They become headers of answers one day.
        if len(text) > SETTINGS_TEXT_CHARACTERS_MAX or not text.isprintable():
            raise InvalidSettings(
                f"{where}: {text[:80]!a} is not printable text of at most {SETTINGS_TEXT_CHARACTERS_MAX} characters"
            )
