"""SSE-C: objects at rest under a key that the customer sends with each call, and that is kept nowhere.

A part (an object that was put at once is one part) is sealed in chunks of 64 KiB, each on its own, so that a range
opens only the chunks that it touches:

    part  = chunk 0 | chunk 1 | ... | last chunk, which may be shorter
    chunk = nonce: 12 random bytes | AES-256-GCM(up to 64 KiB) | tag: 16

    AES key         = HKDF-SHA256(customer's key, salt of the object or upload)
    associated data = number of the chunk in its part, 8 bytes, big-endian

A chunk that is damaged, or from another place of a part or another object, does not open. 5 TiB are 2^27 chunks: far
below the 2^32 that random nonces under one key may come to (NIST SP 800-38D, section 8.3), uploads of a part that is
sent again included. Stored beside the object: the MD5 of the customer's key, which R2 shows, and the salt. Etag and
checksums are of the bytes before sealing, as R2 gives them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Collection, Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenantry.errors import StreamError
from tenantry.services.r2.checksums import hasher
from tenantry.services.r2.errors import ssec_error
from tenantry.services.r2.limits import READ_BYTES_MAX, SEALED_CHUNK_BYTES
from tenantry.services.r2.model import Encryption, ObjectRecord, Window
from tenantry.streams import ByteStream

__all__ = [
    "Cipher",
    "OpeningStream",
    "SealingStream",
    "check_object_key",
    "check_part_key",
    "new_encryption",
    "sealed_size",
    "sealed_window",
]

_NONCE_BYTES: Final = 12
_OVERHEAD_BYTES: Final = _NONCE_BYTES + 16
_SALT_BYTES: Final = 16
_SEALED_CHUNK_BYTES: Final = SEALED_CHUNK_BYTES + _OVERHEAD_BYTES
_BATCH_CHUNKS: Final = READ_BYTES_MAX // SEALED_CHUNK_BYTES
"""Sealed or opened in one go, in a thread."""


def new_encryption(key: bytes) -> Encryption:
    """What is kept of a new object's encryption."""
    return Encryption(_md5(key), os.urandom(_SALT_BYTES))


def _md5(key: bytes) -> bytes:
    return hashlib.md5(key, usedforsecurity=False).digest()


def check_object_key(action: str, record: ObjectRecord, key: bytes | None) -> None:
    """Whether `key` is the one for this object: None for an object without. Raises BindingError."""
    encryption = record.metadata.encryption
    if encryption is None:
        if key is not None:
            raise ssec_error(action, "not encrypted")
    elif key is None:
        raise ssec_error(action, "key missing")
    elif not hmac.compare_digest(encryption.key_md5, _md5(key)):
        raise ssec_error(action, "wrong key")


def check_part_key(action: str, encryption: Encryption | None, key: bytes | None) -> None:
    """Whether `key` is the one that the upload was begun with. Raises BindingError."""
    if encryption is None:
        if key is not None:
            raise ssec_error(action, "upload not encrypted")
    elif key is None:
        raise ssec_error(action, "part key missing")
    elif not hmac.compare_digest(encryption.key_md5, _md5(key)):
        raise ssec_error(action, "wrong part key")


def sealed_size(size: int) -> int:
    """What a part of `size` bytes takes once it is sealed."""
    return size + _OVERHEAD_BYTES * -(-size // SEALED_CHUNK_BYTES)


def sealed_window(encryption: Encryption, size: int, window: Window) -> Window:
    """The sealed bytes to be read for a window of an object of `size`: whole chunks."""
    if window.length == 0:
        return Window(0, 0)
    first = _place(encryption, size, window.offset)[0]
    begin, length = _place(encryption, size, window.offset + window.length - 1)
    return Window(first, begin + length + _OVERHEAD_BYTES - first)


def _place(encryption: Encryption, size: int, position: int) -> tuple[int, int]:
    """Where the chunk that has the byte at `position` begins among the sealed bytes, and how much it holds."""
    part_bytes = encryption.part_bytes or size
    part, inner = divmod(position, part_bytes)
    chunk = inner // SEALED_CHUNK_BYTES
    part_size = min(part_bytes, size - part * part_bytes)
    held = min(SEALED_CHUNK_BYTES, part_size - chunk * SEALED_CHUNK_BYTES)
    return part * sealed_size(part_bytes) + chunk * _SEALED_CHUNK_BYTES, held


class Cipher:
    """Seals and opens the chunks of one object or upload."""

    def __init__(self, key: bytes, encryption: Encryption) -> None:
        derived = HKDF(SHA256(), 32, salt=encryption.salt, info=b"tenantry r2 ssec").derive(key)
        self._aead = AESGCM(derived)

    def seal(self, number: int, chunk: bytes | memoryview) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, chunk, number.to_bytes(8, "big"))

    def open(self, number: int, sealed: memoryview) -> bytes:
        """Raises StreamError where the chunk is not what was sealed."""
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], number.to_bytes(8, "big"))
        except InvalidTag as error:
            raise StreamError("the object's bytes are damaged") from error


