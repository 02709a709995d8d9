"""Byte streams as the SDK knows them: handles that cost nothing until somebody reads them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Final

from tenantry.channel import RemoteStream
from tenantry.errors import StreamError
from tenantry.streams import BytesStream, ByteStream

if TYPE_CHECKING:
    from tenantry.runtime.stub import StreamStub

__all__ = ["ReadableStream"]

_CHUNK_BYTES: Final = 64 * 1024


class ReadableStream:
    """Bytes that are read once, or passed on unread.

    `length` is the number of bytes where it is known. `used` says that somebody began to read it, or has it now.
    """

    __slots__ = ("_source", "_stub", "length", "used")

    def __init__(self, source: ByteStream) -> None:
        self._source = source
        self._stub: StreamStub | None = None
        self.length = source.length
        self.used = False

    @staticmethod
    def of(data: bytes) -> ReadableStream:
        return ReadableStream(BytesStream(data))

    @staticmethod
    def from_iterable(
        chunks: AsyncIterable[bytes | str] | Iterable[bytes | str], length: int | None = None
    ) -> ReadableStream:
        return ReadableStream(_IterableStream(chunks, length))

    def attach(self, stub: StreamStub) -> None:
        self._stub = stub

    @property
    def stub(self) -> StreamStub | None:
        """Where the host holds the bytes: what it can do with them without their coming here."""
        return self._stub if not self.used else None

    async def read(self, size_max: int) -> bytes:
        """Up to `size_max` bytes, `b""` at the end. Raises OSError when the bytes break off."""
        self.used = True
        try:
            return await self._source.read(size_max)
        except StreamError as error:
            raise OSError(str(error)) from error

    async def read_all(self) -> bytes:
        chunks: list[bytes] = []
        while chunk := await self.read(_CHUNK_BYTES * 4):
            chunks.append(chunk)
        await self._source.aclose()
        return b"".join(chunks)

    async def cancel(self) -> None:
        self.used = True
        await self._source.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read(_CHUNK_BYTES):
            yield chunk

    def take(self) -> ByteStream:
        """The bytes, for somebody else to read. Raises TypeError when they are being read already."""
        if self.used:
            raise TypeError("The ReadableStream has been locked to a reader.")
        self.used = True
        return self._source

    def __repr__(self) -> str:
        return "ReadableStream {}"


class _IterableStream:
    """What a tenant's generator yields. An exception in it breaks the stream off; its text stays in the log."""

    __slots__ = ("_iterator", "_rest", "length")

    def __init__(self, chunks: AsyncIterable[bytes | str] | Iterable[bytes | str], length: int | None) -> None:
        self._iterator = chunks.__aiter__() if isinstance(chunks, AsyncIterable) else _aiter(chunks)
        self._rest = b""
        self.length = length

    async def read(self, size_max: int) -> bytes:
        while not self._rest:
            try:
                chunk = await self._iterator.__anext__()
            except StopAsyncIteration:
                return b""
            self._rest = chunk.encode() if isinstance(chunk, str) else bytes(chunk)
        chunk, self._rest = self._rest[:size_max], self._rest[size_max:]
        return chunk

    async def aclose(self) -> None:
        self._rest = b""
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()


async def _aiter(chunks: Iterable[bytes | str]) -> AsyncIterator[bytes | str]:
    for chunk in chunks:
        yield chunk


def is_remote(source: ByteStream) -> bool:
    """Whether the host holds the bytes, all of them still."""
    return isinstance(source, RemoteStream) and source.untouched
