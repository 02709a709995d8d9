"""What a client says that it will upload: paths, hashes and sizes. Read once, strictly, before anything is stored.

    {"/index.html": {"hash": "<32 hex digits>", "size": 12}, …}

A hash names a content, so two paths with one hash have one size. The bytes are held to it when they come: it has to be
the first half of their SHA-256 or BLAKE3, of the bytes as they are or, as wrangler makes it, of their base64 with the
file's extension behind it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

import blake3
import msgspec

from tenantry.services.assets.limits import FILE_BYTES_MAX, FILES_MAX, PATH_BYTES_MAX, VERSION_BYTES_MAX

__all__ = ["BadManifest", "Digest", "Entry", "ManifestTooLarge", "check_manifest_untrusted", "extension_of"]

_HASH: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HASH_CHARACTERS: Final = 32
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BASE64_GROUP: Final = 3


class BadManifest(ValueError):
    """The message is for the client."""


class ManifestTooLarge(BadManifest):
    """More files or bytes than a version may have."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One path of a manifest."""

    hash: str
    size: int


def check_manifest_untrusted(manifest: Mapping[str, Entry]) -> None:
    """Raises BadManifest."""
    if len(manifest) > FILES_MAX:
        raise ManifestTooLarge(f"{len(manifest)} files: a version may have {FILES_MAX}")
    sizes: dict[str, int] = {}
    total = 0
    for path, entry in manifest.items():
        _check_path(path)
        if not _HASH.fullmatch(entry.hash):
            raise BadManifest(f"{path[:200]!a}: the hash has to be 32 lower-case hexadecimal digits")
        if entry.size < 0:
            raise BadManifest(f"{path[:200]!a}: the size is negative")
        if entry.size > FILE_BYTES_MAX:
            raise ManifestTooLarge(
                f"{path[:200]!a} has {entry.size} bytes: a file may have {FILE_BYTES_MAX}. Keep larger ones in R2."
            )
        if sizes.setdefault(entry.hash, entry.size) != entry.size:
            raise BadManifest(f"{path[:200]!a}: another file has the same hash and another size")
        total += entry.size
    if total > VERSION_BYTES_MAX:
        raise ManifestTooLarge(f"{total} bytes: the files of a version may have {VERSION_BYTES_MAX}")


def _check_path(path: str) -> None:
    shown = f"{path[:200]!a}"
    if not path.startswith("/"):
        raise BadManifest(f"{shown}: a path begins with a slash")
    if len(path.encode("utf-8", "surrogatepass")) > PATH_BYTES_MAX:
        raise BadManifest(f"{shown}: a path has at most {PATH_BYTES_MAX} bytes")
    if any(segment in ("", ".", "..") for segment in path[1:].split("/")):
        raise BadManifest(f"{shown}: a path has no empty segments, and none that is . or ..")
    if _CONTROL.search(path):
        raise BadManifest(f"{shown}: a path has no control characters")


def extension_of(path: str) -> str:
    """As wrangler takes it: what follows the last dot of the name, nothing where the name begins with its only dot."""
    name = path.rpartition("/")[2]
    stem, _, extension = name.rpartition(".")
    return extension if stem else ""


class Digest:
    """The names that a content may have, computed while it comes."""

    __slots__ = ("_as_base64", "_plain", "_rest")

    def __init__(self) -> None:
        self._plain = (hashlib.sha256(), blake3.blake3())
        self._as_base64 = (hashlib.sha256(), blake3.blake3())
        self._rest = b""

    def update(self, data: bytes) -> None:
        for plain in self._plain:
            plain.update(data)
        whole = self._rest + data
        usable = len(whole) - len(whole) % _BASE64_GROUP
        self._rest = whole[usable:]
        encoded = base64.b64encode(whole[:usable])
        for each in self._as_base64:
            each.update(encoded)

    def sha256(self) -> str:
        """Of the content: what the blob is called."""
        return self._plain[0].hexdigest()

    def is_named(self, name: str, extensions: Iterable[str]) -> bool:
        """Whether a client may call the content this. `extensions` are those of the paths that it is for."""
        if any(each.hexdigest()[:_HASH_CHARACTERS] == name for each in self._plain):
            return True
        rest = base64.b64encode(self._rest)
        for extension in extensions:
            for each in self._as_base64:
                copy = each.copy()
                copy.update(rest + extension.encode())
                if copy.hexdigest()[:_HASH_CHARACTERS] == name:
                    return True
        return False
