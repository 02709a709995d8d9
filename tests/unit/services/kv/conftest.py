"""`env`: a namespace as a tenant's code has it, on the real service, without a channel between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from workers._bindings.base import ReadableStream
from workers._bindings.kv import KvNamespace
from workers._errors import error_from_peer

from tenantry.errors import BindingError
from tenantry.services import ServiceSettings
from tenantry.services.kv import KvBinding, KvService, MemoryEngine

NOW = 1_800_000_000


class InwardStream:
    """A tenant's stream as the host sees it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.length = stream.length

    async def read(self, size_max: int) -> bytes:
        chunk = await self.stream.read(size_max)
        assert isinstance(chunk, bytes)
        return chunk

    async def aclose(self) -> None:
        await self.stream.cancel()


class DirectStub:
    """What a stub does, without the channel: small values as they are, streams as handles, errors by name."""

    def __init__(self, binding: KvBinding) -> None:
        self.binding = binding
        self.calls: list[tuple[str, list[Any]]] = []

    async def call(self, *parts: Any) -> Any:
        method, args = parts[-2:]
        self.calls.append((method, args))
        inward = [InwardStream(arg) if isinstance(arg, ReadableStream) else arg for arg in args]
        try:
            return self.outward(await self.binding.call(method, inward))
        except BindingError as error:
            raise error_from_peer(error.name, error.message) from None

    def outward(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.outward(item) for item in value]
        return ReadableStream(value) if hasattr(value, "aclose") else value


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[DirectStub]:
    service = KvService(ServiceSettings(tmp_path), engine=MemoryEngine(), clock=lambda: NOW)
    yield DirectStub(service.open("namespace"))
    await service.aclose()


@pytest.fixture
def kv(stub: DirectStub) -> Any:
    return KvNamespace(stub)
