"""Calls that share a transaction: nobody can tell, whatever one of them does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tenantry.services.d1.encoding import ResultDocument
from tenantry.services.d1.engine import Applied
from tenantry.services.d1.engines._session import SqliteSession
from tenantry.services.d1.engines.files import FileEngine
from tenantry.services.d1.model import Call, Statement

SLOW = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"


class Clock:
    """Stands still, or goes on a step with each look: then a query's time passes while it runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def session(folder: Path, clock: Clock) -> Iterator[Any]:  # SqliteSession
    opened = FileEngine(folder, durable=False, clock=clock).open("db")
    yield opened
    opened.close()


def call(*statements: str, seconds_max: float = 30.0) -> Call:
    return Call(tuple([Statement(sql) for sql in statements]), ResultDocument(first=False), seconds_max)


class Run:
    """Gives calls to a session until none is left, and keeps the order in which they were settled."""

    def __init__(self, session: SqliteSession) -> None:
        self.session = session
        self.settled: list[Call] = []
        self.rounds: list[Applied] = []

    def __call__(self, *calls: Call) -> list[str | None]:
        given: Sequence[Call] = calls
        for _ in range(20):
            applied = self.session.apply(given, self.settled.extend)
            self.rounds.append(applied)
            self.settled.extend(applied.settled)
            given = applied.again
            if not given:
                break
        assert sorted(map(id, self.settled)) == sorted(map(id, calls)), "each call is settled once"
        return [None if one.failure is None else str(one.failure).split(":")[0] for one in calls]

    def values(self, sql: str) -> list[Any]:
        return [row[0] for row in self.session._connection.own(sql)]  # type: ignore[union-attr]  # it is open


@pytest.fixture
def run(session: SqliteSession) -> Run:
    runner = Run(session)
    seed = call(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        "CREATE TABLE later (p REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER bomb BEFORE INSERT ON t WHEN new.a = 'bomb' BEGIN SELECT RAISE(ROLLBACK, 'boom'); END",
    )
    assert runner(seed) == [None]
    runner.settled.clear()
    runner.rounds.clear()
    return runner


def insert(value: int | str) -> Call:
    return call(f"INSERT INTO t (a) VALUES ({value!r})")


def test_many_writes_share_one_transaction(run: Run) -> None:
    assert run(*[insert(n) for n in range(5)]) == [None] * 5
    assert len(run.rounds) == 1
    assert run.values("SELECT a FROM t ORDER BY id") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "guilty",
    [
        "INSERT INTO t (id) VALUES (1)",
        "INSERT INTO nope VALUES (1)",
        "INSERT INTO later VALUES (99)",
        "BEGIN",
        "PRAGMA defer_foreign_keys = on; INSERT INTO later VALUES (98)",
    ],
)
def test_one_that_fails_fails_alone(run: Run, guilty: str) -> None:
    failures = run(insert(1), insert(2), call("INSERT INTO t (a) VALUES ('gone')", guilty), insert(3))
    assert [failure is None for failure in failures] == [True, True, False, True]
    assert len(run.rounds) == 1
    assert run.values("SELECT a FROM t ORDER BY id") == [1, 2, 3]
    assert run.values("SELECT count(*) FROM later") == [0]


@pytest.mark.parametrize("guilty", ["INSERT OR ROLLBACK INTO t (id) VALUES (1)", "INSERT INTO t (a) VALUES ('bomb')"])
def test_one_that_ends_the_transaction_takes_nobody_with_it(run: Run, guilty: str) -> None:
    failures = run(insert(1), insert(2), call("INSERT INTO t (a) VALUES ('gone')", guilty), insert(3))
    assert [failure is None for failure in failures] == [True, True, False, True]
    assert run.values("SELECT a FROM t ORDER BY id") == [1, 2, 3]


def test_many_that_end_the_transaction_cost_each_innocent_one_run_more(run: Run) -> None:
    calls = [insert("bomb" if n % 2 else n) for n in range(12)]
    failures = run(*calls)
    assert [failure is None for failure in failures] == [True, False] * 6
    assert run.values("SELECT a FROM t ORDER BY id") == [0, 2, 4, 6, 8, 10]


def test_a_constraint_is_deferred_within_a_call_only(run: Run) -> None:
    fine = call("INSERT INTO later VALUES (50)", "INSERT INTO t (id) VALUES (50)")
    # What the next one inserts would make this one right, if they were one transaction.
    guilty = call("INSERT INTO later VALUES (51)")
    assert run(fine, guilty, call("INSERT INTO t (id) VALUES (51)")) == [None, "FOREIGN KEY constraint failed", None]
    assert run.values("SELECT p FROM later") == [50]


