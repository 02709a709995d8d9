"""The stream type of the runtime, with JavaScript's methods: readers, `tee`, `pipeTo`, and transform streams.

The runtime's class is the handle itself and knows nothing of JavaScript; this module gives it that face when it is
imported, so that a body that came over the channel and one that a program made are the same kind of thing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from tenantry.errors import ProtocolError
from tenantry.runtime.streams import ReadableStream
from tenantry.wire.values import StreamValue, capability
from workers._errors import type_error
from workers._web.buffers import Uint8Array, buffer_bytes
from workers._web.raw import Raw

__all__ = ["LOCKED", "ReadableStream", "chunk_bytes", "held_stream", "stream_of_chunks", "tee"]

_CHUNK_BYTES: Final = 64 * 1024

LOCKED: Final = "The ReadableStream has been locked to a reader."


def chunk_bytes(chunk: Any) -> bytes:
    """A chunk that a program wrote or yielded, as bytes. Raises TypeError for what is neither text nor bytes."""
    if type(chunk) is bytes:
        return chunk
    if isinstance(chunk, str):
        return chunk.encode()
    data = buffer_bytes(chunk)
    if data is None:
        raise type_error(
            "This TransformStream is being used as a byte stream, but received an object of non-byte type."
        )
    return data


async def _async_chunks(chunks: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield chunk_bytes(chunk)
    finally:
        # Who stops reading early runs the `finally` of the program's generator too, now and not some day.
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


def _chunks(chunks: Any) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk_bytes(chunk)


def stream_of_chunks(chunks: Any, length: int | None = None) -> ReadableStream:
    """A stream of what an iterable, asynchronous or not, yields: text or bytes of any kind."""
    checked = _async_chunks(chunks) if hasattr(chunks, "__aiter__") else _chunks(chunks)
    return ReadableStream.from_iterable(checked, length)


def tee(stream: ReadableStream) -> tuple[ReadableStream, ReadableStream]:
    """Two streams of the same bytes. What one branch has read and the other has not is held in memory."""
    if stream.used:
        raise type_error(LOCKED)
    length = stream.length
    source = ReadableStream(stream.take())
    waiting: list[deque[bytes]] = [deque(), deque()]  # of the branches that still read
    lock = asyncio.Lock()
    ended = False

    async def branch(mine: deque[bytes]) -> AsyncIterator[bytes]:
        nonlocal ended
        try:
            while True:
                if not mine:
                    async with lock:
                        if not mine and not ended:
                            chunk = await source.read(_CHUNK_BYTES)
                            ended = not chunk
                            for other in waiting:
                                other.append(chunk)
                if chunk := mine.popleft() if mine else b"":
                    yield chunk
                else:
                    return
        finally:
            waiting[:] = [other for other in waiting if other is not mine]
            if not waiting:
                await source.cancel()

    left, right = waiting
    return ReadableStream.from_iterable(branch(left), length), ReadableStream.from_iterable(branch(right), length)


class ReadResult(Raw):
    """What a reader's `read()` resolves to."""

    __slots__ = ("done", "value")

    def __init__(self, value: bytes) -> None:
        self.done = not value
        self.value = Uint8Array(value) if value else None


class Reader(Raw):
    """`stream.getReader()`."""

    __slots__ = ("_stream",)
    js_name = "ReadableStreamDefaultReader"

    def __init__(self, stream: ReadableStream) -> None:
        self._stream = stream

    async def read(self, *_view: Any) -> ReadResult:
        return ReadResult(await self._stream.read(_CHUNK_BYTES))

    async def cancel(self, reason: Any = None) -> None:
        await self._stream.cancel()

    def releaseLock(self) -> None:
        """Accepted; the bytes that were read are gone all the same."""


def _get_reader(stream: ReadableStream, *_options: Any, **_keywords: Any) -> Reader:
    if stream.used:
        raise type_error(LOCKED)
    stream.used = True
    return Reader(stream)


async def _pipe_to(stream: ReadableStream, destination: Any, *_options: Any, **options: Any) -> None:
    """Copy the stream into a WritableStream, and close that unless told not to."""
    if stream.used:
        raise type_error(LOCKED)
    init = _options[0] if _options else options
    try:
        while chunk := await stream.read(_CHUNK_BYTES):
            await destination.write(chunk)
    except Exception as error:
        if not init.get("preventAbort"):
            await destination.abort(error)
        raise
    if not init.get("preventClose"):
        await destination.close()


def _pipe_through(stream: ReadableStream, transform: Any, *_options: Any, **_keywords: Any) -> Any:
    from tenantry.runtime.invocation import current

    current().wait_until(_pipe_to(stream, transform.writable))
    return transform.readable


def _new(source: Any = None, *_strategy: Any, **callbacks: Any) -> ReadableStream:
    from workers._web.transforms import stream_of_source

    return stream_of_source(source, callbacks)


def _attach() -> None:
    face: dict[str, Any] = {
        "js_name": "ReadableStream",
        "new": staticmethod(_new),
        "constructor": Raw.constructor,
        "js_object": Raw.js_object,
        "to_py": Raw.to_py,
        "locked": property(lambda stream: stream.used),
        "getReader": _get_reader,
        "tee": tee,
        "pipeTo": _pipe_to,
        "pipeThrough": _pipe_through,
        "_tenantry_value": _value,
    }
    for name, member in face.items():
        setattr(ReadableStream, name, member)


def _value(stream: ReadableStream, capabilities: list[Any]) -> Any:
    return StreamValue(capability_of(stream, capabilities))


def held_stream(index: int, capabilities: list[Any]) -> ReadableStream:
    """The stream that a message names. Raises ProtocolError when it names none."""
    stream = capability(index, capabilities)
    if not isinstance(stream, ReadableStream):
        raise ProtocolError("a body that is not a stream")
    return stream


def capability_of(stream: ReadableStream, capabilities: list[Any]) -> int:
    """Send `stream` itself: its index among the capabilities of the message."""
    if stream.used:
        raise type_error(LOCKED)
    capabilities.append(stream)
    return len(capabilities) - 1


_attach()
