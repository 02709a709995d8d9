"""The services as the fault tests see them: maps from text to bytes, reached as a Worker's binding reaches them.

A value is checked against a ledger that knows what was acknowledged. `put` of a service does what exercises it most:
a D1 value is written into two tables in one batch, a big R2 value as a multipart upload.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from tenantry.errors import BindingError
from tenantry.services import Binding, ServiceSettings
from tenantry.services.d1 import SERVICE as D1
from tenantry.services.kv import SERVICE as KV
from tenantry.services.r2 import SERVICE as R2
from tenantry.streams import is_byte_stream, read_all

__all__ = ["SUBJECTS", "Ledger", "Store", "Subject", "payload"]

_READ_BYTES_MAX = 64 * 1024 * 1024


def payload(key: str, number: int, size: int) -> bytes:
    """Bytes that say whose they are: a torn or mixed value is none of these."""
    seed = hashlib.sha256(f"{key}/{number}".encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


class Ledger:
    """What each key may hold: one value after an acknowledged write, several while some are in doubt."""

    def __init__(self) -> None:
        self.allowed: dict[str, set[bytes | None]] = {}
        self.acknowledged = 0

    def may_hold(self, key: str) -> set[bytes | None]:
        return self.allowed.setdefault(key, {None})

    def begun(self, key: str, value: bytes | None) -> None:
        self.may_hold(key).add(value)

    def done(self, key: str, value: bytes | None) -> None:
        self.allowed[key] = {value}
        self.acknowledged += 1

    def check(self, found: dict[str, bytes], where: str) -> None:
        """Everything acknowledged is there, nothing is torn; and what was seen now must stay."""
        strangers = found.keys() - self.allowed.keys()
        assert not strangers, f"{where}: keys that nobody wrote: {sorted(strangers)[:5]}"
        for key, allowed in self.allowed.items():
            value = found.get(key)
            assert value in allowed, (
                f"{where}: {key} holds {_brief(value)}, and should hold {' or '.join(map(_brief, allowed))}"
            )
            self.allowed[key] = {value}


def _brief(value: bytes | None) -> str:
    return "nothing" if value is None else f"{len(value)} bytes {value[:4].hex()}"


class Store:
    """One open service with one resource in it."""

    def __init__(self, subject: Subject, folder: Path, durability: str) -> None:
        self.subject = subject
        self.service = subject.make(ServiceSettings(folder, durability))
        self.binding: Binding = self.service.open("resource")

    async def put(self, key: str, value: bytes) -> None:
        await self.subject.put(self.binding, key, value)

    async def delete(self, key: str) -> None:
        await self.subject.delete(self.binding, key)

    async def get(self, key: str) -> bytes | None:
        return await self.subject.get(self.binding, key)

    async def keys(self) -> list[str]:
        return await self.subject.keys(self.binding)

    async def everything(self) -> dict[str, bytes]:
        found = {}
        for key in await self.keys():
            value = await self.get(key)
            assert value is not None, f"{key} is listed and not there"
            found[key] = value
        return found

    async def aclose(self) -> None:
        await self.service.aclose()


@dataclass(frozen=True)
class Subject:
    """A service, and how its data is checked at rest."""

    name: str
    make: Callable[[ServiceSettings], Any]
    put: Callable[[Binding, str, bytes], Any]
    get: Callable[[Binding, str], Any]
    delete: Callable[[Binding, str], Any]
    keys: Callable[[Binding], Any]
    sizes: tuple[int, ...]
    """Each takes another way through the engine."""
    check_rest: Callable[[Path, bool], None] = field(default=lambda folder, orphans: None)

    @contextlib.asynccontextmanager
    async def opened(self, folder: Path, durability: str = "full") -> AsyncIterator[Store]:
        store = Store(self, folder, durability)
        try:
            yield store
        finally:
            await store.aclose()

    def value(self, key: str, number: int, randomness: random.Random) -> bytes:
        return payload(key, number, randomness.choice(self.sizes))

    def integrity(self, folder: Path, *, orphans: bool = False) -> None:
        """Of a folder that nobody has open. `orphans`: names that were given or taken away may have come back."""
        databases = [file for file in folder.rglob("*.sqlite*") if file.suffix in (".sqlite", ".sqlite3")]
        for database in databases:
            connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                answer = connection.pragma("integrity_check")
            finally:
                connection.close()
            assert answer == "ok", f"{database}: {answer}"
        self.check_rest(folder, orphans)


async def _whole(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    assert is_byte_stream(body)
    try:
        return await read_all(body, _READ_BYTES_MAX)
    finally:
        await body.aclose()


# KV


async def _kv_put(binding: Binding, key: str, value: bytes) -> None:
    await binding.call("put", [key, value])


async def _kv_get(binding: Binding, key: str) -> bytes | None:
    body = await binding.call("get", [key])
    return None if body is None else await _whole(body)


async def _kv_delete(binding: Binding, key: str) -> None:
    await binding.call("delete", [key])


async def _kv_keys(binding: Binding) -> list[str]:
    keys: list[str] = []
    cursor = None
    while True:
        page = json.loads(await _whole(await binding.call("list", [None, None, cursor])))
        keys += [key["name"] for key in page["keys"]]
        if page["list_complete"]:
            return keys
        cursor = page["cursor"]


# R2

_MULTIPART_ABOVE = 40_000


async def _r2_put(binding: Binding, key: str, value: bytes) -> None:
    if len(value) <= _MULTIPART_ABOVE:
        await binding.call("put", [key, value])
        return
    upload = (await binding.call("createMultipartUpload", [key]))["uploadId"]
    part = await binding.call("uploadPart", [key, upload, 1, value])
    await binding.call("completeMultipartUpload", [key, upload, [part]])


async def _r2_get(binding: Binding, key: str) -> bytes | None:
    found = await binding.call("get", [key])
    if found is None:
        return None
    value = await _whole(found["body"])
    assert len(value) == found["object"]["size"]
    etag = found["object"]["etag"]
    if "-" not in etag:
        assert hashlib.md5(value).hexdigest() == etag, f"{key}: its bytes are not those of its etag"
    return value


async def _r2_delete(binding: Binding, key: str) -> None:
    await binding.call("delete", [key])


async def _r2_keys(binding: Binding) -> list[str]:
    keys: list[str] = []
    options: dict[str, Any] = {}
    while True:
        page = await binding.call("list", [options])
        keys += [entry["key"] for entry in page["objects"]]
        if not page["truncated"]:
            return keys
        options = {"cursor": page["cursor"]}


def _r2_files(folder: Path, orphans: bool) -> None:
    """Every body that the index names is there in its whole size, and no other but `orphans`."""
    for index in folder.rglob("index.sqlite"):
        connection = apsw.Connection(str(index), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            files = connection.execute("SELECT file, size FROM objects WHERE file IS NOT NULL").fetchall()
            files += connection.execute("SELECT file, size FROM parts").fetchall()
            known = {name for (name,) in connection.execute("SELECT name FROM files WHERE NOT condemned")}
        finally:
            connection.close()
        for name, size in files:
            assert (index.parent / "bodies" / name[0] / name).stat().st_size == size
        there = {file.name for file in (index.parent / "bodies").rglob("*") if file.is_file()}
        assert known <= there, f"{len(known - there)} bodies are missing"
        assert orphans or there == known, f"{len(there - known)} bodies are left over"
        assert not list((index.parent / "staging").iterdir())


# D1

_CREATE = "CREATE TABLE IF NOT EXISTS {} (key TEXT PRIMARY KEY, value TEXT NOT NULL)"


async def _d1(binding: Binding, *statements: tuple[str, list[str]]) -> list[list[Any]]:
    document = json.dumps({"statements": statements}).encode()
    answer = json.loads(await _whole(await binding.call("query", [document])))
    return [result["rows"] for result in answer["results"]]


async def _d1_put(binding: Binding, key: str, value: bytes) -> None:
    text = base64.b64encode(value).decode()
    await _d1(
        binding,
        (_CREATE.format("one"), []),
        (_CREATE.format("two"), []),
        ("INSERT OR REPLACE INTO one VALUES (?, ?)", [key, text]),
        ("INSERT OR REPLACE INTO two VALUES (?, ?)", [key, text]),
    )


async def _d1_select(binding: Binding, sql: str, *parameters: str) -> list[Any]:
    try:
        return (await _d1(binding, (sql, list(parameters))))[0]
    except BindingError as error:
        if "no such table" in error.message:
            return []
        raise


async def _d1_get(binding: Binding, key: str) -> bytes | None:
    rows = await _d1_select(
        binding, "SELECT one.value, two.value FROM one FULL JOIN two USING (key) WHERE key = ?", key
    )
    if not rows:
        return None
    assert rows[0][0] == rows[0][1], f"{key}: half of a batch"
    return base64.b64decode(rows[0][0])


async def _d1_delete(binding: Binding, key: str) -> None:
    await _d1(
        binding,
        (_CREATE.format("one"), []),
        (_CREATE.format("two"), []),
        ("DELETE FROM one WHERE key = ?", [key]),
        ("DELETE FROM two WHERE key = ?", [key]),
    )


async def _d1_keys(binding: Binding) -> list[str]:
    rows = await _d1_select(binding, "SELECT key FROM one FULL JOIN two USING (key)")
    return [key for (key,) in rows]


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("kv", KV, _kv_put, _kv_get, _kv_delete, _kv_keys, (0, 300, 70_000)),
        Subject("r2", R2, _r2_put, _r2_get, _r2_delete, _r2_keys, (0, 300, 20_000, 60_000), _r2_files),
        Subject("d1", D1, _d1_put, _d1_get, _d1_delete, _d1_keys, (0, 300, 20_000)),
    )
}
