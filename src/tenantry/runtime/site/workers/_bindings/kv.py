"""`self.env.<KV namespace>`: what a tenant calls, made into what the host takes, and back.

The host ships bytes and JSON text; what they become in Python is decided here, by the rules by which JavaScript values
become Python ones. Keys are checked here too, with the texts of Cloudflare's client half; the host checks them again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn

from workers._bindings.base import BindingStub, ReadableStream, body_stream, options
from workers._errors import JsException, type_error
from workers._web.raw import JSNULL
from workers.rpc import JsDict

__all__ = ["KvNamespace"]

_INLINE_BYTES_MAX = 64 * 1024
_READ_BYTES = 256 * 1024
_KEY_BYTES_MAX = 512
_BULK_KEYS_MAX = 100
_NUMBER_MIN = -(2**31)
_NUMBER_MAX = 2**31 - 1
_SAFE_INTEGER_MAX = 2**53 - 1

_VALUE_TYPES = "KV put() accepts only strings, ArrayBuffers, ArrayBufferViews, and ReadableStreams as values."
_RESPONSE_TYPES = 'Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream".'
_NOT_JSON = "At least one of the requested keys corresponds to a non-json value"


class KvNamespace(BindingStub):
    """A KV namespace. Options go last, as a dict or as keywords: `get(key, type="json")`, `list(prefix="a")`."""

    type_name: ClassVar[str] = "KvNamespace"

    # Any, throughout: values come from tenants and are theirs; that is what this module is about.

    async def get(self, key: Any, kind: Any = None, /, **keywords: Any) -> Any:
        """The value as text (default), "json", "arrayBuffer" (a memoryview) or "stream"; a dict for a list of keys."""
        if isinstance(key, list):
            found = await self._get_many(key, kind, keywords)
            return {name: None if pair is None else pair[0] for name, pair in found.items()}
        name, decode, cache_ttl = _get_arguments(key, kind, keywords)
        body = await self._call("get", name, cache_ttl)
        return None if body is None else await decode(body)

    async def getWithMetadata(self, key: Any, kind: Any = None, /, **keywords: Any) -> Any:
        """`value`, `metadata` and `cacheStatus`, each None where there is none."""
        if isinstance(key, list):
            found = await self._get_many(key, kind, keywords)
            return {
                name: None if pair is None else JsDict(value=pair[0], metadata=pair[1]) for name, pair in found.items()
            }
        name, decode, cache_ttl = _get_arguments(key, kind, keywords)
        found = await self._call("getWithMetadata", name, cache_ttl)
        if found is None:
            return JsDict(value=None, metadata=None, cacheStatus=None)
        body, metadata = found
        return JsDict(value=await decode(body), metadata=_metadata_value(metadata), cacheStatus=None)

    async def put(self, key: Any, value: Any, settings: Any = None, /, **keywords: Any) -> None:
        """`value`: text, bytes, a stream; numbers, booleans and None as their text. The entry is replaced whole."""
        name = _key(key, "PUT")
        given = options(settings, keywords)
        body = _value(value)
        expiration = _number(given.get("expiration"))
        expiration_ttl = _number(given.get("expirationTtl"))
        metadata = given.get("metadata")
        encoded_metadata = None if metadata is None else _metadata_text(metadata)
        await self._call("put", name, body, expiration, expiration_ttl, encoded_metadata)

    async def delete(self, key: Any, /) -> None:
        await self._call("delete", _key(key, "DELETE"))

    async def list(self, settings: Any = None, /, **keywords: Any) -> Any:
        """`keys` (read it as `result["keys"]`), `list_complete` and, on all pages but the last, `cursor`."""
        given = options(settings, keywords)
        prefix = given.get("prefix")
        cursor = given.get("cursor")
        limit = _number(given.get("limit"))
        body = await self._call(
            "list",
            None if prefix is None else _name(prefix, "GET"),
            # As Cloudflare's client: a limit that is not positive is not sent, so it means the default.
            limit if limit is not None and limit > 0 else None,
            None if cursor is None else _text(cursor),
        )
        page = _from_json((await _read(body)).decode("utf-8"))
        page["cacheStatus"] = None
        return page

    async def _get_many(self, keys: Any, kind: Any, keywords: dict[str, Any]) -> dict[str, tuple[Any, Any] | None]:
        given = options({"type": kind} if isinstance(kind, str) else kind, keywords)
        response_type = given.get("type")
        wanted = "text" if response_type is None else str(response_type)
        if not keys:
            raise _refused("GET_BULK", 400, "You must request a minimum of 1 key")
        if len(keys) > _BULK_KEYS_MAX:
            raise _refused("GET_BULK", 400, f"You can request a maximum of {_BULK_KEYS_MAX} keys")
        if wanted not in ("text", "json"):
            raise _refused("GET_BULK", 400, f'"{wanted}" is not a valid type. Use "json" or "text"')
        # Each name once, in the order of the request.
        names = list(dict.fromkeys(_key(key, "GET_BULK") for key in keys))
        found = await self._call("getMany", names, wanted, _number(given.get("cacheTtl")))
        result: dict[str, tuple[Any, Any] | None] = {}
        unread = [item[0] for item in found if item is not None and not isinstance(item[0], bytes)]
        try:
            for name, item in zip(names, found, strict=True):
                if item is None:
                    result[name] = None
                    continue
                body, metadata = item
                text = (await _read(body)).decode("utf-8", "replace")
                try:
                    result[name] = (text if wanted == "text" else _from_json(text), _metadata_value(metadata))
                except ValueError as error:
                    raise _refused("GET_BULK", 400, _NOT_JSON) from error
        finally:
            for stream in unread:
                await stream.cancel()
        return result


def _refused(verb: str, status: int, text: str) -> JsException:
    return JsException("Error", f"KV {verb} failed: {status} {text}")


def _get_arguments(key: Any, kind: Any, keywords: dict[str, Any]) -> tuple[str, Callable[[Any], Any], int | None]:
    """The key, what makes the result of the body, and cacheTtl."""
    name = _key(key, "GET")
    given = options({"type": kind} if isinstance(kind, str) else kind, keywords)
    response_type = given.get("type")
    if response_type is None:
        response_type = "text"
    decode = _DECODERS.get(response_type) if isinstance(response_type, str) else None
    if decode is None:
        raise type_error(_RESPONSE_TYPES)
    return name, decode, _number(given.get("cacheTtl"))


async def _read(body: Any) -> bytes:
    """All of a body: bytes, or a stream."""
    if isinstance(body, bytes):
        return body
    chunks: list[bytes] = []
    try:
        while chunk := await body.read(_READ_BYTES):
            chunks.append(chunk)
    finally:
        await body.cancel()
    return b"".join(chunks)


async def _as_text(body: Any) -> str:
    return (await _read(body)).decode("utf-8", "replace")


async def _as_json(body: Any) -> Any:
    text = await _as_text(body)
    try:
        return _from_json(text)
    except json.JSONDecodeError as error:
        raise JsException("SyntaxError", _syntax_error(text, error.pos)) from None
    except ValueError as error:
        raise JsException("SyntaxError", str(error)) from None


async def _as_buffer(body: Any) -> memoryview:
    return memoryview(await _read(body))


async def _as_stream(body: Any) -> Any:
    return body_stream(body) if isinstance(body, bytes) else body


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "text": _as_text,
    "json": _as_json,
    "arrayBuffer": _as_buffer,
    "stream": _as_stream,
}


# Keys and options.


def _key(key: Any, verb: str) -> str:
    """A key name that the service will take, or an error with the texts of Cloudflare's client."""
    text = _text(key)
    if not text:
        raise type_error("Key name cannot be empty.")
    if text in (".", ".."):
        raise type_error(f'"{text}" is not allowed as a key name.')
    return _name(text, verb)


