"""The body of a request as its sender vouches for it: by a hash, chunk by chunk, with checksums in headers or trailers.

A `Payload` is a stream that breaks off when something in it is wrong; `failure` then says what. Digests of the whole
are not taken here but asked of the storage (`checks`), which hashes anyway, in its own threads.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from tenantry.errors import StreamError
from tenantry.s3.chunked import STREAMING_FORMS, ChunkedDecoder, ChunkSigner
from tenantry.s3.errors import S3Error, error, not_implemented
from tenantry.s3.limits import BODY_IDLE_SECONDS_MAX, DRAIN_SECONDS_MAX
from tenantry.s3.request import S3Request
from tenantry.s3.sigv4 import UNSIGNED_PAYLOAD, Claim
from tenantry.services.r2.checksums import CHECKSUM_BYTES, Checksum, digest_of

__all__ = [
    "CHECKSUM_HEADER",
    "Payload",
    "Receive",
    "algorithm_named",
    "decoded_checksum",
    "drop",
    "payload_hash",
    "read_whole",
]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

CHECKSUM_HEADER: Final = "x-amz-checksum-"
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DIGITS: Final = re.compile(r"\d{1,18}", re.ASCII)


def payload_hash(request: S3Request, claim: Claim) -> str:
    """What stands for the body in what is signed. Raises S3Error."""
    given = request.header("x-amz-content-sha256")
    if given is None:
        if claim.expires_seconds is not None:
            return UNSIGNED_PAYLOAD
        raise error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    if claim.expires_seconds is not None and "x-amz-content-sha256" not in claim.signed_headers:
        return UNSIGNED_PAYLOAD
    if given == UNSIGNED_PAYLOAD or given in STREAMING_FORMS or _SHA256.fullmatch(given):
        return given
    if given.startswith("STREAMING-"):
        raise not_implemented(f"{given[:64]!a} in x-amz-content-sha256 is")
    raise error("InvalidArgument", "x-amz-content-sha256 is neither a SHA-256 in hex nor a name that S3 defines.")


def algorithm_named(name: str) -> str:
    """The checksum algorithm that S3 calls so, as R2's rules call it. Raises S3Error."""
    lower = name.lower()
    if lower not in CHECKSUM_BYTES or name != name.upper():
        raise error("InvalidRequest", f"{name[:32]!a} is no checksum algorithm: use {', '.join(_NAMES)}.")
    return lower


_NAMES: Final = tuple(name.upper() for name in CHECKSUM_BYTES)


