"""Bodies as handles: what moves between sockets, disks and worker processes without being held in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from typing_extensions import TypeIs


@runtime_checkable
class ByteStream(Protocol):
    """Bytes that are read once, in order, by one reader.

    `length` is the number of bytes left at the start, or None where nobody knows it yet.

    `read` returns at least one and at most `size_max` bytes, and `b""` at the end and ever after. It raises
    `tenantry.errors.StreamError` when the bytes break off; what was read before is then not the whole.

    `aclose` gives back what the stream holds (a file, a window of a peer). It may be called at any time, more than
    once, also while a `read` is cancelled. Whoever reads the stream owns it and closes it.
    """

    length: int | None

    async def read(self, size_max: int) -> bytes: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class FileStream(ByteStream, Protocol):
    """A stream whose bytes lie in a file, so that the kernel can move them: `path` from `offset`, `length` bytes.

    The file is immutable, and stays until `aclose`.
    """

    path: Path
    offset: int


def is_byte_stream(thing: object) -> TypeIs[ByteStream]:
    """Whether a thing is a ByteStream: `isinstance`, remembered for each type, since it is asked for every argument."""
    kind = type(thing)
    known = _BYTE_STREAM_TYPES.get(kind)
    if known is None:
        known = _BYTE_STREAM_TYPES[kind] = isinstance(thing, ByteStream)
    return known


_BYTE_STREAM_TYPES: dict[type, bool] = {}


class BytesStream:
    """A stream over bytes that are in memory already."""

    __slots__ = ("_data", "_offset", "length")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0
        self.length: int | None = len(data)

    def take(self) -> bytes:
        """The rest of it at once."""
        data = self._data[self._offset :]
        self._offset += len(data)
        return data

    async def read(self, size_max: int) -> bytes:
        chunk = self._data[self._offset : self._offset + size_max]
        self._offset += len(chunk)
        return chunk

    async def aclose(self) -> None:
        self._data = b""
        self._offset = 0


async def read_all(stream: ByteStream, bytes_max: int) -> bytes:
    """The whole of a stream, closed afterwards. Raises ValueError once it holds more than `bytes_max`."""
    try:
        if stream.length is not None and stream.length > bytes_max:
            raise ValueError(f"{stream.length} bytes where at most {bytes_max} are allowed")
        chunks: list[bytes] = []
        size = 0
        while chunk := await stream.read(bytes_max - size + 1):
            size += len(chunk)
            if size > bytes_max:
                raise ValueError(f"more than {bytes_max} bytes")
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        await stream.aclose()