def _name(value: Any, verb: str) -> str:
    """A key or a prefix: any text of at most 512 bytes. Half of a surrogate pair is no text."""
    text = _text(value)
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise _refused(verb, 400, "Could not URL-decode key name") from None
    if size > _KEY_BYTES_MAX:
        text = f"UTF-8 encoded length of {size} exceeds key length limit of {_KEY_BYTES_MAX}."
        raise _refused(verb, 414, text)
    return text


def _text(value: Any) -> str:
    """A string argument: primitives become what JavaScript's String() makes of them."""
    if isinstance(value, str):
        return value
    text = _primitive_text(value)
    if text is None:
        _refuse_python(value)
        raise type_error(f"A key, prefix or cursor is a string, not {type(value).__name__}.")
    return text


def _number(value: Any) -> int | None:
    """A number argument as JavaScript coerces it to a 32-bit integer: what is no number is 0."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = float(value) if value.strip() and "_" not in value else 0
        except ValueError:
            return 0
    if not isinstance(value, int | float) or value != value:
        return 0
    if not _NUMBER_MIN <= value <= _NUMBER_MAX:
        text = f"Value out of range. Must be between {_NUMBER_MIN} and {_NUMBER_MAX} (inclusive)."
        raise type_error(text)
    return int(value)


# Values.


def _value(value: Any) -> Any:
    """What goes to the host: bytes, or a stream for what is large."""
    if isinstance(value, ReadableStream):
        return value
    if isinstance(value, str):
        data = _encode_text(value)
    elif (text := _primitive_text(value)) is not None:
        data = text.encode("ascii")
    else:
        data = _buffer_bytes(value)
    return data if len(data) <= _INLINE_BYTES_MAX else body_stream(data)


def _encode_text(text: str) -> bytes:
    """UTF-8 as JavaScript writes it: surrogate halves that make a pair are joined, a lone one becomes U+FFFD."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode("utf-8")


