"""Which body files are being read, and which are to go once they are not.

All of it happens on the event loop: a reader looks up a row and pins its file in one turn, and files are released in a
later turn than the commit that condemned them, so no file goes between the look-up and the pin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tenantry.services.r2.engines.files.folder import BucketFolder
from tenantry.services.r2.engines.files.threads import Threads

__all__ = ["Shelf"]


class Shelf:
    """The body files of one open bucket. `forget` is told the names of condemned files that are gone."""

    def __init__(self, folder: BucketFolder, threads: Threads) -> None:
        self._folder = folder
        self._threads = threads
        self._pins: dict[str, int] = {}
        self._condemned: set[str] = set()
        self.forget: Callable[[Sequence[str]], None] = lambda names: None

    def path(self, name: str) -> Path:
        return self._folder.body(name)

    def pin(self, names: Sequence[str]) -> None:
        """Keeps the files until `unpin`."""
        for name in names:
            self._pins[name] = self._pins.get(name, 0) + 1

    def unpin(self, names: Sequence[str]) -> None:
        """Gives back one `pin`."""
        gone = []
        for name in names:
            count = self._pins[name] - 1
            if count:
                self._pins[name] = count
                continue
            del self._pins[name]
            if name in self._condemned:
                self._condemned.discard(name)
                gone.append(name)
        self._unlink(gone)

    def release(self, names: Sequence[str]) -> None:
        """Unlinks files that the index has condemned, each as soon as nobody reads it."""
        gone = []
        for name in names:
            if name in self._pins:
                self._condemned.add(name)
            else:
                gone.append(name)
        self._unlink(gone)

    def _unlink(self, names: list[str]) -> None:
        if names:
            self._threads.chore(_remove_all, lambda: self.forget(names), self._folder, names)


def _remove_all(folder: BucketFolder, names: list[str]) -> None:
    for name in names:
        folder.remove(name)
