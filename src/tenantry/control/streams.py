"""Bodies of requests and responses as streams that services take and give: nothing is held whole."""

from __future__ import annotations

from collections import deque

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from tenantry.control import limits
from tenantry.control.body import ApiRequest
from tenantry.control.errors import Invalid, TooLarge
from tenantry.control.upload import multipart_boundary_untrusted
from tenantry.errors import StreamError
from tenantry.streams import ByteStream

__all__ = ["FormStream", "RequestStream", "StreamResponse"]


class RequestStream:
    """The body of a request as a `ByteStream`, with its length where the client said it."""

    def __init__(self, request: ApiRequest) -> None:
        self._receive = request.receive
        self._left = b""
        self._ended = False
        declared = request.headers.get("content-length", "")
        self.length: int | None = None
        if declared.isascii() and declared.isdigit() and len(declared) <= 18:
            self.length = int(declared)

    async def read(self, size_max: int) -> bytes:
        while not self._left and not self._ended:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                self._ended = True
                raise StreamError("the client left before the end of its request")
            if event["type"] == "http.request":
                self._left = event.get("body", b"")
                self._ended = not event.get("more_body", False)
        chunk, self._left = self._left[:size_max], self._left[size_max:]
        return chunk

    async def aclose(self) -> None:
        self._left = b""
        self._ended = True


class FormStream:
    """One part of a multipart form as a `ByteStream`, and the text of another that may come before or after it.

    `part` is streamed; it ends only when the whole form was read, so that `text` is known by then. `read` raises
    Invalid with `code` for what is no such form, TooLarge when the text is too long.
    """

    def __init__(self, body: ByteStream, boundary: str, *, part: str, text_part: str, code: int) -> None:
        self._body = body
        self._parser = PushMultipartParser(boundary, max_segment_count=limits.FORM_PARTS_MAX)
        self._part = part
        self._text_part = text_part
        self._code = code
        self._segment: MultipartSegment | None = None
        self._chunks: deque[bytes] = deque()
        self._found = False
        self._ended = False
        self._text: bytearray | None = None
        self.length: int | None = None

    @classmethod
    def of(cls, request: ApiRequest, *, part: str, text_part: str, code: int) -> FormStream | None:
        """The form of a request, None for a request of another type. Raises Invalid for a form without a boundary."""
        try:
            boundary = multipart_boundary_untrusted(request.headers.get("content-type", ""))
        except Invalid as error:
            raise Invalid(code, error.message) from error
        if boundary is None:
            return None
        return cls(RequestStream(request), boundary, part=part, text_part=text_part, code=code)

    def text(self) -> str | None:
        """The other part, None where the form had none. Known once `read` came to the end."""
        if self._text is None:
            return None
        try:
            return self._text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Invalid(self._code, f"the part {self._text_part} of the form is not UTF-8") from error

    async def read(self, size_max: int) -> bytes:
        while not self._chunks and not self._ended:
            data = await self._body.read(limits.UPLOAD_CHUNK_BYTES)
            try:
                self._feed(data)
            except MultipartError as error:
                raise Invalid(self._code, f"the multipart form is malformed: {error}") from error
        if not self._chunks:
            return b""
        chunk = self._chunks.popleft()
        if len(chunk) > size_max:
            self._chunks.appendleft(chunk[size_max:])
            chunk = chunk[:size_max]
        return chunk

    async def aclose(self) -> None:
        self._chunks.clear()
        self._ended = True
        await self._body.aclose()

    def _feed(self, data: bytes) -> None:
        if not data:
            self._parser.close()
            self._ended = True
            if not self._found:
                raise Invalid(self._code, f"the form has no part named {self._part}")
            return
        for event in self._parser.parse(data):
            if isinstance(event, MultipartSegment):
                self._begin(event)
            elif event is not None:
                self._data(bytes(event))

    def _begin(self, segment: MultipartSegment) -> None:
        self._segment = segment
        if segment.name == self._part:
            if self._found:
                raise Invalid(self._code, f"the form has two parts named {self._part}")
            self._found = True
        elif segment.name == self._text_part:
            if self._text is not None:
                raise Invalid(self._code, f"the form has two parts named {self._text_part}")
            self._text = bytearray()

    def _data(self, data: bytes) -> None:
        assert self._segment is not None, "data outside a part"
        if self._segment.name == self._part:
            self._chunks.append(data)
        elif self._segment.name == self._text_part:
            assert self._text is not None, "begun with the part"
            self._text += data
            if len(self._text) > limits.FORM_TEXT_BYTES_MAX:
                raise TooLarge(self._code, f"the part {self._text_part} of the form is too long")


class StreamResponse(ASGIResponse):
    """A body from a stream, which is closed whatever happens to the client."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ByteStream, *, media_type: str, headers: dict[str, str]) -> None:
        assert stream.length is not None, "for bodies of a known length"
        super().__init__(content_length=stream.length, media_type=media_type, headers=headers)
        self._stream = stream

    async def send_body(self, send: Send, receive: Receive) -> None:
        try:
            while chunk := await self._stream.read(limits.DOWNLOAD_CHUNK_BYTES):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._stream.aclose()
