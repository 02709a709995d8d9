"""The past of a database: whatever happens in between, a state that was promised can be restored."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tenantry.services.d1 import limits
from tenantry.services.d1.encoding import ResultDocument
from tenantry.services.d1.engines import _archive
from tenantry.services.d1.engines._archive import Archive
from tenantry.services.d1.engines.files import FileEngine
from tenantry.services.d1.errors import PastUnknown
from tenantry.services.d1.model import Call, Statement

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
EXAMPLES = int(os.environ.get("D1_HISTORY_EXAMPLES", "12"))
"""`make history` asks for more."""


class Past:
    """A database with a clock of the test's own, and what it held after each commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = START
        self.commits: list[tuple[int, bool, list[Any]]] = [(0, True, [])]  # time, bookmarked, rows
        self.open()
        self.run("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", bookmarked=False)

    def open(self) -> None:
        self.engine = FileEngine(self.folder, durable=False, wall_clock=lambda: self.now)
        self.session: Any = self.engine.open("db")

    def close(self) -> None:
        self.session.close()
        self.engine.close()

    def run(self, *statements: str, bookmarked: bool = True) -> int:
        call = Call([Statement(sql) for sql in statements], ResultDocument(first=False), 30.0, bookmarked=bookmarked)
        for _ in range(3):
            applied = self.session.apply([call], lambda _: None)
            if not applied.again:
                break
        assert call.failure is None
        time = call.state
        if time == self.commits[-1][0]:  # it changed nothing
            bookmarked = self.commits.pop()[1] or bookmarked
        self.commits.append((time, bookmarked, self.rows()))
        return time

    def rows(self) -> list[Any]:
        connection = self.session._connection
        if connection is None:
            connection = self.session._open()
        if not connection.own("SELECT 1 FROM sqlite_schema WHERE name = 't'"):
            return []
        return connection.own("SELECT id, a FROM t ORDER BY id")

    def die(self) -> None:
        """What `kill -9` leaves: the files as they are at this moment."""
        left = self.folder.with_name(f"{self.folder.name}+")
        shutil.copytree(self.folder, left)
        self.close()
        self.folder = left
        self.open()

    def checkpoint(self) -> None:
        self.session._open()
        self.session._store.past.checkpoint()

    def rows_at(self, time: int) -> list[Any]:
        """By building that state somewhere else."""
        copy = self.folder.with_name("then.sqlite")
        self.session._open()
        self.session._store.past.rebuild(time, copy)
        with tempfile.TemporaryDirectory() as empty:
            moved = copy.rename(Path(empty) / "then.sqlite")
            connection = apsw.Connection(str(moved))
            assert connection.pragma("integrity_check") == "ok"
            found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 't'").fetchone()
            rows = connection.execute("SELECT id, a FROM t ORDER BY id").fetchall() if found else []
            connection.close()
        return rows

    def check_promises(self) -> None:
        for index, (time, bookmarked, rows) in enumerate(self.commits):
            following = self.commits[index + 1][0] if index + 1 < len(self.commits) else START * 2
            if bookmarked or index + 1 == len(self.commits) or following // SECOND > time // SECOND:
                assert self.rows_at(time) == rows, "a bookmark, or the last state of a second"
                assert self.rows_at(following - 1) == rows


@pytest.fixture
def past(folder: Path) -> Iterator[Past]:
    made = Past(folder)
    yield made
    made.close()


