"""A copy of an account's namespaces while a host may be using them."""

from __future__ import annotations

from pathlib import Path

from tenantry.services.kv.engines.sqlite import FILE_SUFFIX
from tenantry.services.snapshot import Snapshot

__all__ = ["back_up"]


def back_up(folder: Path, target: Path, snapshot: Snapshot) -> None:
    """See `tenantry.services.ServiceFactory`."""
    names = [
        file.name
        for file in sorted(folder.glob(f"*{FILE_SUFFIX}"))
        # An empty file is what a power cut may leave of a first write: no namespace yet.
        if file.stat().st_size and snapshot.database(file, target / file.name)
    ]
    # Of a deleted namespace an empty file may say that it is gone for good.
    names += [
        file.name for file in sorted(folder.glob(f"*{FILE_SUFFIX}.deleted")) if snapshot.file(file, target / file.name)
    ]
    snapshot.keep_only(target, names)
