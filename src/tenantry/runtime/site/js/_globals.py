"""JavaScript's own objects: constructors that are called with `.new`, and namespaces of functions."""

from __future__ import annotations

import base64
import copy
import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, unquote

from workers._convert import raw_object
from workers._errors import JsException, error_from_peer, type_error
from workers._fetch import raw_fetch
from workers._web.body import raw_json
from workers._web.buffers import Uint8Array, buffer_bytes
from workers._web.raw import JSNULL, Raw, js_string
from workers._web.request import Request
from workers._web.response import Response
from workers.rpc import JsArray, JsObject, to_py

__all__ = [
    "JSON",
    "AbortController",
    "AbortSignal",
    "Array",
    "Boolean",
    "Error",
    "Map",
    "Math",
    "Number",
    "Object",
    "Promise",
    "RangeError",
    "Set",
    "String",
    "SyntaxError",
    "TextDecoder",
    "TextEncoder",
    "TypeError",
    "atob",
    "btoa",
    "decodeURIComponent",
    "encodeURIComponent",
    "fetch",
    "structuredClone",
]


class Object:
    @staticmethod
    def new(**members: Any) -> JsObject:
        return JsObject(members)

    @staticmethod
    def fromEntries(entries: Iterable[Any]) -> JsObject:
        pairs = entries.items() if isinstance(entries, dict) else entries
        return JsObject({js_string(key): value for key, value in pairs})

    @staticmethod
    def keys(value: Any) -> JsArray:
        return JsArray(value.keys())

    @staticmethod
    def values(value: Any) -> JsArray:
        return JsArray(value.values())

    @staticmethod
    def entries(value: Any) -> JsArray:
        return JsArray(JsArray(pair) for pair in value.items())

    @staticmethod
    def assign(target: Any, *sources: Any) -> Any:
        for source in sources:
            target.update(source)
        return target

    @staticmethod
    def freeze(value: Any) -> Any:
        return value


class JSON:
    @staticmethod
    def stringify(value: Any, replacer: Any = None, space: Any = None) -> str:
        indent = min(len(space) if isinstance(space, str) else int(space or 0), 10)
        # Without indentation JavaScript writes no blanks; with it, one after each colon.
        separators = (",", ": ") if indent else (",", ":")
        plain = _json_value(to_py(value))
        return json.dumps(
            plain, separators=separators, indent=indent or None, ensure_ascii=False, default=_json_default
        )

    @staticmethod
    def parse(text: str, reviver: Any = None) -> Any:
        try:
            value = raw_json(js_string(text))
        except ValueError as error:
            raise JsException("SyntaxError", str(error)) from error
        return raw_object(value) if type(value) is list else value


def _json_value(value: Any) -> Any:
    """2.0 is 2 there, and what is not a number is null."""
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    return value


def _json_default(value: Any) -> Any:
    if value is JSNULL:
        return None
    convert = getattr(value, "toJSON", None)
    if convert is not None:
        return convert()
    if isinstance(value, Raw):
        return {}
    raise type_error(f"Object of type {type(value).__name__} is not JSON serializable")


class Array:
    @staticmethod
    def new(*items: Any) -> JsArray:
        if len(items) == 1 and isinstance(items[0], int):
            return JsArray([None] * items[0])
        return JsArray(items)

    @staticmethod
    def from_(items: Iterable[Any]) -> JsArray:
        return JsArray(items)

    @staticmethod
    def of(*items: Any) -> JsArray:
        return JsArray(items)

    @staticmethod
    def isArray(value: Any) -> bool:
        return isinstance(value, list)


class Map(dict[Any, Any]):
    @classmethod
    def new(cls, entries: Any = ()) -> Map:
        return cls(entries or ())

    @property
    def size(self) -> int:
        return len(self)

    def set(self, key: Any, value: Any) -> Map:
        self[key] = value
        return self

    def has(self, key: Any) -> bool:
        return key in self

    def delete(self, key: Any) -> bool:
        return self.pop(key, self) is not self

    def forEach(self, callback: Callable[..., Any]) -> None:
        for key, value in list(self.items()):
            callback(value, key, self)

    def to_py(self, **_options: Any) -> dict[Any, Any]:
        return {key: to_py(value) for key, value in self.items()}


class Set(set[Any]):
    @classmethod
    def new(cls, items: Iterable[Any] = ()) -> Set:
        return cls(items or ())

    @property
    def size(self) -> int:
        return len(self)

    def has(self, item: Any) -> bool:
        return item in self

    def delete(self, item: Any) -> bool:
        had = item in self
        self.discard(item)
        return had

    def values(self) -> Iterator[Any]:
        return iter(list(self))

    def to_py(self, **_options: Any) -> set[Any]:
        return {to_py(item) for item in self}


