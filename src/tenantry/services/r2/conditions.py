"""`onlyIf`: when a get hands out the body and a put stores it.

Two forms say the same. The object form has `etagMatches` and friends; the Headers form is HTTP's conditional headers
(RFC 9110, section 13) with times in whole seconds. The evaluation is R2's, which is not quite HTTP's: see `holds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tenantry.services.r2.errors import type_error
from tenantry.services.r2.limits import CONDITION_ETAGS_MAX, HEADER_CHARACTERS_MAX
from tenantry.services.r2.model import ObjectRecord

__all__ = ["UNCONDITIONAL", "Conditions", "EntityTag", "conditions_from_headers", "conditions_from_object", "epoch_ms"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EntityTag:
    """`*` has `wildcard`; a weak tag equals no tag where the comparison is strong."""

    value: str
    weak: bool = False
    wildcard: bool = False


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that is given must hold."""

    etag_matches: tuple[EntityTag, ...] | None = None
    etag_does_not_match: tuple[EntityTag, ...] | None = None
    uploaded_before_ms: int | None = None
    uploaded_after_ms: int | None = None
    seconds_granularity: bool = False

    def holds(self, record: ObjectRecord | None) -> bool:
        """Whether the object (None: there is none) is as asked.

        An etag condition that was given and passed overrules the time beside it, as in RFC 9110, section 13.2.2.
        """
        if record is None:
            return self.etag_matches is None and self.uploaded_after_ms is None
        matches = self.etag_matches is None or any(
            tag.wildcard or (not tag.weak and tag.value == record.etag) for tag in self.etag_matches
        )
        differs = self.etag_does_not_match is None or not any(
            tag.wildcard or tag.value == record.etag for tag in self.etag_does_not_match
        )
        unit = 1000 if self.seconds_granularity else 1
        uploaded = record.uploaded_ms // unit
        before = (
            self.uploaded_before_ms is None
            or uploaded < self.uploaded_before_ms // unit
            or (self.etag_matches is not None and matches)
        )
        after = (
            self.uploaded_after_ms is None
            or self.uploaded_after_ms // unit < uploaded
            or (self.etag_does_not_match is not None and differs)
        )
        return matches and differs and before and after


UNCONDITIONAL = Conditions()


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970. A naive time is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def conditions_from_object(given: Mapping[Any, Any]) -> Conditions:
    """The object form. Raises BindingError."""
    granularity = given.get("secondsGranularity")
    return Conditions(
        etag_matches=_tags(given.get("etagMatches"), "etagMatches"),
        etag_does_not_match=_tags(given.get("etagDoesNotMatch"), "etagDoesNotMatch"),
        uploaded_before_ms=_moment(given.get("uploadedBefore"), "uploadedBefore"),
        uploaded_after_ms=_moment(given.get("uploadedAfter"), "uploadedAfter"),
        seconds_granularity=bool(granularity) if isinstance(granularity, (bool, int)) else False,
    )


def _tags(given: object, name: str) -> tuple[EntityTag, ...] | None:
    if given is None:
        return None
    values = given if isinstance(given, list) else [given]
    if len(values) > CONDITION_ETAGS_MAX:
        raise type_error(f"{name} has more than {CONDITION_ETAGS_MAX} etags.")
    tags = []
    for value in values:
        if not isinstance(value, str):
            raise type_error(f"{name} must be a string or a list of strings.")
        if len(value) >= 2 and value.startswith('"') and value.endswith('"'):
            raise type_error(f"Conditional ETag should not be wrapped in quotes ({value[:HEADER_CHARACTERS_MAX]}).")
        tags.append(EntityTag("", wildcard=True) if value == "*" else EntityTag(value))
    return tuple(tags)


def _moment(given: object, name: str) -> int | None:
    if given is None:
        return None
    if isinstance(given, datetime):
        return epoch_ms(given)
    raise type_error(f"{name} must be a Date.")


def conditions_from_headers(headers: Mapping[str, str]) -> Conditions:
    """The Headers form; names in lower case. Raises BindingError for etags that cannot be read.

    A date that cannot be read is as if it were not there (RFC 9110, sections 13.1.3 and 13.1.4).
    """
    matches = headers.get("if-match")
    differs = headers.get("if-none-match")
    return Conditions(
        etag_matches=None if matches is None else parse_entity_tags(matches, "if-match"),
        etag_does_not_match=None if differs is None else parse_entity_tags(differs, "if-none-match"),
        uploaded_before_ms=http_date_ms(headers.get("if-unmodified-since")),
        uploaded_after_ms=http_date_ms(headers.get("if-modified-since")),
        seconds_granularity=True,
    )


def http_date_ms(text: str | None) -> int | None:
    """An HTTP date in milliseconds, or None where it cannot be read."""
    if text is None:
        return None
    try:
        return epoch_ms(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def parse_entity_tags(text: str, name: str) -> tuple[EntityTag, ...]:
    """The list of `If-Match` or `If-None-Match`. Raises BindingError."""
    tags: list[EntityTag] = []
    rest = text.strip(" \t")
    while rest:
        if len(tags) == CONDITION_ETAGS_MAX:
            raise type_error(f"Invalid ETag in {name} header")
        if rest[0] == "*":
            tags.append(EntityTag("", wildcard=True))
            rest = rest[1:]
        else:
            weak = rest[0] in "Ww"
            if weak:
                if not rest.startswith('W/"'):
                    raise type_error("Weak etags must start with W/ and their value must be quoted")
                rest = rest[2:]
            if rest[0] != '"':
                raise type_error(f"Invalid ETag in {name} header")
            end = rest.find('"', 1)
            if end < 0:
                raise type_error("Unclosed double quote for Etag")
            tags.append(EntityTag(rest[1:end], weak=weak))
            rest = rest[end + 1 :]
        rest = rest.lstrip(" \t")
        if rest:
            if rest[0] != ",":
                raise type_error("Comma was expected to separate etags. Encountered: " + rest[:64])
            rest = rest[1:].lstrip(" \t")
    if not tags:
        raise type_error(f"Invalid ETag in {name} header")
    return tuple(tags)
