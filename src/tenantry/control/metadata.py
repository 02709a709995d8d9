"""The `metadata` of an upload: decoded once, validated by simple parsers, unknown keys ignored.

Cloudflare ignores keys that it does not know, so a client cannot set anything here that is not in `Metadata`. Keys that
it knows and that would be promises (migrations) are refused until they are kept.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from tenantry.config.deployment import BindingSpec, WorkerLimits
from tenantry.config.limits import CPU_MS_MIN
from tenantry.control import limits
from tenantry.control.asset_metadata import AssetsMetadata, assets_untrusted
from tenantry.control.errors import Invalid
from tenantry.control.names import module_name_untrusted, namespace_name_untrusted, script_name_untrusted

__all__ = [
    "INHERIT",
    "LimitsDocument",
    "Metadata",
    "annotations_untrusted",
    "bindings_untrusted",
    "compatibility_date_untrusted",
    "compatibility_flags_untrusted",
    "limits_untrusted",
    "main_module_untrusted",
    "parse_main_module_untrusted",
    "parse_metadata_untrusted",
    "secret_untrusted",
]

INHERIT = "inherit"
# Bindings that every upload keeps unless it names them: secrets are set once and never sent again.

# Cloudflare's date for a Worker that names none.
_COMPATIBILITY_DATE_DEFAULT = "2021-11-02"
_PYTHON_FLAG = "python_workers"
_BINDING_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*", re.ASCII)
_FLAG = re.compile(r"[a-z0-9_]{1,100}", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_KV_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_ANNOTATION = re.compile(r"workers/[a-z_]{1,40}", re.ASCII)
_JAVASCRIPT = (".js", ".mjs", ".cjs", ".ts", ".mts")


class _Binding(msgspec.Struct, frozen=True):
    """What every binding has; decoded first, to find the struct for the rest."""

    name: str
    type: str


class _KvNamespace(msgspec.Struct, frozen=True):
    type_name: ClassVar = "kv_namespace"
    namespace_id: str


class _R2Bucket(msgspec.Struct, frozen=True):
    type_name: ClassVar = "r2_bucket"
    bucket_name: str
    jurisdiction: str | None = None


class _D1(msgspec.Struct, frozen=True):
    type_name: ClassVar = "d1"
    id: str | None = None
    database_id: str | None = None


class _OutboundService(msgspec.Struct, frozen=True):
    service: str
    environment: str | None = None
    entrypoint: str | None = None


class _OutboundParam(msgspec.Struct, frozen=True):
    name: str


class _Outbound(msgspec.Struct, frozen=True):
    worker: _OutboundService
    params: list[_OutboundParam] | None = None


class _DispatchNamespace(msgspec.Struct, frozen=True):
    type_name: ClassVar = "dispatch_namespace"
    namespace: str
    outbound: _Outbound | None = None


class _PlainText(msgspec.Struct, frozen=True):
    type_name: ClassVar = "plain_text"
    text: str


class _SecretText(msgspec.Struct, frozen=True):
    type_name: ClassVar = "secret_text"
    text: str | None = None  # settings show a secret without it; sent back like that it stays what it is


class _Json(msgspec.Struct, frozen=True):
    type_name: ClassVar = "json"
    json: Any  # any JSON value is what the type is for


class _AssetsBinding(msgspec.Struct, frozen=True):
    type_name: ClassVar = "assets"


class _Inherit(msgspec.Struct, frozen=True):
    type_name: ClassVar = INHERIT
    old_name: str | None = None
    version_id: str | None = None


_TYPES: dict[str, type[msgspec.Struct]] = {
    "kv_namespace": _KvNamespace,
    "r2_bucket": _R2Bucket,
    "d1": _D1,
    "dispatch_namespace": _DispatchNamespace,
    "plain_text": _PlainText,
    "secret_text": _SecretText,
    "json": _Json,
    "assets": _AssetsBinding,
    INHERIT: _Inherit,
}


class LimitsDocument(msgspec.Struct, frozen=True):
    """`limits` as clients write it."""

    cpu_ms: int | None = None
    subrequests: int | None = None


class _Metadata(msgspec.Struct, frozen=True):
    main_module: str | None = None
    body_part: str | None = None
    bindings: list[msgspec.Raw] = []
    compatibility_date: str | None = None
    compatibility_flags: list[str] = []
    keep_bindings: list[str] = []
    limits: LimitsDocument | None = None
    annotations: dict[str, str | None] = {}
    tags: list[str] | None = None
    logpush: bool | None = None
    observability: dict[str, Any] | None = None  # stored and shown as it came
    tail_consumers: list[dict[str, Any]] | None = None  # as above
    keep_assets: bool = False
    migrations: Any = None  # refused
    exports: Any = None  # refused
    assets: Any = None  # decoded on its own, for its errors


@dataclass(frozen=True, slots=True)
class Metadata:
    """Valid metadata. `bindings` may still hold `inherit` ones, which take the place of an older binding.

    `main_module` is empty for a Worker that has assets and no code. `keep_assets`: those of the version before, where
    `assets` brings none.
    """

    main_module: str
    compatibility_date: str
    compatibility_flags: tuple[str, ...]
    bindings: tuple[BindingSpec, ...]
    keep_bindings: frozenset[str]
    limits: WorkerLimits
    annotations: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What of it belongs to the Worker and not to this version: fields of `ScriptSettings`; None is "as before"."""
    assets: AssetsMetadata | None = None
    keep_assets: bool = False


