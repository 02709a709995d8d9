"""The rules of completing a multipart upload: which parts, in which order, and the etag of the whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from tenantry.services.r2.checksums import join_checksums
from tenantry.services.r2.errors import checksum_mismatch, r2_error
from tenantry.services.r2.limits import OBJECT_BYTES_MAX, PART_BYTES_MIN
from tenantry.services.r2.model import ObjectMetadata, PartRecord, UploadRecord

__all__ = ["choose_parts", "joined_metadata", "multipart_etag"]

_ACTION = "completeMultipartUpload"


def choose_parts(given: Sequence[tuple[int, str]], stored: Mapping[int, PartRecord]) -> list[PartRecord]:
    """The parts that `given` (number, etag) names, by number. Raises BindingError; the checks are in R2's order.

    The minimum size is checked in the order of the arguments, the uniform size in the order of the numbers: R2 does so.
    """
    if len({number for number, _ in given}) < len(given):
        raise r2_error(_ACTION, 10001)
    parts: list[PartRecord] = []
    for number, etag in given:
        part = stored.get(number)
        if part is None or part.etag != etag:
            raise r2_error(_ACTION, 10025)
        parts.append(part)
    if any(part.size < PART_BYTES_MIN for part in parts[:-1]):
        raise r2_error(_ACTION, 10011)
    parts.sort(key=lambda part: part.number)
    if len({part.size for part in parts[:-1]}) > 1 or (len(parts) > 1 and parts[-1].size > parts[0].size):
        raise r2_error(_ACTION, 10048)
    if sum(part.size for part in parts) > OBJECT_BYTES_MAX:
        raise r2_error(_ACTION, 100100)
    return parts


def multipart_etag(parts: Sequence[PartRecord]) -> str:
    """MD5 of the parts' binary MD5s, and their number."""
    digest = hashlib.md5(b"".join(part.md5 for part in parts), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(parts)}"


def joined_metadata(
    upload: UploadRecord, parts: Sequence[PartRecord], given: Mapping[int, bytes], whole: bytes | None
) -> ObjectMetadata:
    """The upload's metadata with what is known of the whole once its parts are. Raises BindingError.

    `given` (by part number) and `whole` are the checksums that the caller expects, by the upload's algorithm.
    """
    part_bytes = parts[0].size if parts else 0
    metadata = msgspec.structs.replace(upload.metadata, part_bytes=part_bytes)
    if metadata.encryption is not None:
        encryption = msgspec.structs.replace(metadata.encryption, part_bytes=part_bytes)
        metadata = msgspec.structs.replace(metadata, encryption=encryption)
    name = upload.checksum_algorithm
    if name is None:
        return metadata
    if any(part.number in given and given[part.number] != part.checksum for part in parts):
        raise r2_error(_ACTION, 10025)
    joined = join_checksums(name, [(part.checksum, part.size) for part in parts])
    if whole is not None and whole != joined:
        raise checksum_mismatch(_ACTION, name, whole, joined)
    return msgspec.structs.replace(metadata, checksums={name: joined})