class SealingStream:
    """A part on its way in: reads plain bytes of a known size, gives sealed ones. `digests` is whole at the end."""

    def __init__(self, source: ByteStream, size: int, cipher: Cipher, algorithms: Collection[str]) -> None:
        self.length: int | None = sealed_size(size)
        self._source = source
        self._left = size
        self._cipher = cipher
        self._hashes = {name: hasher(name) for name in {"md5", *algorithms}}
        self._number = 0
        self._sealed = memoryview(b"")
        self._ended = False

    @property
    def digests(self) -> Mapping[str, bytes]:
        return {name: digest.digest() for name, digest in self._hashes.items()}

    async def read(self, size_max: int) -> bytes:
        if not self._sealed and not self._ended:
            await self._fill()
        piece = bytes(self._sealed[:size_max])
        self._sealed = self._sealed[size_max:]
        return piece

    async def _fill(self) -> None:
        wanted = min(self._left, _BATCH_CHUNKS * SEALED_CHUNK_BYTES)
        if wanted == 0:
            if await self._source.read(1):
                raise StreamError("more bytes came than were announced")
            self._ended = True
            return
        batch = bytearray()
        while len(batch) < wanted:
            piece = await self._source.read(wanted - len(batch))
            if not piece:
                raise StreamError("fewer bytes came than were announced")
            batch += piece
        self._left -= wanted
        first, self._number = self._number, self._number + -(-wanted // SEALED_CHUNK_BYTES)
        # A single chunk costs less than the way to a thread and back.
        one = wanted <= SEALED_CHUNK_BYTES
        sealed = self._seal(first, batch) if one else await asyncio.to_thread(self._seal, first, batch)
        self._sealed = memoryview(sealed)

    def _seal(self, first: int, batch: bytearray) -> bytes:
        for digest in self._hashes.values():
            digest.update(batch)
        view = memoryview(batch)
        return b"".join(
            self._cipher.seal(first + number, view[start : start + SEALED_CHUNK_BYTES])
            for number, start in enumerate(range(0, len(batch), SEALED_CHUNK_BYTES))
        )

    async def aclose(self) -> None:
        self._ended = True
        self._sealed = memoryview(b"")
        await self._source.aclose()


class OpeningStream:
    """A window of an object on its way out: reads the bytes of `sealed_window`, gives plain ones."""

    def __init__(self, source: ByteStream, cipher: Cipher, encryption: Encryption, size: int, window: Window) -> None:
        self.length: int | None = window.length
        self._source = source
        self._cipher = cipher
        self._size = size
        self._part_bytes = encryption.part_bytes or size
        self._position = window.offset
        self._end = window.offset + window.length
        self._plain = memoryview(b"")

    async def read(self, size_max: int) -> bytes:
        if not self._plain and self._position < self._end:
            await self._fill()
        piece = bytes(self._plain[:size_max])
        self._plain = self._plain[size_max:]
        return piece

    async def _fill(self) -> None:
        chunks = self._next_chunks()
        wanted = sum(held + _OVERHEAD_BYTES for _, held in chunks)
        batch = bytearray()
        while len(batch) < wanted:
            piece = await self._source.read(wanted - len(batch))
            if not piece:
                raise StreamError("the object's bytes end early")
            batch += piece
        plain = self._open(chunks, batch) if len(chunks) == 1 else await asyncio.to_thread(self._open, chunks, batch)
        # The first chunk may begin before the window, the last end after it.
        begin = self._position % self._part_bytes % SEALED_CHUNK_BYTES
        self._plain = memoryview(plain)[begin : begin + self._end - self._position]
        self._position += len(self._plain)

    def _next_chunks(self) -> list[tuple[int, int]]:
        """The next few chunks, each with its number in its part and how much it holds."""
        chunks: list[tuple[int, int]] = []
        position = self._position
        while position < self._end and len(chunks) < _BATCH_CHUNKS:
            part, inner = divmod(position, self._part_bytes)
            number = inner // SEALED_CHUNK_BYTES
            part_size = min(self._part_bytes, self._size - part * self._part_bytes)
            held = min(SEALED_CHUNK_BYTES, part_size - number * SEALED_CHUNK_BYTES)
            chunks.append((number, held))
            position = part * self._part_bytes + number * SEALED_CHUNK_BYTES + held
        return chunks

    def _open(self, chunks: list[tuple[int, int]], batch: bytearray) -> bytes:
        view = memoryview(batch)
        pieces = []
        for number, held in chunks:
            pieces.append(self._cipher.open(number, view[: held + _OVERHEAD_BYTES]))
            view = view[held + _OVERHEAD_BYTES :]
        return b"".join(pieces)

    async def aclose(self) -> None:
        self._end = self._position
        self._plain = memoryview(b"")
        await self._source.aclose()
