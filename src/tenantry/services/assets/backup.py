"""A copy of assets while a host may be using them. They never change, and go at a start only."""

from __future__ import annotations

import os
from pathlib import Path

from tenantry.services.snapshot import Snapshot

__all__ = ["back_up"]


def back_up(folder: Path, target: Path, snapshot: Snapshot) -> None:
    """Copies what an `AssetStore` below `folder` has, but for what is being written."""
    accounts = _names(folder)
    for account in accounts:
        prefixes = _names(folder / account / "blobs")
        for part in ("manifests", *(f"blobs/{prefix}" for prefix in prefixes)):
            names = _names(folder / account / part)
            for name in names:
                snapshot.file(folder / account / part / name, target / account / part / name)
            snapshot.keep_only(target / account / part, names)
        snapshot.keep_only(target / account / "blobs", prefixes)
    snapshot.keep_only(target, accounts)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
