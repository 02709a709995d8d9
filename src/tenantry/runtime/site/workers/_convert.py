"""Between what a program holds and what crosses the channel: SDK objects, streams and functions to values and back.

Both directions dispatch on the type. An object that can be sent says so itself, in `_tenantry_value(capabilities)`,
which appends the streams and stubs that travel along and returns a value of `tenantry.wire.values`.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from tenantry.runtime.streams import ReadableStream
from tenantry.runtime.stub import Stub
from tenantry.wire.values import (
    BlobValue,
    ErrorValue,
    FormDataValue,
    HeadersValue,
    RequestValue,
    ResponseValue,
    StreamValue,
    StubValue,
    capability,
)
from workers._errors import JsException, data_clone_error, error_from_peer, error_to_peer
from workers._forms import Blob, FormData
from workers._request import Request
from workers._response import Response
from workers._web.blob import Blob as RawBlob
from workers._web.form_data import FormData as RawFormData
from workers._web.headers import Headers
from workers._web.request import Request as RawRequest
from workers._web.response import Response as RawResponse
from workers._web.streams import capability_of, held_stream, stream_of_chunks
from workers.rpc import HomeStub, JsArray, JsDict, JsObject, RpcStub, RpcTarget, stub_value, to_py

__all__ = ["error_from_peer", "error_to_peer", "from_value", "plain", "raw_object", "to_value"]

_SAFE_INTEGER_MAX: Final = 2**53 - 1


# To values ---------------------------------------------------------------------------------------------------------


def to_value(thing: Any, capabilities: list[Any]) -> Any:
    """What `tenantry.wire.values.encode` sends for an object that is not a plain value.

    Raises TypeError for what cannot be sent, with Cloudflare's texts.
    """
    own = getattr(type(thing), "_tenantry_value", None)
    if own is not None:
        return own(thing, capabilities)
    if isinstance(thing, (tuple, bytearray)):
        raise TypeError(f"{type(thing)} cannot be sent over RPC.")
    if isinstance(thing, (memoryview, array.array, bytes)):
        return bytes(thing)
    if isinstance(thing, (Stub, RpcTarget)):
        return stub_value(thing, capabilities)
    if isinstance(thing, BaseException):
        return ErrorValue("Error", str(thing))
    if hasattr(type(thing), "__await__"):
        raise TypeError(f"Awaitable {type(thing)} cannot be sent over RPC.")
    if hasattr(thing, "__aiter__"):
        return StreamValue(capability_of(stream_of_chunks(thing), capabilities))
    if callable(thing) and not isinstance(thing, type):
        return stub_value(thing, capabilities)
    raise data_clone_error(
        f'Could not serialize object of type "{type(thing).__name__}". This type does not support serialization.'
    )


def _exception_value(error: JsException, capabilities: list[Any]) -> ErrorValue:
    return ErrorValue(error.name, error.message)


JsException._tenantry_value = _exception_value  # type: ignore[attr-defined]  # it knows nothing of values itself


# From values -------------------------------------------------------------------------------------------------------


def from_value(value: Any, capabilities: list[Any], *, plain: bool = False) -> Any:
    """What a program gets for a decoded value.

    With `plain`, as the wrappers of bindings read results, bytes stay bytes and dates keep their zone. Otherwise the
    rules of RPC hold: bytes are a memoryview, dates are naive. Lists are changed in place.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    convert = (_PLAIN if plain else _RPC).get(kind)
    return value if convert is None else convert(value, capabilities)


_ATOMS: Final = frozenset({type(None), bool, int, str})

_Converter = Callable[[Any, list[Any]], Any]


def _containers(converters: dict[type, _Converter]) -> None:
    """The converters of dict, list and set, bound to the table that they apply to their items."""
    find = converters.get

    def from_list(value: list[Any], capabilities: list[Any]) -> list[Any]:
        for index, item in enumerate(value):
            convert = find(type(item))
            if convert is not None:
                value[index] = convert(item, capabilities)
        return value

    def from_dict(value: dict[str, Any], capabilities: list[Any]) -> JsDict:
        result = JsDict(value)
        for key, item in value.items():
            convert = find(type(item))
            if convert is not None:
                result[key] = convert(item, capabilities)
        return result

    def from_set(value: set[Any], capabilities: list[Any]) -> set[Any]:
        return {item if (convert := find(type(item))) is None else convert(item, capabilities) for item in value}

    converters[list] = from_list
    converters[dict] = from_dict
    converters[set] = from_set


def _from_float(value: float, capabilities: list[Any]) -> int | float:
    # JavaScript has one kind of number.
    return int(value) if value.is_integer() and abs(value) <= _SAFE_INTEGER_MAX else value


def _from_datetime(value: datetime, capabilities: list[Any]) -> datetime:
    # Local time, and a Worker's zone is UTC.
    return value.replace(tzinfo=None)


def _from_request(value: RequestValue, capabilities: list[Any]) -> Request:
    return Request._wrap(RawRequest.from_value(value, capabilities))


def _from_response(value: ResponseValue, capabilities: list[Any]) -> Response:
    return Response._wrap(RawResponse.from_value(value, capabilities))


def _from_headers(value: HeadersValue, capabilities: list[Any]) -> Headers:
    return Headers.over(value.pairs)


def _raw_blob(value: BlobValue, capabilities: list[Any]) -> RawBlob:
    body = value.body
    return RawBlob.from_value(value, body if isinstance(body, bytes) else held_stream(body, capabilities))


def _from_blob(value: BlobValue, capabilities: list[Any]) -> Blob:
    return Blob._wrap(_raw_blob(value, capabilities))


def _from_form_data(value: FormDataValue, capabilities: list[Any]) -> FormData:
    return FormData._wrap(
        RawFormData(
            [(name, item if isinstance(item, str) else _raw_blob(item, capabilities)) for name, item in value.entries]
        )
    )


def _from_error(value: ErrorValue, capabilities: list[Any]) -> Exception:
    if value.name == "Error":
        return Exception(f"Error: {value.message}")
    error = error_from_peer(value.name, value.message)
    error.remote = False
    return error


def _from_stream(value: StreamValue, capabilities: list[Any]) -> ReadableStream:
    if isinstance(value.body, bytes):
        return ReadableStream.of(value.body)
    return held_stream(value.body, capabilities)


def _from_stub(value: StubValue, capabilities: list[Any]) -> Any:
    thing = capability(value.capability, capabilities)
    return RpcStub(thing if isinstance(thing, Stub) else HomeStub(thing))


_PLAIN: Final[dict[type, _Converter]] = {
    float: _from_float,
    RequestValue: _from_request,
    ResponseValue: _from_response,
    HeadersValue: _from_headers,
    FormDataValue: _from_form_data,
    BlobValue: _from_blob,
    ErrorValue: _from_error,
    StreamValue: _from_stream,
    StubValue: _from_stub,
}
_RPC: Final[dict[type, _Converter]] = {
    **_PLAIN,
    bytes: lambda value, capabilities: memoryview(value),
    datetime: _from_datetime,
}
_containers(_PLAIN)
_containers(_RPC)


# Raw objects -------------------------------------------------------------------------------------------------------


def raw_object(value: Any) -> Any:
    """Plain data as JavaScript objects: attributes beside keys, `.to_py()`."""
    if isinstance(value, dict):
        return JsObject({key: raw_object(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return JsArray(raw_object(item) for item in value)
    return value


plain = to_py
