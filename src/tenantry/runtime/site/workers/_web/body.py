"""Bodies of requests and responses: nothing, bytes in memory, or a stream that nobody has read yet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tenantry.wire.events import InvocationKind
from tenantry.wire.limits import INLINE_BODY_BYTES_MAX
from workers._errors import JsException, type_error
from workers._web.blob import Blob
from workers._web.buffers import ArrayBuffer, DataView, Uint8Array, buffer_bytes
from workers._web.form_data import FormData, encode_multipart, form_type, parse_form
from workers._web.headers import Headers, Pairs, first
from workers._web.raw import JSNULL, Raw
from workers._web.streams import LOCKED, ReadableStream, capability_of, held_stream, stream_of_chunks, tee

if TYPE_CHECKING:
    from workers.rpc import JsArray, JsObject

__all__ = ["Body", "body_from_field", "extract_body", "is_body", "raw_json"]

Content = bytes | ReadableStream | None
_Bytes = bytes
"""For annotations below a method that JavaScript calls `bytes`."""

USED = "Body has already been used. It can only be used once. Use tee() first if you need to read it twice."


def extract_body(body: Any) -> tuple[Content, str | None]:
    """(content, content type) of anything that can be a body. Raises TypeError for what cannot."""
    if body is None or body is JSNULL:
        return None, None
    if isinstance(body, str):
        return body.encode(), "text/plain;charset=UTF-8"
    if type(body) is bytes:
        return body, None
    raw = getattr(body, "js_object", body)
    if isinstance(raw, ReadableStream):
        if raw.used:
            raise type_error(LOCKED)
        return raw, None
    if isinstance(raw, Blob):
        return (raw.stream() if raw.data is None else raw.data), raw.type or None
    if isinstance(raw, FormData):
        form, size, content_type = encode_multipart(raw)
        return (form if isinstance(form, bytes) else ReadableStream.from_iterable(form, size)), content_type
    if isinstance(raw, Body):
        return raw.take(), None
    if getattr(raw, "js_name", "") == "URLSearchParams":
        return str(raw).encode(), "application/x-www-form-urlencoded;charset=UTF-8"
    data = buffer_bytes(body)
    if data is not None:
        return data, None
    if hasattr(body, "__aiter__") or hasattr(body, "__next__"):
        return stream_of_chunks(body), None
    raise TypeError(f"A body cannot be made of {type(body).__name__}")


def is_body(body: Any) -> bool:
    """Whether the SDK's Response accepts it. bytearray, memoryview, dict and list are refused, as by Cloudflare's."""
    if body is None or isinstance(body, (str, bytes)):
        return True
    raw = getattr(body, "js_object", body)
    return (
        isinstance(raw, (ReadableStream, Blob, FormData, ArrayBuffer, Uint8Array, DataView))
        or getattr(raw, "js_name", "") == "URLSearchParams"
        or raw is JSNULL
        or hasattr(body, "__aiter__")
        or hasattr(body, "__next__")
    )


def body_from_field(field: bytes | int | None, capabilities: list[Any]) -> Content:
    """The body that a message carries: `field` is None, the bytes, or the index of a stream."""
    return field if field is None or isinstance(field, bytes) else held_stream(field, capabilities)


def raw_json(value: Any) -> Any:
    """What JavaScript's `JSON.parse` returns: objects with attributes."""
    return json.loads(value, object_pairs_hook=_raw_object, parse_float=_number) if value else json.loads(value)


def _raw_object(pairs: list[tuple[str, Any]]) -> JsObject:
    from workers.rpc import JsObject

    return JsObject((key, _raw_array(item) if type(item) is list else item) for key, item in pairs)


def _raw_array(items: list[Any]) -> JsArray:
    from workers.rpc import JsArray

    return JsArray(_raw_array(item) if type(item) is list else item for item in items)


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


class Body(Raw):
    """What Request and Response share. `_body` is what was not read yet; `_used` says that somebody took it."""

    __slots__ = ("_body", "_pairs", "_used")

    _body: Content
    _pairs: Pairs
    _used: bool

    @property
    def headers(self) -> Headers:
        return Headers.over(self._pairs)

    @property
    def pairs(self) -> Pairs:
        return self._pairs

    @property
    def bodyUsed(self) -> bool:
        return self._used or (isinstance(self._body, ReadableStream) and self._body.used)

    @property
    def body(self) -> ReadableStream | None:
        """The body as a stream. Reading the stream is reading the body."""
        if type(self._body) is bytes:
            self._body = ReadableStream.of(self._body)
            self._body.used = self._used
        return self._body  # type: ignore[return-value]  # bytes were replaced above

    def take(self) -> Content:
        """The body, which from here on belongs to the caller. Raises TypeError when it was used before."""
        if self.bodyUsed:
            raise type_error(USED)
        if self._body is not None:
            self._used = True
        return self._body

    def split(self) -> Content:
        """A second body of the same bytes, for `clone()`."""
        if self.bodyUsed:
            raise type_error("Cannot clone a body that has already been used.")
        if isinstance(self._body, ReadableStream):
            self._body, twin = tee(self._body)
            return twin
        return self._body

    async def bytes(self) -> bytes:
        content = self.take()
        if content is None:
            return b""
        return content if isinstance(content, bytes) else await content.read_all()

    async def arrayBuffer(self) -> ArrayBuffer:
        return ArrayBuffer(await self.bytes())

    async def text(self) -> str:
        data = await self.bytes()
        text = data.decode("utf-8", "replace")
        return text[1:] if text[:1] == "\ufeff" else text

    async def json(self) -> Any:
        text = await self.text()
        try:
            value = raw_json(text)
        except ValueError as error:
            raise JsException("SyntaxError", str(error)) from error
        return _raw_array(value) if type(value) is list else value

    async def blob(self) -> Blob:
        content_type = first(self._pairs, "content-type") or ""
        content = self.take()
        if isinstance(content, ReadableStream):
            content = await content.read_all()
        return Blob.of(content or b"", content_type)

    async def formData(self) -> FormData:
        """A form. One whose bytes the host holds is parsed by the host: its files do not come here."""
        content_type = first(self._pairs, "content-type")
        form_type(content_type)
        content = self.take()
        if not isinstance(content, ReadableStream):
            return parse_form(content or b"", content_type)
        stub = content.stub
        if stub is None:
            return parse_form(await content.read_all(), content_type)
        form = await stub.call(InvocationKind.RPC, "formData", [content_type])
        raw = getattr(form, "js_object", form)
        if not isinstance(raw, FormData):
            raise type_error("FormData parsing failed.")
        return raw

    def _field(self, capabilities: list[Any]) -> _Bytes | int | None:
        """The body as a message carries it. It is used then."""
        content = self.take()
        if content is None:
            return None
        if isinstance(content, bytes):
            if len(content) <= INLINE_BODY_BYTES_MAX:
                return content
            content = ReadableStream.of(content)
        return capability_of(content, capabilities)
