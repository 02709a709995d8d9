"""Conditional requests: HTTP's four headers, by R2's conditions, and the status when they do not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tenantry.services.r2.conditions import UNCONDITIONAL, Conditions, conditions_from_headers
from tenantry.services.r2.model import ObjectRecord

__all__ = ["conditions_of", "is_not_modified"]

_NAMES: Final = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_SECOND_MS: Final = 1000


def conditions_of(headers: Mapping[str, str], prefix: str = "") -> Conditions:
    """The conditions in the headers whose names begin with `prefix`. Raises BindingError for what cannot be read."""
    given = {name: _quoted(headers[prefix + name]) for name in _NAMES if prefix + name in headers}
    if not given:
        return UNCONDITIONAL
    conditions = conditions_from_headers(given)
    if conditions.uploaded_before_ms is not None:
        # R2's `uploadedBefore` is strict; "unmodified since" the very second that Last-Modified names holds.
        conditions = replace(conditions, uploaded_before_ms=conditions.uploaded_before_ms + _SECOND_MS)
    return conditions


def _quoted(value: str) -> str:
    """S3's clients may leave out the quotes of an entity tag, and many do."""
    text = value.strip()
    return f'"{text}"' if text and text != "*" and '"' not in text and "," not in text and ":" not in text else text


def is_not_modified(conditions: Conditions, record: ObjectRecord) -> bool:
    """Of conditions that do not hold: whether all that is wrong is that the client has the object already (304)."""
    return replace(conditions, etag_does_not_match=None, uploaded_after_ms=None).holds(record)
