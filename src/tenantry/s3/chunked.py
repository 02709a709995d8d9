"""`Content-Encoding: aws-chunked`: bodies in chunks that may be signed, with trailers behind. Bytes in, bytes out.

    10000;chunk-signature=ad80c730...648\\r\\n   size in hex, and in the signed forms a signature
    <65,536 bytes>\\r\\n
    0;chunk-signature=b6c6ea8a...8d9\\r\\n       the last chunk is empty
    x-amz-checksum-crc32c:sOO8/Q==\\r\\n         trailers, where the request announced them
    x-amz-trailer-signature:63bddb24...\\r\\n    over the trailers, in the signed form
    \\r\\n

    STREAMING-AWS4-HMAC-SHA256-PAYLOAD             signed chunks
    STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER     signed chunks, then signed trailers
    STREAMING-UNSIGNED-PAYLOAD-TRAILER             plain chunks, then plain trailers

A chunk's bytes come out before its signature is known to be right, so that memory stays flat whatever its size. Who
takes them in must not keep them if a later `feed` or `finish` raises. Nothing but S3Error is raised.

Source: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tenantry.s3.errors import S3Error, error
from tenantry.s3.limits import CHUNK_BYTES_MAX, CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX
from tenantry.s3.sigv4 import chunk_signature, trailer_signature

__all__ = ["STREAMING_FORMS", "ChunkSigner", "ChunkedDecoder"]

STREAMING_FORMS: Final = {
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": (True, False),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": (True, True),
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": (False, True),
}
"""Values of `x-amz-content-sha256`: whether the chunks are signed, and whether trailers follow."""

_CHUNK_LINE: Final = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_TRAILER_LINE: Final = re.compile(rb"([A-Za-z0-9-]{1,64})\s*:[ \t]*([\x21-\x7e]*)[ \t]*")
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"


@dataclass(frozen=True, slots=True)
class ChunkSigner:
    """What the chunks' signatures are made of; `seed` is the request's own signature."""

    key: bytes
    time: str
    scope: str
    seed: str


class _State(Enum):
    LINE = "a chunk's first line"
    DATA = "its bytes"
    DATA_END = "the line end behind them"
    REST = "what follows the last chunk"


def _malformed(what: str) -> S3Error:
    return error("InvalidRequest", f"The aws-chunked body is malformed: {what}.")


class ChunkedDecoder:
    """Decodes one body of `length` bytes (`x-amz-decoded-content-length`).

    `trailers` are the names that the request announced (`x-amz-trailer`), in lower case; `values` has what came.
    """

    def __init__(self, length: int, signer: ChunkSigner | None, trailers: Collection[str]) -> None:
        self.values: Mapping[str, str] = {}
        self._length = length
        self._signer = signer
        self._previous = "" if signer is None else signer.seed
        self._announced = frozenset(trailers)
        self._state = _State.LINE
        self._line = bytearray()
        self._left = 0
        self._received = 0
        self._hash = hashlib.sha256()
        self._given = ""

    def feed(self, data: bytes) -> list[bytes]:
        """The payload that is in the next bytes of the body. Raises S3Error."""
        pieces: list[bytes] = []
        view = memoryview(data)
        while view:
            if self._state is _State.DATA:
                piece = bytes(view[: self._left])
                view = view[len(piece) :]
                self._left -= len(piece)
                if self._signer is not None:
                    self._hash.update(piece)
                pieces.append(piece)
                if not self._left:
                    self._end_chunk()
                    self._state = _State.DATA_END
            elif self._state is _State.REST:
                self._line += view
                if len(self._line) > TRAILER_BYTES_MAX:
                    raise _malformed(f"more than {TRAILER_BYTES_MAX} bytes follow its last chunk")
                break
            else:
                view = self._read_line(view)
        return pieces

    def _read_line(self, view: memoryview) -> memoryview:
        """Takes bytes up to the end of a line, and acts on it when it is whole."""
        head = bytes(view[:CHUNK_LINE_BYTES_MAX])
        end = head.find(b"\n")
        self._line += head if end < 0 else head[: end + 1]
        if len(self._line) > CHUNK_LINE_BYTES_MAX:
            raise _malformed(f"a line of more than {CHUNK_LINE_BYTES_MAX} bytes where a chunk should begin")
        if end < 0:
            return view[len(head) :]
        line = bytes(self._line)
        self._line.clear()
        if not line.endswith(b"\r\n"):
            raise _malformed("a line does not end in CR LF")
        if self._state is _State.LINE:
            self._begin_chunk(line[:-2])
        elif line != b"\r\n":
            raise _malformed("a chunk is longer than it says")
        else:
            self._state = _State.LINE
        return view[end + 1 :]

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise _malformed("a chunk has no size in hexadecimal")
        size = int(match[1], 16)
        if (match[2] is not None) != (self._signer is not None):
            raise _malformed("chunk signatures are there exactly when x-amz-content-sha256 announces them")
        self._given = match[2].decode() if match[2] is not None else ""
        self._received += size
        if size > CHUNK_BYTES_MAX or self._received > self._length:
            raise error("IncompleteBody", "The body is longer than x-amz-decoded-content-length says.")
        self._left = size
        if size:
            self._state = _State.DATA
        else:
            self._end_chunk()
            self._state = _State.REST

    def _end_chunk(self) -> None:
        if self._signer is None:
            return
        signer = self._signer
        expected = chunk_signature(signer.key, signer.time, signer.scope, self._previous, self._hash.hexdigest())
        if not hmac.compare_digest(expected, self._given):
            raise error("SignatureDoesNotMatch")
        self._previous = expected
        self._hash = hashlib.sha256()

    def finish(self) -> None:
        """The body has ended: everything is there, and the trailers are right. Raises S3Error."""
        if self._state is not _State.REST or self._received != self._length:
            raise error("IncompleteBody")
        found: dict[str, str] = {}
        signed = b""
        for line in bytes(self._line).split(b"\n"):
            text = line.removesuffix(b"\r")
            if not text:
                continue
            match = _TRAILER_LINE.fullmatch(text)
            if match is None:
                raise _malformed("a trailer is not 'name:value'")
            name, value = match[1].decode().lower(), match[2].decode()
            if name in found or name not in (*self._announced, _TRAILER_SIGNATURE):
                raise _malformed("a trailer that x-amz-trailer did not announce")
            found[name] = value
            if name != _TRAILER_SIGNATURE:
                signed += f"{name}:{value}\n".encode()
        signature = found.pop(_TRAILER_SIGNATURE, "")
        if found.keys() != self._announced:
            raise _malformed("a trailer is missing that x-amz-trailer announced")
        if self._signer is not None and self._announced:
            signer = self._signer
            expected = trailer_signature(signer.key, signer.time, signer.scope, self._previous, signed)
            if not hmac.compare_digest(expected, signature):
                raise error("SignatureDoesNotMatch")
        self.values = found
