"""`pyodide.ffi`: the border between Python and JavaScript, which here are the same objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workers._bindings.base import BindingStub
from workers._convert import to_value
from workers._errors import JsException
from workers._fetch import Fetcher
from workers._sync import run_sync
from workers._web.buffers import Uint8Array, _Buffer
from workers._web.raw import JSNULL as jsnull
from workers._web.raw import JsNull, Raw
from workers.rpc import JsArray as _Array
from workers.rpc import JsObject, RpcStub

from tenantry.runtime.streams import ReadableStream

__all__ = [
    "ConversionError",
    "JsArray",
    "JsBuffer",
    "JsDomElement",
    "JsException",
    "JsFetchResponse",
    "JsMap",
    "JsNull",
    "JsPromise",
    "JsProxy",
    "can_run_sync",
    "create_once_callable",
    "create_proxy",
    "destroy_proxies",
    "jsnull",
    "run_sync",
    "to_js",
]


class ConversionError(Exception):
    """A value that cannot be converted."""


class _Instances(type):
    """A class that has no instances of its own: `isinstance` asks about the classes listed in `kinds`."""

    kinds: tuple[type, ...] = ()

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, cls.kinds)


class JsProxy(metaclass=_Instances):
    kinds = (Raw, JsObject, _Array, ReadableStream, BindingStub, Fetcher, RpcStub)


class JsBuffer(metaclass=_Instances):
    kinds = (_Buffer,)


class JsArray(metaclass=_Instances):
    kinds = (_Array,)


class JsMap(metaclass=_Instances):
    kinds = (JsObject,)


class JsPromise(metaclass=_Instances):
    """No object is one: what a binding returns is a coroutine."""


class JsDomElement(metaclass=_Instances):
    """No object is one."""


class JsFetchResponse(metaclass=_Instances):
    """No object is one; js.Response is the class of a response."""


class _Proxy:
    """A Python object as JavaScript would hold it: the same object, that can be destroyed."""

    __slots__ = ("_target",)

    def __init__(self, target: Any) -> None:
        self._target = target

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._target(*args, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def destroy(self, *_message: Any) -> None:
        """Accepted: Python frees what nobody holds."""

    def copy(self) -> _Proxy:
        return _Proxy(self._target)

    def to_py(self, **_options: Any) -> Any:
        return self._target

    unwrap = to_py

    def _tenantry_value(self, capabilities: list[Any]) -> Any:
        target = self._target
        return target if isinstance(target, (str, int, float, dict, list)) else to_value(target, capabilities)


def create_proxy(obj: Any, **_options: Any) -> Any:
    return _Proxy(obj)


def create_once_callable(obj: Callable[..., Any], **_options: Any) -> Any:
    return _Proxy(obj)


def destroy_proxies(proxies: Any) -> None:
    """Accepted."""


def can_run_sync() -> bool:
    from workers._sync import can_run

    return can_run()


def to_js(
    obj: Any,
    /,
    *,
    depth: int = -1,
    pyproxies: Any = None,
    create_pyproxies: bool = True,
    dict_converter: Callable[[Any], Any] | None = None,
    default_converter: Callable[[Any, Any, Any], Any] | None = None,
    eager_converter: Callable[[Any, Any, Any], Any] | None = None,
) -> Any:
    """The value as JavaScript has it: a dict becomes an object with attributes, bytes a Uint8Array."""

    def convert(value: Any, left: int) -> Any:
        if left == 0:
            return value
        if isinstance(value, dict):
            entries = [(key, convert(item, left - 1)) for key, item in value.items()]
            return JsObject(entries) if dict_converter is None else dict_converter(entries)
        if isinstance(value, (list, tuple)):
            return _Array(convert(item, left - 1) for item in value)
        if isinstance(value, Raw):
            return value
        if isinstance(value, (bytes, bytearray, memoryview)):
            return Uint8Array(value)
        if value is None or isinstance(value, (str, bool, int, float, set, frozenset)):
            return value
        raw = getattr(value, "js_object", None)
        if raw is not None:
            return raw
        if default_converter is not None and not isinstance(value, ReadableStream):
            return default_converter(value, lambda item: convert(item, left - 1), lambda source, result: None)
        return value

    return convert(obj, depth)
