"""D1 over REST: databases, SQL, Time Travel, export and import; by plain HTTP and with Cloudflare's SDK."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from cloudflare import APIStatusError, AsyncCloudflare

from tenantry.cli.compose import _listening

pytestmark = pytest.mark.asyncio(loop_scope="module")


class D1:
    """One database."""

    def __init__(self, control: Any, made: dict[str, Any]) -> None:
        self.control = control
        self.made = made
        self.path = f"/d1/database/{made['uuid']}"

    async def call(self, method: str, path: str, **arguments: Any) -> Any:
        return await self.control.call(method, self.path + path, **arguments)

    async def query(self, sql: str, params: list[Any] | None = None, path: str = "/query") -> Any:
        answer = await self.call("POST", path, json={"sql": sql, **({"params": params} if params else {})})
        assert answer.status_code == 200, answer.text
        assert answer.json()["success"] is True
        return answer.json()["result"]

    async def rows(self, sql: str) -> list[Any]:
        return (await self.query(sql, path="/raw"))[-1]["results"]["rows"]

    async def fails(self, status: int, code: int, method: str, path: str, **arguments: Any) -> str:
        answer = await self.call(method, path, **arguments)
        document = answer.json()
        assert (answer.status_code, document["success"]) == (status, False)
        [error] = document["errors"]
        assert error["code"] == code
        return error["message"]

    async def transfer(self, kind: str, body: dict[str, Any]) -> Any:
        """Begins a job and asks until it is done, as wrangler does."""
        answer = (await self.call("POST", f"/{kind}", json=body)).json()["result"]
        while answer.get("status") == "active":
            assert answer["success"] is True
            assert isinstance(answer["messages"], list)
            again = {"action": "poll"} if kind == "import" else {"output_format": "polling"}
            again["current_bookmark"] = answer["at_bookmark"]
            answer = (await self.call("POST", f"/{kind}", json=again)).json()["result"]
        assert isinstance(answer["messages"], list)
        return answer

    async def export(self, **options: Any) -> str:
        answer = await self.transfer("export", {"output_format": "polling", "dump_options": options})
        assert (answer["status"], answer["type"]) == ("complete", "export")
        sent = await self.control.http.get(_local(answer["result"]["signed_url"]), headers={"Authorization": ""})
        assert sent.status_code == 200
        return sent.text

    async def import_(self, sql: bytes) -> Any:
        etag = hashlib.md5(sql).hexdigest()
        offered = (await self.call("POST", "/import", json={"action": "init", "etag": etag})).json()["result"]
        put = await self.control.http.put(_local(offered["upload_url"]), content=sql, headers={"Authorization": ""})
        assert put.status_code == 200
        assert put.headers["etag"].strip('"') == etag
        return await self.transfer("import", {"action": "ingest", "etag": etag, "filename": offered["filename"]})


def _local(url: str) -> str:
    return urlsplit(url).path


@pytest.fixture
def control(emptied_control: Any) -> Any:
    return emptied_control


@pytest_asyncio.fixture(loop_scope="module")
async def d1(control: Any) -> D1:
    return D1(control, (await control.call("POST", "/d1/database", json={"name": "shop"})).json()["result"])


async def test_a_database_is_shown_by_its_id_and_by_its_name(control: Any, d1: D1) -> None:
    await d1.query("CREATE TABLE t (a); CREATE VIRTUAL TABLE f USING fts5(a)")
    by_id = (await d1.call("GET", "")).json()["result"]
    by_name = (await control.call("GET", "/d1/database/shop")).json()["result"]
    assert by_id == by_name
    assert by_id["uuid"] == d1.made["uuid"]
    assert (by_id["name"], by_id["version"]) == ("shop", "production")
    assert by_id["num_tables"] == 2
    assert by_id["file_size"] == (await d1.query("SELECT 1"))[0]["meta"]["size_after"]
    assert by_id["read_replication"] == {"mode": "disabled"}


@pytest.mark.parametrize("query", ["?fields=uuid,name", "?fields=uuid&fields=name"])
async def test_only_the_fields_that_are_asked_for(control: Any, d1: D1, query: str) -> None:
    shown = (await control.call("GET", f"/d1/database/shop{query}")).json()["result"]
    assert shown == {"uuid": d1.made["uuid"], "name": "shop"}


ABSENT: list[Any] = [
    ("GET", ""),
    ("PATCH", ""),
    ("PUT", ""),
    ("DELETE", ""),
    ("POST", "/query"),
    ("POST", "/raw"),
    ("POST", "/export"),
    ("POST", "/import"),
    ("GET", "/time_travel/bookmark"),
    ("POST", "/time_travel/restore"),
]


async def test_one_that_is_not_there(control: Any) -> None:
    for method, path in ABSENT:
        answer = await control.call(method, f"/d1/database/absent{path}", json={})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, 7404), (method, path)


async def test_one_of_another_account_is_not_there(control: Any, d1: D1) -> None:
    path = f"/client/v4/accounts/{'0' * 32}{d1.path}"
    assert (await control.http.get(path)).status_code == 404


async def test_renaming_and_read_replication(control: Any, d1: D1) -> None:
    await d1.query("CREATE TABLE t (a)")
    await control.call("POST", "/d1/database", json={"name": "taken"})
    assert (await d1.call("PATCH", "", json={"name": "store"})).json()["result"]["name"] == "store"
    replicated = (await d1.call("PUT", "", json={"read_replication": {"mode": "auto"}})).json()["result"]
    assert replicated == (await control.call("GET", "/d1/database/store")).json()["result"]
    assert replicated["read_replication"] == {"mode": "auto"}
    assert "already exists" in await d1.fails(400, 7502, "PATCH", "", json={"name": "taken"})
    await d1.fails(400, 7400, "PATCH", "", json={"name": "-"})
    await d1.fails(400, 7400, "PATCH", "", json={"read_replication": {"mode": "sometimes"}})
    assert (await d1.query("SELECT count(*) AS n FROM t"))[0]["results"] == [{"n": 0}]


async def test_deleting_takes_the_bytes_along(control: Any, d1: D1) -> None:
    await d1.query("CREATE TABLE t (a)")
    folder = control.data / "accounts" / control.account / "d1"
    assert list(folder.glob(f"{d1.made['uuid']}*"))
    answer = (await d1.call("DELETE", "")).json()
    assert (answer["success"], answer["result"]) == (True, None)
    assert list(folder.glob(f"{d1.made['uuid']}*")) == []
    await d1.fails(404, 7404, "GET", "")
    again = (await control.call("POST", "/d1/database", json={"name": "shop"})).json()["result"]
    assert await D1(control, again).rows("SELECT name FROM sqlite_schema") == []


async def test_one_result_for_each_statement(d1: D1) -> None:
    results = await d1.query(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a); -- a comment; with a semicolon\n"
        "CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET a = CASE a WHEN ';' THEN 'x' END; END;"
        "INSERT INTO t (a) VALUES (';'), (x'00ff'); SELECT id, a, a AS id FROM t"
    )
    assert [result["success"] for result in results] == [True] * 4
    assert results[3]["results"] == [{"id": None, "a": None}] * 2
    assert results[2]["meta"]["changes"] > 0
    meta = results[3]["meta"]
    assert isinstance(meta["duration"], float)
    assert {"changed_db", "changes", "last_row_id", "rows_read", "rows_written", "size_after", "served_by"} <= set(meta)


async def test_raw_gives_columns_and_rows(d1: D1) -> None:
    [result] = await d1.query("SELECT ? AS a, x'00ff' AS b, NULL AS a, 1.5", ["text"], path="/raw")
    assert result["results"] == {"columns": ["a", "b", "a", "1.5"], "rows": [["text", [0, 255], None, 1.5]]}


async def test_parameters_are_bound_as_they_are_sent(d1: D1) -> None:
    [result] = await d1.query("SELECT typeof(?1) AS a, typeof(?2) AS b, typeof(?3) AS c, ?2 AS d", ["1", 1, None])
    assert result["results"] == [{"a": "text", "b": "real", "c": "null", "d": 1}]
    batch = [
        {"sql": "CREATE TABLE t (a)"},
        {"sql": "INSERT INTO t VALUES (?)", "params": [7]},
        {"sql": "SELECT a FROM t"},
    ]
    answer = (await d1.call("POST", "/query", json={"batch": batch})).json()["result"]
    assert [result["results"] for result in answer] == [[], [], [{"a": 7}]]


REFUSED: list[Any] = [
    ({"sql": "SELECT * FROM nope"}, 7500, "no such table: nope: SQLITE_ERROR"),
    ({"sql": "SELECT '" + "a" * 100_001 + "'"}, 7500, "statement too long: SQLITE_TOOBIG"),
    ({"sql": "BEGIN"}, 7500, "To execute a transaction, please use the state.storage.transaction()"),
    ({"sql": "ATTACH 'x' AS y"}, 7500, "not authorized: SQLITE_AUTH"),
    ({"sql": ""}, 7500, "No SQL statements detected."),
    ({"sql": "SELECT ?"}, 7500, "Wrong number of parameter bindings for SQL query."),
    ({"sql": "SELECT ?", "params": [2**60]}, 7500, "D1_TYPE_ERROR: Type 'bigint' not supported"),
    ({"sql": "SELECT 1", "params": {"a": 1}}, 7400, "the request body is not what it should be"),
    ({}, 7400, "the request body must have either 'sql' or 'batch'"),
    ({"sql": "SELECT 1", "batch": [{"sql": "SELECT 1"}]}, 7400, "the request body must have either"),
    ({"sql": 5}, 7400, "the request body is not what it should be"),
]


async def test_a_query_that_fails(d1: D1) -> None:
    for (body, code, text), path in product(REFUSED, ("/query", "/raw")):
        assert (await d1.fails(400, code, "POST", path, json=body)).startswith(text)


async def test_when_one_statement_fails_none_has_happened(d1: D1) -> None:
    await d1.fails(400, 7500, "POST", "/query", json={"sql": "CREATE TABLE t (a); INSERT INTO nope VALUES (1)"})
    assert await d1.rows("SELECT name FROM sqlite_schema") == []


async def test_migrations_as_wrangler_runs_them(d1: D1) -> None:
    table = (
        "CREATE TABLE IF NOT EXISTS d1_migrations(\n\t\tid         INTEGER PRIMARY KEY AUTOINCREMENT,\n\t\t"
        "name       TEXT UNIQUE,\n\t\tapplied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL\n);"
    )
    await d1.query(table)
    await d1.query(table)
    migration = "-- Migration number: 0001\nCREATE TABLE users (id INTEGER PRIMARY KEY);\n"
    applied = "\nINSERT INTO \"d1_migrations\" (name)\nvalues ('0001_users.sql');\n\t"
    await d1.query(migration + applied)
    broken = {"sql": "CREATE TABLE more (a);\nCREATE TABLE users (a);" + applied.replace("0001_users", "0002_more")}
    assert "already exists" in await d1.fails(400, 7500, "POST", "/query", json=broken)
    assert await d1.rows("SELECT id, name FROM d1_migrations ORDER BY id") == [[1, "0001_users.sql"]]
    assert await d1.rows("SELECT name FROM sqlite_schema WHERE name = 'more'") == []


async def test_time_travel_there_and_back(d1: D1) -> None:
    await d1.query("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    before = (await d1.call("GET", "/time_travel/bookmark")).json()["result"]["bookmark"]
    await d1.query("DROP TABLE t")
    restored = (await d1.call("POST", f"/time_travel/restore?bookmark={before}")).json()["result"]
    assert restored["bookmark"] == before
    assert before in restored["message"]
    assert await d1.rows("SELECT a FROM t") == [[1]]
    await d1.call("POST", f"/time_travel/restore?bookmark={restored['previous_bookmark']}")
    assert await d1.rows("SELECT name FROM sqlite_schema") == []
    assert (
        before
        < restored["previous_bookmark"]
        < (await d1.call("GET", "/time_travel/bookmark")).json()["result"]["bookmark"]
    )


async def test_time_travel_to_a_time(d1: D1) -> None:
    await d1.query("CREATE TABLE t (a)")
    empty = await d1.call("GET", "/time_travel/bookmark?timestamp=2999-01-01T00:00:00Z")
    assert empty.json()["result"] == (await d1.call("GET", "/time_travel/bookmark")).json()["result"]
    await d1.query("INSERT INTO t VALUES (1)")
    restored = await d1.call("POST", "/time_travel/restore?timestamp=2999-01-01T00:00:00%2B01:00")
    assert restored.json()["result"]["bookmark"] > empty.json()["result"]["bookmark"]
    assert await d1.rows("SELECT a FROM t") == [[1]]


async def test_before_its_first_write_a_database_was_empty(d1: D1) -> None:
    empty = (await d1.call("GET", "/time_travel/bookmark")).json()["result"]["bookmark"]
    await d1.query("CREATE TABLE t (a)")
    assert (await d1.call("POST", f"/time_travel/restore?bookmark={empty}")).status_code == 200
    assert await d1.rows("SELECT name FROM sqlite_schema") == []


NOWHERE: list[Any] = [
    ("GET", "/time_travel/bookmark?timestamp=yesterday", 7400, "'timestamp' must be in ISO 8601"),
    ("GET", "/time_travel/bookmark?timestamp=1960-01-01T00:00:00Z", 7400, "'timestamp' is before 1970"),
    ("GET", "/time_travel/bookmark?timestamp=2001-01-01T00:00:00Z", 7500, "The database has no history"),
    ("POST", "/time_travel/restore", 7400, "say either 'bookmark' or 'timestamp'"),
    ("POST", "/time_travel/restore?bookmark=x", 7500, "The bookmark is not one of this database"),
    ("POST", "/time_travel/restore?bookmark=" + "0" * 8, 7500, "The bookmark is not one of this database"),
    ("POST", "/time_travel/restore?timestamp=2001-01-01T00:00:00Z", 7500, "The database has no history"),
]


async def test_time_travel_to_where_nothing_is(d1: D1) -> None:
    await d1.query("CREATE TABLE t (a)")
    for method, path, code, text in NOWHERE:
        assert (await d1.fails(400, code, method, path)).startswith(text)
    assert await d1.rows("SELECT name FROM sqlite_schema") == [["t"]]


async def test_a_bookmark_of_another_database_is_refused(control: Any, d1: D1) -> None:
    other = D1(control, (await control.call("POST", "/d1/database", json={"name": "other"})).json()["result"])
    await other.query("CREATE TABLE t (a)")
    bookmark = (await other.call("GET", "/time_travel/bookmark")).json()["result"]["bookmark"]
    await d1.fails(400, 7500, "POST", f"/time_travel/restore?bookmark={bookmark}")


async def test_export_and_import_make_the_same_database(control: Any, d1: D1) -> None:
    await d1.query(
        "CREATE TABLE child (p REFERENCES parent (id)); CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, a);"
        "INSERT INTO parent (a) VALUES ('it''s\na line'), (x'00ff'), (1.5), (NULL);"
        "INSERT INTO child VALUES (1), (4);"
        "CREATE VIRTUAL TABLE f USING fts5(a, tokenize = 'porter'); INSERT INTO f VALUES ('running water');"
        "CREATE INDEX i ON child (p); CREATE VIEW v AS SELECT a FROM parent;"
        "CREATE TRIGGER tr AFTER INSERT ON parent BEGIN INSERT INTO child VALUES (new.id); END;"
    )
    sql = await d1.export()
    assert sql.startswith("PRAGMA defer_foreign_keys=TRUE;\n")
    assert sql.index("CREATE TABLE parent") < sql.index("CREATE TABLE child")
    other = D1(control, (await control.call("POST", "/d1/database", json={"name": "other"})).json()["result"])
    done = await other.import_(sql.encode())
    assert done["status"] == "complete", done
    result = done["result"]
    assert result["num_queries"] == len(sql.strip().splitlines())
    assert isinstance(result["meta"]["duration"], float)
    assert result["meta"]["size_after"] > 0
    assert await other.export() == sql
    await other.query("DELETE FROM child")
    await other.call("POST", f"/time_travel/restore?bookmark={result['final_bookmark']}")
    assert await other.export() == sql
    assert await other.rows("SELECT a FROM f('run')") == [["running water"]]


async def test_parts_of_an_export(d1: D1) -> None:
    await d1.query("CREATE TABLE one (a); CREATE TABLE two (a); INSERT INTO one VALUES (1); INSERT INTO two VALUES (2)")
    schema = await d1.export(no_data=True)
    assert "INSERT" not in schema
    assert "CREATE TABLE two" in schema
    data = await d1.export(no_schema=True)
    assert "CREATE" not in data
    assert await d1.export(tables=["two"]) == (
        'PRAGMA defer_foreign_keys=TRUE;\nCREATE TABLE two (a);\nINSERT INTO "two" ("a") VALUES(2);\n'
    )
    body = {"output_format": "polling", "dump_options": {"no_data": True, "no_schema": True}}
    await d1.fails(400, 7400, "POST", "/export", json=body)


async def test_an_import_that_fails_leaves_the_database_as_it_was(d1: D1) -> None:
    await d1.query("CREATE TABLE t (a)")
    for sql, text in [
        (b"INSERT INTO t VALUES (1);\nINSERT INTO nope VALUES (1);", "no such table: nope: SQLITE_ERROR"),
        (b"BEGIN TRANSACTION; INSERT INTO t VALUES (1); COMMIT;", "To execute a transaction"),
        (b"INSERT INTO t VALUES (1); \xff\xfe", "The file is not UTF-8 text."),
        (b"-- nothing\n", "No SQL statements detected."),
        (b"INSERT INTO t VALUES ('", "unrecognized token"),
        (b"SQLite format 3\0" + bytes(100), 'near "SQLite": syntax error'),
    ]:
        failed = await d1.import_(sql)
        assert (failed["success"], failed["status"]) == (False, "error")
        assert failed["error"].startswith(text)
        assert failed["errors"] == [failed["error"]]
    assert await d1.rows("SELECT count(*) FROM t") == [[0]]


async def test_uploads_are_what_was_announced_once_and_nothing_else(control: Any, d1: D1) -> None:
    sql = b"CREATE TABLE t (a);"
    etag = hashlib.md5(sql).hexdigest()
    offered = (await d1.call("POST", "/import", json={"action": "init", "etag": etag})).json()["result"]
    url = _local(offered["upload_url"])
    begin = {"action": "ingest", "etag": etag, "filename": offered["filename"]}
    assert "no such upload" in await d1.fails(400, 7500, "POST", "/import", json=begin)
    wrong = await control.http.put(url, content=b"something else")
    assert wrong.status_code == 400
    assert etag in wrong.json()["errors"][0]["message"]
    assert (await control.http.put(url, content=sql)).status_code == 200
    assert (await control.http.put(url, content=sql)).status_code == 404, "it is there already"
    assert (await control.http.get(url)).status_code == 404, "an upload is no download"
    assert (await control.http.post(url)).status_code == 405
    assert (await d1.transfer("import", begin))["status"] == "complete"
    assert (await d1.call("GET", "")).json()["result"]["num_tables"] == 1, "what the platform keeps there counts not"
    assert "no such upload" in await d1.fails(400, 7500, "POST", "/import", json=begin)
    await d1.fails(400, 7500, "POST", "/import", json={"action": "init", "etag": "../../x"})
    await d1.fails(400, 7400, "POST", "/import", json={"action": "init"})
    assert (await control.http.get("/client/v4/d1-files/guess")).status_code == 404


async def test_a_job_of_another_database_is_unknown(control: Any, d1: D1) -> None:
    begun = await d1.transfer("export", {"output_format": "polling"})
    other = D1(control, (await control.call("POST", "/d1/database", json={"name": "other"})).json()["result"])
    asked = {"output_format": "polling", "current_bookmark": begun["at_bookmark"]}
    answer = (await other.call("POST", "/export", json=asked)).json()["result"]
    assert (answer["success"], answer["status"]) == (False, "error")


@pytest_asyncio.fixture(loop_scope="function")
async def open_http() -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with httpx.AsyncClient() as client:
        yield client


@pytest_asyncio.fixture(loop_scope="function")
async def sdk(own_control: Any) -> AsyncIterator[AsyncCloudflare]:
    async with _listening(own_control.app, "127.0.0.1", 0, 5.0) as port:
        client = AsyncCloudflare(
            api_token=own_control.token, base_url=f"http://127.0.0.1:{port}/client/v4", max_retries=0
        )
        yield client
        await client.close()


@pytest.mark.asyncio(loop_scope="function")
async def test_with_the_sdk(own_control: Any, sdk: AsyncCloudflare, open_http: httpx.AsyncClient) -> None:
    account: Any = {"account_id": own_control.account}
    for name in ("one", "two", "three"):
        await sdk.d1.database.create(name=name, **account)
    listed = [database async for database in sdk.d1.database.list(per_page=2, **account)]
    assert [database.name for database in listed] == ["one", "two", "three"]
    [found] = [database async for database in sdk.d1.database.list(name="two", **account)]
    database_id = str(found.uuid)

    await sdk.d1.database.query(database_id, sql="CREATE TABLE t (a, b); INSERT INTO t VALUES ('x', 1)", **account)
    page = await sdk.d1.database.query(database_id, sql="SELECT * FROM t WHERE a = ?", params=["x"], **account)
    assert [result.results async for result in page] == [[{"a": "x", "b": 1}]]
    raw = [result async for result in await sdk.d1.database.raw(database_id, sql="SELECT * FROM t", **account)]
    assert raw[0].results is not None
    assert (raw[0].results.columns, raw[0].results.rows) == (["a", "b"], [["x", 1]])
    with pytest.raises(APIStatusError) as raised:
        await sdk.d1.database.query(database_id, sql="SELEC", **account)
    assert raised.value.status_code == 400

    shown = await sdk.d1.database.get(database_id, **account)
    assert (shown.name, shown.num_tables) == ("two", 1)
    edited = await sdk.d1.database.edit(database_id, read_replication={"mode": "auto"}, **account)
    assert edited.read_replication is not None
    assert edited.read_replication.mode == "auto"
    updated = await sdk.d1.database.update(database_id, read_replication={"mode": "disabled"}, **account)
    assert updated.read_replication is not None
    assert updated.read_replication.mode == "disabled"

    here = await sdk.d1.database.time_travel.get_bookmark(database_id, **account)
    await sdk.d1.database.query(database_id, sql="DELETE FROM t", **account)
    await sdk.d1.database.time_travel.restore(database_id, bookmark=str(here.bookmark), **account)

    exported = await sdk.d1.database.export(database_id, output_format="polling", **account)
    assert exported.result is not None
    sql = (await open_http.get(str(exported.result.signed_url))).content
    assert b'INSERT INTO "t" ("a","b") VALUES(\'x\',1);' in sql
    etag = hashlib.md5(sql).hexdigest()
    [other] = [database async for database in sdk.d1.database.list(name="three", **account)]
    offered = await sdk.d1.database.import_(str(other.uuid), action="init", etag=etag, **account)
    assert (await open_http.put(str(offered.upload_url), content=sql)).status_code == 200
    done = await sdk.d1.database.import_(
        str(other.uuid), action="ingest", etag=etag, filename=str(offered.filename), **account
    )
    assert (done.status, done.success) == ("complete", True)
    assert done.result is not None
    assert done.result.num_queries == 3

    await sdk.d1.database.delete(database_id, **account)
    with pytest.raises(APIStatusError) as raised:
        await sdk.d1.database.get(database_id, **account)
    assert raised.value.status_code == 404
