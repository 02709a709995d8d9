"""A bucket's CORS rules and lifecycle in S3's XML; what they are, and which of them can be, is R2's to say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET

from tenantry.s3.answer import Answer, xml_answer
from tenantry.s3.call import Call
from tenantry.s3.errors import error
from tenantry.s3.limits import XML_BYTES_MAX
from tenantry.s3.xml import Element, Value
from tenantry.services.r2.settings import (
    AgeCondition,
    BucketSettings,
    CorsRule,
    DateCondition,
    InvalidSettings,
    LifecycleRule,
    checked_cors,
    checked_lifecycle,
)

__all__ = ["delete_cors", "delete_lifecycle", "get_cors", "get_lifecycle", "put_cors", "put_lifecycle"]

_DAY_SECONDS: Final = 86_400
_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)


async def get_cors(call: Call) -> Answer:
    rules = (await call.bucket.settings()).cors
    if not rules:
        raise error("NoSuchCORSConfiguration")
    return xml_answer("CORSConfiguration", {"CORSRule": [_cors_xml(rule) for rule in rules]})


def _cors_xml(rule: CorsRule) -> Value:
    return {
        "ID": rule.id or None,
        "AllowedOrigin": list(rule.allowed.origins),
        "AllowedMethod": list(rule.allowed.methods),
        "AllowedHeader": list(rule.allowed.headers or ()),
        "ExposeHeader": list(rule.expose_headers or ()),
        "MaxAgeSeconds": None if rule.max_age_seconds is UNSET else rule.max_age_seconds,
    }


async def put_cors(call: Call) -> Answer:
    root = await call.xml("CORSConfiguration", XML_BYTES_MAX)
    root.only({"CORSRule"})
    rules = _converted([_cors_rule(element) for element in root.children], CorsRule)
    try:
        checked = checked_cors(rules)
    except InvalidSettings as refused:
        raise error("InvalidRequest", str(refused)) from refused
    await _change(call, cors=checked)
    return Answer()


def _cors_rule(element: Element) -> dict[str, Any]:
    """As Cloudflare's REST API has it."""
    element.only({"ID", "AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader", "MaxAgeSeconds"})

    def texts(name: str) -> list[str]:
        return [child.text for child in element.all(name)]

    rule: dict[str, Any] = {"allowed": {"origins": texts("AllowedOrigin"), "methods": texts("AllowedMethod")}}
    if headers := texts("AllowedHeader"):
        rule["allowed"]["headers"] = headers
    if exposed := texts("ExposeHeader"):
        rule["exposeHeaders"] = exposed
    if (name := element.value("ID")) is not None:
        rule["id"] = name
    if (age := element.value("MaxAgeSeconds")) is not None:
        rule["maxAgeSeconds"] = _number(age)
    return rule


async def delete_cors(call: Call) -> Answer:
    await _change(call, cors=())
    return Answer(204)


async def get_lifecycle(call: Call) -> Answer:
    rules = (await call.bucket.settings()).lifecycle
    if not rules:
        raise error("NoSuchLifecycleConfiguration")
    return xml_answer("LifecycleConfiguration", {"Rule": [_lifecycle_xml(rule) for rule in rules]})


def _lifecycle_xml(rule: LifecycleRule) -> Value:
    xml: dict[str, Value] = {
        "ID": rule.id,
        "Filter": {"Prefix": rule.conditions.prefix},
        "Status": "Enabled" if rule.enabled else "Disabled",
    }
    if rule.delete_objects_transition:
        xml["Expiration"] = _condition_xml(rule.delete_objects_transition.condition)
    if rule.storage_class_transitions:
        xml["Transition"] = [
            {**_condition_xml(one.condition), "StorageClass": "STANDARD_IA"} for one in rule.storage_class_transitions
        ]
    if rule.abort_multipart_uploads_transition:
        days = -(-rule.abort_multipart_uploads_transition.condition.max_age // _DAY_SECONDS)
        xml["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    return xml


def _condition_xml(condition: AgeCondition | DateCondition) -> dict[str, Value]:
    if isinstance(condition, AgeCondition):
        # S3 knows whole days only; a rule of fewer seconds, made over REST, is shown as the next of them.
        return {"Days": -(-condition.max_age // _DAY_SECONDS)}
    return {"Date": condition.date.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}


async def put_lifecycle(call: Call) -> Answer:
    root = await call.xml("LifecycleConfiguration", XML_BYTES_MAX)
    root.only({"Rule"})
    given = [_lifecycle_rule(element, number) for number, element in enumerate(root.children, 1)]
    try:
        checked = checked_lifecycle(_converted(given, LifecycleRule))
    except InvalidSettings as refused:
        raise error("InvalidRequest", str(refused)) from refused
    await _change(call, lifecycle=checked)
    return Answer()


def _lifecycle_rule(element: Element, number: int) -> dict[str, Any]:
    """As Cloudflare's REST API has it. Raises S3Error for what only S3 has (tags, sizes, versions)."""
    element.only({"ID", "Filter", "Prefix", "Status", "Expiration", "Transition", "AbortIncompleteMultipartUpload"})
    status = element.value("Status")
    if status not in ("Enabled", "Disabled"):
        raise error("MalformedXML")
    prefix = element.value("Prefix") or ""
    if (chosen := element.first("Filter")) is not None:
        chosen.only({"Prefix"})
        prefix = chosen.value("Prefix") or ""
    rule: dict[str, Any] = {
        "id": element.value("ID") or f"rule-{number}",
        "enabled": status == "Enabled",
        "conditions": {"prefix": prefix},
    }
    if (expiration := element.first("Expiration")) is not None:
        expiration.only({"Days", "Date"})
        rule["deleteObjectsTransition"] = {"condition": _condition(expiration)}
    transitions = []
    for transition in element.all("Transition"):
        transition.only({"Days", "Date", "StorageClass"})
        if transition.value("StorageClass") != "STANDARD_IA":
            raise error("InvalidRequest", "An object can become STANDARD_IA only.")
        transitions.append({"condition": _condition(transition), "storageClass": "InfrequentAccess"})
    if transitions:
        rule["storageClassTransitions"] = transitions
    if (abort := element.first("AbortIncompleteMultipartUpload")) is not None:
        abort.only({"DaysAfterInitiation"})
        age = _number(abort.value("DaysAfterInitiation") or "") * _DAY_SECONDS
        rule["abortMultipartUploadsTransition"] = {"condition": {"type": "Age", "maxAge": age}}
    return rule


def _condition(element: Element) -> dict[str, Any]:
    days, date = element.value("Days"), element.value("Date")
    if (days is None) == (date is None):
        raise error("MalformedXML")
    if days is not None:
        return {"type": "Age", "maxAge": _number(days) * _DAY_SECONDS}
    assert date is not None
    try:
        datetime.fromisoformat(date.strip())
    except ValueError:
        raise error("MalformedXML") from None
    return {"type": "Date", "date": date.strip()}


async def delete_lifecycle(call: Call) -> Answer:
    await _change(call, lifecycle=())
    return Answer(204)


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text.strip()):
        raise error("MalformedXML")
    return int(text)


def _converted(rules: Sequence[dict[str, Any]], kind: Any) -> Any:  # any Struct; the callers say which
    try:
        return msgspec.convert(rules, list[kind])
    except msgspec.ValidationError:
        raise error("MalformedXML") from None


async def _change(call: Call, **values: Any) -> None:  # fields of BucketSettings
    def change(settings: BucketSettings) -> BucketSettings:
        return msgspec.structs.replace(settings, **values)

    await call.bucket.change_settings(change)
