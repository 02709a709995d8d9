"""A namespace as a tenant's code has it, on the real service, without a channel or a process between them."""

from __future__ import annotations

from typing import Any

from workers._bindings.base import ReadableStream
from workers._bindings.kv import KvNamespace
from workers._errors import error_from_peer

from tenantry.errors import BindingError, StreamError
from tenantry.services.kv import KvBinding

__all__ = ["DirectStub", "HostSubject"]


class InwardStream:
    """A tenant's stream as the host sees it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.length = stream.length

    async def read(self, size_max: int) -> bytes:
        try:
            chunk = await self.stream.read(size_max)
        except Exception as error:
            # What a channel makes of a producer that fails.
            raise StreamError("the tenant's stream failed") from error
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


class HostSubject:
    """A `kv_cases.Subject`."""

    def __init__(self, kv: KvBinding, other: KvBinding, clock: Any) -> None:
        self.kv: Any = KvNamespace(DirectStub(kv))  # type: ignore[arg-type]  # it has what is used
        self.other: Any = KvNamespace(DirectStub(other))  # type: ignore[arg-type]
        self._clock = clock

    async def now(self) -> int:
        return int(self._clock.now)

    async def advance(self, seconds: int) -> None:
        self._clock.now += seconds
