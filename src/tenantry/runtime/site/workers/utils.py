"""The smaller functions of the `workers` module."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, Final

from tenantry.runtime.stub import Stub
from workers._errors import JsException
from workers._forms import Blob, FormData
from workers._request import Request
from workers._response import Response
from workers._web.blob import Blob as RawBlob
from workers._web.blob import File as RawFile
from workers._web.buffers import ArrayBuffer, Uint8Array
from workers._web.form_data import FormData as RawFormData
from workers._web.raw import Raw
from workers._web.request import Request as RawRequest
from workers._web.response import Response as RawResponse
from workers.rpc import JsArray, JsDict, JsObject, RpcStub

__all__ = ["handler", "import_from_javascript", "python_from_rpc", "python_to_rpc"]


def handler(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of a global handler: what it gets as a raw request becomes the SDK's."""

    @wraps(function)
    def wrapper(first: Any = None, *rest: Any, **keywords: Any) -> Any:
        return function(Request._wrap(first) if isinstance(first, RawRequest) else first, *rest, **keywords)

    return wrapper


def import_from_javascript(name: str) -> Any:
    """A module of JavaScript's: `cloudflare:workers`, `cloudflare:sockets`. Raises ImportError for all others."""
    if name == "cloudflare:workers":
        from workers._cloudflare import MODULE

        return MODULE
    if name == "cloudflare:sockets":
        from workers._cloudflare import SOCKETS

        return SOCKETS
    raise ImportError(f"Failed to import '{name}': there is no JavaScript here")


def python_to_rpc(value: Any) -> Any:
    """A value as JavaScript gets it. Raises TypeError for what cannot be sent."""
    kind = type(value)
    if isinstance(value, Raw):
        return value
    if isinstance(value, (tuple, bytearray)):
        raise TypeError(f"{kind} cannot be sent over RPC.")
    if isinstance(value, dict):
        return JsObject({key: python_to_rpc(item) for key, item in value.items()})
    if isinstance(value, list):
        return JsArray(python_to_rpc(item) for item in value)
    if isinstance(value, (set, frozenset)):
        return {python_to_rpc(item) for item in value}
    if isinstance(value, (bytes, memoryview)):
        return Uint8Array(value)
    if isinstance(value, datetime):
        from js import Date

        return Date(value)
    if isinstance(value, BaseException) and not isinstance(value, JsException):
        return JsException("Error", str(value))
    if hasattr(kind, "__await__"):
        raise TypeError(f"Awaitable {kind} cannot be sent over RPC.")
    return getattr(value, "js_object", value)


_FROM_RPC: Final[dict[type, Callable[[Any], Any]]] = {
    RawRequest: Request._wrap,
    RawResponse: Response._wrap,
    RawFormData: FormData._wrap,
    RawBlob: Blob._wrap,
    RawFile: Blob._wrap,
    Uint8Array: memoryview,
    ArrayBuffer: memoryview,
    bytes: memoryview,
    Stub: RpcStub,
}


def python_from_rpc(value: Any) -> Any:
    """What a program gets for a value of JavaScript's."""
    if isinstance(value, dict):
        return JsDict({key: python_from_rpc(item) for key, item in value.items()})
    if isinstance(value, list):
        return [python_from_rpc(item) for item in value]
    if isinstance(value, set):
        return {python_from_rpc(item) for item in value}
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if type(value) is JsException and value.name == "Error":
        return Exception(str(value))
    if getattr(value, "js_name", "") == "Date":
        return value.to_py()
    convert = _FROM_RPC.get(type(value))
    return value if convert is None else convert(value)
