"""What operators do in several steps: deploy, write many keys, migrate and import. Each as its clients ask for it.

`run` is the same command each time it is called for a target; it raises when it did not come to its end. `found` is
what came of it, in the terms of those who use it, the same for every target.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import apsw
import httpx

from injection.installation import Installation

__all__ = ["BY_PROGRAM", "BY_REST", "Command", "Unfinished"]

Found: TypeAlias = Any  # whatever compares


class Unfinished(Exception):
    """The command did not come to its end."""


@dataclass(frozen=True)
class Command:
    name: str
    prepare: Callable[[Installation, int], str]
    """Makes the number's target, and names it."""
    run: Callable[[Installation, str], None]
    found: Callable[[Installation, str], Found]
    is_short: bool = False
    """In `make test` too, where each kill costs a start of the platform."""
    answers: int = 1
    """Of a short one: how many it gets. Those to its polls are not among them: time has it how many those are."""


def _asked(send: Callable[..., httpx.Response], *args: Any, **options: Any) -> Any:
    try:
        response = send(*args, **options)
    except httpx.TransportError as error:
        raise Unfinished(str(error)) from error
    assert response.status_code == 200, response.text
    return response.json()["result"]


def _program(installation: Installation, *words: str) -> None:
    done = installation.run(*words)
    if done.returncode != 0:
        raise Unfinished(done.stderr)


# Deploy: a version of `front`, which the gateway asks.

_ENTRY: Final = """
from workers import WorkerEntrypoint, Response
from part import MARK

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(f"MARKER {MARK} {self.env.MARK}")
"""


def _make_worker(installation: Installation, number: int) -> str:
    with installation.api() as api:
        known = api.get("/workers/scripts/front/settings").status_code == 200
    if not known:
        _deploy(installation, "first")
    return f"m{number}"


def _modules(target: str) -> dict[str, str]:
    return {"entry.py": _ENTRY.replace("MARKER", target), "part.py": f"MARK = {target!r}\n"}


def _deploy(installation: Installation, target: str) -> None:
    document = {
        "main_module": "entry.py",
        "compatibility_date": "2026-01-15",
        "compatibility_flags": ["python_workers"],
        "bindings": [
            {"name": "MARK", "type": "plain_text", "text": target},
            {"name": "SECRET", "type": "secret_text", "text": f"secret {target}"},
        ],
    }
    with installation.api() as api:
        files = [(name, (name, text, "text/x-python")) for name, text in _modules(target).items()]
        _asked(api.put, "/workers/scripts/front", data={"metadata": json.dumps(document)}, files=files)


def _deploy_by_program(installation: Installation, target: str) -> None:
    folder = installation.folder / f"project-{target}"
    folder.mkdir(exist_ok=True)
    for name, text in _modules(target).items():
        (folder / name).write_text(text)
    config = {
        "name": "front",
        "main": "entry.py",
        "compatibility_date": "2026-01-15",
        "compatibility_flags": ["python_workers"],
        "vars": {"MARK": target},
        # Made by the command, where they are not there.
        "kv_namespaces": [{"binding": f"KV_{target}"}],
        "d1_databases": [{"binding": f"DB_{target}", "database_name": f"made-{target}"}],
    }
    (folder / "wrangler.jsonc").write_text(json.dumps(config))
    _program(installation, "deploy", str(folder))


def _deployed(installation: Installation, target: str) -> Found:
    answer = httpx.get(installation.gateway, headers={"X-User-ID": "someone"}, timeout=60).text
    with installation.api() as api:
        settings = _asked(api.get, "/workers/scripts/front/settings")
        versions = _asked(api.get, "/workers/scripts/front/versions")["items"]
        newest = versions[0]["id"]
        deployments = _asked(api.get, "/workers/scripts/front/deployments")["deployments"]
    kinds = sorted(binding["type"] for binding in settings["bindings"])
    runs = [version["version_id"] == newest for version in deployments[0]["versions"]]
    return answer.replace(target, "T"), kinds, runs


# KV: many keys at once, over what was there.


def _pairs(target: str) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = [
        {"key": f"key {number}", "value": f"{target} {number}" * 9, "metadata": {"number": number}}
        for number in range(40)
    ]
    pairs[3]["expiration"] = 2_000_000_000
    pairs[5] |= {"value": base64.b64encode(bytes(range(256))).decode(), "base64": True}
    # Too large for a row of their own: each is written in pieces before it has its name.
    pairs[7]["value"] = "7" * 300_000
    pairs[8]["value"] = "8" * 100_000
    return pairs


def _make_namespace(installation: Installation, number: int) -> str:
    with installation.api() as api:
        made: str = _asked(api.post, "/storage/kv/namespaces", json={"title": f"many {number}"})["id"]
        old = [{"key": "key 7", "value": "old" * 100_000}, {"key": "key 9", "value": "old", "metadata": "old"}]
        _asked(api.put, f"/storage/kv/namespaces/{made}/bulk", json=[*old, {"key": "other", "value": "stays"}])
    return made


def _put_many(installation: Installation, target: str) -> None:
    with installation.api() as api:
        _asked(api.put, f"/storage/kv/namespaces/{target}/bulk", json=_pairs(target))