def parse_metadata_untrusted(content: bytes) -> Metadata:
    """Metadata from JSON text. Raises Invalid (10021)."""
    try:
        raw = msgspec.json.decode(content, type=_Metadata)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Invalid(10021, f"metadata: {error}") from error
    if raw.body_part is not None:
        raise Invalid(10021, _no_javascript("body_part names a service Worker"))
    for key in ("migrations", "exports"):
        if getattr(raw, key):
            raise Invalid(10021, f"metadata: {key} is not supported yet")
    assets = assets_untrusted(raw.assets)
    has_code = bool(raw.main_module) or not (assets is not None or raw.keep_assets)
    return Metadata(
        main_module=main_module_untrusted(raw.main_module) if has_code else "",
        compatibility_date=compatibility_date_untrusted(raw.compatibility_date),
        compatibility_flags=compatibility_flags_untrusted(raw.compatibility_flags, has_code=has_code),
        bindings=bindings_untrusted(raw.bindings),
        keep_bindings=frozenset(raw.keep_bindings),
        limits=limits_untrusted(raw.limits),
        annotations=annotations_untrusted(raw.annotations),
        settings=_settings(raw),
        assets=assets,
        keep_assets=raw.keep_assets,
    )


def annotations_untrusted(given: Mapping[str, str | None]) -> dict[str, str]:
    """What a version or a deployment says of itself, `workers/message` and such; None is "nothing". Raises Invalid."""
    kept = {key: value for key, value in given.items() if value is not None}
    if len(kept) > limits.ANNOTATIONS_MAX:
        raise Invalid(10021, f"annotations: more than {limits.ANNOTATIONS_MAX}")
    for key, value in kept.items():
        if not _ANNOTATION.fullmatch(key):
            raise Invalid(10021, f"annotations: {key[:80]!a} is not the name of one, such as workers/message")
        if len(value) > limits.ANNOTATION_CHARACTERS_MAX:
            raise Invalid(10021, f"annotations: {key} is longer than {limits.ANNOTATION_CHARACTERS_MAX} characters")
    return kept


def _settings(raw: _Metadata) -> dict[str, Any]:
    return {
        "tags": None if raw.tags is None else tuple(raw.tags),
        "logpush": raw.logpush,
        "observability": raw.observability,
        "tail_consumers": None if raw.tail_consumers is None else tuple(raw.tail_consumers),
    }


