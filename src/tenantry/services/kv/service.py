"""The rules of KV: what a key, a value and an option may be, and what a Worker reads when they are not.

Written once, above every engine. The error texts are Cloudflare's; the client's half inside the sandbox checks the
same things earlier, as a courtesy, and is not believed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from tenantry.errors import BindingError, StreamError
from tenantry.services.kv import limits
from tenantry.services.kv.consistency import Edge
from tenantry.services.kv.cursor import open_cursor_untrusted, seal_cursor
from tenantry.services.kv.engine import KvStore
from tenantry.services.kv.errors import Reason, refused, type_error
from tenantry.services.kv.model import Entry, Key, Usage
from tenantry.streams import ByteStream

__all__ = ["Namespace", "Page"]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing; `cursor` is None on the last one."""

    keys: list[Key]
    cursor: str | None


class Namespace:
    """One namespace, for the binding and for the control plane alike.

    Raises `BindingError` for what the caller did wrong, `StorageError` for what the disk did (`NamespaceGone` once the
    namespace was deleted). `edge` is what stands between it and the store, if it is not to be strongly consistent.
    """

    def __init__(self, store: KvStore, clock: Callable[[], float], edge: Edge | None = None) -> None:
        self._store = store
        self._clock = clock
        self._edge = edge

    async def get(self, key: str, cache_ttl: int | None = None) -> Entry | None:
        """Who gets an entry with a stream closes it."""
        name = _key_untrusted(key, "GET")
        if cache_ttl is not None:
            _check_cache_ttl(cache_ttl, "GET")
        if self._edge is not None:
            return await self._edge.get(self._store, name, self._clock(), cache_ttl)
        return await self._store.get(name, int(self._clock()))

    async def get_many(self, keys: list[str], cache_ttl: int | None = None) -> dict[str, Entry | None]:
        """The entries in the order of `keys`, each key once. Not one moment of the store: as if got one by one."""
        if not keys:
            raise refused("GET_BULK", 400, "You must request a minimum of 1 key", Reason.BULK)
        if len(keys) > limits.BULK_KEYS_MAX:
            raise refused("GET_BULK", 400, f"You can request a maximum of {limits.BULK_KEYS_MAX} keys", Reason.BULK)
        if cache_ttl is not None:
            _check_cache_ttl(cache_ttl, "GET_BULK")
        names = {key: _key_untrusted(key, "GET_BULK") for key in keys}
        now = self._clock()
        entries: dict[str, Entry | None] = {}
        size_bytes = 0
        try:
            for key, name in names.items():
                if self._edge is not None:
                    entry = await self._edge.get(self._store, name, now, cache_ttl)
                else:
                    entry = await self._store.get(name, int(now))
                entries[key] = entry
                if entry is not None:
                    size_bytes += entry.size_bytes
                    if size_bytes > limits.BULK_BYTES_MAX:
                        text = "Total size of request exceeds the limit of 25MB"
                        raise refused("GET_BULK", 413, text, Reason.VALUE_LENGTH)
                if len(entries) % limits.LOOP_VALUES_MAX == 0:
                    # Reads run on the event loop: let others have it between a few of them.
                    await asyncio.sleep(0)
        except BaseException:
            for entry in entries.values():
                if entry is not None and not isinstance(entry.value, bytes):
                    await entry.value.aclose()
            raise
        return entries

    async def put(
        self,
        key: str,
        value: bytes | ByteStream,
        *,
        expiration: int | None = None,
        expiration_ttl: int | None = None,
        metadata: str | Callable[[], str | None] | None = None,
    ) -> None:
        """Replaces the entry. The stream stays the caller's to close.

        `metadata` is JSON text, or a function that is asked for it once the value was read to its end.
        """
        name = _key_untrusted(key, "PUT")
        time = self._clock()
        now = int(time)
        expires = _expiration(expiration, expiration_ttl, now)
        encoded_metadata = partial(_late_metadata, metadata) if callable(metadata) else _metadata_untrusted(metadata)
        _check_value_length(len(value) if isinstance(value, bytes) else value.length)
        if self._edge is not None:
            self._edge.admit_write("PUT", name, time)
        if not isinstance(value, bytes):
            value = _BoundedStream(value)
        await self._store.put(name, value, expires, encoded_metadata, now)

    def check_put(
        self,
        key: str,
        value_bytes: int,
        *,
        expiration: int | None = None,
        expiration_ttl: int | None = None,
        metadata: str | None = None,
    ) -> None:
        """Raises BindingError if `put` would refuse it now: for who writes many and wants to write all or none."""
        _key_untrusted(key, "PUT")
        _expiration(expiration, expiration_ttl, int(self._clock()))
        _metadata_untrusted(metadata)
        _check_value_length(value_bytes)

    async def delete(self, key: str) -> None:
        name = _key_untrusted(key, "DELETE")
        time = self._clock()
        if self._edge is not None:
            self._edge.admit_write("DELETE", name, time)
        await self._store.delete(name, int(time))

    async def list(self, prefix: str = "", limit: int | None = None, cursor: str | None = None) -> Page:
        """A page of the keys that begin with `prefix`. A cursor is good for the prefix it was given out for."""
        encoded_prefix = _text_untrusted(prefix, "GET")
        _check_length(encoded_prefix, "GET")
        if limit is None:
            limit = limits.LIST_KEYS_MAX
        elif limit > limits.LIST_KEYS_MAX:
            text = f"Please specify an integer less than {limits.LIST_KEYS_MAX}."
            raise refused("GET", 400, f"Invalid key_count_limit of {_shown(limit)}. {text}", Reason.LIMIT)
        elif limit < 1:
            text = "Please specify an integer greater than 0."
            raise refused("GET", 400, f"Invalid key_count_limit of {_shown(limit)}. {text}", Reason.LIMIT)
        after: bytes | None = None
        if cursor:
            try:
                after = open_cursor_untrusted(cursor, encoded_prefix, await self._store.secret())
            except ValueError as error:
                text = "Invalid cursor. Use the cursor of the page before, with the same prefix."
                raise refused("GET", 400, text, Reason.CURSOR) from error
        if self._edge is not None:
            page = await self._edge.list(self._store, encoded_prefix, after, limit, self._clock())
        else:
            page = await self._store.list(encoded_prefix, after, limit, int(self._clock()))
        if not page.more:
            return Page(page.keys, None)
        return Page(page.keys, seal_cursor(encoded_prefix, page.keys[-1].name, await self._store.secret()))

    async def usage(self) -> Usage:
        return await self._store.usage()