def _put_many_by_program(installation: Installation, target: str) -> None:
    file = installation.folder / "pairs.json"
    file.write_text(json.dumps(_pairs(target)))
    _program(installation, "kv", "load", target, str(file))


def _keys_found(installation: Installation, target: str) -> Found:
    base = f"/storage/kv/namespaces/{target}"
    with installation.api() as api:
        # A commit more: what replaced values leave is cleared away with the next one.
        _asked(api.put, f"{base}/bulk", json=[{"key": "after", "value": "after"}])
        keys = _asked(api.get, f"{base}/keys")
        values = {
            key["name"]: hashlib.sha256(api.get(f"{base}/values/{key['name']}").content.replace(target.encode(), b"T"))
            for key in keys
            if key["name"] in {"after", "key 1", "key 5", "key 7", "key 8", "key 9", "other"}
        }
    [file] = (installation.data / "accounts").rglob(f"{target}.sqlite3")
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        chunks = connection.execute("SELECT count(*), sum(length(data)) FROM chunks").fetchall()
        rows = connection.execute("SELECT count(*), (SELECT count(*) FROM garbage) FROM entries").fetchall()
    finally:
        connection.close()
    return keys, {name: value.hexdigest() for name, value in values.items()}, chunks, rows


# D1: migrations as wrangler applies them, and a file of SQL. None of the statements may run twice.

_MIGRATIONS: Final = {
    "0001_made.sql": "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);\n"
    "INSERT INTO people (name) VALUES ('a');",
    "0002_more.sql": "ALTER TABLE people ADD COLUMN age INTEGER;\nUPDATE people SET age = 1 + coalesce(age, 0);\n"
    "INSERT INTO people (name, age) VALUES ('b', 7);",
}
_MIGRATIONS_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS d1_migrations(
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
    );
"""
_SQL: Final = "CREATE TABLE seeds (n INTEGER);\n" + "".join(f"INSERT INTO seeds VALUES ({n});\n" for n in range(300))


def _make_database(installation: Installation, number: int) -> str:
    with installation.api() as api:
        made: str = _asked(api.post, "/d1/database", json={"name": f"base-{number}"})["uuid"]
    return made


def _migrate(installation: Installation, target: str) -> None:
    with installation.api() as api:

        def query(sql: str) -> Any:
            return _asked(api.post, f"/d1/database/{target}/query", json={"sql": sql})

        query(_MIGRATIONS_TABLE)
        applied = {row["name"] for row in query("SELECT * FROM d1_migrations ORDER BY id")[0]["results"]}
        for name, sql in _MIGRATIONS.items():
            if name not in applied:
                query(f"{sql}\nINSERT INTO d1_migrations (name) values ('{name}');")


def _import(installation: Installation, target: str) -> None:
    etag = hashlib.md5(_SQL.encode()).hexdigest()
    path = f"/d1/database/{target}/import"
    with installation.api() as api:
        answer = _asked(api.post, path, json={"action": "init", "etag": etag})
        if "upload_url" in answer:
            try:
                httpx.put(answer["upload_url"], content=_SQL, timeout=60).raise_for_status()
            except httpx.TransportError as error:
                raise Unfinished(str(error)) from error
            body = {"action": "ingest", "etag": etag, "filename": answer["filename"]}
            answer = _asked(api.post, path, json=body)
        while answer["status"] == "active":
            answer = _asked(api.post, path, json={"action": "poll", "current_bookmark": answer["at_bookmark"]})
    assert answer["status"] == "complete", answer
    assert answer["result"]["num_queries"] == 301


def _import_by_program(installation: Installation, target: str) -> None:
    file = installation.folder / "seeds.sql"
    file.write_text(_SQL)
    _program(installation, "d1", "import", target, str(file))


def _rows_found(installation: Installation, target: str) -> Found:
    with installation.api() as api:

        def query(sql: str) -> Any:
            return _asked(api.post, f"/d1/database/{target}/query", json={"sql": sql})[0]["results"]

        names = [row["name"] for row in query("SELECT name FROM sqlite_schema")]
        # As clients tell the tables of the platform's own from theirs.
        tables = [name for name in names if not name.startswith(("sqlite_", "_cf_"))]
        return {
            table: [
                re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "moment", str(row)) for row in query(f"SELECT * FROM {table}")
            ]
            for table in tables
        }


BY_REST: Final = (
    Command("deploy", _make_worker, _deploy, _deployed),
    Command("KV bulk put", _make_namespace, _put_many, _keys_found, is_short=True),
    Command("D1 migrations", _make_database, _migrate, _rows_found),
    Command("D1 import", _make_database, _import, _rows_found, is_short=True, answers=3),
)
"""As the SDK, wrangler and curl ask for them."""
BY_PROGRAM: Final = (
    Command("tenantry deploy", _make_worker, _deploy_by_program, _deployed),
    Command("tenantry kv load", _make_namespace, _put_many_by_program, _keys_found),
    Command("tenantry d1 import", _make_database, _import_by_program, _rows_found),
)
