"""What R2 asks of a storage engine. Rules are above it (`service.py`); an engine only stores.

An engine holds the buckets of one account. All methods are cancellation-safe: a cancelled call leaves the bucket
consistent, and a write either done or not done. A call on a bucket that is deleted meanwhile, or after `aclose`, raises
`tenantry.services.r2.errors.BucketGone`. Other exceptions than those named here are failures of the machine.

Writes to one bucket are linearizable: an acknowledged one is seen by every read that starts after it, and under
durability "full" it survives a power cut.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tenantry.services.r2.conditions import Conditions
from tenantry.services.r2.model import (
    ListPage,
    ListQuery,
    ObjectMetadata,
    ObjectRecord,
    PartRecord,
    UploadQuery,
    UploadRecord,
    Usage,
    Window,
)
from tenantry.services.r2.settings import BucketSettings
from tenantry.streams import ByteStream

__all__ = ["Assembly", "Bucket", "Choose", "Destination", "Engine", "PutRequest", "StagedBody"]

Choose = Callable[[ObjectRecord], Window | None]
"""Says which of the stored bytes of the object that was found are wanted; None for none of them. May raise; is pure.

The window is within what was staged, which for a sealed object is more than its `size`."""


@dataclass(frozen=True, slots=True)
class PutRequest:
    """An object to be stored if `conditions` hold for the one that has the key now.

    `size` is the object's own; the staged body is larger where it was sealed.
    """

    key: str
    version: str
    size: int
    etag: str
    uploaded_ms: int
    metadata: ObjectMetadata
    conditions: Conditions


@dataclass(frozen=True, slots=True)
class Assembly:
    """What becomes of a completed upload: these parts in this order, under this etag, with this beside it."""

    parts: Sequence[PartRecord]
    metadata: ObjectMetadata
    etag: str
    version: str
    uploaded_ms: int


@dataclass(frozen=True, slots=True)
class Destination:
    """What a body will be: the object of a key, or the part `part_number` of an upload. For those who count.

    `size` is what its owner sees of it, which is less than the staged bytes where they are sealed; None if unknown.
    """

    key: str
    size: int | None
    upload_id: str = ""
    part_number: int = 0


class StagedBody(Protocol):
    """Bytes that an engine has, whole and hashed, and that no key names yet.

    Exactly one of `discard`, `Bucket.put` and `Bucket.put_part` ends it, and owns it from the moment it is called.
    `digests` has "md5" and every other algorithm that was asked for (see `checksums.hasher`).
    """

    size: int
    digests: Mapping[str, bytes]

    async def discard(self) -> None: ...


class Bucket(Protocol):
    """One bucket. A bucket that was never written to is empty, and reading it costs next to nothing."""

    async def head(self, key: str) -> ObjectRecord | None:
        """The object's record."""
        ...

    async def get(self, key: str, choose: Choose) -> tuple[ObjectRecord, Window | None, ByteStream | None] | None:
        """The object's record, and the bytes that `choose` wants of that same version.

        The stream goes on giving these bytes when the object is replaced or deleted. The caller closes it. It is a
        `tenantry.streams.FileStream` where the bytes lie in one file.
        """
        ...

    async def stage(
        self,
        stream: ByteStream,
        size: int | None,
        algorithms: Collection[str],
        destination: Destination | None = None,
    ) -> StagedBody:
        """Takes in exactly `size` bytes (None: all there are); memory stays flat however many they are. The caller
        closes the stream.

        Raises StreamError when the stream ends early, goes on after `size` bytes, or breaks off, and QuotaPassed where
        there is a quota: nothing is kept then. `destination` changes nothing of what is stored.
        """
        ...

    async def put(self, request: PutRequest, body: StagedBody) -> ObjectRecord | None:
        """Stores the object, all of it or nothing. None when the conditions do not hold: the body is then discarded."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Deletes the objects that are there, all in one step."""
        ...

    async def delete_versions(self, versions: Sequence[tuple[str, str]]) -> int:
        """Deletes those objects (key, version) that still have that version, in one step. How many there were."""
        ...

    async def change_storage_class(self, versions: Sequence[tuple[str, str]], storage_class: str) -> None:
        """Gives those objects (key, version) that still have that version another class. All else of them stays."""
        ...

    async def list(self, query: ListQuery) -> ListPage:
        """One page. It may hold fewer than `limit` entries and still have a `next_start`."""
        ...

    async def cursor_secret(self) -> bytes:
        """16 random bytes that are this bucket's for as long as it lives; empty where nothing was ever written."""
        ...

    async def usage(self) -> Usage:
        """What the bucket holds at this moment, exactly, for the price of a look-up: every write counts."""
        ...

    async def settings(self) -> BucketSettings:
        """The bucket's settings. As cheap as a look-up in memory when the bucket is open."""
        ...

    async def change_settings(self, change: Callable[[BucketSettings], BucketSettings]) -> BucketSettings:
        """Replaces the settings, in one step with reading them, and gives the new ones. `change` may run on any thread.

        What it raises is raised here and changes nothing.
        """
        ...

    async def create_upload(self, upload: UploadRecord, forget_before_ms: int) -> None:
        """Remembers an upload. May drop ended ones that were created before `forget_before_ms` on this occasion."""
        ...

    async def list_uploads(self, query: UploadQuery) -> Sequence[UploadRecord]:
        """At most `limit` open uploads, in order."""
        ...

    async def list_parts(self, upload_id: str, after: int, limit: int) -> Sequence[PartRecord]:
        """At most `limit` parts of an open upload with a number above `after`, in order. Empty if there is none."""
        ...

    async def find_upload(self, upload_id: str) -> UploadRecord | None:
        """The upload, also when it ended; None when it never was, or is forgotten."""
        ...

    async def put_part(self, upload_id: str, part: PartRecord, body: StagedBody) -> bool:
        """Stores a part in place of one with the same number. False, and discarded, if the upload is not open."""
        ...

    async def complete_upload(
        self, upload_id: str, assemble: Callable[[Mapping[int, PartRecord]], Assembly]
    ) -> ObjectRecord | None:
        """Makes the object of an open upload, and ends it, in one step. None if the upload is not open.

        `assemble` gets the parts by number; what it raises is raised here and changes nothing. No byte of a part is
        copied. Parts that it leaves out are dropped. It may run on any thread.
        """
        ...

    async def abort_upload(self, upload_id: str) -> None:
        """Ends an open upload and drops its parts. No effect on another."""
        ...

    async def tidy(self) -> int:
        """Gives back space that nothing refers to, and removes bodies that no record names. How many bodies.

        There should never be such a body. It takes as long as the bucket has bodies, in a thread.
        """
        ...


class Engine(Protocol):
    """The buckets of one account."""

    def bucket(self, name: str) -> Bucket:
        """The bucket of that name, which is a safe file name. Cheap; touches no disk."""
        ...

    async def bucket_names(self) -> Sequence[str]:
        """The buckets that were written to and not deleted since, in any order; perhaps also some that were read."""
        ...

    async def delete_bucket(self, name: str, *, if_empty: bool = False) -> bool:
        """Removes the bucket and all its bytes. No effect if there is none. A later `bucket` finds it empty.

        `if_empty`: only if it holds no object, which no write can change in between; False where it does. Uploads that
        are open do not keep it.
        """
        ...

    async def aclose(self) -> None:
        """Finishes the writes that were begun, and closes everything. Idempotent."""
        ...