def decoded_checksum(algorithm: str, text: str) -> bytes:
    """Raises S3Error."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != CHECKSUM_BYTES.get(algorithm, 16):
        raise error("InvalidDigest", f"Value for {CHECKSUM_HEADER}{algorithm} header is invalid.")
    return value


class Payload:
    """The body as a ByteStream of what it holds, without chunks and trailers.

    `length` is None where the client does not say; S3 asks for it (`MissingContentLength`). `checksum` is the name of
    the checksum that came with it, or will in a trailer.
    """

    def __init__(
        self, receive: Receive, request: S3Request, hashed: str, signer: ChunkSigner, *, checksums: bool
    ) -> None:
        """`hashed` is what `payload_hash` gave. `checksums`: such headers are of this body. Raises S3Error."""
        self.failure: S3Error | None = None
        self.length: int | None = request.length
        self.checksum: str | None = None
        self.checks: tuple[Checksum, ...] = ()
        self._receive = receive
        self._pieces: list[bytes] = []
        self._rest = b""
        self._ended = request.length == 0
        self._decoder: ChunkedDecoder | None = None
        self._finished = False
        self._wire_left = request.length
        trailers: list[str] = []
        if hashed in STREAMING_FORMS:
            signed, trailing = STREAMING_FORMS[hashed]
            trailers = _trailers(request) if trailing else []
            self.length = _decoded_length(request)
            self._decoder = ChunkedDecoder(self.length, signer if signed else None, trailers)
        elif hashed != UNSIGNED_PAYLOAD:
            self.checks += (_content_sha256(hashed),)
        self._add_md5(request)
        if checksums:
            self._add_checksum(request, trailers)

    def _add_md5(self, request: S3Request) -> None:
        given = request.header("content-md5")
        if given is None:
            return
        try:
            value = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            value = b""
        if len(value) != 16:
            raise error("InvalidDigest", "The Content-MD5 you specified is not valid.")
        self.checks += (Checksum("md5", value, stored=False),)

    def _add_checksum(self, request: S3Request, trailers: list[str]) -> None:
        headers = {
            name.removeprefix(CHECKSUM_HEADER): value
            for name, value in request.headers.items()
            if name.startswith(CHECKSUM_HEADER) and name not in _OTHER_CHECKSUM_HEADERS
        }
        named = [*headers, *(name.removeprefix(CHECKSUM_HEADER) for name in trailers)]
        asked = request.header("x-amz-sdk-checksum-algorithm")
        if len(named) > 1:
            raise error("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple are not allowed.")
        if not named:
            if asked is not None:
                raise error(
                    "InvalidRequest",
                    "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer "
                    "headers were found.",
                )
            return
        algorithm = algorithm_named(named[0].upper())
        if asked is not None and algorithm_named(asked.upper()) != algorithm:
            raise error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
        self.checksum = algorithm
        expected: bytes | Callable[[], bytes]
        expected = decoded_checksum(algorithm, headers[algorithm]) if headers else self._trailing(algorithm)
        self.checks += (Checksum(algorithm, expected),)

    def _trailing(self, algorithm: str) -> Callable[[], bytes]:
        decoder = self._decoder
        assert decoder is not None
        return lambda: decoded_checksum(algorithm, decoder.values[f"{CHECKSUM_HEADER}{algorithm}"])

    async def read(self, size_max: int) -> bytes:
        """See `tenantry.streams.ByteStream`. Whatever breaks it off is in `failure` too."""
        try:
            while not self._rest:
                if self._pieces:
                    self._rest = self._pieces.pop()
                elif self._ended:
                    self._finish()
                    return b""
                else:
                    await self._fetch()
        except S3Error as failure:
            self.failure = failure
            raise StreamError(failure.message) from failure
        chunk, self._rest = self._rest[:size_max], self._rest[size_max:]
        return chunk

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(BODY_IDLE_SECONDS_MAX):
                message = await self._receive()
        except TimeoutError:
            raise error("RequestTimeout") from None
        if message["type"] == "http.disconnect":
            raise error("ClientDisconnect")
        data = message.get("body", b"")
        self._ended = not message.get("more_body", False)
        if self._wire_left is not None:
            self._wire_left -= len(data)
        if self._decoder is not None:
            self._pieces = list(reversed(self._decoder.feed(data)))
        else:
            self._rest = data

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        if self._wire_left:
            raise error("IncompleteBody")
        if self._decoder is not None:
            self._decoder.finish()

    async def drain(self, bytes_max: int) -> None:
        """Reads and drops the rest of a body that nobody wants, if it is short and on its way."""
        if self._ended or self._wire_left is None or self._wire_left > bytes_max:
            return
        if self.failure is not None and self.failure.name in ("ClientDisconnect", "RequestTimeout"):
            return
        self._ended = True
        await drop(self._receive)

    async def aclose(self) -> None:
        """The server drops what was not read, with the connection if need be."""
        self._pieces = []
        self._rest = b""


async def drop(receive: Receive) -> None:
    """Reads a body to its end, for nobody. Stops when nothing more comes."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


_OTHER_CHECKSUM_HEADERS: Final = frozenset(
    {f"{CHECKSUM_HEADER}algorithm", f"{CHECKSUM_HEADER}mode", f"{CHECKSUM_HEADER}type"}
)


def _content_sha256(expected: str) -> Checksum:
    return Checksum(
        "sha256",
        bytes.fromhex(expected),
        stored=False,
        mismatch=lambda given, actual: error("XAmzContentSHA256Mismatch"),
    )


def _trailers(request: S3Request) -> list[str]:
    names = [name.strip().lower() for name in (request.header("x-amz-trailer") or "").split(",") if name.strip()]
    if not names or any(name.removeprefix(CHECKSUM_HEADER) not in CHECKSUM_BYTES for name in names):
        raise error("InvalidRequest", "x-amz-trailer must name the checksum that follows the body.")
    return names


def _decoded_length(request: S3Request) -> int:
    text = request.header("x-amz-decoded-content-length")
    if text is None or not _DIGITS.fullmatch(text):
        raise error("MissingContentLength", "You must provide the x-amz-decoded-content-length HTTP header.")
    return int(text)


async def read_whole(payload: Payload, bytes_max: int) -> bytes:
    """A small body in memory, its checksums compared. Raises S3Error."""
    if payload.length is not None and payload.length > bytes_max:
        raise error("EntityTooLarge")
    body = bytearray()
    try:
        while chunk := await payload.read(bytes_max + 1):
            body += chunk
            if len(body) > bytes_max:
                raise error("EntityTooLarge")
    except StreamError as broken:
        raise payload.failure or error("IncompleteBody") from broken
    for check in payload.checks:
        expected = check.expected() if callable(check.expected) else check.expected
        actual = digest_of(check.algorithm, bytes(body))
        if expected is not None and expected != actual:
            raise error("BadDigest") if check.mismatch is None else check.mismatch(expected, actual)
    return bytes(body)
