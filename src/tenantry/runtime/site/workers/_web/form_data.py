"""js.FormData, and forms as bytes: parsing what arrived in memory, writing what leaves."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

# Here and not where it is used: the loader hides the runtime's own packages from the tenant before its code runs.
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from tenantry.wire.values import BlobValue, FormDataValue
from workers._errors import type_error
from workers._web.blob import Blob, File
from workers._web.raw import Raw, js_string

__all__ = ["FormData", "encode_multipart", "parse_form"]

FORM_PARTS_MAX: Final = 10_000
FORM_HEADER_BYTES_MAX: Final = 8 * 1024

Entry = str | Blob


class FormData(Raw):
    """Pairs in order; names repeat."""

    __slots__ = ("pairs",)
    js_name = "FormData"

    def __init__(self, pairs: list[tuple[str, Entry]] | None = None) -> None:
        self.pairs: list[tuple[str, Entry]] = pairs if pairs is not None else []

    def append(self, name: Any, value: Any, filename: str | None = None) -> None:
        self.pairs.append((js_string(name), _entry(value, filename)))

    def set(self, name: Any, value: Any, filename: str | None = None) -> None:
        """Replaces all values of the name, in the place of the first."""
        key, entry = js_string(name), _entry(value, filename)
        pairs: list[tuple[str, Entry]] = []
        replaced = False
        for pair in self.pairs:
            if pair[0] != key:
                pairs.append(pair)
            elif not replaced:
                pairs.append((key, entry))
                replaced = True
        if not replaced:
            pairs.append((key, entry))
        self.pairs = pairs

    def get(self, name: str) -> Entry | None:
        for known, value in self.pairs:
            if known == name:
                return value
        return None

    def getAll(self, name: str) -> list[Entry]:
        return [value for known, value in self.pairs if known == name]

    def has(self, name: str) -> bool:
        return any(known == name for known, _ in self.pairs)

    def delete(self, name: str) -> None:
        self.pairs = [pair for pair in self.pairs if pair[0] != name]

    def entries(self) -> Iterator[tuple[str, Entry]]:
        return iter(list(self.pairs))

    def keys(self) -> Iterator[str]:
        return iter([name for name, _ in self.pairs])

    def values(self) -> Iterator[Entry]:
        return iter([value for _, value in self.pairs])

    def forEach(self, callback: Any) -> None:
        for name, value in list(self.pairs):
            callback(value, name, self)

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return self.entries()

    def to_py(self, **_options: Any) -> FormData:
        return self

    def _tenantry_value(self, capabilities: list[Any]) -> FormDataValue:
        entries: list[tuple[str, str | BlobValue]] = [
            (name, value if isinstance(value, str) else value._tenantry_value(capabilities))
            for name, value in self.pairs
        ]
        return FormDataValue(entries)


def _entry(value: Any, filename: str | None) -> Entry:
    raw = getattr(value, "js_object", value)
    if not isinstance(raw, Blob):
        return js_string(value)
    if filename is not None:
        return raw.named(filename, raw.lastModified if isinstance(raw, File) else None)
    return raw if isinstance(raw, File) else raw.named("blob")


def form_type(content_type: str | None) -> tuple[str, str]:
    """(kind of form, boundary) of a Content-Type. Raises TypeError for one that is not of a form."""
    if not content_type:
        raise type_error("Parsing a Body as FormData requires a Content-Type header.")
    kind, parameters = parse_options_header(content_type)
    if kind == "multipart/form-data":
        boundary = parameters.get("boundary", "")
        if not boundary:
            raise type_error(
                "No boundary string in Content-Type header. The multipart/form-data MIME type requires a boundary "
                "parameter."
            )
        return kind, boundary
    if kind == "application/x-www-form-urlencoded":
        return kind, ""
    raise type_error(
        f'Unrecognized Content-Type header value "{content_type}". FormData can only parse the following MIME types: '
        "multipart/form-data, application/x-www-form-urlencoded."
    )


def parse_form(data: bytes, content_type: str | None) -> FormData:
    """A form that is in memory. Raises TypeError for what is not one."""
    kind, boundary = form_type(content_type)
    if kind == "application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(
                data.decode("utf-8", "replace"),
                keep_blank_values=True,
                max_num_fields=FORM_PARTS_MAX,
                errors="replace",
            )
        except ValueError as error:
            raise type_error(f"FormData parsing failed: {error}") from error
        return FormData([(name, value) for name, value in pairs])
    try:
        return FormData(list(_parts(data, boundary)))
    except MultipartError as error:
        raise type_error(f"FormData parsing failed: {error}") from error


def _parts(data: bytes, boundary: str) -> Iterator[tuple[str, Entry]]:
    segment: MultipartSegment | None = None
    chunks: list[bytes] = []
    parser = PushMultipartParser(
        boundary, max_segment_count=FORM_PARTS_MAX, max_header_size=FORM_HEADER_BYTES_MAX, max_header_count=32
    )
    with parser:
        for event in parser.parse(data) if data else ():
            if isinstance(event, MultipartSegment):
                segment, chunks = event, []
            elif event:
                chunks.append(bytes(event))
            elif segment is not None:
                body = b"".join(chunks)
                name = segment.name or ""
                if segment.filename is None:
                    yield name, body.decode("utf-8", "replace")
                else:
                    content_type = segment.header("Content-Type") or "application/octet-stream"
                    yield name, File.from_value(BlobValue(body, len(body), content_type, segment.filename), body)


def _quoted(text: str) -> str:
    return text.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")


def encode_multipart(form: FormData) -> tuple[bytes | AsyncIterator[bytes], int, str]:
    """(body, its size, content type). The body is bytes unless a file of the form is not in memory."""
    boundary = f"----tenantry{os.urandom(16).hex()}"
    pieces: list[bytes | Blob] = []
    for name, value in form.pairs:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
        if isinstance(value, str):
            pieces.append(f"{head}\r\n\r\n{value}\r\n".encode())
            continue
        filename = value.name if isinstance(value, File) else "blob"
        content_type = value.type or "application/octet-stream"
        pieces.append(f'{head}; filename="{_quoted(filename)}"\r\nContent-Type: {content_type}\r\n\r\n'.encode())
        pieces.append(value if value.data is None else value.data)
        pieces.append(b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    size = sum(piece.size if isinstance(piece, Blob) else len(piece) for piece in pieces)
    content = f"multipart/form-data; boundary={boundary}"
    if any(isinstance(piece, Blob) for piece in pieces):
        return _stream_pieces(pieces), size, content
    return b"".join(piece for piece in pieces if isinstance(piece, bytes)), size, content


async def _stream_pieces(pieces: list[bytes | Blob]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        else:
            async for chunk in piece.stream():
                yield chunk