class _Number:
    MAX_SAFE_INTEGER: Final = 2**53 - 1
    MIN_SAFE_INTEGER: Final = -(2**53 - 1)

    @staticmethod
    def __call__(value: Any = 0) -> int | float:
        try:
            number = float(js_string(value).strip() or 0) if not isinstance(value, bool) else float(value)
        except ValueError:
            return math.nan
        return int(number) if number.is_integer() else number

    new = __call__

    @staticmethod
    def isInteger(value: Any) -> bool:
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())

    @staticmethod
    def isSafeInteger(value: Any) -> bool:
        return _Number.isInteger(value) and abs(value) <= _Number.MAX_SAFE_INTEGER


Number = _Number()


class _String:
    def __call__(self, value: Any = "") -> str:
        return js_string(value)

    new = __call__


String = _String()


class _Boolean:
    def __call__(self, value: Any = False) -> bool:
        # An empty list or dict is an object there, and true.
        return bool(value) or isinstance(value, (list, dict, set))

    new = __call__


Boolean = _Boolean()


class Math:
    PI: Final = math.pi
    floor = staticmethod(math.floor)
    ceil = staticmethod(math.ceil)
    abs = staticmethod(abs)
    min = staticmethod(min)
    max = staticmethod(max)
    pow = staticmethod(math.pow)
    sqrt = staticmethod(math.sqrt)

    @staticmethod
    def round(value: float) -> int:
        return math.floor(value + 0.5)

    @staticmethod
    def random() -> float:
        import random

        return random.random()  # noqa: S311 - Math.random() promises nothing more


class _ErrorClass:
    """`js.Error.new(message)` is an exception that can be raised, passed on, or matched by `js.Error`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def new(self, message: Any = "", *_options: Any, **_keywords: Any) -> JsException:
        error = error_from_peer(self.name, js_string(message))
        error.remote = False
        return error

    __call__ = new

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, JsException) and self.name in ("Error", value.name)


Error = _ErrorClass("Error")
TypeError = _ErrorClass("TypeError")
RangeError = _ErrorClass("RangeError")
SyntaxError = _ErrorClass("SyntaxError")


class Promise:
    """Futures of the event loop."""

    @staticmethod
    def resolve(value: Any = None) -> Any:
        if hasattr(value, "__await__"):
            return value
        import asyncio

        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result(value)
        return future

    @staticmethod
    def all(promises: Iterable[Any]) -> Any:
        import asyncio

        return asyncio.gather(*[Promise.resolve(promise) for promise in promises])


class TextEncoder(Raw):
    encoding: Final = "utf-8"

    def encode(self, text: str = "") -> Uint8Array:
        return Uint8Array(text.encode())


class TextDecoder(Raw):
    def __init__(self, encoding: str = "utf-8", *_options: Any, **_keywords: Any) -> None:
        self.encoding = encoding

    def decode(self, data: Any = b"") -> str:
        return (buffer_bytes(data) or b"").decode(self.encoding, "replace")


class AbortSignal(Raw):
    """A flag. Nothing here watches it: cancel the task instead."""

    js_name = "AbortSignal"

    def __init__(self) -> None:
        self.aborted = False
        self.reason: Any = None

    def throwIfAborted(self) -> None:
        if self.aborted:
            raise self.reason

    def addEventListener(self, *_args: Any) -> None:
        """Accepted, and never called."""


class AbortController(Raw):
    js_name = "AbortController"

    def __init__(self) -> None:
        self.signal = AbortSignal()

    def abort(self, reason: Any = None) -> None:
        self.signal.aborted = True
        self.signal.reason = reason or JsException("AbortError", "The operation was aborted")


def btoa(text: str) -> str:
    return base64.b64encode(text.encode("latin-1")).decode()


def atob(text: str) -> str:
    return base64.b64decode(text).decode("latin-1")


def encodeURIComponent(text: Any) -> str:
    return quote(js_string(text), safe="!'()*")


def decodeURIComponent(text: str) -> str:
    return unquote(text)


def structuredClone(value: Any) -> Any:
    return copy.deepcopy(value)


async def fetch(resource: Any, init: Any = None, **options: Any) -> Response:
    """The raw one: a raw response, and errors as JavaScript's."""
    raw = getattr(resource, "js_object", resource)
    if not isinstance(raw, Request) or init is not None or options:
        raw = Request(raw, init, **options)
    return await raw_fetch(raw)
