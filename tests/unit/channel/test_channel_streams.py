"""Streams between two peers: back-pressure, both ends' departures, and what comes back to its owner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tenantry.channel import peer
from tenantry.errors import StreamError
from tenantry.streams import BytesStream, read_all
from tenantry.wire.events import StreamExport
from tenantry.wire.limits import STREAM_WINDOW_BYTES, STREAM_WINDOW_BYTES_MIN, STREAM_WINDOWS_BYTES

KIB = 1024
MIB = 1024 * KIB


class Endless:
    """Zeros. Counts what was taken of them."""

    length = None

    def __init__(self) -> None:
        self.taken = 0
        self.closed = asyncio.Event()

    async def read(self, size_max: int) -> bytes:
        await asyncio.sleep(0)
        self.taken += size_max
        return bytes(size_max)

    async def aclose(self) -> None:
        self.closed.set()


class Failing(Endless):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    async def read(self, size_max: int) -> bytes:
        raise self._error


async def sent(ends: Any, source: Any, length: int | None = None) -> Any:
    """The reading end of a source."""
    _, call = await ends.call(b"", [StreamExport(source, length)])
    return ends.there.stream(call.capabilities[0])


@pytest.mark.parametrize("size", [0, 1, 256 * KIB, 5 * MIB + 7])
async def test_a_stream_arrives_whole(ends: Any, size: int) -> None:
    data = bytes(range(251)) * (size // 251) + b"x" * (size % 251)
    stream = await sent(ends, BytesStream(data), size)
    assert stream.length == size
    assert await read_all(stream, 10 * MIB) == data
    await ends.at_here.wait(lambda: ends.at_here.over)


async def test_what_a_tenant_sends_in_bulk_arrives_whole_although_it_rests_for_others(tenants: Any) -> None:
    bulk, quiet = tenants
    await quiet.call()
    await bulk.call()  # from now on both have company
    reading = asyncio.create_task(read_all(await sent(bulk, BytesStream(bytes(8 * MIB))), 16 * MIB))
    while not reading.done():
        await quiet.call()
    assert len(await reading) == 8 * MIB


async def test_who_is_the_only_tenant_never_rests(only_tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "_BULK_REST_SECONDS", 3600.0)
    async with asyncio.timeout(10):
        stream = await sent(only_tenant, BytesStream(bytes(8 * MIB)))
        assert len(await read_all(stream, 16 * MIB)) == 8 * MIB


async def test_who_sends_in_bulk_beside_others_is_not_read_while_it_rests(
    tenants: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "_BULK_REST_SECONDS", 3600.0)
    bulk, quiet = tenants
    await bulk.call()
    await quiet.call()
    reading = asyncio.create_task(read_all(await sent(bulk, BytesStream(bytes(8 * MIB))), 16 * MIB))
    for _ in range(200):
        await quiet.call()
    assert not reading.done()
    reading.cancel()


async def test_what_nobody_reads_is_not_sent(ends: Any) -> None:
    source = Endless()
    stream = await sent(ends, source)
    future, call = await ends.call()
    ends.there.result(call.call, b"")
    await future
    assert source.taken == 0
    assert stream.untouched


async def test_a_reader_that_pauses_holds_a_window_and_no_more(ends: Any) -> None:
    source = Endless()
    stream = await sent(ends, source)
    await stream.read(1)
    for _ in range(2000):
        await asyncio.sleep(0)
    assert 0 < source.taken <= 2 * STREAM_WINDOW_BYTES
    await stream.aclose()
    await source.closed.wait()


async def test_many_streams_of_one_peer_share_their_windows(ends: Any) -> None:
    sources = [Endless() for _ in range(200)]
    _, call = await ends.call(b"", [StreamExport(source, None) for source in sources])
    streams = [ends.there.stream(capability) for capability in call.capabilities]
    for stream in streams:
        await stream.read(1)
    for _ in range(500):
        await asyncio.sleep(0)
    bound = sum(
        max(STREAM_WINDOWS_BYTES // number, STREAM_WINDOW_BYTES_MIN) if number > 16 else STREAM_WINDOW_BYTES
        for number in range(1, 201)
    )
    assert sum(source.taken for source in sources) <= bound + 200
    for stream in streams:
        await stream.aclose()
    assert ends.there.windows == 0
    late = await sent(ends, Endless())
    await late.read(1)
    assert late.imported.credit + late._buffered >= STREAM_WINDOW_BYTES - 1


async def test_large_chunks_of_many_streams_do_not_look_like_a_peer_that_does_not_read(ends: Any) -> None:
    data = bytes(MIB)
    _, call = await ends.call(b"", [StreamExport(BytesStream(data), MIB) for _ in range(90)])
    streams = [ends.there.stream(capability) for capability in call.capabilities]
    # An eager reader, such as an older runtime, asks for all of them at once.
    for stream in streams:
        ends.there.credit(stream.imported, MIB)
    assert [len(await read_all(stream, MIB)) for stream in streams] == [MIB] * 90
    assert not ends.here.is_closed


async def test_a_reader_that_leaves_closes_the_source(ends: Any) -> None:
    source = Endless()
    stream = await sent(ends, source)
    await stream.read(1)
    await stream.aclose()
    await asyncio.wait_for(source.closed.wait(), 10)
    with pytest.raises(StreamError):
        await stream.read(1)


async def test_a_source_that_breaks_off_says_why_only_when_it_may_be_told(ends: Any) -> None:
    stream = await sent(ends, Failing(StreamError("the client left")))
    with pytest.raises(StreamError, match="the client left"):
        await stream.read(1)
    stream = await sent(ends, Failing(ValueError("secret")))
    with pytest.raises(StreamError, match="broke off"):
        await stream.read(1)
    assert [str(error) for error in ends.at_here.failed] == ["secret"]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt()])
async def test_a_source_that_raises_what_ends_tasks_does_not_leave_its_reader_waiting(
    ends: Any, error: BaseException
) -> None:
    stream = await sent(ends, Failing(error))
    with pytest.raises(StreamError):
        await asyncio.wait_for(stream.read(1), 10)
    await ends.at_here.wait(lambda: ends.at_here.over)


async def test_a_source_that_cannot_be_closed_is_over_all_the_same(ends: Any) -> None:
    class Stubborn(BytesStream):
        async def aclose(self) -> None:
            raise ValueError("no")

    stream = await sent(ends, Stubborn(b"bytes"))
    assert await stream.read(100) == b"bytes"
    assert await stream.read(100) == b""
    await ends.at_here.wait(lambda: ends.at_here.over)
    assert [str(error) for error in ends.at_here.failed] == ["no"]


async def test_a_stream_that_is_handed_back_is_the_very_object(ends: Any) -> None:
    source = BytesStream(b"bytes")
    future, call = await ends.call(b"", [StreamExport(source, 5)])
    ends.there.result(call.call, b"", call.capabilities)
    returned = await future
    assert returned.capabilities[0].source is source
    with pytest.raises(StreamError):
        await ends.there.stream(call.capabilities[0]).read(1)


async def test_a_stream_that_is_handed_back_under_way_stops_flowing(ends: Any) -> None:
    source = Endless()
    future, call = await ends.call(b"", [StreamExport(source, None)])
    stream = ends.there.stream(call.capabilities[0])
    await stream.read(1)
    ends.there.result(call.call, b"", call.capabilities)
    returned = await future
    ends.here.stop_pump(returned.capabilities[0])
    await asyncio.sleep(0)
    taken = source.taken
    for _ in range(100):
        await asyncio.sleep(0)
    assert source.taken == taken


async def test_a_stream_ends_with_the_invocation_it_came_with(ends: Any) -> None:
    source = Endless()
    future, call = await ends.call(b"", [StreamExport(source, None)])
    stream = ends.there.stream(call.capabilities[0])
    await stream.read(1)
    ends.there.result(call.call, b"")
    await future
    await asyncio.wait_for(source.closed.wait(), 10)
    await stream.aclose()


async def test_credit_in_crumbs_is_served_without_a_task_for_each(ends: Any) -> None:
    source = Endless()
    _, call = await ends.call(b"", [StreamExport(source, None)])
    before = len(asyncio.all_tasks())
    for _ in range(1000):
        ends.there.credit(call.capabilities[0], 1)
    stream = ends.there.stream(call.capabilities[0])
    got = 0
    while got < 1000:
        got += len(await stream.read(1000))
        assert len(asyncio.all_tasks()) <= before + 2
    await stream.aclose()
