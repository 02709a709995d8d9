"""One thread that keeps the pasts of all databases small: it makes bases, and forgets what nobody may restore any more.

It works on the archives' files only; the databases and their sessions do not wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import structlog

from tenantry.services.d1 import limits
from tenantry.services.d1.engines._archive import Archive

__all__ = ["Keeper"]

_log = structlog.get_logger()


class Keeper:
    """`clock` gives nanoseconds since 1970. The thread starts with the first look. Called from any thread."""

    def __init__(self, durable: bool, clock: Callable[[], int]) -> None:
        self._durable = durable
        self._clock = clock
        self._queue: SimpleQueue[Path | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._wanted: set[Path] = set()
        self._at: Path | None = None
        self._given_up = False
        self._thread: threading.Thread | None = None
        self._closed = False

    def look(self, folder: Path) -> None:
        """Soon, at the past in `folder`."""
        with self._changed:
            if self._closed or folder in self._wanted:
                return
            self._wanted.add(folder)
            self._queue.put(folder)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="d1-history", daemon=True)
                self._thread.start()

    def leave(self, folder: Path) -> None:
        """Gives up what is done or wanted in `folder`; returns when nothing is."""
        with self._changed:
            self._wanted.discard(folder)
            self._given_up = self._given_up or self._at == folder
            self._changed.wait_for(lambda: self._at != folder)

    def close(self) -> None:
        """Gives up everything. What was begun is cleared away later."""
        with self._changed:
            self._closed = True
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (folder := self._queue.get()) is not None and not self._closed:
            with self._changed:
                if folder not in self._wanted:
                    continue
                self._wanted.discard(folder)
                self._at = folder
                self._given_up = False
            try:
                self._keep(folder)
            except InterruptedError:
                pass
            except Exception:  # noqa: BLE001  # a thread of ours must not die; the next look may succeed
                _log.exception("the past of a D1 database could not be tidied", folder=folder.name)
            finally:
                with self._changed:
                    self._at = None
                    self._changed.notify_all()

    def _keep(self, folder: Path) -> None:
        archive = Archive(folder, self._durable, "keeper")
        archive.clear_unfinished()
        now = self._clock()
        if archive.wants_base(now):
            archive.make_base(lambda: self._closed or self._given_up)
        archive.forget_before(now - limits.HISTORY_SECONDS * 1_000_000_000)