def _buffer_bytes(value: Any) -> bytes:
    _refuse_python(value)
    # What `to_js(b"...")` and `js.Uint8Array.new()` return.
    to_bytes = getattr(value, "to_bytes", None)
    if callable(to_bytes):
        return bytes(to_bytes())
    try:
        return memoryview(value).tobytes()
    except TypeError:
        raise type_error(_VALUE_TYPES) from None


def _refuse_python(value: Any) -> None:
    """What has no counterpart in JavaScript never gets as far as the binding."""
    # An ArrayBuffer of ours is a bytearray by inheritance, so the type is compared and not tested.
    if isinstance(value, tuple) or type(value) is bytearray:
        raise TypeError(f"{type(value)} cannot be sent over RPC.")


def _primitive_text(value: Any) -> str | None:
    """JavaScript's String(value) for None, booleans and numbers; None for anything else."""
    if value is None or value is JSNULL:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float_text(value)
    return None


def _float_text(value: float) -> str:
    """ECMAScript's Number::toString. Python's repr has the same digits and another layout."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # Where the decimal point stands, counted from the first digit that is not zero.
    point = int(exponent or 0) + len(digits) - len(fraction)
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        text = digits + "0" * (point - len(digits))
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        text = f"{digits[0]}{rest}e{point - 1:+d}"
    return text if value > 0 else f"-{text}"


# JSON, with JavaScript's numbers.


def _from_json(text: str) -> Any:
    """Raises ValueError for what JSON.parse refuses."""
    try:
        return json.loads(
            text, object_hook=JsDict, parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def _metadata_value(metadata: str | None) -> Any:
    return None if metadata is None else _from_json(metadata)


def _integer(text: str) -> int | float:
    """JavaScript has no larger integers than these: beyond, a number is a float, here as there."""
    if len(text) <= 17:
        number = int(text)
        if -_SAFE_INTEGER_MAX <= number <= _SAFE_INTEGER_MAX:
            return number
    return float(text)


def _float(text: str) -> int | float:
    number = float(text)
    if number.is_integer() and abs(number) <= _SAFE_INTEGER_MAX:
        return int(number)
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"Unexpected token '{name[0]}', \"{name}\" is not valid JSON")


def _syntax_error(text: str, position: int) -> str:
    """V8's words for where JSON stops being JSON."""
    if position >= len(text):
        return "Unexpected end of JSON input"
    context = 10
    start, end, before, after = 0, len(text), "", ""
    if len(text) > 2 * context:
        if position >= context:
            start, before = position - context, "..."
        if position < len(text) - context:
            end, after = position + context, "..."
    shown = f'{before}"{text[start:end]}"{after}'
    return f"Unexpected token '{text[position]}', {shown} is not valid JSON"


def _metadata_text(metadata: Any) -> str:
    """JSON.stringify. A lone surrogate is written as an escape, as there."""
    try:
        text = json.dumps(_plain(metadata), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise type_error("Converting circular structure to JSON") from None
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: Any) -> Any:
    if value is None or value is JSNULL:
        return None
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if abs(value) > _SAFE_INTEGER_MAX:
            raise type_error("Do not know how to serialize a BigInt")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) <= _SAFE_INTEGER_MAX else value
    if isinstance(value, dict):
        return {_text(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        # A Date writes itself like this. One without a time zone is in UTC, as everything in a Worker.
        instant = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    _refuse_python(value)
    raise type_error(f"Metadata of type {type(value).__name__} is not JSON.")
