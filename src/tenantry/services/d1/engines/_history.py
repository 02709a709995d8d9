"""What a database's session tells the past: each commit and when it was, and the log's pages before SQLite reuses it.

    commit        24 bytes are appended to `times`: how long the log is now, and the time. No fsync.
    checkpoint    the pages of the log, as steps, become a file of the archive, which is synced; then SQLite moves them
                  into the database and the log begins anew. `times` is emptied, `seal` says how the database looks.

So the past costs a commit one small write, and a checkpoint (some thousand pages) one more sync. The log is part of the
past: what is in it is archived when somebody asks for the past, when it is long, and when the session closes.

`kill -9` between two of these steps: the log is still there; its generation and `times` say which commits are in it and
the newest archive file says how many of its frames are kept already. After a power cut the end of `times` may be
missing; those commits get the time of the next start.

A database whose file is not as the seal says was written by somebody else (an operator, or a backup that was put
back): from here the past is unknown, so a whole copy is kept and the past goes on from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Final

import apsw
import structlog

from tenantry.services.d1 import limits
from tenantry.services.d1.engines._archive import Archive, ArchiveDamaged, Change, NothingKept
from tenantry.services.d1.engines._folders import make_folder
from tenantry.services.d1.engines._wal import Salts, WalFile, WalUnreadable, read_salts
from tenantry.services.d1.errors import PastUnknown

__all__ = ["History"]

_log = structlog.get_logger()

_RECORD: Final = Struct("<IIIIQ")
_MARKED: Final = 1
_SECOND: Final = 1_000_000_000


class _Commit:
    """`frames` is the length of the log after it."""

    __slots__ = ("frames", "marked", "time")

    def __init__(self, frames: int, time: int, marked: bool) -> None:
        self.frames = frames
        self.time = time
        self.marked = marked
        """Somebody has its bookmark: this very state is to be kept, and not only the last of its second."""


class History:
    """Follows one connection at a time. All methods are called by the thread whose turn the session is."""

    def __init__(self, database: Path, folder: Path, durable: bool, clock: Callable[[], int]) -> None:
        """`clock` gives nanoseconds since 1970 and may go back."""
        self._database = database
        self._log_path = database.with_name(f"{database.name}-wal")
        self._folder = folder
        self._durable = durable
        self._clock = clock
        self._archive = Archive(folder, durable, "session")
        self._reset()

    def _reset(self) -> None:
        self._connection: apsw.Connection | None = None
        self._loaded = False
        self._new = False
        """The database was made just now."""
        self._times = -1
        self._frames = 0
        """How long the log is, as SQLite says."""
        self._archived_frames = 0
        self._salts: Salts | None = None
        self._may_begin_anew = False
        """The log was moved into the database and not emptied, since somebody read from it."""
        self._moved = False
        """The log was moved into the database before it was archived: that has to come before the next commit."""
        self._paused = False
        """The past is not known from some commit on (the disk is full): it is to begin anew when that succeeds."""
        self._checkpoint_frames = limits.CHECKPOINT_FRAMES
        self._last_time = 0
        self._last_archived_time = 0
        self._commits: list[_Commit] = []
        """Those in the log that are not archived."""

    # The life of a connection.

    def follow(self, connection: apsw.Connection, *, new: bool) -> None:
        """Of a connection that has done nothing yet. Raises `apsw.Error` and `OSError`."""
        self._connection = connection
        self._new = new
        connection.set_wal_hook(self._on_commit)  # in the place of SQLite's own, which would checkpoint
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if not new and read_salts(self._log_path) is not None:
            try:
                self._load()
                # Looking at the log's length has moved it into the database: the next commit may begin it anew.
                self.checkpoint()
            except (apsw.Error, OSError):
                self._pause()

    def committed(self, *, marked: bool) -> int:
        """To be called behind each commit that wrote. Gives its time, greater than all before.

        `marked`: somebody gets its bookmark. Does not raise: the commit is done, whatever becomes of its past.
        """
        if self._may_begin_anew:
            self._may_begin_anew = False
            if read_salts(self._log_path) != self._salts:
                self._archived_frames = 0
                self._salts = None
        self._try_load()
        if self._paused:
            self._last_time = max(self._clock(), self._last_time + 1)
            return self._last_time
        known_frames = self._commits[-1].frames if self._commits else self._archived_frames
        if self._frames <= known_frames:
            # It changed no page (`DELETE` of nothing), or it is in the copy that was just made.
            return self.current(marked=marked)
        if self._salts is None:
            self._salts = read_salts(self._log_path)
        time = self._last_time = max(self._clock(), self._last_time + 1)
        self._commits.append(_Commit(self._frames, time, marked))
        self._write_record(self._frames, time, marked)
        return time

    def current(self, *, marked: bool) -> int:
        """The time of the last commit; 0 when there was none."""
        self._try_load()
        if marked and self._commits:
            self._mark(self._commits[-1])
        return self._last_time

    @property
    def checkpoint_is_due(self) -> bool:
        return self._frames >= self._checkpoint_frames

    def checkpoint(self) -> None:
        """Archives the log and lets it begin anew, unless somebody reads from it. Raises `apsw.Error` and `OSError`."""
        assert self._connection is not None
        self._checkpoint_frames = self._frames + limits.CHECKPOINT_FRAMES  # should this fail
        try:
            self.archive()
        except OSError:
            if not self._moved:
                raise
            self._pause()
        self._connection.set_busy_timeout(0)
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            self._may_begin_anew = True
            return
        finally:
            self._connection.set_busy_timeout(limits.BUSY_MILLISECONDS)
        self._checkpoint_frames = limits.CHECKPOINT_FRAMES
        self._frames = self._archived_frames = 0
        self._salts = None
        self._may_begin_anew = self._moved = False
        if not self._paused:
            self._seal()

    def leave(self) -> bool:
        """Before the connection is closed. A log that could not be archived stays, for the next one to do it.

        Whether there were commits to be told of.
        """
        connection, wrote = self._connection, self._loaded
        if connection is None:
            return False
        try:
            if self._frames:
                self.checkpoint()
            if not self._frames:
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        except (apsw.Error, OSError):
            _log.exception("the log of a D1 database could not be archived", file=self._database.name)
        finally:
            connection.set_wal_hook(None)
            if self._times >= 0:
                os.close(self._times)
            self._reset()
        return wrote

    # The past.

    def archive(self) -> None:
        """Keeps what the log holds and the archive does not. Raises `OSError` and `apsw.Error`."""
        if self._paused:
            if self._times < 0:
                self._load()
            self._begin_anew()
            self._paused = False
        if not self._commits:
            return
        try:
            log = WalFile(self._log_path)
            try:
                if log.salts != self._salts:
                    raise WalUnreadable("it is of another generation")
                self._archive.add_steps(
                    self._changes(log),
                    log.page,
                    page_bytes=log.page_bytes,
                    after=self._last_archived_time,
                    salts=log.salts,
                    frames=self._commits[-1].frames,
                )
            finally:
                log.close()
        except WalUnreadable as error:
            _log.error("the log of a D1 database is not ours", file=self._database.name, reason=str(error))
            self._begin_anew()
            return
        self._last_archived_time = self._commits[-1].time
        self._archived_frames = self._commits[-1].frames
        self._commits = []
        os.ftruncate(self._times, 0)

    def state_at(self, time: int) -> int:
        """The time of the last state not after `time`, to be restored exactly from now on. Raises `PastUnknown`."""
        self._try_load()
        for commit in reversed(self._commits):
            if commit.time <= time:
                self._mark(commit)
                return commit.time
        if not self._last_archived_time:
            return 0
        try:
            return self._archive.state_at(time)
        except (NothingKept, ArchiveDamaged) as error:
            raise PastUnknown from error

    def rebuild(self, time: int, target: Path) -> int:
        """Writes the database as it was into a file; gives the time of that state. Raises `PastUnknown`, `OSError`."""
        self.current(marked=True)
        self.archive()
        try:
            return self._archive.rebuild(time, target)
        except (NothingKept, ArchiveDamaged) as error:
            raise PastUnknown from error

    def log_was_written(self) -> None:
        """SQLite wrote without telling: it does not, of what its backup interface commits."""
        assert self._connection is not None
        self._moved = True
        self._frames = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)[0]

    @property
    def staging(self) -> Path:
        """A file that is the caller's until it is removed; one that is left behind is removed by the next session."""
        make_folder(self._folder, durable=self._durable)
        return self._folder / "session-restored.new"

    # Inside.

    def _on_commit(self, _connection: apsw.Connection, _name: str, frames: int) -> int:
        self._frames = frames
        return apsw.SQLITE_OK

    def _changes(self, log: WalFile) -> Iterator[Change]:
        """The commits that are not archived as steps: those of one second together, but for marked ones."""
        start = self._archived_frames
        pages: dict[int, int] = {}
        for index, commit in enumerate(self._commits):
            size_pages = 0
            for frame in log.frames(start, commit.frames):
                pages[frame.page] = frame.offset
                size_pages = frame.size_pages
            if not size_pages:
                raise WalUnreadable("a commit does not end where SQLite said")
            start = commit.frames
            following = self._commits[index + 1] if index + 1 < len(self._commits) else None
            if commit.marked or following is None or following.time // _SECOND != commit.time // _SECOND:
                yield Change(commit.time, size_pages, pages)
                pages = {}

    def _try_load(self) -> None:
        if not self._loaded:
            try:
                self._load()
            except (apsw.Error, OSError):
                self._pause()

    def _load(self) -> None:
        """What earlier sessions left. Called at the first commit, or at once when a log is there."""
        assert self._connection is not None
        self._loaded = True
        sealed = self._is_as_sealed()
        make_folder(self._folder, durable=False)  # should a power cut take it, the log is archived all the same
        self._archive.clear_unfinished()
        self._times = os.open(
            self._folder / "times", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        self._last_archived_time = self._last_time = self._archive.latest_time()
        if self._frames or read_salts(self._log_path) is None:  # the first commit of this session, or none yet
            if not sealed and not self._new:
                self._begin_anew()
            return
        self._salts = read_salts(self._log_path)
        self.log_was_written()
        records = self._read_records()
        newest = None
        with suppress(ArchiveDamaged):
            newest = self._archive.latest()
        ours = bool(records)
        if newest is not None and newest.salts == self._salts:
            self._archived_frames = min(newest.frames, self._frames)
            ours = True
        if not ours and not sealed and not self._new:
            self._begin_anew()
            return
        for frames, time, marked in records:
            if frames <= self._archived_frames or frames > self._frames:
                continue
            if self._commits and self._commits[-1].frames == frames:
                self._commits[-1].marked = True
            else:
                self._commits.append(_Commit(frames, time, marked))
                self._last_time = max(self._last_time, time)
        if self._frames > (self._commits[-1].frames if self._commits else self._archived_frames):
            self._last_time = max(self._clock(), self._last_time + 1)
            self._commits.append(_Commit(self._frames, self._last_time, marked=False))
            self._write_record(self._frames, self._last_time, marked=False)

    def _begin_anew(self) -> None:
        """Keeps a copy of the database as it is, since what it came from is not known."""
        assert self._connection is not None
        copy = self.staging
        target = apsw.Connection(str(copy))
        try:
            with target.backup("main", self._connection, "main") as backup:
                while not backup.done:
                    backup.step(10_000)
        finally:
            target.close(True)
        try:
            self._last_time = max(self._clock(), self._last_time + 1)
            self._archive.add_base(copy, self._last_time)
        finally:
            copy.unlink(missing_ok=True)
        self._last_archived_time = self._last_time
        self._archived_frames = self._frames
        self._commits = []
        os.ftruncate(self._times, 0)

    def _mark(self, commit: _Commit) -> None:
        if not commit.marked:
            commit.marked = True
            self._write_record(commit.frames, commit.time, marked=True)

    def _pause(self) -> None:
        _log.exception(
            "the past of a D1 database is not kept from now on; it begins anew when it can be", file=self._database.name
        )
        self._loaded = self._paused = True
        self._commits = []
        with suppress(OSError):
            # Then the next session knows, even if it is one after `kill -9`. Neither needs room on the disk.
            (self._folder / "seal").unlink(missing_ok=True)
            if self._times >= 0:
                os.ftruncate(self._times, 0)

    def _write_record(self, frames: int, time: int, marked: bool) -> None:
        salts = self._salts or (0, 0)
        try:
            os.write(self._times, _RECORD.pack(*salts, frames, _MARKED if marked else 0, time))
        except OSError as error:
            # It is known here. After `kill -9` the commit would have the time of the next start.
            _log.error("the time of a commit could not be written", file=self._database.name, reason=str(error))

    def _read_records(self) -> list[tuple[int, int, bool]]:
        """Of the log as it is now: frames, time, marked."""
        content = os.pread(self._times, os.fstat(self._times).st_size, 0)
        whole = content[: len(content) // _RECORD.size * _RECORD.size]
        return [
            (frames, time, bool(flags & _MARKED))
            for one, two, frames, flags, time in _RECORD.iter_unpack(whole)
            if (one, two) == self._salts
        ]

    def _look(self) -> bytes:
        status = self._database.stat()
        return b"%d %d\n" % (status.st_size, status.st_mtime_ns)

    def _seal(self) -> None:
        staged = self._folder / "session-seal.new"
        staged.write_bytes(self._look())
        staged.rename(self._folder / "seal")

    def _is_as_sealed(self) -> bool:
        try:
            return (self._folder / "seal").read_bytes() == self._look()
        except FileNotFoundError:
            return False
