"""What all JavaScript objects of the shim share: `X.new(...)`, `obj.constructor.name`, `.to_py()`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

__all__ = ["JSNULL", "Raw", "camel_case", "init_options", "js_string", "number_text"]


class _Constructor:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Raw:
    """A JavaScript object. `js_name` is its class in JavaScript, where Python's is called otherwise."""

    __slots__ = ()
    js_name: ClassVar[str] = "Object"

    @classmethod
    def new(cls, *args: Any, **options: Any) -> Any:
        return cls(*args, **options)

    @property
    def constructor(self) -> _Constructor:
        return _Constructor(self.js_name)

    @property
    def js_object(self) -> Any:
        return self

    def to_py(self, **_options: Any) -> Any:
        return self

    def __repr__(self) -> str:
        return f"[object {self.js_name}]"


class JsNull(Raw):
    """JavaScript's null, where a program asks for it by name. Everywhere else it is None."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def to_py(self, **_options: Any) -> None:
        return None

    def __repr__(self) -> str:
        return "jsnull"

    def _tenantry_value(self, capabilities: list[Any]) -> None:
        return None


JSNULL = JsNull()


def init_options(positional: Any, keywords: dict[str, Any]) -> dict[str, Any]:
    """The init object of a constructor: keyword arguments are its last argument, as from Python into JavaScript."""
    if positional is None:
        return keywords
    if isinstance(positional, dict):
        return {**positional, **keywords}
    raise TypeError(f"Expected an object for the options, got {type(positional).__name__}")


def number_text(value: float) -> str:
    """A number as JavaScript prints it: 2.0 is "2"."""
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        if value.is_integer() and abs(value) < 1e21:
            return str(int(value))
    return str(value)


def js_string(value: Any) -> str:
    """JavaScript's String(value)."""
    if isinstance(value, str):
        return str(value)
    if value is None or value is JSNULL:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    return str(value)


def camel_case(name: str) -> str:
    """`get_with_metadata` as `getWithMetadata`. A leading underscore stays."""
    if "_" not in name[1:]:
        return name
    head, *tail = name[1:].split("_")
    return name[0] + head + "".join(part[:1].upper() + part[1:] for part in tail)
