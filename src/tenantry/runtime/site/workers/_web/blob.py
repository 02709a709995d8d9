"""Blob and File as JavaScript has them: bytes in memory, a stream that the host holds, or parts of either.

A file of an upload stays with the host until somebody reads it. `read()` brings its bytes here, once and for all;
`stream()` hands the handle on, and then the bytes are elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Final

from tenantry.wire.limits import INLINE_BODY_BYTES_MAX
from tenantry.wire.values import BlobValue
from workers._errors import range_error, type_error
from workers._web.buffers import ArrayBuffer, buffer_bytes
from workers._web.raw import Raw, init_options, js_string
from workers._web.streams import ReadableStream, capability_of

__all__ = ["BLOB_BYTES_MAX", "Blob", "File"]

BLOB_BYTES_MAX: Final = 128 * 1024 * 1024
"""workerd's limit on a Blob that a program makes."""

_MOVED = "The contents of the Blob were passed on unread. Read them first, with bytes(), to use them twice."


class Blob(Raw):
    __slots__ = ("_data", "_parts", "_stream", "size", "type")
    js_name = "Blob"

    def __init__(self, parts: Any = (), options: dict[str, Any] | None = None, **keywords: Any) -> None:
        init = init_options(options, keywords)
        native = init.get("endings") == "native"
        self._fill([_part(part, native) for part in (parts or ())], str(init.get("type") or ""))

    def _fill(self, parts: list[bytes | Blob], content_type: str) -> None:
        self.type = content_type.lower()
        self._stream: ReadableStream | None = None
        self._data: bytes | None = None
        self._parts: list[tuple[Blob, int, int]] = []
        if all(type(part) is bytes or part._data is not None for part in parts):  # type: ignore[union-attr]
            self._data = b"".join(part if type(part) is bytes else part._data for part in parts)  # type: ignore[union-attr,misc]
            self.size = len(self._data)
        else:
            blobs = [part if isinstance(part, Blob) else Blob.of(part) for part in parts]
            self._parts = [(blob, 0, blob.size) for blob in blobs]
            self.size = sum(blob.size for blob in blobs)
        if self.size > BLOB_BYTES_MAX:
            raise range_error(f"Blob size {self.size} exceeds limit {BLOB_BYTES_MAX}")

    @classmethod
    def of(cls, data: bytes, content_type: str = "") -> Blob:
        blob = Blob.__new__(Blob)
        blob._fill([data], content_type)
        return blob

    @staticmethod
    def from_value(value: BlobValue, body: bytes | ReadableStream) -> Blob:
        blob: Blob
        if value.name is None:
            blob = Blob.__new__(Blob)
        else:
            blob = file = File.__new__(File)
            file.name = value.name
            file.lastModified = value.last_modified
        blob.type = value.content_type
        blob.size = len(body) if isinstance(body, bytes) else max(value.size, 0)
        blob._parts = []
        blob._data, blob._stream = (body, None) if isinstance(body, bytes) else (None, body)
        return blob

    def named(self, name: str, last_modified: int | None = None) -> File:
        """This blob's bytes as a File. They are shared, or move along with the stream."""
        file = File.__new__(File)
        file._data, file._stream, file._parts = self._data, self._stream, self._parts
        file.size, file.type, file.name = self.size, self.type, name
        file.lastModified = int(time.time() * 1000) if last_modified is None else last_modified
        return file

    @property
    def data(self) -> bytes | None:
        """The bytes, where they are in memory."""
        return self._data

    async def read(self) -> bytes:
        """The bytes, which stay in memory from here on."""
        if self._data is None:
            if self._stream is not None:
                if self._stream.used:
                    raise type_error(_MOVED)
                self._data = await self._stream.read_all()
                self._stream = None
            else:
                self._data = b"".join([(await blob.read())[start:end] for blob, start, end in self._parts])
                self._parts = []
        return self._data

    def stream(self) -> ReadableStream:
        """The bytes as a stream: the very handle, where the host has them."""
        if self._data is not None:
            return ReadableStream.of(self._data)
        if self._stream is not None:
            if self._stream.used:
                raise type_error(_MOVED)
            return self._stream
        return ReadableStream.from_iterable(self._chunks(), self.size)

    async def _chunks(self) -> AsyncIterator[bytes]:
        for blob, start, end in self._parts:
            yield (await blob.read())[start:end]

    def slice(self, start: int | None = None, end: int | None = None, content_type: str | None = None) -> Blob:
        first, last, _ = slice(start, end).indices(self.size)
        last = max(first, last)
        if self._data is not None:
            return Blob.of(self._data[first:last], content_type or "")
        blob = Blob.__new__(Blob)
        blob._data, blob._stream = None, None
        blob._parts = [(self, first, last)]
        blob.size = last - first
        blob.type = (content_type or "").lower()
        return blob

    async def text(self) -> str:
        return (await self.read()).decode("utf-8", "replace")

    async def arrayBuffer(self) -> ArrayBuffer:
        return ArrayBuffer(await self.read())

    async def bytes(self) -> bytes:
        return await self.read()

    def _tenantry_value(self, capabilities: list[Any]) -> BlobValue:
        body: bytes | int
        if self._data is not None and len(self._data) <= INLINE_BODY_BYTES_MAX:
            body = self._data
        else:
            body = capability_of(self.stream(), capabilities)
        return BlobValue(body, self.size, self.type)


class File(Blob):
    __slots__ = ("lastModified", "name")
    js_name = "File"

    def __init__(self, parts: Any = (), name: str = "", options: dict[str, Any] | None = None, **keywords: Any) -> None:
        init = init_options(options, keywords)
        super().__init__(parts, init)
        self.name = js_string(name)
        modified = init.get("lastModified")
        self.lastModified = int(time.time() * 1000) if modified is None else int(modified)

    def _tenantry_value(self, capabilities: list[Any]) -> BlobValue:
        value = super()._tenantry_value(capabilities)
        value.name = self.name
        value.last_modified = self.lastModified
        return value


def _part(part: Any, native_endings: bool) -> bytes | Blob:
    raw = getattr(part, "js_object", part)
    if isinstance(raw, Blob):
        return raw
    if isinstance(part, str):
        if native_endings:
            part = part.replace("\r\n", "\n").replace("\r", "\n")
        return str(part).encode()
    data = buffer_bytes(part)
    return js_string(part).encode() if data is None else data
