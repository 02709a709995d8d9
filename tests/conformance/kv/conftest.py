"""One suite, every engine. A test gets `kv`, a namespace as a Worker's binding reaches it, and a clock it can turn."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tenantry.services import ServiceSettings
from tenantry.services.kv import KvEngine, KvService, MemoryEngine, SqliteEngine
from tenantry.streams import BytesStream, read_all

ENGINES = ["memory", "sqlite"]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Kv:
    """Calls by name, with bodies read to their end."""

    service: KvService
    clock: Clock
    namespace_id: str = "0123456789abcdef"

    async def call(self, method: str, *args: Any) -> Any:
        return await self.service.open(self.namespace_id).call(method, list(args))

    def other(self, namespace_id: str) -> Kv:
        return Kv(self.service, self.clock, namespace_id)

    async def put(self, key: str, value: Any, **options: Any) -> None:
        body = value.encode() if isinstance(value, str) else value
        names = ("expiration", "expirationTtl", "metadata")
        assert set(options) <= set(names)
        await self.call("put", key, body, *[options.get(name) for name in names])

    async def get(self, key: str) -> bytes | None:
        body = await self.call("get", key)
        return body if body is None or isinstance(body, bytes) else await read_all(body, 2**26)

    async def get_with_metadata(self, key: str) -> tuple[bytes, str | None] | None:
        found = await self.call("getWithMetadata", key)
        if found is None:
            return None
        body, metadata = found
        return (body if isinstance(body, bytes) else await read_all(body, 2**26)), metadata

    async def list_raw(self, *args: Any) -> bytes:
        body = await self.call("list", *args)
        return body if isinstance(body, bytes) else await read_all(body, 2**26)

    async def list(self, prefix: str | None = None, limit: int | None = None, cursor: str | None = None) -> Any:
        return json.loads(await self.list_raw(prefix, limit, cursor))

    async def names(self, prefix: str | None = None) -> list[str]:
        """All names, page by page."""
        names: list[str] = []
        cursor = None
        while True:
            page = await self.list(prefix, None, cursor)
            names += [key["name"] for key in page["keys"]]
            if page["list_complete"]:
                return names
            cursor = page["cursor"]

    @staticmethod
    def stream(data: bytes) -> BytesStream:
        return BytesStream(data)


def make_engine(name: str, folder: Path) -> KvEngine:
    return MemoryEngine() if name == "memory" else SqliteEngine(folder / "kv", sync_full=False)


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_engine() -> Any:
    return make_engine


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def kv(engine_name: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Kv]:
    service = KvService(ServiceSettings(tmp_path), engine=make_engine(engine_name, tmp_path), clock=clock)
    yield Kv(service, clock)
    await service.aclose()