class _BoundedStream:
    """A value on its way in, stopped one byte above the limit and where it ends before its length."""

    def __init__(self, inner: ByteStream) -> None:
        self._inner = inner
        self._seen_bytes = 0
        self.length = inner.length

    async def read(self, size_max: int) -> bytes:
        allowed = limits.VALUE_BYTES_MAX + 1 - self._seen_bytes
        try:
            chunk = await self._inner.read(min(size_max, allowed))
        except StreamError as error:
            raise _broke_off() from error
        self._seen_bytes += len(chunk)
        if self._seen_bytes > limits.VALUE_BYTES_MAX:
            _refuse_length(self._seen_bytes)
        if not chunk and self.length is not None and self._seen_bytes != self.length:
            raise _broke_off()
        return chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def _broke_off() -> BindingError:
    return refused("PUT", 400, "The value broke off before its end.", Reason.VALUE)


def _shown(number: int) -> str:
    """A number for a message. A Worker can send one with a million digits, which Python refuses to print."""
    if limits.NUMBER_MIN <= number <= limits.NUMBER_MAX:
        return str(number)
    return "a number out of range"


def _text_untrusted(text: str, verb: str) -> bytes:
    """UTF-8. A half of a surrogate pair has none, and replacing it would make one key of many: refused."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise refused(verb, 400, "Could not URL-decode key name", Reason.KEY) from error


def _check_length(name: bytes, verb: str) -> None:
    if len(name) > limits.KEY_BYTES_MAX:
        text = f"UTF-8 encoded length of {len(name)} exceeds key length limit of {limits.KEY_BYTES_MAX}."
        raise refused(verb, 414, text, Reason.KEY_LENGTH)


def _key_untrusted(key: str, verb: str) -> bytes:
    if not key:
        raise type_error("Key name cannot be empty.")
    if key == "." or key == "..":
        raise type_error(f'"{key}" is not allowed as a key name.')
    name = _text_untrusted(key, verb)
    _check_length(name, verb)
    return name


def _check_cache_ttl(cache_ttl: int, verb: str) -> None:
    """Nothing is cached here, every read is current; the rule holds so that what runs here runs there."""
    if cache_ttl < limits.CACHE_SECONDS_MIN:
        text = f"Cache TTL must be at least {limits.CACHE_SECONDS_MIN}."
        raise refused(verb, 400, f"Invalid cache_ttl of {_shown(cache_ttl)}. {text}", Reason.CACHE_TTL)


def _check_number(number: int) -> None:
    if not limits.NUMBER_MIN <= number <= limits.NUMBER_MAX:
        text = f"Value out of range. Must be between {limits.NUMBER_MIN} and {limits.NUMBER_MAX} (inclusive)."
        raise type_error(text)


def _expiration(expiration: int | None, expiration_ttl: int | None, now: int) -> int | None:
    """The absolute second at which the entry ends. The relative one wins where both are given."""
    soonest = limits.EXPIRATION_SECONDS_MIN
    if expiration_ttl is not None:
        _check_number(expiration_ttl)
        given = f"Invalid expiration_ttl of {expiration_ttl}."
        if expiration_ttl <= 0:
            raise refused("PUT", 400, f"{given} Please specify integer greater than 0.", Reason.EXPIRATION_TTL)
        if expiration_ttl < soonest:
            text = f"{given} Expiration TTL must be at least {soonest}."
            raise refused("PUT", 400, text, Reason.EXPIRATION_TTL)
        return now + expiration_ttl
    if expiration is not None:
        _check_number(expiration)
        given = f"Invalid expiration of {expiration}."
        if expiration <= now:
            text = "Please specify integer greater than the current number of seconds since the UNIX epoch."
            raise refused("PUT", 400, f"{given} {text}", Reason.EXPIRATION)
        if expiration < now + soonest:
            text = f"Expiration times must be at least {soonest} seconds in the future."
            raise refused("PUT", 400, f"{given} {text}", Reason.EXPIRATION)
        return expiration
    return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _late_metadata(metadata: Callable[[], str | None]) -> bytes | None:
    return _metadata_untrusted(metadata())


def _metadata_untrusted(metadata: str | None) -> bytes | None:
    """Metadata is checked to be JSON on its way in, so that listings can copy it out unread."""
    if metadata is None:
        return None
    try:
        encoded = metadata.encode("utf-8")
        if len(encoded) > limits.METADATA_BYTES_MAX:
            text = f"Metadata length of {len(encoded)} exceeds limit of {limits.METADATA_BYTES_MAX}."
            raise refused("PUT", 413, text, Reason.METADATA)
        json.loads(metadata, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise refused("PUT", 400, "Metadata must be valid JSON.", Reason.METADATA) from error
    return encoded


def _check_value_length(length: int | None) -> None:
    if length is not None and length > limits.VALUE_BYTES_MAX:
        _refuse_length(length)


def _refuse_length(length: int) -> NoReturn:
    raise refused(
        "PUT", 413, f"Value length of {length} exceeds limit of {limits.VALUE_BYTES_MAX}.", Reason.VALUE_LENGTH
    )
