"""The past of one database: files that are written once, from which it can be made as it was.

    <time>.base      all pages, as they were after the commit at <time>
    <time>.pages     the pages that the commits up to <time> wrote, in steps

`<time>` is 16 hexadecimal digits of nanoseconds since 1970, so that names sort as time does. A step is what one second
changed, or less: it ends early behind a commit whose bookmark somebody has. Pages written twice in a step are kept
once.

Every file ends in a footer (MessagePack) with its length and CRC-32.
Files are written under another name, synced and then renamed, so that what has its name is whole.
"""

from __future__ import annotations

import os
import re
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final

import msgspec

from tenantry.services.d1 import limits
from tenantry.services.d1.engines._folders import sync_folder
from tenantry.services.d1.engines._wal import Salts

__all__ = ["Archive", "ArchiveDamaged", "Change", "NothingKept", "Step"]

_NAME: Final = re.compile(r"[0-9a-f]{16}\.(base|pages)")
_END: Final = Struct("<II4s")  # the footer's length and CRC-32
_MAGIC: Final = b"D1H1"
_COMPRESSION: Final = 1
"""The fastest: what a database writes is compressed while its next callers may be waiting."""
_CHUNK_PAGES: Final = 256


class ArchiveDamaged(Exception):
    """A file of the past cannot be read."""


