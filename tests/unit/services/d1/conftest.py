"""A test gets `db`, a database on disk, as a Worker's code has it in `self.env.DB`; and the parts below it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from workers._bindings.base import ReadableStream
from workers._bindings.d1 import D1Database
from workers._errors import error_from_peer

from tenantry.errors import BindingError
from tenantry.services.d1 import D1Service
from tenantry.services.d1.binding import D1Binding
from tenantry.services.d1.engine import Engine
from tenantry.services.d1.engines.files import FileEngine
from tenantry.streams import ByteStream


class DirectStub:
    """The channel left out: calls go straight into the binding."""

    def __init__(self, binding: D1Binding) -> None:
        self.binding = binding

    async def call(self, _kind: object, method: str, args: list[Any]) -> Any:
        given = [argument.take() if isinstance(argument, ReadableStream) else argument for argument in args]
        try:
            answer = await self.binding.call(method, given)
        except BindingError as error:
            raise error_from_peer(error.name, error.message) from None
        return ReadableStream(answer) if isinstance(answer, ByteStream) else answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "d1"


@pytest.fixture
def engine(folder: Path) -> Engine:
    return FileEngine(folder, durable=False)


@pytest.fixture
async def make_service(engine: Engine) -> AsyncIterator[Callable[..., D1Service]]:
    """Services with limits of the test's own."""
    services: list[D1Service] = []

    def make(**settings: Any) -> D1Service:
        services.append(D1Service(engine, **settings))
        return services[-1]

    yield make
    for service in services:
        await service.aclose()


@pytest.fixture
def service(make_service: Callable[..., D1Service]) -> D1Service:
    return make_service()


@pytest.fixture
def open_database() -> Callable[..., Any]:  # D1Database
    def open_it(service: D1Service, resource_id: str = "a1b2") -> Any:
        return D1Database(DirectStub(service.open(resource_id)))  # type: ignore[arg-type]  # it has what is used

    return open_it


@pytest.fixture
def db(service: D1Service, open_database: Callable[..., Any]) -> Any:
    return open_database(service)
