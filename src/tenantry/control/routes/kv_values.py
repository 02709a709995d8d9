"""What lies in a KV namespace, key by key: values, metadata, listings. Values are streamed in both directions."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response.base import ASGIResponse

from tenantry.control import limits
from tenantry.control.body import ApiRequest
from tenantry.control.envelope import Envelope, ResultInfo
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.raw_path import raw_tail_of
from tenantry.control.routes.kv import NAMESPACE_PATH, KvNamespaces, key_untrusted, kv_answers
from tenantry.control.streams import FormStream, RequestStream, StreamResponse
from tenantry.services.kv import Entry

__all__ = ["kv_value_routes"]

_VALUE_PATH = NAMESPACE_PATH + "/values/{key:str}"
_METADATA_PATH = NAMESPACE_PATH + "/metadata/{key:str}"

_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


class KvKeyView(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    expiration: int | None = None
    metadata: msgspec.Raw | None = None


def _key(request: ApiRequest, action: str) -> str:
    """The key at the end of the path, decoded once."""
    try:
        key = unquote_to_bytes(raw_tail_of(request.scope)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(10042, f"{action}: 'Could not URL-decode key name'") from error
    return key_untrusted(key, action)


def _seconds(name: str, text: str, code: int) -> int | None:
    """A number of the query, None where it is absent. The service has the rules for it, in the same words."""
    if not text:
        return None
    if not _INTEGER.fullmatch(text):
        raise Invalid(code, f"put: 'Invalid {name} of {text[:32]}. Please specify integer greater than 0.'")
    return int(text)


def _not_found(action: str) -> NotFound:
    return NotFound(10009, f"{action}: 'key not found'")


def kv_value_routes(kv: KvNamespaces) -> list[HTTPRouteHandler]:
    @get(_VALUE_PATH, name="get_kv_value")
    async def get_value(request: ApiRequest, account_id: FromPath[str], namespace_id: FromPath[str]) -> ASGIResponse:
        namespace = await kv.open(request, account_id, namespace_id, "get")
        key = _key(request, "get")
        with kv_answers("get"):
            entry = await namespace.get(key)
        if entry is None:
            raise _not_found("get")
        # Never a type that a browser would show: it is on the control plane's origin.
        media_type = "application/octet-stream"
        headers = {"x-content-type-options": "nosniff"}
        if entry.expiration is not None:
            headers["expiration"] = str(entry.expiration)
        if isinstance(entry.value, bytes):
            return ASGIResponse(body=entry.value, media_type=media_type, headers=headers)
        return StreamResponse(entry.value, media_type=media_type, headers=headers)

    @put(_VALUE_PATH, name="put_kv_value")
    async def put_value(
        request: ApiRequest,
        account_id: FromPath[str],
        namespace_id: FromPath[str],
        expiration: FromQuery[str] = "",
        expiration_ttl: FromQuery[str] = "",
    ) -> Envelope[None]:
        namespace = await kv.open(request, account_id, namespace_id, "put")
        key = _key(request, "put")
        ttl = _seconds("expiration_ttl", expiration_ttl, 10034)
        absolute = None if ttl is not None else _seconds("expiration", expiration, 10033)
        # Only a form is taken apart. JSON is a value like any other, also where an old client means something else.
        form = FormStream.of(request, part="value", text_part="metadata", code=10012)
        body = RequestStream(request) if form is None else form
        with kv_answers("put"):
            await namespace.put(
                key, body, expiration=absolute, expiration_ttl=ttl, metadata=None if form is None else form.text
            )
        return Envelope(None)

    @delete(_VALUE_PATH, name="delete_kv_value", status_code=200)
    async def delete_value(
        request: ApiRequest, account_id: FromPath[str], namespace_id: FromPath[str]
    ) -> Envelope[None]:
        namespace = await kv.open(request, account_id, namespace_id, "remove key")
        key = _key(request, "remove key")
        with kv_answers("remove key"):
            await namespace.delete(key)
        return Envelope(None)

    @get(_METADATA_PATH, name="get_kv_metadata")
    async def get_metadata(
        request: ApiRequest, account_id: FromPath[str], namespace_id: FromPath[str]
    ) -> Envelope[msgspec.Raw | None]:
        namespace = await kv.open(request, account_id, namespace_id, "get metadata")
        key = _key(request, "get metadata")
        with kv_answers("get metadata"):
            entry = await namespace.get(key)
        if entry is None:
            raise _not_found("get metadata")
        await _close(entry)
        return Envelope(None if entry.metadata is None else msgspec.Raw(entry.metadata))

    @get(NAMESPACE_PATH + "/keys", name="list_kv_keys")
    async def list_keys(
        request: ApiRequest,
        account_id: FromPath[str],
        namespace_id: FromPath[str],
        prefix: FromQuery[str] = "",
        limit: FromQuery[str] = "",
        cursor: FromQuery[str] = "",
    ) -> Envelope[list[KvKeyView]]:
        namespace = await kv.open(request, account_id, namespace_id, "list keys")
        count = _limit(limit)
        with kv_answers("list keys"):
            page = await namespace.list(prefix, count, cursor)
        views = [
            KvKeyView(
                key.name.decode("utf-8"), key.expiration, None if key.metadata is None else msgspec.Raw(key.metadata)
            )
            for key in page.keys
        ]
        return Envelope(views, result_info=ResultInfo(count=len(views), cursor=page.cursor or ""))

    return [get_value, put_value, delete_value, get_metadata, list_keys]


def _limit(text: str) -> int | None:
    """How many keys a page is to have: what is above the service's limit is refused there."""
    if not text:
        return None
    if not _INTEGER.fullmatch(text) or int(text) < limits.KV_KEYS_PER_PAGE_MIN:
        least = limits.KV_KEYS_PER_PAGE_MIN
        raise Invalid(
            10028, f"list keys: 'Invalid limit of {text[:32]}. Please specify an integer from {least} to 1000.'"
        )
    return int(text)


async def _close(entry: Entry) -> None:
    if not isinstance(entry.value, bytes):
        await entry.value.aclose()