class NothingKept(Exception):
    """The past does not reach so far back."""


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Pages that are compressed together. `pages` are their numbers, 32 bits each, little-endian."""

    offset: int
    size_bytes: int
    pages: bytes


class Step(msgspec.Struct, frozen=True, array_like=True):
    """A state of the database: after the commit at `time`, with what it takes to get there from the one before."""

    time: int
    size_pages: int
    chunks: list[Chunk]


class Footer(msgspec.Struct, frozen=True):
    page_bytes: int
    after: int
    """The time of the state that the first step begins with; 0 is a database without a page."""
    steps: list[Step]
    salts: Salts = (0, 0)
    frames: int = 0
    """Up to which frame of which generation of the log the steps go."""


class Change:
    """One step to be written: numbers of pages, and how to read each."""

    __slots__ = ("pages", "size_pages", "time")

    def __init__(self, time: int, size_pages: int, pages: dict[int, int]) -> None:
        self.time = time
        self.size_pages = size_pages
        self.pages = pages
        """Page to offset in the log."""


class Archive:
    """The files in `folder`. One thread at a time adds steps; another may make bases and forget old files meanwhile."""

    def __init__(self, folder: Path, durable: bool, writer: str) -> None:
        """`writer` is who of the two this is: it keeps their unfinished files apart."""
        self._folder = folder
        self._durable = durable
        self._writer = writer

    def clear_unfinished(self) -> None:
        """Removes what this writer had begun when the process ended."""
        for path in self._folder.glob(f"{self._writer}-*.new"):
            path.unlink(missing_ok=True)

    # Written.

    def add_steps(
        self,
        changes: Iterable[Change],
        read: Callable[[int], bytes],
        *,
        page_bytes: int,
        after: int,
        salts: Salts,
        frames: int,
    ) -> None:
        """Keeps what the log says, durably. Raises `OSError` and what `read` raises; then nothing was added."""
        steps: list[Step] = []

        def fill(file: BinaryIO) -> Footer:
            for change in changes:
                numbers = sorted(page for page in change.pages if page <= change.size_pages)
                pages = ((number, read(change.pages[number])) for number in numbers)
                steps.append(Step(change.time, change.size_pages, list(_write_chunks(file, pages))))
            return Footer(page_bytes, after, steps, salts, frames)

        self._write(lambda: f"{steps[-1].time:016x}.pages", fill)

    def add_base(self, source: Path, time: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Keeps a whole database file as the state at `time`. Raises `OSError`, and `InterruptedError` if stopped."""
        with source.open("rb") as database:
            head = database.read(100)
            page_bytes = int.from_bytes(head[16:18], "big") if len(head) == 100 else 4096
            page_bytes = 65536 if page_bytes == 1 else page_bytes
            size_pages = os.fstat(database.fileno()).st_size // page_bytes
            database.seek(0)

            def pages() -> Iterator[tuple[int, bytes]]:
                for number in range(1, size_pages + 1):
                    if number % _CHUNK_PAGES == 0 and stop():
                        raise InterruptedError("the engine closes")
                    yield number, database.read(page_bytes)

            def fill(file: BinaryIO) -> Footer:
                return Footer(page_bytes, 0, [Step(time, size_pages, list(_write_chunks(file, pages())))])

            self._write(lambda: f"{time:016x}.base", fill)

    # Read.

    def latest(self) -> Footer | None:
        """The footer of the newest `.pages`, if no base is newer than it."""
        pages, bases = self._times(".pages"), self._times(".base")
        if not pages or (bases and bases[-1] > pages[-1]):
            return None
        return self._footer(f"{pages[-1]:016x}.pages")

    def latest_time(self) -> int:
        """The time of the newest state that is kept; 0 when there is none."""
        return max([0, *self._times(".pages"), *self._times(".base")])

    def state_at(self, time: int) -> int:
        """The time of the last state not after `time`; 0 is the empty database before the first.

        Raises `NothingKept` and `ArchiveDamaged`.
        """
        reached, files = self._way_to(time)
        for _, footer in files:
            reached = max([reached, *[step.time for step in footer.steps if step.time <= time]])
        return reached

    def rebuild(self, time: int, target: Path, stop: Callable[[], bool] = lambda: False) -> int:
        """Writes the database as it was at `time` into a new file. Gives the time of the state that it is.

        Raises `NothingKept`, `ArchiveDamaged`, `OSError`, and `InterruptedError` if stopped.
        """
        reached, files = self._way_to(time)
        if reached:
            name = f"{reached:016x}.base"
            files.insert(0, (name, self._footer(name)))
        size_bytes = 0
        with target.open("wb") as database:
            for name, footer in files:
                for step in footer.steps:
                    if step.time > time:
                        break
                    self._apply(name, step, footer.page_bytes, database, stop)
                    reached, size_bytes = step.time, step.size_pages * footer.page_bytes
            database.truncate(size_bytes)
        return reached

    def _way_to(self, time: int) -> tuple[int, list[tuple[str, Footer]]]:
        """The base to begin with (0: an empty database), and the files of steps that lead from it to `time`."""
        start = reached = max([0, *[base for base in self._times(".base") if base <= time]])
        files: list[tuple[str, Footer]] = []
        for end in self._times(".pages"):
            if end <= start:
                continue
            name = f"{end:016x}.pages"
            footer = self._footer(name)
            if footer.after > time:  # what lies between was not written through us; a base follows it
                break
            if footer.after != reached:
                raise ArchiveDamaged(f"{name} does not follow what is before it")
            files.append((name, footer))
            reached = end
            if end > time:
                break
        if not start and not files:
            raise NothingKept
        return start, files

    # Kept small.

    def wants_base(self, now: int) -> bool:
        """Whether a new base is due: many steps since the last, or the last is old."""
        bases = self._times(".base")
        newest = bases[-1] if bases else 0
        steps = [end for end in self._times(".pages") if end > newest]
        if not steps:
            return False
        step_bytes = sum(self._size(f"{end:016x}.pages") for end in steps)
        base_bytes = self._size(f"{newest:016x}.base") if newest else 0
        if step_bytes > max(limits.HISTORY_STEPS_BYTES, limits.HISTORY_STEPS_PER_BASE * base_bytes):
            return True
        return now - (newest or steps[0]) > limits.HISTORY_BASE_SECONDS * 1_000_000_000

    def make_base(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Adds a base at the newest state that is kept. What restoring takes is bounded by this."""
        whole = self._staged("database")
        try:
            reached = self.rebuild(self.latest_time(), whole, stop)
            self.add_base(whole, reached, stop)
        finally:
            whole.unlink(missing_ok=True)

    def forget_before(self, time: int) -> None:
        """Removes what is not needed to restore any state from `time` on."""
        needed = max([0, *[base for base in self._times(".base") if base <= time]])
        for suffix in (".base", ".pages"):
            for end in self._times(suffix):
                if end < needed or (suffix == ".pages" and end == needed):
                    (self._folder / f"{end:016x}{suffix}").unlink(missing_ok=True)

    def size_bytes(self) -> int:
        with suppress(FileNotFoundError):
            return sum(entry.stat().st_size for entry in os.scandir(self._folder))
        return 0

    def _apply(self, name: str, step: Step, page_bytes: int, database: BinaryIO, stop: Callable[[], bool]) -> None:
        try:
            with (self._folder / name).open("rb") as file:
                for chunk in step.chunks:
                    if stop():
                        raise InterruptedError("the engine closes")
                    file.seek(chunk.offset)
                    data = zlib.decompress(file.read(chunk.size_bytes))
                    numbers = array("I")
                    numbers.frombytes(chunk.pages)
                    for index, number in enumerate(numbers):
                        database.seek((number - 1) * page_bytes)
                        database.write(data[index * page_bytes : (index + 1) * page_bytes])
        except (zlib.error, FileNotFoundError) as error:
            raise ArchiveDamaged(name) from error

    def _footer(self, name: str) -> Footer:
        try:
            with (self._folder / name).open("rb") as file:
                file.seek(-_END.size, os.SEEK_END)
                size_bytes, checksum, magic = _END.unpack(file.read(_END.size))
                file.seek(-_END.size - size_bytes, os.SEEK_END)
                encoded = file.read(size_bytes)
            if magic != _MAGIC or zlib.crc32(encoded) != checksum:
                raise ArchiveDamaged(name)
            return msgspec.msgpack.decode(encoded, type=Footer)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise ArchiveDamaged(name) from error

    def _times(self, suffix: str) -> list[int]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return sorted(int(name[:16], 16) for name in names if _NAME.fullmatch(name) and name.endswith(suffix))

    def _size(self, name: str) -> int:
        return (self._folder / name).stat().st_size

    def _write(self, name: Callable[[], str], fill: Callable[[BinaryIO], Footer]) -> None:
        """`name` is asked for after `fill`."""
        staged = self._staged("file")
        try:
            with staged.open("wb") as file:
                encoded = msgspec.msgpack.encode(fill(file))
                file.write(encoded + _END.pack(len(encoded), zlib.crc32(encoded), _MAGIC))
                file.flush()
                if self._durable:
                    os.fsync(file.fileno())
            staged.rename(self._folder / name())
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        if self._durable:
            sync_folder(self._folder)

    def _staged(self, purpose: str) -> Path:
        return self._folder / f"{self._writer}-{purpose}.new"


def _write_chunks(file: BinaryIO, pages: Iterable[tuple[int, bytes]]) -> Iterator[Chunk]:
    numbers = array("I")
    contents: list[bytes] = []
    for number, content in pages:
        numbers.append(number)
        contents.append(content)
        if len(contents) == _CHUNK_PAGES:
            yield _write_chunk(file, numbers, contents)
            numbers, contents = array("I"), []
    if contents:
        yield _write_chunk(file, numbers, contents)


def _write_chunk(file: BinaryIO, numbers: array[int], contents: list[bytes]) -> Chunk:
    compressed = zlib.compress(b"".join(contents), _COMPRESSION)
    offset = file.tell()
    file.write(compressed)
    return Chunk(offset, len(compressed), numbers.tobytes())
