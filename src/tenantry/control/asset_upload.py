"""A bucket of static assets as it comes in: files named by hashes, held to the manifest while they stream.

`AssetReceiver` takes one file after the other. `AssetForm` feeds it from a multipart form, as wrangler (name = file
name = hash) and the SDK (name = hash) send it, `AssetBody` from a body that is one file. None keeps more in memory than
a chunk. They block for disk writes, so they run in a thread.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Mapping

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from tenantry.control import limits
from tenantry.control.asset_sessions import Wanted
from tenantry.control.errors import Invalid, TooLarge
from tenantry.services.assets import AccountAssets, Asset, Digest, StagedBlob

__all__ = ["AssetBody", "AssetForm", "AssetReceiver"]

_BASE64_GROUP = 4


class AssetReceiver:
    """`begin`, `write` and `end` for each file, then `commit`; `close` in any case.

    All but `close` raise Invalid (10021) and TooLarge (10027), after which only `close` may follow. What is not
    committed leaves nothing behind.
    """

    def __init__(self, assets: AccountAssets, wanted: Mapping[str, Wanted], *, is_base64: bool) -> None:
        self._assets = assets
        self._wanted = wanted
        self._is_base64 = is_base64
        self._current: _Incoming | None = None
        self._finished: dict[str, _Incoming] = {}

    def begin(self, name: str) -> None:
        wanted = self._wanted.get(name)
        if wanted is None:
            raise Invalid(10021, f"{name[:80]!a} is the hash of no file in the manifest of this upload")
        if name in self._finished:
            raise Invalid(10021, f"the form has two files with the hash {name}")
        self._current = _Incoming(name, wanted, self._assets.stage(), is_base64=self._is_base64)

    def write(self, data: bytes) -> None:
        assert self._current is not None, "no file is open"
        self._current.write(data)

    def end(self) -> None:
        assert self._current is not None, "no file is open"
        self._current.finish()
        self._finished[self._current.name] = self._current
        self._current = None

    def commit(self) -> list[Asset]:
        """Keep the files; they are durable when this returns."""
        self._assets.adopt({each.blob: each.staged for each in self._finished.values()})
        return [Asset(each.name, each.blob, each.size_bytes) for each in self._finished.values()]

    def close(self) -> None:
        for each in (*self._finished.values(), *([self._current] if self._current is not None else ())):
            each.staged.close()


class _Incoming:
    """One file."""

    def __init__(self, name: str, wanted: Wanted, staged: StagedBlob, *, is_base64: bool) -> None:
        self.name = name
        self.staged = staged
        self.size_bytes = 0
        self.blob = ""
        self._wanted = wanted
        self._digest = Digest()
        self._is_base64 = is_base64
        self._rest = b""
        self._padded = False

    def write(self, data: bytes) -> None:
        if self._is_base64:
            data = self._decoded(data)
        self.size_bytes += len(data)
        if self.size_bytes > self._wanted.size_bytes:
            raise TooLarge(10027, f"the file {self.name} is larger than the {self._wanted.size_bytes} bytes announced")
        self._digest.update(data)
        self.staged.write(data)

    def _decoded(self, text: bytes) -> bytes:
        if self._padded and text:
            raise Invalid(10021, f"the file {self.name} goes on behind the end of its base64")
        whole = self._rest + text
        usable = len(whole) - len(whole) % _BASE64_GROUP
        self._rest = whole[usable:]
        self._padded = whole[:usable].endswith(b"=")
        try:
            return base64.b64decode(whole[:usable], validate=True)
        except binascii.Error as error:
            raise Invalid(10021, f"the file {self.name} is not base64: {error}") from error

    def finish(self) -> None:
        if self._rest:
            raise Invalid(10021, f"the base64 of the file {self.name} breaks off")
        if self.size_bytes != self._wanted.size_bytes:
            raise Invalid(
                10021, f"the file {self.name} has {self.size_bytes} bytes, not the {self._wanted.size_bytes} announced"
            )
        if not self._digest.is_named(self.name, self._wanted.extensions):
            raise Invalid(
                10021,
                f"{self.name} is not the hash of the file that came under it: it has to be the first 32 hexadecimal "
                "digits of the SHA-256 or BLAKE3 of the content, or of its base64 followed by the file's extension",
            )
        self.blob = self._digest.sha256()
        self.staged.finish()


class AssetForm:
    """Feed it the body, then `finish` it; `close` it in any case, also while another thread feeds it."""

    def __init__(self, receiver: AssetReceiver, boundary: str) -> None:
        self._receiver = receiver
        self._parser = PushMultipartParser(boundary, max_segment_count=limits.ASSET_FORM_PARTS_MAX)
        self._lock = threading.Lock()
        self._closed = False

    def feed(self, chunk: bytes) -> None:
        with self._lock:
            if self._closed or not chunk:
                return
            try:
                for event in self._parser.parse(chunk):
                    if isinstance(event, MultipartSegment):
                        self._receiver.begin(event.name or "")
                    elif event is None:
                        self._receiver.end()
                    else:
                        self._receiver.write(bytes(event))
            except ParserLimitReached as error:
                raise TooLarge(
                    10027, f"the multipart form has too many or too large headers or parts: {error}"
                ) from error
            except MultipartError as error:
                raise Invalid(10021, f"the multipart form is malformed: {error}") from error

    def finish(self) -> list[Asset]:
        with self._lock:
            try:
                self._parser.close()
            except MultipartError as error:
                raise Invalid(10021, f"the multipart form is malformed: {error}") from error
            return self._receiver.commit()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._receiver.close()


class AssetBody:
    """As AssetForm, where the body is one file as it is."""

    def __init__(self, receiver: AssetReceiver, name: str) -> None:
        """Raises as `AssetReceiver.begin` does."""
        self._receiver = receiver
        self._lock = threading.Lock()
        self._closed = False
        receiver.begin(name)

    def feed(self, chunk: bytes) -> None:
        with self._lock:
            if not self._closed:
                self._receiver.write(chunk)

    def finish(self) -> list[Asset]:
        with self._lock:
            self._receiver.end()
            return self._receiver.commit()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._receiver.close()
