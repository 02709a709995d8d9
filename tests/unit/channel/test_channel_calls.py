"""Calls between two peers, and the end of a channel in the middle of them."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from typing import Any

import pytest

from tenantry.channel import ChannelClosed
from tenantry.errors import ProtocolError
from tenantry.wire.events import InvocationKind, PeerError, StreamExport, StubExport
from tenantry.wire.frames import FrameKind, encode_frame
from tenantry.wire.limits import LOG_WINDOW_BYTES

MIB = 1024 * 1024


async def test_a_call_is_answered(ends: Any) -> None:
    future, call = await ends.call(b"question")
    assert (call.method, call.payload, call.target.target) == ("method", b"question", "root")
    ends.there.result(call.call, b"answer")
    assert (await future).payload == b"answer"
    assert ends.at_here.invocations_closed == [1]


async def test_a_call_that_fails_raises_what_the_other_end_said(ends: Any) -> None:
    future, call = await ends.call()
    ends.there.error(call.call, PeerError("TypeError", "no"))
    with pytest.raises(PeerError, match="TypeError: no"):
        await future


@pytest.mark.parametrize("size", [512 * 1024, 512 * 1024 + 1, 20 * MIB])
async def test_a_large_payload_arrives_whole(ends: Any, size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    future, call = await ends.call(payload)
    assert call.payload == payload
    ends.there.result(call.call, payload)
    assert (await future).payload == payload


async def test_calls_of_one_turn_are_answered_each_with_its_own(ends: Any) -> None:
    futures = [ends.here.call(1, InvocationKind.RPC, "method", b"%d" % number)[1] for number in range(500)]
    for _ in futures:
        call = await ends.at_there.calls.get()
        ends.there.result(call.call, call.payload * 2)
    assert [(await future).payload for future in futures] == [b"%d" % number * 2 for number in range(500)]


async def test_a_cancellation_is_told(ends: Any) -> None:
    future, call = await ends.call()
    ends.here.cancel(call.call)
    await ends.at_there.wait(lambda: ends.at_there.canceled == [call.call])
    ends.there.result(call.call, b"")
    await future


async def test_what_an_answer_brings_to_nobody_is_given_back(ends: Any) -> None:
    future, call = await ends.call()
    future.cancel()
    given = StubExport("given")
    ends.there.result(call.call, b"", [given], open=True)
    await ends.at_there.wait(lambda: given in ends.at_there.over)


async def test_closing_fails_the_calls_of_both_sides(ends: Any) -> None:
    future, _ = await ends.call()
    ends.there.close(None)
    with pytest.raises(ChannelClosed):
        await future
    await ends.at_here.ended.wait()
    assert ends.at_here.error is None
    with pytest.raises(ChannelClosed):
        ends.here.call(1, InvocationKind.RPC, "method", b"")


async def test_closing_while_an_event_is_handled_ends_the_rest_of_them(ends: Any) -> None:
    def close_at_the_first(event: Any) -> None:
        ends.at_there.calls.put_nowait(event)
        ends.there.close(None)

    ends.at_there.call_received = close_at_the_first
    futures = [ends.here.call(1, InvocationKind.RPC, "method", b"")[1] for _ in range(3)]
    for future in futures:
        with pytest.raises(ChannelClosed):
            await future
    assert ends.at_there.calls.qsize() == 1


async def test_a_handler_that_raises_closes_the_peer_instead_of_losing_events(ends: Any) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def broken(event: Any) -> None:
        raise RuntimeError("a bug")

    ends.at_there.call_received = broken
    _, future = ends.here.call(1, InvocationKind.RPC, "method", b"")
    with pytest.raises(ChannelClosed):
        await future
    assert [str(error) for error in reported] == ["a bug"]
    assert str(ends.at_there.error) == "a bug"


async def test_a_breach_of_the_protocol_closes_with_the_reason(ends: Any) -> None:
    await ends.call()
    ends.here._socket.send(encode_frame(200, 1))
    await ends.at_there.ended.wait()
    assert isinstance(ends.at_there.error, ProtocolError)


async def test_a_peer_that_reads_nothing_is_closed_before_it_fills_the_memory(ends: Any) -> None:
    await ends.call()
    ends.there.loop.remove_reader(ends.there._socket.fileno())
    for _ in range(200):
        if ends.here.is_closed:
            break
        ends.here.call(1, InvocationKind.RPC, "method", bytes(MIB))[1].cancel()
        await asyncio.sleep(0)
    assert "does not read" in str(ends.at_here.error)


async def test_a_peer_that_cannot_be_written_to_is_closed_even_though_it_says_nothing(
    ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantry.channel.peer._LAST_WORDS_SECONDS", 0.01)
    future, _ = await ends.call()
    ends.there.loop.remove_reader(ends.there._socket.fileno())
    ends.there._socket.shutdown(socket.SHUT_RD)
    ends.here.log(0, "log", "into the void")
    with pytest.raises(ChannelClosed):
        await asyncio.wait_for(future, 10)


async def test_nothing_keeps_a_peer_that_is_closed_before_its_last_words_are_over(ends: Any) -> None:
    future, _ = await ends.call()
    ends.there.loop.remove_reader(ends.there._socket.fileno())
    ends.there._socket.shutdown(socket.SHUT_RD)
    ends.here.log(0, "log", "into the void")
    ends.here.flush()
    ends.there.close(None)
    with pytest.raises(ChannelClosed):
        await asyncio.wait_for(future, 10)
    del future
    gone = weakref.ref(ends.here)
    ends.here = ends.there
    await asyncio.sleep(0)  # what the selector gave to this turn
    gc.collect()
    assert gone() is None


async def test_logs_are_lost_rather_than_ending_who_writes_them(ends: Any) -> None:
    for _ in range(3000):
        ends.here.log(0, "log", "x" * 64 * 1024)
    future, call = await ends.call()
    ends.there.result(call.call, b"")
    await future
    heard = sum(event.size for event in ends.at_there.logs)
    assert LOG_WINDOW_BYTES <= heard < LOG_WINDOW_BYTES + 65 * 1024

    ends.there.grant_log(heard)
    while not ends.at_there.lost:
        await asyncio.sleep(0)
    assert len(ends.at_there.logs) + ends.at_there.lost == 3000
    ends.here.log(0, "log", "heard again")
    while ends.at_there.logs[-1].messages != ["heard again"]:
        await asyncio.sleep(0)


async def test_tiny_frames_are_read_in_smaller_helpings(ends: Any) -> None:
    future, call = await ends.call()
    flood = encode_frame(FrameKind.CANCEL, call.call) * 20_000
    largest = 0

    def canceled(number: int) -> None:
        ends.at_there.canceled.append(number)

    ends.at_there.call_canceled = canceled
    writing = asyncio.get_running_loop().sock_sendall(ends.here._socket, flood)
    task = asyncio.create_task(writing)
    while len(ends.at_there.canceled) < 20_000:
        before = len(ends.at_there.canceled)
        await asyncio.sleep(0)
        if before:
            largest = max(largest, len(ends.at_there.canceled) - before)
    await task
    assert largest < 4000
    ends.there.result(call.call, b"")
    await future


async def test_a_stream_that_is_exported_is_closed_with_the_channel(ends: Any) -> None:
    closed: list[bool] = []

    class Source:
        length = None

        async def read(self, size_max: int) -> bytes:
            await asyncio.Event().wait()
            raise AssertionError

        async def aclose(self) -> None:
            closed.append(True)

    _, call = await ends.call(b"", [StreamExport(Source(), None)])
    reading = asyncio.create_task(ends.there.stream(call.capabilities[0]).read(10))
    await asyncio.sleep(0)
    ends.here.close(None)
    await ends.here.wait_closed()
    assert closed == [True]
    with pytest.raises(Exception, match="gone"):
        await reading
