"""One suite for every engine: buckets as a Worker's binding calls them, and streams to put."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tenantry.errors import BindingError, StreamError
from tenantry.services.r2.binding import R2Binding
from tenantry.services.r2.engine import Engine
from tenantry.services.r2.engines.files import FilesEngine
from tenantry.services.r2.engines.memory import MemoryEngine
from tenantry.services.r2.service import BucketRules


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms


class Chunked:
    """A stream in small pieces, that may lie about its length or break off."""

    def __init__(
        self, data: bytes, *, length: int | None = -1, chunk: int = 7_000, breaks_at: int | None = None
    ) -> None:
        self.length = len(data) if length == -1 else length
        self._data = data
        self._chunk = chunk
        self._position = 0
        self._breaks_at = breaks_at
        self.closed = False

    async def read(self, size_max: int) -> bytes:
        await asyncio.sleep(0)
        if self._breaks_at is not None and self._position >= self._breaks_at:
            raise StreamError("the client left")
        piece = self._data[self._position : self._position + min(size_max, self._chunk)]
        self._position += len(piece)
        return piece

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def chunked() -> type[Chunked]:
    return Chunked


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "files"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    made: Engine = MemoryEngine() if request.param == "memory" else FilesEngine(tmp_path / "r2", durable=False)
    yield made
    await made.aclose()


@pytest.fixture
def bucket(engine: Engine, clock: Clock) -> R2Binding:
    return R2Binding(engine.bucket("bucket"), clock)


@pytest.fixture
def rules(engine: Engine, clock: Clock) -> BucketRules:
    """The same bucket without the wire around it."""
    return BucketRules(engine.bucket("bucket"), clock)


@pytest.fixture
def refused(bucket: R2Binding) -> Callable[..., object]:
    """Calls a method that must be refused, and gives (name, message) of the error."""

    async def call(method: str, *args: object) -> tuple[str, str]:
        with pytest.raises(BindingError) as caught:
            await bucket.call(method, list(args))
        return caught.value.name, caught.value.message

    return call


@pytest.fixture
def body_of() -> Callable[..., object]:
    """All bytes of what `get` returned."""

    async def read(found: dict[str, object]) -> bytes:
        body = found["body"]
        if isinstance(body, bytes):
            return body
        pieces = []
        while piece := await body.read(100_000):
            assert len(piece) <= 100_000
            pieces.append(piece)
        assert await body.read(1) == b""
        await body.aclose()
        await body.aclose()
        return b"".join(pieces)

    return read
