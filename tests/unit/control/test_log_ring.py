"""The ring of logs: bounded in bytes and days, fair to the quiet, readable after any end."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tenantry.control import limits
from tenantry.control.log_ring import LogQuery, LogRing
from tenantry.host import Trace
from tenantry.host.traces import TraceException, TraceLog, TraceRequest

ALL = LogQuery()
NOW = 1_800_000_000


def said(worker: str, text: str, *, at: int = NOW, level: str = "log", namespace: str | None = None) -> Trace:
    return Trace(worker, namespace, "v1", "ok", [TraceLog(level, text, at * 1000)], began_at=at * 1000)


def texts(ring: LogRing, query: LogQuery = ALL) -> list[str]:
    ring.flush()
    return [entry.logs[0].message for entry in ring.find(query, 1000)[0]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., LogRing]]:
    made: list[LogRing] = []

    def ring(bytes_max: int = 1_000_000, seconds_max: float = 3600, now: Callable[[], float] = lambda: NOW) -> LogRing:
        made.append(LogRing(tmp_path / "logs" / "logs.sqlite", bytes_max, seconds_max, now))
        return made[-1]

    yield ring
    for each in made:
        each.close()


def test_an_entry_is_what_there_is_to_know_of_an_invocation(make: Callable[..., LogRing], tmp_path: Path) -> None:
    ring = make()
    message = "no" * limits.LOG_EXCEPTION_CHARACTERS_MAX
    ring(
        Trace(
            worker="w",
            namespace="ns",
            version_id="v1",
            outcome="exception",
            logs=[TraceLog("warn", "\x1b]0;a\n\0\ud800", 5)],
            exceptions=[TraceException("ValueError", message, 'File "/app/entry.py"', 6)],
            began_at=NOW * 1000,
            wall_ms=7,
            cpu_ms=3,
            request=TraceRequest("GET", "http://host/path?token=canary#canary", {"x-canary": "canary"}),
        )
    )
    ring.flush()

    (entry,), more = ring.find(ALL, 10)

    assert not more
    assert (entry.worker, entry.namespace, entry.version, entry.outcome) == ("w", "ns", "v1", "exception")
    assert (entry.level, entry.at, entry.wall_ms, entry.cpu_ms) == ("error", NOW * 1000, 7, 3)
    assert entry.request is not None
    assert (entry.request.method, entry.request.url, entry.request.status) == ("GET", "http://host/path", None)
    assert entry.logs[0].message == "\x1b]0;a\n\0?", "what is no text is none, and loses nothing else"
    assert len(entry.exceptions[0].message) == limits.LOG_EXCEPTION_CHARACTERS_MAX
    assert entry.exceptions[0].stack == 'File "/app/entry.py"'
    assert all(b"canary" not in path.read_bytes() for path in (tmp_path / "logs").iterdir())
    assert all(path.stat().st_mode & 0o077 == 0 for path in [tmp_path / "logs", *(tmp_path / "logs").iterdir()])


def test_queries(make: Callable[..., LogRing]) -> None:
    ring = make()
    ring(said("a", "1", at=NOW - 10))
    ring(said("a", "2", at=NOW - 5, level="error", namespace="ns"))
    ring(said("b", "3"))
    ring(Trace("b", None, "v1", "unknown", [TraceLog("debug", "4", NOW * 1000)]))
    rows: list[tuple[LogQuery, list[str]]] = [
        (ALL, ["4", "3", "2", "1"]),
        (LogQuery(worker="a"), ["2", "1"]),
        (LogQuery(worker="a", any_namespace=False), ["1"]),
        (LogQuery(any_namespace=False, namespace="ns"), ["2"]),
        (LogQuery(since=(NOW - 5) * 1000), ["4", "3", "2"]),
        (LogQuery(before=(NOW - 5) * 1000), ["1"]),
        (LogQuery(outcome="unknown"), ["4"]),
        (LogQuery(level="warn"), ["2"]),
        (LogQuery(level="log"), ["3", "2", "1"]),
        (LogQuery(after=2), ["3", "4"]),
        (LogQuery(below=3), ["2", "1"]),
    ]
    for query, expected in rows:
        assert texts(ring, query) == expected, query


def test_an_answer_is_bounded_and_says_that_there_is_more(
    make: Callable[..., LogRing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOG_ANSWER_BYTES_MAX", 10_000)
    ring = make()
    for _ in range(5):
        ring(said("w", "x" * 6000))
    ring.flush()
    found, more = ring.find(ALL, 10)
    assert (len(found), more) == (1, True)
    assert len(ring.find(LogQuery(below=found[-1].id), 10)[0]) == 1


def test_what_is_too_old_is_gone_at_once_and_from_the_disk_with_the_next_entry(
    make: Callable[..., LogRing], tmp_path: Path
) -> None:
    now = float(NOW)
    ring = make(seconds_max=100, now=lambda: now)
    ring(said("w", "old"))
    assert texts(ring) == ["old"]
    now += 101
    assert texts(ring) == []
    ring(said("w", "new", at=int(now)))
    assert texts(ring) == ["new"]
    ring.close()
    assert rows(tmp_path) == 1


def rows(tmp_path: Path) -> int:
    connection = sqlite3.connect(tmp_path / "logs" / "logs.sqlite")
    count: int = connection.execute("SELECT count(*) FROM entries").fetchone()[0]
    connection.close()
    return count


def test_who_floods_the_ring_pushes_out_its_own(make: Callable[..., LogRing], tmp_path: Path) -> None:
    ring = make(bytes_max=200_000)
    ring(said("quiet", "still there"))
    for number in range(1000):
        ring(said("loud", f"{number} " + "x" * 1000))
    assert texts(ring, LogQuery(worker="quiet")) == ["still there"]
    loud = texts(ring, LogQuery(worker="loud"))
    assert loud[0].startswith("999 ")
    assert 50 < len(loud) < 200
    for number in range(1000):
        ring(said("loud", f"{number} " + "x" * 1000))
        ring.flush() if number % 250 == 0 else None
    ring.close()
    assert (tmp_path / "logs" / "logs.sqlite").stat().st_size < 3_000_000, "the space is used again"
    again = make(bytes_max=50_000)
    again(said("quiet", "and more"))
    assert texts(again, LogQuery(worker="quiet")) == ["and more", "still there"], "it knows who holds what"
    assert len(texts(again, LogQuery(worker="loud"))) < 50


def test_what_cannot_be_kept_up_with_is_lost_and_said_to_be(
    make: Callable[..., LogRing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOG_PENDING_CHARACTERS_MAX", 3000)
    with capture_logs() as said_of_it:
        ring = make()
        with ring._changed:  # the thread gets to neither before both have come
            ring(said("w", "x" * 2000))
            ring(said("w", "y" * 2000))
        assert texts(ring) == ["x" * 2000]
        ring.close()
    assert [(each["event"], each["count"]) for each in said_of_it] == [("logs of invocations were lost", 1)]


def test_a_damaged_file_is_begun_anew(make: Callable[..., LogRing], tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "logs.sqlite").write_bytes(b"no database" * 1000)
    ring = make()
    ring(said("w", "here"))
    assert texts(ring) == ["here"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tenantry.control.log_ring import LogRing
from tenantry.host import Trace
from tenantry.host.traces import TraceLog

ring = LogRing(Path(sys.argv[1]), 1_000_000, 3600, lambda: 1_800_000_000)
for number in range(10_000):
    ring(Trace("w", None, "v1", "ok", [TraceLog("log", f"line {number}", 1_800_000_000_000)]))
    if number == 50:
        ring.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_a_ring_that_can_be_read(make: Callable[..., LogRing], tmp_path: Path) -> None:
    file = tmp_path / "logs" / "logs.sqlite"
    subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False, env={**os.environ})
    found = texts(make())
    assert found[-1] == "line 0"
    assert len(found) >= 51
    assert found == [f"line {number}" for number in reversed(range(len(found)))], "no entry is missing between others"
