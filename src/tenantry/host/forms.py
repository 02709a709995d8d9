"""Forms, taken apart by the host: what a Worker calls to have the form in a body that it does not read.

Fields come back as text. A file that is larger than what travels inline is written to a file of its own, in the data
folder, and comes back as a stream over it: its bytes never enter the Worker, however large it is, and are gone when its
reader is.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl
from uuid import uuid4

import multipart

from tenantry.errors import BindingError, ProtocolError, StorageFull, StreamError
from tenantry.host.limits import FORM_FIELD_BYTES_MAX, FORM_FIELDS_BYTES_MAX, FORM_PARTS_MAX
from tenantry.host.targets import Permanent, Reply, Thing, close_streams
from tenantry.streams import BytesStream, ByteStream, is_byte_stream, read_all
from tenantry.wire.events import InvocationKind
from tenantry.wire.limits import INLINE_BODY_BYTES_MAX
from tenantry.wire.values import BlobValue, FormDataValue, StreamValue, capability, decode_untrusted, encode

if TYPE_CHECKING:
    from tenantry.host.invocation import Invocation

__all__ = ["FormsTarget"]

_READ_BYTES: Final = 256 * 1024
_WRITE_BYTES: Final = 1024 * 1024
_FILE_BYTES_MAX: Final = 2**63 - 1


class FormsTarget(Permanent):
    """`formData(stream, content_type)`. `folder` is where large files lie while somebody may read them.

    The folder is the target's alone: what an earlier host left there is removed.
    """

    def __init__(self, folder: Path, executor: Executor) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.iterdir():
            leftover.unlink()
        self._folder = folder
        self._executor = executor

    async def call(
        self, invocation: Invocation, kind: InvocationKind, method: str, payload: bytes, things: list[Thing]
    ) -> Reply:
        try:
            stream, content_type = _arguments(method, payload, things)
            media_type, options = multipart.parse_options_header(content_type)
            if media_type == "application/x-www-form-urlencoded":
                return await _urlencoded(stream)
            if media_type != "multipart/form-data" or not options.get("boundary"):
                raise BindingError(
                    "Unrecognized Content-Type header value. FormData can only parse the following MIME types: "
                    "multipart/form-data, application/x-www-form-urlencoded.",
                    "TypeError",
                )
            form = _Form(self._folder, self._executor)
            try:
                await form.read(stream, options["boundary"])
            except BaseException:
                await close_streams(form.things)
                raise
            return Reply(encode(FormDataValue(form.entries)), form.things)
        except multipart.MultipartError as error:
            raise BindingError(f"The form could not be read: {error}", "TypeError") from error
        except StreamError as error:
            raise BindingError("The form broke off before its end.", "TypeError") from error
        finally:
            await close_streams(things)


def _arguments(method: str, payload: bytes, things: list[Thing]) -> tuple[ByteStream, str]:
    args: Any = decode_untrusted(payload)  # a list of what, remains to be seen
    if method != "formData" or type(args) is not list or len(args) != 2 or type(args[1]) is not str:
        raise ProtocolError("a call that forms do not have")
    body = args[0].body if type(args[0]) is StreamValue else None
    if isinstance(body, bytes):
        return BytesStream(body), args[1]
    stream = capability(body, things)
    if not is_byte_stream(stream):
        raise ProtocolError("a stream that is none")
    return stream, args[1]


async def _urlencoded(stream: ByteStream) -> Reply:
    try:
        text = (await read_all(stream, FORM_FIELDS_BYTES_MAX)).decode("utf-8", "replace")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_PARTS_MAX)
    except ValueError as error:
        raise BindingError(f"The form has too many fields, or too large ones: {error}", "TypeError") from error
    return Reply(encode(FormDataValue([*pairs])))


class _Form:
    def __init__(self, folder: Path, executor: Executor) -> None:
        self.entries: list[tuple[str, str | BlobValue]] = []
        self.things: list[Thing] = []
        self._folder = folder
        self._executor = executor
        self._held_bytes = 0

    async def read(self, stream: ByteStream, boundary: str) -> None:
        part: _Part | None = None
        with multipart.PushMultipartParser(
            boundary, max_header_count=16, max_segment_count=FORM_PARTS_MAX, max_segment_size=_FILE_BYTES_MAX
        ) as parser:
            while not parser.closed:
                data = await stream.read(_READ_BYTES)
                for event in parser.parse(data):
                    if isinstance(event, multipart.MultipartSegment):
                        part = _Part(event)
                    elif event:
                        assert part is not None
                        await self._add(part, event)
                    else:
                        assert part is not None
                        await self._end(part)
                        part = None

    async def _add(self, part: _Part, data: bytearray | bytes) -> None:
        part.held += data
        part.size += len(data)
        if part.filename is None:
            if part.size > FORM_FIELD_BYTES_MAX:
                raise BindingError(
                    f"The form field {part.name!r} is larger than {FORM_FIELD_BYTES_MAX} bytes: send it as a file.",
                    "TypeError",
                )
        elif len(part.held) >= _WRITE_BYTES:
            await self._spill(part)

    async def _spill(self, part: _Part) -> None:
        if part.file is None:
            part.file = SpooledFile(self._folder, self._executor)
            self.things.append(part.file)
            part.index = len(self.things) - 1
        data, part.held = part.held, bytearray()
        await part.file.write(data)

    async def _end(self, part: _Part) -> None:
        if part.filename is None:
            self._hold(len(part.held))
            self.entries.append((part.name, part.held.decode("utf-8", "replace")))
            return
        body: bytes | int
        if part.file is None and part.size <= INLINE_BODY_BYTES_MAX:
            self._hold(part.size)
            body = bytes(part.held)
        else:
            await self._spill(part)
            body = part.index
        self.entries.append((part.name, BlobValue(body, part.size, part.content_type, part.filename)))

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        if self._held_bytes > FORM_FIELDS_BYTES_MAX:
            raise BindingError(
                f"The fields of the form are together larger than {FORM_FIELDS_BYTES_MAX} bytes.", "TypeError"
            )


class _Part:
    __slots__ = ("content_type", "file", "filename", "held", "index", "name", "size")

    def __init__(self, segment: multipart.MultipartSegment) -> None:
        self.name = segment.name or ""
        self.filename = segment.filename
        self.content_type = segment.header("Content-Type", "") or ""
        self.held = bytearray()
        self.size = 0
        self.file: SpooledFile | None = None
        self.index = 0


class SpooledFile:
    """A `FileStream`: written once, then read once, by whoever likes from the file itself, and gone when closed."""

    def __init__(self, folder: Path, executor: Executor) -> None:
        self.length: int | None = 0
        self.path = folder / uuid4().hex  # never used again, so whoever comes late finds nothing rather than another's
        self.offset = 0
        self._executor = executor
        self._descriptor = -1
        self._offset = 0
        self._busy: asyncio.Future[Any] | None = None

    async def write(self, data: bytearray) -> None:
        await self._work(lambda: self._append(data))
        assert self.length is not None
        self.length += len(data)

    async def read(self, size_max: int) -> bytes:
        data: bytes = await self._work(lambda: os.pread(self._open(), size_max, self._offset))
        self._offset += len(data)
        return data

    async def aclose(self) -> None:
        # A thread may still be at work with the descriptor, on behalf of somebody who was cancelled.
        if self._busy is not None and not self._busy.done():
            self._busy.add_done_callback(lambda _: self._close())
        else:
            self._close()

    async def _work(self, function: Callable[[], Any]) -> Any:
        self._busy = asyncio.get_running_loop().run_in_executor(self._executor, function)
        try:
            return await asyncio.shield(self._busy)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StorageFull("The form could not be kept: the disk of this platform is full.") from error
            raise StreamError("the file could not be kept") from error

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        return self._descriptor

    def _append(self, data: bytearray) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._open(), view) :]

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with suppress(OSError):
                os.unlink(self.path)
