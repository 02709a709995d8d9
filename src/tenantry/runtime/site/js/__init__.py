"""The `js` module: JavaScript's globals, as far as Python Workers use them. Each is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any, Final

_WHERE: Final[dict[str, str]] = {
    "AbortController": "js._globals",
    "AbortSignal": "js._globals",
    "Array": "js._globals",
    "ArrayBuffer": "workers._web.buffers",
    "Blob": "workers._web.blob",
    "Boolean": "js._globals",
    "DataView": "workers._web.buffers",
    "Date": "js._date",
    "Error": "js._globals",
    "File": "workers._web.blob",
    "FixedLengthStream": "workers._web.transforms",
    "FormData": "workers._web.form_data",
    "Headers": "workers._web.headers",
    "JSON": "js._globals",
    "Map": "js._globals",
    "Math": "js._globals",
    "Number": "js._globals",
    "Object": "js._globals",
    "Promise": "js._globals",
    "RangeError": "js._globals",
    "ReadableStream": "workers._web.streams",
    "Request": "workers._web.request",
    "Response": "workers._web.response",
    "Set": "js._globals",
    "String": "js._globals",
    "SyntaxError": "js._globals",
    "TextDecoder": "js._globals",
    "TextEncoder": "js._globals",
    "TransformStream": "workers._web.transforms",
    "TypeError": "js._globals",
    "URL": "workers._web.url",
    "URLSearchParams": "workers._web.url",
    "Uint8Array": "workers._web.buffers",
    "WritableStream": "workers._web.transforms",
    "atob": "js._globals",
    "btoa": "js._globals",
    "clearInterval": "js._timers",
    "clearTimeout": "js._timers",
    "console": "js._console",
    "crypto": "js._crypto",
    "decodeURIComponent": "js._globals",
    "encodeURIComponent": "js._globals",
    "fetch": "js._globals",
    "performance": "js._date",
    "queueMicrotask": "js._timers",
    "setInterval": "js._timers",
    "setTimeout": "js._timers",
    "structuredClone": "js._globals",
}

_MISSING: Final = frozenset(
    {
        "EventSource",
        "HTMLRewriter",
        "WebAssembly",
        "WebSocket",
        "WebSocketPair",
        "caches",
        "eval",
    }
)

undefined = None
NaN = float("nan")
Infinity = float("inf")


def __getattr__(name: str) -> Any:
    where = _WHERE.get(name)
    if where is None:
        if name in _MISSING:
            raise AttributeError(f"js.{name} is not available on this platform")
        raise AttributeError(f"module 'js' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(where), name)
    return value


def __dir__() -> list[str]:
    return sorted({*_WHERE, "Infinity", "NaN", "undefined"})