STEPS = st.one_of(
    st.tuples(st.just("insert"), st.integers(1, 60), st.booleans()),
    st.tuples(st.just("update"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("delete"), st.integers(0, 60), st.booleans()),
    st.tuples(st.just("tick"), st.integers(1, 2 * SECOND), st.just(False)),
    st.tuples(st.just("checkpoint"), st.just(0), st.just(False)),
    st.tuples(st.just("reopen"), st.just(0), st.just(False)),
    st.tuples(st.just("die"), st.just(0), st.just(False)),
    st.tuples(st.just("restore"), st.integers(0, 30), st.just(False)),
    st.tuples(st.just("base"), st.just(0), st.just(False)),
)


@settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(STEPS, min_size=3, max_size=25))
def test_what_was_promised_can_be_restored(steps: list[tuple[str, int, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        past = Past(Path(folder) / "d1")
        for kind, number, bookmarked in steps:
            if kind == "insert":
                past.run(f"INSERT INTO t (a) VALUES (hex(zeroblob({number * 100})))", bookmarked=bookmarked)
            elif kind == "update":
                past.run(f"UPDATE t SET a = '{len(past.commits)}' WHERE id % 3 = {number}", bookmarked=bookmarked)
            elif kind == "delete":
                past.run(f"DELETE FROM t WHERE id < {number}; SELECT 1", bookmarked=bookmarked)
            elif kind == "tick":
                past.now += number
            elif kind == "checkpoint":
                past.checkpoint()
            elif kind == "reopen":
                past.close()
                past.open()
            elif kind == "die":
                past.die()
            elif kind == "base" and (past.folder / "db.history").exists():
                archive = Archive(past.folder / "db.history", False, "test")
                if archive.latest_time():
                    archive.make_base()
            elif kind == "restore":
                time, _, _ = past.commits[number % len(past.commits)]
                exact = past.session.state_at(time)
                expected = past.rows_at(exact)
                restored = past.session.restore(exact)
                assert restored.state == exact
                assert past.rows() == expected
                # What the restore replaced, and what it made, are states like any other.
                last_time, _, last_rows = past.commits[-1]
                assert restored.previous == last_time
                past.commits[-1] = (last_time, True, last_rows)
                past.commits.append((past.session.state_at(None), True, expected))
                past.run("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, a)", "SELECT 1")
        past.check_promises()
        past.close()


def test_commits_of_one_second_are_kept_as_one(past: Past) -> None:
    for _ in range(200):
        past.now += SECOND // 1000
        past.run("INSERT INTO t (id, a) VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET a = a + 1", bookmarked=False)
    past.checkpoint()
    [kept] = (past.folder / "db.history").glob("*.pages")
    footer = Archive(kept.parent, False, "session").latest()
    assert footer is not None
    assert len(footer.steps) == 1
    assert kept.stat().st_size < 1000
    past.check_promises()


def test_a_long_log_is_archived_by_itself(past: Past) -> None:
    for number in range(8):
        past.now += SECOND
        past.run(f"INSERT INTO t (a) VALUES (hex(randomblob(500000 + {number})))", bookmarked=False)
    log = past.folder / "db.sqlite-wal"
    assert log.stat().st_size < (limits.CHECKPOINT_FRAMES + 300) * 4200
    assert list((past.folder / "db.history").glob("*.pages"))
    past.check_promises()


def test_one_that_reads_meanwhile_keeps_the_log_but_not_the_past(past: Past) -> None:
    reader = apsw.Connection(str(past.folder / "db.sqlite"))
    reader.execute("BEGIN")
    past.run("INSERT INTO t (a) VALUES (1)")
    reader.execute("SELECT * FROM t").fetchall()
    for number in range(5):
        past.run(f"INSERT INTO t (a) VALUES ({number})")
        past.checkpoint()
    assert (past.folder / "db.sqlite-wal").stat().st_size > 0
    reader.execute("COMMIT")
    for number in range(5):  # the log begins anew at some point, without our doing
        past.run(f"INSERT INTO t (a) VALUES ({number})")
    past.check_promises()
    past.checkpoint()
    assert (past.folder / "db.sqlite-wal").stat().st_size == 0
    past.run("INSERT INTO t (a) VALUES (7)")
    past.check_promises()
    reader.close()


def test_what_was_written_past_us_begins_a_new_past(past: Past) -> None:
    past.run("INSERT INTO t (a) VALUES (1)")
    before, _, rows = past.commits[-1]
    past.close()
    stranger = apsw.Connection(str(past.folder / "db.sqlite"))
    stranger.execute("INSERT INTO t (a) VALUES ('stranger')")
    stranger.close()
    past.open()
    past.now += 5 * SECOND
    after = past.run("INSERT INTO t (a) VALUES (2)")
    past.run("INSERT INTO t (a) VALUES (3)")
    assert past.rows_at(before) == rows
    assert [row[1] for row in past.rows_at(after)] == [1, "stranger", 2]
    past.check_promises()


def test_without_its_folder_a_database_begins_a_new_past(past: Past) -> None:
    past.run("INSERT INTO t (a) VALUES (1)")
    past.close()
    shutil.rmtree(past.folder / "db.history")
    past.open()
    past.now += SECOND
    past.run("INSERT INTO t (a) VALUES (2)")
    with pytest.raises(PastUnknown):
        past.rows_at(START)
    assert [row[1] for row in past.rows_at(past.now)] == [1, 2]


def test_the_clock_may_go_back(past: Past) -> None:
    past.now = START - 50 * SECOND
    times = [past.run(f"INSERT INTO t (a) VALUES ({number})") for number in range(3)]
    assert times == sorted(set(times))
    assert times[0] > START - 1
    past.check_promises()


def test_when_the_archive_cannot_be_written_nothing_is_lost(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    past.now += SECOND
    past.run("INSERT INTO t (a) VALUES (1)")
    with monkeypatch.context() as patch, capture_logs() as said:
        patch.setattr(_archive.Archive, "add_steps", fail)
        patch.setattr(limits, "CHECKPOINT_FRAMES", 5)
        for number in range(10):
            past.now += SECOND
            past.run(f"INSERT INTO t (a) VALUES ({number})")
        past.close()
    assert "could not be archived" in str(said)
    past.open()
    past.run("INSERT INTO t (a) VALUES (99)")
    past.check_promises()


def test_states_older_than_the_limit_are_forgotten(past: Past) -> None:
    day = 24 * 3600 * SECOND
    for _ in range(20):
        past.now += 3 * day
        past.run("INSERT INTO t (a) VALUES (hex(randomblob(1000)))", bookmarked=False)
        past.close()  # the keeper ends what it does
        past.open()
        past.checkpoint()
        keeper = past.engine._keeper
        keeper._keep(past.folder / "db.history")
    oldest = past.now - limits.HISTORY_SECONDS * SECOND
    kept = [path for path in (past.folder / "db.history").iterdir() if path.suffix in (".base", ".pages")]
    assert len(kept) < 50
    assert min(int(path.name[:16], 16) for path in kept) > oldest - 11 * day
    with pytest.raises(PastUnknown):
        past.rows_at(START + 5 * day)
    past.commits = [commit for commit in past.commits if commit[0] >= oldest]
    past.check_promises()


def test_a_damaged_archive_is_said_and_the_database_works_on(past: Past) -> None:
    past.now += SECOND
    past.run("INSERT INTO t (a) VALUES (1)")
    past.checkpoint()
    [kept] = (past.folder / "db.history").glob("*.pages")
    content = bytearray(kept.read_bytes())
    content[10] ^= 0xFF
    kept.write_bytes(content)
    with pytest.raises(PastUnknown):
        past.session.restore(START)
    past.run("INSERT INTO t (a) VALUES (2)")
    assert [row[1] for row in past.rows()] == [1, 2]


@pytest.mark.parametrize("when", ["first write", "opened after kill -9", "always"])
def test_a_disk_without_room_for_the_past_does_not_stop_the_database(
    past: Past, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    past.now += SECOND
    past.run("INSERT INTO t (a) VALUES (1)")
    if when == "first write":
        past.close()
        past.open()
    with monkeypatch.context() as patch, capture_logs() as said:
        patch.setattr("tenantry.services.d1.engines._history.make_folder", fail)
        patch.setattr(_archive.Archive, "add_steps", fail)
        patch.setattr(_archive.Archive, "add_base", fail)
        if when != "first write":
            past.die()
        assert [row[1] for row in past.rows()] == [1]
        past.now += SECOND
        past.run("INSERT INTO t (a) VALUES (2)")
        if when == "always":
            past.die()
            past.run("INSERT INTO t (a) VALUES (3)")
            past.close()
            past.open()
    assert "is not kept from now on" in str(said)
    past.now += SECOND
    past.run("INSERT INTO t (a) VALUES (4)")
    past.checkpoint()
    past.now += SECOND
    past.run("INSERT INTO t (a) VALUES (5)")
    assert [row[1] for row in past.rows()] == [1, 2, 3, 4, 5] if when == "always" else [1, 2, 4, 5]
    # States of the time when nothing could be kept are not promised; those after it are.
    past.commits = past.commits[-1:]
    past.check_promises()
    past.close()
    past.open()
    past.check_promises()