def parse_main_module_untrusted(content: bytes) -> str | None:
    """What metadata says of the main module, when it is asked for nothing else. Raises Invalid (10021)."""

    class Content(msgspec.Struct):
        main_module: str | None = None
        body_part: str | None = None

    try:
        decoded = msgspec.json.decode(content, type=Content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(10021, f"metadata: {error}") from error
    if decoded.body_part is not None:
        raise Invalid(10021, _no_javascript("body_part names a service Worker"))
    return decoded.main_module


def main_module_untrusted(name: str | None) -> str:
    """The name of a Python file. Raises Invalid (10021)."""
    if not name:
        raise Invalid(10021, "metadata: main_module is missing; only a Worker with assets may be without code")
    if name.endswith(_JAVASCRIPT):
        raise Invalid(10021, _no_javascript(f"main_module is {name[:100]!a}"))
    if not name.endswith(".py"):
        raise Invalid(
            10021,
            f"metadata: main_module {name[:100]!a} must be a Python file, with a name that ends in .py; JavaScript "
            "needs the workerd runtime, which this platform does not have",
        )
    return module_name_untrusted(name)


def _no_javascript(found: str) -> str:
    return f"{found}, but this platform runs Python Workers only: JavaScript needs the workerd runtime"


def compatibility_date_untrusted(value: str | None) -> str:
    """A date, or Cloudflare's default. Raises Invalid (10021)."""
    if value is None:
        return _COMPATIBILITY_DATE_DEFAULT
    try:
        if not _DATE.fullmatch(value):
            raise ValueError
        datetime.date.fromisoformat(value)
    except ValueError:
        raise Invalid(10021, "metadata: compatibility_date must be a date in the form YYYY-MM-DD") from None
    return value


def compatibility_flags_untrusted(flags: list[str], *, has_code: bool = True) -> tuple[str, ...]:
    """Flags, `python_workers` among them for a Worker that has code. Raises Invalid (10021)."""
    if len(flags) > limits.COMPATIBILITY_FLAGS_MAX:
        raise Invalid(10021, f"metadata: more than {limits.COMPATIBILITY_FLAGS_MAX} compatibility_flags")
    for flag in flags:
        if not _FLAG.fullmatch(flag):
            raise Invalid(10021, f"metadata: {flag[:100]!a} is not a compatibility flag")
    if has_code and _PYTHON_FLAG not in flags:
        raise Invalid(10021, f'The "{_PYTHON_FLAG}" compatibility flag is required to use Python.')
    return tuple(flags)


def limits_untrusted(value: LimitsDocument | None) -> WorkerLimits:
    """Limits within the platform's bounds. Raises Invalid (10021)."""
    if value is None:
        return WorkerLimits()
    ranges = (
        ("cpu_ms", value.cpu_ms, CPU_MS_MIN, limits.CPU_MS_MAX),
        ("subrequests", value.subrequests, 1, limits.SUBREQUESTS_MAX),
    )
    for name, number, least, most in ranges:
        if number is not None and not least <= number <= most:
            raise Invalid(10021, f"metadata: limits.{name} must be between {least} and {most}")
    return WorkerLimits(value.cpu_ms, value.subrequests)


def bindings_untrusted(raws: list[msgspec.Raw]) -> tuple[BindingSpec, ...]:
    if len(raws) > limits.BINDINGS_MAX:
        raise Invalid(10021, f"metadata: more than {limits.BINDINGS_MAX} bindings")
    bindings: dict[str, BindingSpec] = {}
    for index, raw in enumerate(raws):
        binding = _binding(index, bytes(raw))
        if binding.name in bindings:
            raise Invalid(10021, f"metadata: two bindings have the name {binding.name}")
        bindings[binding.name] = binding
    return tuple(bindings.values())


def secret_untrusted(name: str, kind: str, text: str) -> BindingSpec:
    """A secret as a call of its own brings it. Raises Invalid (10021)."""
    if kind != "secret_text":
        raise Invalid(10021, f"secrets of type {kind[:80]!a} are not supported yet: use secret_text")
    _check_name(name, "secret")
    _check_variable(name, len(text.encode("utf-8", "surrogatepass")))
    return BindingSpec(name, kind, {"text": text})


def _check_name(name: str, where: str) -> None:
    if len(name) > limits.BINDING_NAME_CHARACTERS_MAX or not _BINDING_NAME.fullmatch(name):
        raise Invalid(10021, f"{where}: {name[:80]!a} is not a binding name: it must be an identifier")


def _binding(index: int, raw: bytes) -> BindingSpec:
    where = f"metadata: bindings[{index}]"
    try:
        head = msgspec.json.decode(raw, type=_Binding)
    except msgspec.DecodeError as error:
        raise Invalid(10021, f"{where}: {error}") from error
    _check_name(head.name, where)
    struct = _TYPES.get(head.type)
    if struct is None:
        raise Invalid(10021, f"binding {head.name}: bindings of type {head.type[:80]!a} are not supported yet")
    try:
        body = msgspec.json.decode(raw, type=struct)
    except msgspec.DecodeError as error:
        raise Invalid(10021, f"binding {head.name} of type {head.type}: {error}") from error
    if isinstance(body, _SecretText) and body.text is None:
        return BindingSpec(head.name, INHERIT, {"old_name": head.name})
    return BindingSpec(head.name, head.type, _fields(head.name, body))


def _fields(name: str, body: msgspec.Struct) -> dict[str, Any]:  # Any: JSON, see BindingSpec
    """What is stored of a binding: plain JSON, absent fields absent."""
    match body:
        case _KvNamespace(namespace_id=namespace_id):
            if not _KV_ID.fullmatch(namespace_id):
                raise Invalid(10042, f"KV namespace {namespace_id[:80]!a} is not valid.")
            return {"namespace_id": namespace_id}
        case _R2Bucket(bucket_name=bucket_name, jurisdiction=jurisdiction):
            if jurisdiction not in (None, "default"):
                raise Invalid(10021, f"binding {name}: jurisdictions are not supported yet")
            return {"bucket_name": bucket_name}
        case _D1(id=old, database_id=new):
            if not (new or old) or (new and old and new != old):
                raise Invalid(10021, f"binding {name} of type d1 must have a valid `database_id` (or `id`) specified")
            return {"id": new or old, "database_id": new or old}
        case _DispatchNamespace(namespace=namespace, outbound=outbound):
            fields: dict[str, Any] = {"namespace": namespace_name_untrusted(namespace)}
            if outbound is not None:
                fields["outbound"] = _outbound(name, outbound)
            return fields
        case _PlainText(text=str(text)) | _SecretText(text=str(text)):
            _check_variable(name, len(text.encode()))
            return {"text": text}
        case _AssetsBinding():
            return {}
        case _Json(json=value):
            _check_variable(name, len(msgspec.json.encode(value)))
            return {"json": value}
        case _Inherit(old_name=old_name, version_id=version_id):
            if version_id not in (None, "latest"):
                raise Invalid(10021, f"binding {name}: inheriting from a version by its id is not supported yet")
            return {"old_name": old_name or name}
    raise AssertionError(f"no case for {type(body)}")


def _outbound(binding: str, outbound: _Outbound) -> dict[str, Any]:
    """The Worker need not exist yet: it is looked for at each fetch, which fails while there is none."""
    worker = outbound.worker
    if worker.environment not in (None, "production"):
        raise Invalid(10021, f"binding {binding}: environments of an outbound Worker are not supported")
    fields = {"service": script_name_untrusted(worker.service)}
    if worker.entrypoint is not None:
        if len(worker.entrypoint) > limits.BINDING_NAME_CHARACTERS_MAX or not _BINDING_NAME.fullmatch(
            worker.entrypoint
        ):
            raise Invalid(10021, f"binding {binding}: {worker.entrypoint[:80]!a} is not the name of an entrypoint")
        fields["entrypoint"] = worker.entrypoint
    names = [param.name for param in outbound.params or ()]
    if len(names) > limits.OUTBOUND_PARAMS_MAX:
        raise Invalid(10021, f"binding {binding}: more than {limits.OUTBOUND_PARAMS_MAX} outbound params")
    for name in names:
        if len(name) > limits.BINDING_NAME_CHARACTERS_MAX or not _BINDING_NAME.fullmatch(name):
            raise Invalid(10021, f"binding {binding}: {name[:80]!a} is not the name of an outbound param")
    return {"worker": fields, "params": [{"name": name} for name in names]}


def _check_variable(name: str, size_bytes: int) -> None:
    if size_bytes > limits.VARIABLE_BYTES_MAX:
        raise Invalid(10021, f"binding {name}: the value is larger than {limits.VARIABLE_BYTES_MAX} bytes")