def test_deferring_of_one_call_does_not_reach_the_next(run: Run) -> None:
    assert run(call("CREATE TABLE now (p REFERENCES t (id))")) == [None]
    both = ("INSERT INTO now VALUES (60)", "INSERT INTO t (id) VALUES (60)")
    run.settled.clear()
    assert run(call("PRAGMA defer_foreign_keys = on"), call(*both)) == [None, "FOREIGN KEY constraint failed"]
    run.settled.clear()
    assert run(call("PRAGMA defer_foreign_keys = on", *both)) == [None]


def test_when_the_commit_fails_each_runs_alone_and_the_guilty_one_fails(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Deferred constraints are found before the commit. With that check away, SQLite finds them at the commit.
    connection: Any = run.session._connection
    monkeypatch.setattr(connection, "check_foreign_keys", lambda: None)
    failures = run(insert(1), call("INSERT INTO later VALUES (99)"), insert(2))
    assert failures == [None, "FOREIGN KEY constraint failed", None]
    assert run.values("SELECT a FROM t ORDER BY id") == [1, 2]
    assert run.values("SELECT count(*) FROM later") == [0]


def test_a_read_waits_for_the_write_before_it_and_not_for_the_one_after(run: Run) -> None:
    before, write, after = call("SELECT 1"), insert(1), call("SELECT a FROM t")
    early: list[Call] = []
    applied = run.session.apply([before, write, after], early.extend)
    assert list(applied.settled) == [before, write, after]
    assert early == []


def test_reads_are_told_of_before_they_have_waited_for_long(run: Run, clock: Clock) -> None:
    clock.step = 0.002
    early: list[Call] = []
    reads = [call("SELECT 1"), call("SELECT 2")]
    run.session.apply(reads, early.extend)
    assert reads[0] in early


def test_a_long_call_does_not_keep_others_from_their_answer(run: Run, clock: Clock) -> None:
    clock.step = 0.001  # a look at the clock each 100,000 operations: 50 of them are the longest hold
    first, long, last = insert(1), call(SLOW, seconds_max=0.15), insert(2)
    assert run(first, long, last) == [
        None,
        "D1 DB storage operation exceeded timeout which caused object to be reset.",
        None,
    ]
    # The first was answered, then the long one ran alone until its own deadline, then the last.
    assert run.settled == [first, long, last]
    assert list(run.rounds[0].settled) == [first]
    assert run.values("SELECT a FROM t ORDER BY id") == [1, 2]


def test_a_long_write_that_is_stopped_leaves_the_others_whole(run: Run, clock: Clock) -> None:
    clock.step = 0.001
    long = call(f"INSERT INTO t (a) {SLOW}", seconds_max=0.15)
    failures = run(insert(1), insert(2), long, insert(3))
    assert [failure is None for failure in failures] == [True, True, False, True]
    assert run.values("SELECT a FROM t ORDER BY id") == [1, 2, 3]


def test_a_group_that_is_old_takes_up_no_more(run: Run, clock: Clock) -> None:
    clock.step = 0.003
    calls = [insert(n) for n in range(6)]
    assert run(*calls) == [None] * 6
    assert len(run.rounds) > 1
    assert run.settled == calls


def test_a_canceled_call_does_not_run(run: Run) -> None:
    gone = insert(1)
    gone.canceled = True
    run(gone, insert(2))
    assert run.values("SELECT a FROM t") == [2]


def test_a_database_that_is_only_read_has_no_file(session: SqliteSession, folder: Path) -> None:
    run = Run(session)
    assert run(call("SELECT 1"), call("SELECT * FROM sqlite_schema"), call("INSERT INTO t VALUES (1)")) == [
        None,
        None,
        "no such table",
    ]
    assert not folder.exists()
    run.settled.clear()
    assert run(call("SELECT 1"), call("CREATE TABLE t (a)"), call("INSERT INTO t VALUES (7)")) == [None, None, None]
    assert (folder / "db.sqlite").exists()
    assert run.values("SELECT a FROM t") == [7]


def test_the_own_statements_of_the_engine_cannot_be_said_by_a_tenant(run: Run) -> None:
    for sql in ("SAVEPOINT call", "RELEASE call", "ROLLBACK TO call", "PRAGMA page_count", "COMMIT"):
        assert run(call(sql)) != [None]
        run.settled.clear()


def test_settings_are_not_forgotten_when_a_statement_comes_from_the_cache(run: Run) -> None:
    assert run(call("CREATE TABLE now (p REFERENCES t (id))")) == [None]
    for _ in range(3):
        run.settled.clear()
        deferred = call("PRAGMA defer_foreign_keys = on")
        assert run(deferred, call("INSERT INTO now VALUES (5)")) == [None, "FOREIGN KEY constraint failed"]


def test_a_session_that_was_interrupted_refuses_what_follows(run: Run) -> None:
    run.session.interrupt()
    assert run(insert(1)) == ["Network connection lost."]
