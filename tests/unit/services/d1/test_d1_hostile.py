"""Statements and arguments made to hurt: each ends with a clear error, and the database is usable at once."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from tenantry.errors import BindingError, ConfigError, StreamError
from tenantry.services.d1 import Statement, limits
from tenantry.streams import BytesStream

TIMED_OUT = "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset."
LONG = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) "
A = "replace(hex(zeroblob(100)), '0', 'a')"


@pytest.mark.parametrize(
    "sql",
    [
        LONG + "SELECT count(*) FROM r",
        LONG + "SELECT max(n) FROM r",
        LONG + "SELECT n FROM r",
        LONG + "INSERT INTO t SELECT n FROM r",
        LONG + "SELECT n FROM r ORDER BY -n",
        LONG + "SELECT length(hex(randomblob(1000000))) FROM r WHERE n < 0",
        "SELECT count(*) FROM big a, big b, big c, big d WHERE a.n + b.n + c.n + d.n < 0",
        "INSERT INTO t SELECT 1 WHERE (SELECT count(*) FROM big a, big b, big c, big d WHERE a.n <> b.n) > 0",
        "SELECT count(*) FROM big a, big b, big c WHERE a.n || b.n || c.n LIKE '%1%2%3%4%5%6%7%8%9%0%1%2%'",
        "SELECT 1; " + LONG + "SELECT count(*) FROM r; SELECT 2",
        LONG + "SELECT group_concat(n) FROM r WHERE n % 100000000 = 0",
    ],
)
async def test_a_query_without_end_ends_at_its_deadline(make_service: Any, open_database: Any, sql: str) -> None:
    await open_database(make_service()).exec(
        "CREATE TABLE t (a)\nCREATE TABLE big (n)\n"
        + LONG.replace("FROM r", "FROM r WHERE n < 3000")
        + "INSERT INTO big SELECT n FROM r"
    )
    service = make_service(query_seconds_max=0.2)
    db = open_database(service)
    started = time.monotonic()
    with pytest.raises(Exception) as raised:  # noqa: PT011  # the text is what counts
        await db.prepare(sql).all()
    assert raised.value.message == TIMED_OUT  # type: ignore[attr-defined]  # a JsException
    assert time.monotonic() - started < 5
    service.query_seconds_max = 60  # for what follows
    assert await db.prepare("SELECT count(*) AS n FROM t").first("n") == 0
    await db.prepare("INSERT INTO t VALUES (1)").run()


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT zeroblob(1000000000)", "string or blob too big: SQLITE_TOOBIG"),
        ("SELECT randomblob(1000000000)", "string or blob too big: SQLITE_TOOBIG"),
        ("SELECT hex(zeroblob(1900000))", "string or blob too big: SQLITE_TOOBIG"),
        (f"SELECT replace({A}, 'a', hex(zeroblob(20000)))", "string or blob too big: SQLITE_TOOBIG"),
        (
            LONG.replace("FROM r", "FROM r LIMIT 30") + "SELECT group_concat(hex(zeroblob(100000))) FROM r",
            "string or blob too big: SQLITE_TOOBIG",
        ),
        ("SELECT " + "(" * 49_000, ""),
        ("SELECT " + "-" * 5000 + "1", "incomplete input"),
        ("SELECT " + "~" * 500 + "1", "Expression tree is too large (maximum depth 100)"),
        ("SELECT " + "abs(" * 200 + "1" + ")" * 200, ""),
        ("SELECT json('" + "[" * 2000 + "]" * 2000 + "')", "malformed JSON"),
        ("SELECT 'x' LIKE '" + "%a" * 26 + "'", "LIKE or GLOB pattern too complex"),
        ("SELECT 'x' GLOB '" + "*a" * 26 + "'", "LIKE or GLOB pattern too complex"),
        ("SELECT * FROM " + ", ".join(f"(SELECT 1) a{n}" for n in range(65)), "at most 64 tables in a join"),
        (
            "WITH "
            + ", ".join(f"a{n} AS (SELECT * FROM a{n - 1}, a{n - 1})" if n else "a0 AS (SELECT 1)" for n in range(30))
            + " SELECT * FROM a29",
            "",
        ),
        ("SELECT " + " || ".join(["randomblob(1900000)"] * 90), "string or blob too big"),
    ],
    ids=range(15),
)
async def test_a_giant_is_refused(make_service: Any, open_database: Any, sql: str, text: str) -> None:
    db = open_database(make_service(query_seconds_max=2.0))
    with pytest.raises(Exception) as raised:  # noqa: PT011  # the text is what counts
        await db.prepare(sql).all()
    assert raised.value.message.startswith(f"D1_ERROR: {text}")  # type: ignore[attr-defined]  # a JsException
    assert await db.prepare("SELECT 1 AS x").first("x") == 1


async def test_a_trigger_that_calls_itself_ends(db: Any) -> None:
    await db.exec(
        "CREATE TABLE t (a)\n"
        "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO t VALUES (new.a + 1); END\n"
        "PRAGMA recursive_triggers = on"
    )
    with pytest.raises(Exception, match=r"triggers nested too deep|too many levels of trigger recursion"):
        await db.prepare("INSERT INTO t VALUES (1)").run()


async def test_the_event_loop_goes_on_while_a_query_runs(make_service: Any, open_database: Any) -> None:
    db = open_database(make_service(query_seconds_max=0.3))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    turning = asyncio.create_task(turn())
    with pytest.raises(Exception, match="exceeded timeout"):
        await db.prepare(LONG + "SELECT count(*) FROM r").all()
    turning.cancel()
    assert turns > 100


async def test_another_database_is_served_while_one_is_busy(make_service: Any, open_database: Any) -> None:
    service = make_service(query_seconds_max=60, thread_count=2)
    busy = asyncio.create_task(open_database(service, "hog").prepare(LONG + "SELECT count(*) FROM r").all())
    await asyncio.sleep(0)
    assert await open_database(service, "other").prepare("SELECT 1 AS x").first("x") == 1
    assert not busy.done()
    busy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await busy


async def test_a_function_that_never_looks_up_loses_its_thread_and_nobody_elses(
    make_service: Any, open_database: Any
) -> None:
    service = make_service(query_seconds_max=0.1, stuck_seconds=0.1, thread_count=1)
    db = open_database(service, "stuck")
    # Naive search: 520,000 places, 120,000 characters each, in one operation of the virtual machine.
    text, pattern = [f"replace(hex(zeroblob({size})), '0', 'a')" for size in (260_000, 60_000)]
    stuck = f"SELECT instr({text}, {pattern} || 'b') AS x"
    both = [asyncio.create_task(db.prepare(sql).all()) for sql in (stuck, "SELECT 1")]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert [getattr(result, "message", None) for result in results] == [TIMED_OUT, TIMED_OUT]
    with pytest.raises(Exception, match="exceeded timeout"):
        await db.prepare("SELECT 1").all()
    service.query_seconds_max = 60  # for what follows
    assert await open_database(service, "other").prepare("SELECT 1 AS x").first("x") == 1
    async with asyncio.timeout(20):
        while service.database("stuck").busy:
            await asyncio.sleep(0.01)
    assert await db.prepare("SELECT 1 AS x").first("x") == 1


DOCUMENTS: list[Any] = [
    None,
    5,
    1.5,
    True,
    [],
    {},
    {1, 2},
    "",
    "{",
    "null",
    "[]",
    "{}",
    b"\xff\xfe",
    b'{"statements":5}',
    '{"statements":[["SELECT 1"]]}',
    '{"statements":[["SELECT 1",[],1]]}',
    '{"statements":[[5,[]]]}',
    '{"statements":[["SELECT ?",[{}]]]}',
    '{"statements":[["SELECT ?",[[]]]]}',
    '{"statements":[["SELECT ?",[["a","b"]]]]}',
    '{"statements":[["SELECT ?",[["not base64!"]]]]}',
    '{"statements":[["SELECT ?",[[5]]]]}',
    '{"statements":[["SELECT ?",[NaN]]]}',
    '{"statements":[["SELECT ?",[1e999]]]}',
    '{"statements":[["SELECT ?",[' + "9" * 5000 + "]]]}",
    '{"statements":[["SELECT ?",[9007199254740992]]]}',
    '{"statements":[["SELECT \\ud800",[]]]}',
    '{"statements":[],"unknown":1}',
    '{"statements":[],"first":1}',
    '{"statements":' + "[" * 10_000 + "]" * 10_000 + "}",
    json.dumps({"statements": [["SELECT 1", []]] * (limits.STATEMENTS_MAX + 1)}),
    json.dumps({"statements": [["SELECT 1", [0] * 101]]}),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=range(len(DOCUMENTS)))
async def test_a_malformed_request_is_a_binding_error(service: Any, document: Any) -> None:
    binding = service.open("db")
    for given in (document, BytesStream(document.encode()) if isinstance(document, str) else document):
        with pytest.raises(BindingError):
            await binding.call("query", [given])


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("query", []),
        ("query", ["{}", "{}"]),
        ("exec", []),
        ("exec", [5]),
        ("exec", [b"\xff"]),
        ("exec", ["SELECT 1", None]),
        ("nope", ["x"]),
        ("_query", ["x"]),
        ("__class__", []),
        ("run", [[]]),
        (None, ["x"]),
        (["query"], ["x"]),
    ],
)
async def test_a_wrong_method_or_argument_count_is_a_binding_error(service: Any, method: Any, args: list[Any]) -> None:
    with pytest.raises(BindingError):
        await service.open("db").call(method, args)


class FakeStream:
    def __init__(self, length: int | None, chunk: bytes = b"", broken: bool = False) -> None:
        self.length = length
        self.chunk = chunk
        self.broken = broken
        self.closed = False

    async def read(self, size_max: int) -> bytes:
        if self.broken:
            raise StreamError("gone")
        return self.chunk[:size_max]

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (FakeStream(limits.REQUEST_BYTES_MAX + 1), "The request is too large"),
        (FakeStream(None, b" " * 2**20), "The request is too large"),
        (FakeStream(10, b" " * 2**20), "The request is too large"),
        (FakeStream(10, broken=True), "Network connection lost."),
    ],
    ids=["said", "endless", "lied", "broken"],
)
async def test_a_request_stream_is_bounded_and_closed(service: Any, stream: FakeStream, text: str) -> None:
    with pytest.raises(BindingError, match=text):
        await service.open("db").call("query", [stream])
    assert stream.closed
    assert service.database("db").request_bytes == 0


@pytest.mark.parametrize("resource_id", ["", ".", "..", "../x", "a/b", "a\0b", ".hidden", "x" * 129, "ü", "a\n"])
def test_an_id_that_is_no_file_name_is_refused(service: Any, resource_id: str) -> None:
    with pytest.raises(ConfigError):
        service.open(resource_id)


async def test_results_that_are_never_read_are_bounded(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNREAD_RESULT_BYTES_MAX", 500_000)
    binding = service.open("db")
    document = json.dumps({"statements": [["SELECT hex(zeroblob(100000))", []]]})
    streams = [await binding.call("query", [document]) for _ in range(2)]
    with pytest.raises(BindingError, match="D1 DB is overloaded"):
        await binding.call("query", [document])
    for stream in streams:
        assert len(await stream.read(10**6)) == stream.length
        await stream.aclose()
        await stream.aclose()
    assert service.database("db").unread_bytes == 0
    await (await binding.call("query", [document])).aclose()


async def test_a_result_stream_comes_whole_in_pieces_of_any_size(service: Any) -> None:
    binding = service.open("db")
    sql = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 20000) SELECT n, 'v' || n AS v FROM r"
    stream = await binding.call("query", [json.dumps({"statements": [[sql, []]]})])
    chunks = []
    while chunk := await stream.read(7777):
        assert len(chunk) <= 7777
        chunks.append(chunk)
    await stream.aclose()
    whole = b"".join(chunks)
    assert len(whole) == stream.length
    rows = json.loads(whole)["results"][0]["rows"]
    assert rows == [[n, f"v{n}"] for n in range(1, 20001)]


async def test_the_host_runs_statements_of_its_own_by_the_same_rules(service: Any) -> None:
    binding = service.open("db")
    document = json.loads(await binding.run([Statement("SELECT ? AS x", (b"ab",))]))
    assert document["results"][0]["rows"] == [[["YWI="]]]
    with pytest.raises(BindingError, match="D1_ERROR: not authorized"):
        await binding.run([Statement("ATTACH 'x' AS y")])
    assert (await binding.execute("SELECT 1"))["count"] == 1
