"""What KV asks of a store: ordered bytes to bytes, one map a namespace.

An engine stores; it knows no limits, no texts and no clock. Keys, values and metadata are valid when they come here.
Time is an argument, in whole seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tenantry.services.kv.model import Entry, KeyPage, Usage
from tenantry.streams import ByteStream

__all__ = ["KvEngine", "KvStore", "Late"]

Late = bytes | None | Callable[[], bytes | None]
"""Metadata, or who knows it once the value was read: in a form, the value can come first."""


class KvStore(Protocol):
    """One namespace. Every method may raise `errors.StorageError`; a write that raises may or may not have been done.

    A write is visible to every read that starts after the write returned, and not lost by `kill -9` from then on (an
    engine for tests may forget everything at once instead). A write is atomic: readers see all of it or nothing.
    Writes to one key take effect one after the other: one that starts after another returned wins over it.

    A cancelled call leaves the store consistent; a cancelled write may or may not have been done.

    Once the namespace was deleted, every method raises `errors.NamespaceGone`, for ever.
    """

    async def get(self, key: bytes, now: int) -> Entry | None:
        """The entry, or None where there is none or it has expired (`expiration <= now`).

        A stream in the entry goes on reading the value as it was, whatever is written or deleted meanwhile.
        Cheap: no suspension in the common case, microseconds for a value that is not a stream.
        """
        ...

    async def put(
        self, key: bytes, value: bytes | ByteStream, expiration: int | None, metadata: Late, now: int
    ) -> None:
        """Replaces the whole entry, expiration and metadata too.

        A stream is read to its end before anything becomes visible, and never held in memory whole by an engine that
        has a disk. When the stream raises, the entry stays as it was and the error passes through. The engine does not
        close the stream.

        Metadata that is a function is asked for once the value was read to its end; what it raises is as if the stream
        had raised it.
        """
        ...

    async def delete(self, key: bytes, now: int) -> None:
        """Idempotent. A key that is not there costs no more than a write."""
        ...

    async def list(self, prefix: bytes, after: bytes | None, limit: int, now: int) -> KeyPage:
        """At most `limit` keys that begin with `prefix`, above `after`, in byte order.

        Entries with `expiration < now` do not count. A page is one moment of the store; two pages are two moments.
        """
        ...

    async def secret(self) -> bytes:
        """At least 16 random bytes that belong to this namespace alone, and stay as long as it holds an entry."""
        ...

    async def usage(self) -> Usage:
        """Exact totals of all writes that returned, kept by each write in its transaction. As cheap as a `get`."""
        ...


class KvEngine(Protocol):
    """All the namespaces of one account, named by ids that are safe as file names."""

    def store(self, namespace_id: str) -> KvStore:
        """The namespace, created by its first write. Does no I/O, and costs nothing until it is used."""
        ...

    async def delete(self, namespace_id: str) -> None:
        """Removes the namespace with its bytes. Idempotent, and for ever, across restarts too: no id is used twice.

        Streams that are still open break off.
        """
        ...

    async def sweep(self, now: int) -> None:
        """Gives the space of what has expired back, also in namespaces that nobody uses.

        A namespace that cannot be read is passed over; StorageError where none can be found. Takes its time, and leaves
        room for others meanwhile.
        """
        ...

    async def aclose(self) -> None:
        """Finishes the writes that were accepted, then gives everything back. Idempotent."""
        ...
