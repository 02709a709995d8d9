"""Bytes as JavaScript holds them: ArrayBuffer and the typed arrays over one. They are bytearrays here, so that
anything in Python that takes bytes takes them too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from workers._errors import range_error
from workers._web.raw import Raw

__all__ = ["ArrayBuffer", "DataView", "Uint8Array", "buffer_bytes"]

_BYTES_MAX = 128 * 1024 * 1024


def buffer_bytes(value: Any) -> bytes | None:
    """A copy of what a buffer object of any kind holds; None for what is no buffer."""
    kind = type(value)
    if kind is bytes:
        return value  # type: ignore[no-any-return]  # `kind` has just said so
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        return bytes(memoryview(value))
    except TypeError:
        return None


class _Buffer(Raw, bytearray):
    """A run of bytes with JavaScript's names for its parts."""

    __slots__ = ()
    js_name: ClassVar[str] = "ArrayBuffer"

    def __init__(self, source: Any = b"", offset: int = 0, length: int | None = None) -> None:
        if isinstance(source, int):
            if not 0 <= source <= _BYTES_MAX:
                raise range_error(f"Invalid typed array length: {source}")
            super().__init__(source)
            return
        data = buffer_bytes(source)
        if data is None:
            if not isinstance(source, Iterable):
                raise TypeError(f"Cannot make bytes of {type(source).__name__}")
            data = bytes(int(item) & 0xFF for item in source)
        super().__init__(data[offset:] if length is None else data[offset : offset + length])

    @property
    def byteLength(self) -> int:
        return len(self)

    @property
    def buffer(self) -> ArrayBuffer:
        return ArrayBuffer(self)

    def to_py(self, **_options: Any) -> memoryview:
        return memoryview(self)

    def to_bytes(self) -> bytes:
        return bytes(self)

    def to_memoryview(self) -> memoryview:
        return memoryview(self)

    def to_string(self, encoding: str = "utf-8") -> str:
        return self.decode(encoding)

    def slice(self, start: int = 0, end: int | None = None) -> Any:
        return type(self)(bytes(self)[start:end])

    def __repr__(self) -> str:
        return f"{self.js_name}({len(self)})"

    def _tenantry_value(self, capabilities: list[Any]) -> bytes:
        return bytes(self)


class ArrayBuffer(_Buffer):
    __slots__ = ()


class Uint8Array(_Buffer):
    __slots__ = ()
    js_name = "Uint8Array"

    @property
    def length(self) -> int:
        return len(self)

    @property
    def byteOffset(self) -> int:
        return 0

    @classmethod
    def from_(cls, items: Iterable[int]) -> Uint8Array:
        return cls(items)

    def subarray(self, start: int = 0, end: int | None = None) -> Uint8Array:
        """A copy: what is written to it does not reach this array."""
        return Uint8Array(bytes(self)[start:end])

    def set(self, source: Any, offset: int = 0) -> None:
        data = Uint8Array(source)
        if offset < 0 or offset + len(data) > len(self):
            raise range_error("offset is out of bounds")
        self[offset : offset + len(data)] = data

    def assign(self, source: Any) -> None:
        self.set(source)


class DataView(_Buffer):
    __slots__ = ()
    js_name = "DataView"

    def getUint8(self, offset: int) -> int:
        return self[offset]

    def setUint8(self, offset: int, value: int) -> None:
        self[offset] = value & 0xFF
