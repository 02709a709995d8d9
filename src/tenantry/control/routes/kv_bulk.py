"""Many keys of a KV namespace at once. What a request asks for is checked whole before any of it is done."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from litestar import delete, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_body_untrusted
from tenantry.control.envelope import Envelope
from tenantry.control.errors import Invalid
from tenantry.control.routes.kv import NAMESPACE_PATH, KvNamespaces, key_untrusted, kv_answers
from tenantry.control.threads import Threads
from tenantry.errors import BindingError
from tenantry.services.kv import Entry, NamespaceGone
from tenantry.services.kv.limits import BULK_BYTES_MAX
from tenantry.streams import read_all

__all__ = ["kv_bulk_routes"]

T = TypeVar("T")

_INVALID = 10029


class _Pair(msgspec.Struct, frozen=True):
    key: str
    value: str
    base64: bool = False
    expiration: float | None = None
    expiration_ttl: float | None = None
    metadata: msgspec.Raw = msgspec.Raw(b"null")

    def options(self) -> dict[str, Any]:
        """The options of `Namespace.put`: the SDK sends numbers with a fraction."""
        return {
            "expiration": None if self.expiration is None else int(self.expiration),
            "expiration_ttl": None if self.expiration_ttl is None else int(self.expiration_ttl),
            "metadata": None if bytes(self.metadata) == b"null" else bytes(self.metadata).decode("utf-8"),
        }

    def content(self) -> bytes:
        """Raises Invalid (10012) for base64 that is none."""
        if not self.base64:
            return self.value.encode("utf-8")
        try:
            return base64.b64decode(self.value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Invalid(10012, f"put bulk: 'the value of key {self.key[:80]!a} is not base64'") from error

    def content_bytes(self) -> int:
        """How long the content is, near enough to refuse what is far too long, without making it."""
        return len(self.value) * 3 // 4 - 2 if self.base64 else len(self.value)


class _Wanted(msgspec.Struct, frozen=True):
    keys: list[str]
    type: str = "text"
    with_metadata: bool = msgspec.field(default=False, name="withMetadata")


class BulkView(msgspec.Struct, frozen=True):
    successful_key_count: int
    unsuccessful_keys: list[str]


class ValueView(msgspec.Struct, frozen=True, omit_defaults=True):
    value: msgspec.Raw
    metadata: msgspec.Raw
    expiration: int | None = None


class ValuesView(msgspec.Struct, frozen=True):
    values: dict[str, Any]  # text, JSON, or a ValueView; None for a key that is not there


class _Bodies:
    """Bodies are parsed whole. The large ones are read a few at a time, so that memory has a bound."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._slots = asyncio.Semaphore(limits.KV_BULK_BODIES_MAX)

    @asynccontextmanager
    async def decoded_untrusted(self, request: ApiRequest, kind: type[T], action: str) -> AsyncIterator[T]:
        """The body as `kind`, for the length of the block. Raises Invalid, TooLarge (10024)."""
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:18]) <= limits.KV_BULK_BODY_SMALL_BYTES:
            yield await self._decode(request, kind, limits.KV_BULK_BODY_SMALL_BYTES, action)
            return
        async with self._slots:
            try:
                async with asyncio.timeout(limits.KV_BULK_BODY_SECONDS_MAX):
                    decoded = await self._decode(request, kind, limits.KV_BULK_BODY_BYTES_MAX, action)
            except TimeoutError as error:
                raise Invalid(_INVALID, f"{action}: 'the request body took too long'") from error
            yield decoded

    async def _decode(self, request: ApiRequest, kind: type[T], bytes_max: int, action: str) -> T:
        body = await read_body_untrusted(request, bytes_max, 10024)
        try:
            return await self._threads.run(msgspec.json.decode, body, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Invalid(_INVALID, f"{action}: 'could not parse the request body: {error}'") from error


def kv_bulk_routes(kv: KvNamespaces, threads: Threads) -> list[HTTPRouteHandler]:
    bodies = _Bodies(threads)

    @put(NAMESPACE_PATH + "/bulk", name="put_kv_bulk")
    async def put_bulk(
        request: ApiRequest, account_id: FromPath[str], namespace_id: FromPath[str]
    ) -> Envelope[BulkView]:
        action = "put bulk"
        namespace = await kv.open(request, account_id, namespace_id, action)
        async with bodies.decoded_untrusted(request, list[_Pair], action) as pairs:
            _check_count(pairs, action)
            for index, pair in enumerate(pairs):
                key_untrusted(pair.key, action)
                with kv_answers(action):
                    namespace.check_put(pair.key, pair.content_bytes(), **pair.options())
                if pair.base64:
                    pair.content()
                if index % 256 == 255:
                    await asyncio.sleep(0)

            # The last of a key wins. They are written at once, so only one of each may be.
            last = {pair.key: pair for pair in pairs}

            async def write(key: str) -> None:
                pair = last[key]
                await namespace.put(key, pair.content(), **pair.options())

            failed = await _for_each(list(last), write, action)
            done = sum(pair.key not in failed for pair in pairs)
            return Envelope(BulkView(done, failed))

    async def delete_many(request: ApiRequest, account_id: str, namespace_id: str) -> Envelope[BulkView]:
        action = "delete bulk"
        namespace = await kv.open(request, account_id, namespace_id, action)
        async with bodies.decoded_untrusted(request, list[str], action) as keys:
            _check_count(keys, action)
            for key in keys:
                key_untrusted(key, action)
                with kv_answers(action):
                    namespace.check_put(key, 0)
            failed = await _for_each(list(dict.fromkeys(keys)), namespace.delete, action)
            return Envelope(BulkView(sum(key not in failed for key in keys), failed))

    @delete(NAMESPACE_PATH + "/bulk", name="delete_kv_bulk", status_code=200)
    async def delete_bulk(
        request: ApiRequest, account_id: FromPath[str], namespace_id: FromPath[str]
    ) -> Envelope[BulkView]:
        return await delete_many(request, account_id, namespace_id)

    @post(NAMESPACE_PATH + "/bulk/delete", name="post_kv_bulk_delete", status_code=200)
    async def post_bulk_delete(
        request: ApiRequest, account_id: FromPath[str], namespace_id: FromPath[str]
    ) -> Envelope[BulkView]:
        return await delete_many(request, account_id, namespace_id)

    @post(NAMESPACE_PATH + "/bulk/get", name="get_kv_bulk", status_code=200)
    async def get_bulk(
        request: ApiRequest, account_id: FromPath[str], namespace_id: FromPath[str]
    ) -> Envelope[ValuesView]:
        action = "get bulk"
        namespace = await kv.open(request, account_id, namespace_id, action)
        async with bodies.decoded_untrusted(request, _Wanted, action) as wanted:
            if wanted.type not in ("text", "json"):
                text = f'"{wanted.type[:64]}" is not a valid type. Use "json" or "text"'
                raise Invalid(_INVALID, f"{action}: '{text}'")
            for key in wanted.keys:
                key_untrusted(key, action)
            with kv_answers(action):
                found = await namespace.get_many(wanted.keys)
            values: dict[str, Any] = {}
            try:
                for key, entry in found.items():
                    values[key] = None if entry is None else await _value_view(entry, wanted, threads)
            finally:
                for entry in found.values():
                    if entry is not None and not isinstance(entry.value, bytes):
                        await entry.value.aclose()
            return Envelope(ValuesView(values))

    return [put_bulk, delete_bulk, post_bulk_delete, get_bulk]


def _check_count(items: list[Any], action: str) -> None:
    if len(items) > limits.KV_BULK_ITEMS_MAX:
        text = f"expected at most {limits.KV_BULK_ITEMS_MAX} items, got {len(items)}"
        raise Invalid(_INVALID, f"{action}: '{text}'")


async def _for_each(keys: list[str], work: Callable[[str], Awaitable[None]], action: str) -> list[str]:
    """Some at a time. Gives the keys for which it failed, to be tried again; all failed is the failure itself."""
    failed: list[str] = []
    first_error: BindingError | None = None
    for at in range(0, len(keys), limits.KV_BULK_WRITES_MAX):
        part = keys[at : at + limits.KV_BULK_WRITES_MAX]
        results = await asyncio.gather(*(work(key) for key in part), return_exceptions=True)
        for key, result in zip(part, results, strict=True):
            if isinstance(result, BindingError) and not isinstance(result, NamespaceGone):
                failed.append(key)
                first_error = first_error or result
            elif isinstance(result, BaseException):
                with kv_answers(action):
                    raise result
    if first_error is not None and len(failed) == len(keys):
        with kv_answers(action):
            raise first_error
    return failed


async def _value_view(entry: Entry, wanted: _Wanted, threads: Threads) -> Any:
    data = entry.value if isinstance(entry.value, bytes) else await read_all(entry.value, BULK_BYTES_MAX)
    if wanted.type == "text":
        value = await threads.run(_text_json, data) if len(data) > limits.KV_BULK_BODY_SMALL_BYTES else _text_json(data)
    else:
        try:
            await threads.run(msgspec.json.decode, data)
        except (msgspec.DecodeError, RecursionError) as error:
            text = "At least one of the requested keys corresponds to a non-json value"
            raise Invalid(_INVALID, f"get bulk: '{text}'") from error
        value = msgspec.Raw(data)
    if not wanted.with_metadata:
        return value
    metadata = msgspec.Raw(b"null" if entry.metadata is None else entry.metadata)
    return ValueView(value, metadata, entry.expiration)


def _text_json(data: bytes) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(data.decode("utf-8", "replace")))
