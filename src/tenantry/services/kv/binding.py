"""What a Worker may send to a namespace, and what it gets: wire values on one side, the rules on the other.

    method            arguments (after the first: absent or None)           result
    get               key, cacheTtl                                         None | body
    getWithMetadata   key, cacheTtl                                         None | [body, metadata | None]
    getMany           keys, type, cacheTtl                                  [[body, metadata | None] | None, …]
    put               key, value, expiration, expirationTtl, metadata       None
    delete            key                                                   None
    list              prefix, limit, cursor                                 body

A body is bytes, or a stream above 64 KiB; `value` is the same. Text and JSON are made of it in the sandbox, by who
wants them. Metadata is JSON text. Of `getMany` the result has one item for each different key, in the order of their
first occurrence. The body of `list` is JSON, because a page can be larger than a frame:

    {"keys": [{"name": "a", "expiration": 1764000000, "metadata": {"any": "JSON"}}, …], "list_complete": true}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tenantry.services.kv.errors import Reason, StorageError, argument_type_error, refused, storage_refused, type_error
from tenantry.services.kv.limits import INLINE_BYTES_MAX, RESULT_INLINE_BYTES_MAX
from tenantry.services.kv.model import Entry
from tenantry.services.kv.service import Namespace
from tenantry.streams import BytesStream, ByteStream, is_byte_stream

__all__ = ["KvBinding"]

_Body = bytes | ByteStream


class _ListedKey(msgspec.Struct, omit_defaults=True):
    name: str
    expiration: int | None = None
    metadata: msgspec.Raw | None = None


class _Listing(msgspec.Struct, omit_defaults=True):
    keys: list[_ListedKey]
    list_complete: bool
    cursor: str | None = None


_encode = msgspec.json.Encoder().encode

_VERBS = {"put": "PUT", "delete": "DELETE", "getMany": "GET_BULK"}


class KvBinding:
    """One namespace, as Workers reach it. See `tenantry.services.Binding`."""

    eager = True

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        # Any: arguments are what a Worker sent, results what the wire takes.
        self._methods: dict[str, Callable[[list[Any]], Awaitable[Any]]] = {
            "get": self._get,
            "getWithMetadata": self._get_with_metadata,
            "getMany": self._get_many,
            "put": self._put,
            "delete": self._delete,
            "list": self._list,
        }

    async def call(self, method: str, args: list[Any]) -> Any:
        handler = self._methods.get(method) if isinstance(method, str) else None
        if handler is None:
            raise type_error("The KV namespace has no such method.")
        try:
            return await handler(args)
        except StorageError as error:
            raise storage_refused(_VERBS.get(method, "GET"), error) from error

    async def _get(self, args: list[Any]) -> _Body | None:
        key, cache_ttl = _arguments("get", args, 1, 2)
        _check_str("get", 1, key)
        _check_int("get", 2, cache_ttl)
        entry = await self.namespace.get(key, cache_ttl)
        return None if entry is None else entry.value

    async def _get_with_metadata(self, args: list[Any]) -> list[Any] | None:
        key, cache_ttl = _arguments("getWithMetadata", args, 1, 2)
        _check_str("getWithMetadata", 1, key)
        _check_int("getWithMetadata", 2, cache_ttl)
        entry = await self.namespace.get(key, cache_ttl)
        return None if entry is None else [entry.value, _metadata(entry)]

    async def _get_many(self, args: list[Any]) -> list[Any]:
        keys, kind, cache_ttl = _arguments("get", args, 1, 3)
        if not isinstance(keys, list):
            raise argument_type_error("get", 1, "Array")
        for key in keys:
            if not isinstance(key, str):
                raise argument_type_error("get", 1, "Array<string>")
        _check_str("get", 2, kind, absent=True)
        _check_int("get", 3, cache_ttl)
        if kind is not None and kind not in ("text", "json"):
            raise refused("GET_BULK", 400, f'"{kind[:64]}" is not a valid type. Use "json" or "text"', Reason.BULK)
        entries = await self.namespace.get_many(keys, cache_ttl)
        results: list[Any] = []
        inline_bytes = 0
        for entry in entries.values():
            if entry is None:
                results.append(None)
                continue
            value = entry.value
            if isinstance(value, bytes):
                inline_bytes += len(value)
                if inline_bytes > RESULT_INLINE_BYTES_MAX:
                    value = BytesStream(value)
            results.append([value, _metadata(entry)])
        return results

    async def _put(self, args: list[Any]) -> None:
        value = args[1] if len(args) > 1 else None
        try:
            key, value, expiration, expiration_ttl, metadata = _arguments("put", args, 2, 5)
            _check_str("put", 1, key)
            if not isinstance(value, bytes | ByteStream):
                text = "KV put() accepts only strings, ArrayBuffers, ArrayBufferViews, and ReadableStreams as values."
                raise type_error(text)
            _check_int("put", 3, expiration)
            _check_int("put", 4, expiration_ttl)
            _check_str("put", 5, metadata, absent=True)
            await self.namespace.put(
                key, value, expiration=expiration, expiration_ttl=expiration_ttl, metadata=metadata
            )
        finally:
            if not isinstance(value, bytes) and is_byte_stream(value):
                await value.aclose()

    async def _delete(self, args: list[Any]) -> None:
        (key,) = _arguments("delete", args, 1, 1)
        _check_str("delete", 1, key)
        await self.namespace.delete(key)

    async def _list(self, args: list[Any]) -> _Body:
        prefix, limit, cursor = _arguments("list", args, 0, 3)
        _check_str("list", 1, prefix, absent=True)
        _check_int("list", 2, limit)
        _check_str("list", 3, cursor, absent=True)
        page = await self.namespace.list(prefix or "", limit, cursor)
        keys = [
            _ListedKey(
                key.name.decode("utf-8"), key.expiration, None if key.metadata is None else msgspec.Raw(key.metadata)
            )
            for key in page.keys
        ]
        body = _encode(_Listing(keys, page.cursor is None, page.cursor))
        return body if len(body) <= INLINE_BYTES_MAX else BytesStream(body)


def _metadata(entry: Entry) -> str | None:
    return None if entry.metadata is None else entry.metadata.decode("utf-8")


def _arguments(method: str, args: list[Any], count_min: int, count_max: int) -> list[Any]:
    """`args` filled up with None to `count_max`."""
    if not count_min <= len(args) <= count_max:
        raise type_error(f"{method}() takes {count_min} to {count_max} arguments, not {len(args)}.")
    return args + [None] * (count_max - len(args))


def _check_str(method: str, position: int, value: object, *, absent: bool = False) -> None:
    if not isinstance(value, str) and not (absent and value is None):
        raise argument_type_error(method, position, "string")


def _check_int(method: str, position: int, value: object) -> None:
    """An integer or None. True is an int to Python and not to us."""
    if value is not None and type(value) is not int:
        raise argument_type_error(method, position, "integer")
