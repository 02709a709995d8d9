"""A channel without a host: values really cross (encoded and decoded), calls end in a fake stub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from workers import _convert

from tenantry.runtime.streams import ReadableStream
from tenantry.runtime.stub import Stub
from tenantry.wire.events import InvocationKind
from tenantry.wire.values import decode_untrusted, encode


def _cross(value: Any, *, plain: bool = False) -> Any:
    """What the other side gets for `value`."""
    sent: list[Any] = []
    payload = encode(value, lambda thing: _convert.to_value(thing, sent))
    received = [ReadableStream(thing.take()) if isinstance(thing, ReadableStream) else thing for thing in sent]
    return _convert.from_value(decode_untrusted(payload), received, plain=plain)


class FakeStub(Stub):
    """Records calls and answers them by `answer(method, args)`; what goes in and out crosses."""

    def __init__(self, answer: Callable[..., Any] | None = None, route: str = "") -> None:
        self.plain = False
        self.answer = answer
        self.route = route
        self.calls: list[tuple[InvocationKind, str, list[Any]]] = []
        self.disposed = False

    async def call(self, kind: InvocationKind, method: str, args: list[Any]) -> Any:
        received = _cross(args)
        self.calls.append((kind, self.route + method, received))
        result = self.answer(self.route + method, received) if self.answer is not None else None
        if hasattr(result, "__await__"):
            result = await result
        return _cross(result)

    def via(self, route: str, options: Any = None) -> Stub:
        stub = FakeStub(self.answer, f"{route}/")
        stub.calls = self.calls
        stub.options = options  # type: ignore[attr-defined]
        return stub

    def dup(self) -> Stub:
        return FakeStub(self.answer, self.route)

    def dispose(self) -> None:
        self.disposed = True


class FakeInvocation:
    def __init__(self) -> None:
        self.fetch_stub = FakeStub()
        self.waiting: list[Any] = []
        self.logs: list[tuple[str, str]] = []

    def wait_until(self, awaitable: Any) -> None:
        import asyncio

        self.waiting.append(asyncio.ensure_future(awaitable))

    def log(self, level: str, message: str) -> None:
        self.logs.append((level, message))


@pytest.fixture
def cross() -> Callable[..., Any]:
    return _cross


@pytest.fixture
def fake_stub() -> type[FakeStub]:
    return FakeStub


@pytest.fixture
def invocation(monkeypatch: pytest.MonkeyPatch) -> FakeInvocation:
    fake = FakeInvocation()

    class Variable:
        def get(self) -> FakeInvocation:
            return fake

    monkeypatch.setattr("tenantry.runtime.invocation._current", Variable())
    return fake
