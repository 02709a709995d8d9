"""Where the files of one bucket are, and the few operations on them that must be durable in the right order."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["INDEX_NAME", "BucketFolder", "sync_directory", "sync_file"]

INDEX_NAME: Final = "index.sqlite"
_BODY_NAME: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


def sync_directory(path: Path) -> None:
    """Makes the names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(fd: int) -> None:
    """Makes the bytes of a file survive a power cut."""
    getattr(os, "fdatasync", os.fsync)(fd)  # macOS has only the latter


@dataclass(frozen=True, slots=True)
class BucketFolder:
    """The folder of one bucket. Its methods block: they belong in a thread. `durable` is whether to sync."""

    root: Path
    durable: bool

    @property
    def index(self) -> Path:
        return self.root / INDEX_NAME

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    def staged(self, name: str) -> Path:
        return self.root / "staging" / name

    def body(self, name: str) -> Path:
        """Spread over 16 folders, so that parallel links and unlinks seldom wait for one folder's lock."""
        return self.root / "bodies" / name[0] / name

    def create(self, create_index: Callable[[Path, bool], None]) -> None:
        """Makes the folders and the index. The index is made last: where it is, the bucket is."""
        if self.index.exists():
            return
        for folder in (self.root / "bodies", self.staging):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        create_index(self.index, self.durable)
        if self.durable:
            sync_directory(self.root)
            sync_directory(self.root.parent)

    def new_name(self) -> str:
        """A name for a body that no other body has."""
        return secrets.token_hex(16)

    def link(self, name: str) -> None:
        """Gives a staged body its lasting name beside the staging one. The caller syncs the folder of the link."""
        target = self.body(name)
        try:
            os.link(self.staged(name), target)
        except FileNotFoundError:
            # The first body of this bucket. All at once: each alone would cost its put a sync more.
            bodies = target.parent.parent
            for digit in "0123456789abcdef":
                (bodies / digit).mkdir(exist_ok=True, mode=0o700)
            if self.durable:
                sync_directory(bodies)
            os.link(self.staged(name), target)

    def unstage(self, name: str) -> None:
        """Drops the staging link of a body that the index knows."""
        with suppress(FileNotFoundError):
            os.unlink(self.staged(name))

    def remove(self, name: str) -> None:
        """Removes a body under both of its names."""
        with suppress(FileNotFoundError):
            os.unlink(self.body(name))
        # Last, so that a crash in between is found at the next open.
        self.unstage(name)

    def staged_names(self) -> list[str]:
        """What is in staging. Anything that we would not have put there is left alone."""
        return [name for name in os.listdir(self.staging) if _BODY_NAME.fullmatch(name)]

    def unstaged_bodies(self) -> Iterator[str]:
        """The bodies that are not being staged. Their writes are over: the index has each by now, or never will."""
        for digit in sorted(os.listdir(self.root / "bodies")):
            for name in os.listdir(self.root / "bodies" / digit):
                if _BODY_NAME.fullmatch(name) and name[0] == digit and not self.staged(name).exists():
                    yield name
