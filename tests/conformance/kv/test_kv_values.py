"""Values, metadata and expirations, whatever the engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tenantry.errors import BindingError, StreamError
from tenantry.services.kv import Usage
from tenantry.services.kv.limits import INLINE_BYTES_MAX, VALUE_BYTES_MAX
from tenantry.streams import BytesStream, ByteStream

SIZES = [0, 1, INLINE_BYTES_MAX - 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 256 * 1024, 256 * 1024 + 1, 700_000]


class ScriptedStream:
    """Hands out `pieces`, without a length; an exception among them is raised."""

    def __init__(self, pieces: list[bytes | Exception], length: int | None = None) -> None:
        self.pieces = list(pieces)
        self.length = length
        self.closed = False
        self.read_bytes = 0

    async def read(self, size_max: int) -> bytes:
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        if len(piece) > size_max:
            self.pieces.insert(0, piece[size_max:])
            piece = piece[:size_max]
        self.read_bytes += len(piece)
        return piece

    async def aclose(self) -> None:
        self.closed = True


async def test_a_key_that_was_never_written_has_no_value(kv: Any) -> None:
    assert await kv.get("nothing") is None
    assert await kv.get_with_metadata("nothing") is None


@pytest.mark.parametrize("size", SIZES)
async def test_a_value_travels_inline_up_to_64_kib_and_as_a_stream_above(kv: Any, size: int) -> None:
    await kv.put("key", b"x" * size)
    body = await kv.call("get", "key")
    assert isinstance(body, bytes) == (size <= INLINE_BYTES_MAX)
    if not isinstance(body, bytes):
        assert isinstance(body, ByteStream)
        assert body.length == size
        await body.aclose()


async def test_a_stream_may_be_read_in_any_portions(kv: Any) -> None:
    data = bytes(range(256)) * 2000
    await kv.put("key", ScriptedStream([data[:1], data[1:300_001], data[300_001:]]))
    body = await kv.call("get", "key")
    got = b""
    for size in [1, 2, 100_000, 7, 10**9, 10**9, 10**9, 10**9]:
        got += await body.read(size)
    assert got == data
    assert await body.read(1) == b""
    await body.aclose()
    await body.aclose()
    assert await body.read(1) == b""


async def test_namespaces_do_not_see_each_other(kv: Any) -> None:
    other = kv.other("other")
    await kv.put("key", "mine")
    assert await other.get("key") is None
    await other.put("key", "theirs")
    assert await kv.get("key") == b"mine"
    await kv.service.delete("other")
    assert await kv.get("key") == b"mine"
    with pytest.raises(BindingError, match="KV GET failed: 404 namespace not found"):
        await other.get("key")


async def test_a_deleted_namespace_is_gone_for_who_holds_it_and_for_who_opens_it_again(kv: Any) -> None:
    held = kv.service.open("gone")
    await held.call("put", ["key", b"value"])
    await kv.service.delete("gone")
    for binding in (held, kv.service.open("gone")):
        for method, args, verb in (
            ("get", ["key"], "GET"),
            ("getMany", [["key"]], "GET_BULK"),
            ("put", ["key", b"late"], "PUT"),
            ("put", ["key", BytesStream(b"l" * 100_000)], "PUT"),
            ("delete", ["key"], "DELETE"),
            ("list", [], "GET"),
        ):
            with pytest.raises(BindingError) as raised:
                await binding.call(method, args)
            assert raised.value.message == f"KV {verb} failed: 404 namespace not found"


async def test_the_totals_of_a_namespace_are_exact_after_every_write(kv: Any) -> None:
    """`usage` counts keys, values and metadata, in bytes, of what is there: what quotas are checked against."""
    namespace = kv.service.open(kv.namespace_id).namespace
    assert await namespace.usage() == Usage(0, 0)
    await kv.put("é", "value", metadata='"é"')
    assert await namespace.usage() == Usage(1, 2 + 5 + 4)
    await kv.put("é", b"x" * 300_000)
    assert await namespace.usage() == Usage(1, 2 + 300_000)
    await kv.put("b", BytesStream(b"y" * 70_000), expirationTtl=60)
    assert await namespace.usage() == Usage(2, 2 + 300_000 + 1 + 70_000)
    with pytest.raises(BindingError):
        await kv.put("broken", ScriptedStream([b"x" * 300_000, StreamError("gone")]))
    await kv.put("é", "")
    assert await namespace.usage() == Usage(2, 2 + 1 + 70_000)
    await kv.call("delete", "é")
    await kv.call("delete", "é")
    assert await namespace.usage() == Usage(1, 1 + 70_000)
    kv.clock.now += 61
    await kv.service.sweep()
    await kv.put("c", "")
    assert await namespace.usage() == Usage(1, 1)


class TestExpiration:
    async def test_an_entry_is_readable_until_the_second_of_its_expiration(self, kv: Any) -> None:
        await kv.put("key", "value", expirationTtl=60)
        kv.clock.now += 59.9
        assert await kv.get("key") == b"value"
        kv.clock.now += 0.1
        assert await kv.get("key") is None

    async def test_expired_entries_hide_nothing_in_a_listing(self, kv: Any) -> None:
        names = [f"a{index:03}" for index in range(301)]
        await asyncio.gather(
            *(kv.put(name, "value", expirationTtl=60 if index % 100 else 6000) for index, name in enumerate(names))
        )
        kv.clock.now += 1000
        assert await kv.names() == names[::100]
        page = await kv.list(None, 3)
        assert [key["name"] for key in page["keys"]] == names[:300:100]
        assert not page["list_complete"]
        assert (await kv.list(None, 4))["list_complete"]

    async def test_a_key_can_be_written_again_after_it_expired(self, kv: Any) -> None:
        await kv.put("key", b"x" * 100_000, expirationTtl=60)
        kv.clock.now += 61
        await kv.put("key", "new")
        kv.clock.now += 1000
        assert await kv.get("key") == b"new"


class TestMany:
    async def test_what_does_not_fit_one_frame_comes_as_streams(self, kv: Any) -> None:
        keys = [f"key{index}" for index in range(12)]
        for key in keys:
            await kv.put(key, key.encode().ljust(60_000))
        await kv.put("big", b"b" * 70_000)
        found = await kv.call("getMany", [*keys, "big"])
        assert sum(len(body) for body, _ in found if isinstance(body, bytes)) <= 512 * 1024
        for key, (body, _) in zip([*keys, "big"], found, strict=True):
            if isinstance(body, bytes):
                assert body == key.encode().ljust(60_000)
            else:
                assert (await body.read(3))[:1] == key[:1].encode()
                await body.aclose()


class TestUpload:
    async def test_a_stream_without_length_is_stopped_one_byte_above_the_limit(self, kv: Any) -> None:
        await kv.put("key", "before")
        stream = ScriptedStream([b"x" * 10_000_000] * 100)
        with pytest.raises(BindingError) as raised:
            await kv.put("key", stream)
        assert raised.value.message == "KV PUT failed: 413 Value length of 26214401 exceeds limit of 26214400."
        assert stream.read_bytes == VALUE_BYTES_MAX + 1
        assert stream.closed
        assert await kv.get("key") == b"before"
        assert await kv.names() == ["key"]

    async def test_a_stream_that_says_it_is_too_long_is_not_read(self, kv: Any) -> None:
        stream = ScriptedStream([b"x"], length=VALUE_BYTES_MAX + 5)
        with pytest.raises(BindingError, match="413 Value length of 26214405 exceeds"):
            await kv.put("key", stream)
        assert stream.read_bytes == 0
        assert stream.closed

    @pytest.mark.parametrize("before", [b"", b"x" * 10, b"x" * 300_000])
    async def test_a_stream_that_breaks_off_changes_nothing(self, kv: Any, before: bytes) -> None:
        await kv.put("key", "before")
        stream = ScriptedStream([before, StreamError("gone")] if before else [StreamError("gone")])
        with pytest.raises(BindingError, match="KV PUT failed: 400"):
            await kv.put("key", stream)
        assert await kv.get("key") == b"before"
        assert stream.closed

    async def test_a_stream_shorter_than_its_length_changes_nothing(self, kv: Any) -> None:
        with pytest.raises(BindingError, match="broke off"):
            await kv.put("key", ScriptedStream([b"abc"], length=4))
        assert await kv.get("key") is None

    async def test_a_refused_put_closes_its_stream(self, kv: Any) -> None:
        for args in ([""], ["key", 1.5], ["key", None, None, 7], ["key", None, None, None, None, None]):
            stream = ScriptedStream([b"x"])
            with pytest.raises(BindingError):
                await kv.call("put", args[0], stream, *args[1:])
            assert stream.closed
