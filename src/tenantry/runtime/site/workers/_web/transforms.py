"""Streams that a program writes to: WritableStream, TransformStream, and `ReadableStream.new({pull})`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from workers._errors import type_error
from workers._web.raw import Raw, init_options
from workers._web.streams import ReadableStream, chunk_bytes

__all__ = ["FixedLengthStream", "TransformStream", "WritableStream", "stream_of_source"]

WAITING_BYTES_MAX: Final = 256 * 1024
"""What a writer may be ahead of the reader before `write()` waits."""


async def _awaited(result: Any) -> Any:
    return await result if hasattr(result, "__await__") else result


class Pipe:
    """Bytes between one writer and one reader. The writer waits while the reader is far behind."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._ended = False
        self._cancelled = False
        self._error: BaseException | None = None
        self._changed = asyncio.Event()

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def push(self, data: bytes) -> None:
        if self._ended:
            raise type_error("This WritableStream has been closed.")
        if data and not self._cancelled:
            self._chunks.append(data)
            self._waiting_bytes += len(data)
            self._change()

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    async def write(self, data: bytes) -> None:
        self.push(data)
        while self._waiting_bytes > WAITING_BYTES_MAX and not self._cancelled:
            await self._changed.wait()

    def end(self, error: BaseException | None = None) -> None:
        self._ended = True
        self._error = self._error or error
        self._change()

    @property
    def ended(self) -> bool:
        return self._ended or self._cancelled

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                if self._chunks:
                    chunk = self._chunks.popleft()
                    self._waiting_bytes -= len(chunk)
                    self._change()
                    yield chunk
                elif self._error is not None:
                    raise self._error
                elif self._ended:
                    return
                else:
                    await self._changed.wait()
        finally:
            self._cancelled = True
            self._chunks.clear()
            self._waiting_bytes = 0
            self._change()


class WritableStream(Raw):
    """`getWriter()`, or the three methods of a writer directly."""

    __slots__ = ("_abort", "_close", "_write", "locked")
    js_name = "WritableStream"

    def __init__(self, sink: dict[str, Any] | None = None, **callbacks: Any) -> None:
        init = init_options(sink, callbacks)
        self._write = init.get("write")
        self._close = init.get("close")
        self._abort = init.get("abort")
        self.locked = False

    def getWriter(self) -> Writer:
        if self.locked:
            raise type_error("This WritableStream is currently locked to a writer.")
        self.locked = True
        return Writer(self)

    async def write(self, chunk: Any) -> None:
        if self._write is not None:
            await _awaited(self._write(chunk))

    async def close(self) -> None:
        if self._close is not None:
            await _awaited(self._close())

    async def abort(self, reason: Any = None) -> None:
        if self._abort is not None:
            await _awaited(self._abort(reason))


class Writer(Raw):
    __slots__ = ("_stream",)
    js_name = "WritableStreamDefaultWriter"

    def __init__(self, stream: WritableStream) -> None:
        self._stream = stream

    async def write(self, chunk: Any) -> None:
        await self._stream.write(chunk)

    async def close(self) -> None:
        await self._stream.close()

    async def abort(self, reason: Any = None) -> None:
        await self._stream.abort(reason)

    def releaseLock(self) -> None:
        self._stream.locked = False


class _Controller(Raw):
    """What the callbacks of a source or a transformer get."""

    __slots__ = ("_pipe",)

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    @property
    def desiredSize(self) -> int:
        return WAITING_BYTES_MAX - self._pipe.waiting_bytes

    def enqueue(self, chunk: Any) -> None:
        self._pipe.push(chunk_bytes(chunk))

    def close(self) -> None:
        self._pipe.end()

    terminate = close

    def error(self, reason: Any = None) -> None:
        self._pipe.end(reason if isinstance(reason, BaseException) else type_error(str(reason)))


class TransformStream(Raw):
    """Two ends of a pipe. A transformer `{start, transform, flush}` stands between them, if one was given."""

    __slots__ = ("readable", "writable")
    js_name = "TransformStream"

    def __init__(self, transformer: dict[str, Any] | None = None, *_strategies: Any, **callbacks: Any) -> None:
        self._open(init_options(transformer, callbacks), None)

    def _open(self, init: dict[str, Any], length: int | None) -> None:
        pipe = Pipe()
        controller = _Controller(pipe)
        transform, flush, start = init.get("transform"), init.get("flush"), init.get("start")
        if start is not None:
            start(controller)

        async def write(chunk: Any) -> None:
            if transform is None:
                await pipe.write(chunk_bytes(chunk))
            else:
                await _awaited(transform(chunk, controller))
                await pipe.write(b"")

        async def close() -> None:
            if flush is not None:
                await _awaited(flush(controller))
            pipe.end()

        def abort(reason: Any) -> None:
            pipe.end(reason if isinstance(reason, BaseException) else OSError(str(reason)))

        self.readable = ReadableStream.from_iterable(pipe.chunks(), length)
        self.writable = WritableStream(write=write, close=close, abort=abort)


class FixedLengthStream(TransformStream):
    """A pipe whose length is known before it is filled."""

    __slots__ = ()
    js_name = "FixedLengthStream"

    def __init__(self, length: int, *_strategies: Any) -> None:
        self._open({}, int(length))


def stream_of_source(source: dict[str, Any] | None, callbacks: dict[str, Any]) -> ReadableStream:
    """`new ReadableStream({start, pull, cancel})`: what the callbacks enqueue."""
    init = init_options(source, callbacks)
    pipe = Pipe()
    controller = _Controller(pipe)

    async def chunks() -> AsyncIterator[bytes]:
        if (start := init.get("start")) is not None:
            await _awaited(start(controller))
        pull = init.get("pull")
        inner = pipe.chunks()
        try:
            while True:
                while pull is not None and not pipe.ended and not pipe.waiting_bytes:
                    before = pipe.waiting_bytes
                    await _awaited(pull(controller))
                    if pipe.waiting_bytes == before:
                        break  # it will enqueue later
                try:
                    yield await anext(inner)
                except StopAsyncIteration:
                    return
        finally:
            finished = pipe.ended
            await inner.aclose()
            if not finished and (cancel := init.get("cancel")) is not None:
                await _awaited(cancel(None))

    return ReadableStream.from_iterable(chunks())
