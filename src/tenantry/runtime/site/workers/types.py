"""Names for annotations."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol, TypedDict

from workers._web.headers import Headers as _RawHeaders

__all__ = [
    "BlobValue",
    "Body",
    "Context",
    "FetchKwargs",
    "FormDataValue",
    "Headers",
    "JSBody",
    "RequestInitCfProperties",
]

JSBody = "js.Blob | js.ArrayBuffer | js.TypedArray | js.DataView | js.FormData | js.ReadableStream | js.URLSearchParams"
Body = "str | FormData | JSBody"
BlobValue = "str | bytes | js.ArrayBuffer | js.TypedArray | js.DataView | js.Blob | js.File | Blob | File"
FormDataValue = "str | js.Blob | js.File | Blob | File"
Headers = dict[str, str] | list[tuple[str, str]] | _RawHeaders


class Context(Protocol):
    def waitUntil(self, awaitable: Awaitable[Any], /) -> None: ...


class RequestInitCfProperties(TypedDict, total=False):
    apps: bool | None
    cacheEverything: bool | None
    cacheKey: str | None
    cacheTags: list[str] | None
    cacheTtl: int
    cacheTtlByStatus: dict[str, int]
    image: Any | None
    mirage: bool | None
    polish: str | None
    resolveOverride: str | None
    scrapeShield: bool | None
    webp: bool | None


class FetchKwargs(TypedDict, total=False):
    headers: Headers | None
    body: Any | None
    method: str
    redirect: str | None
    cf: RequestInitCfProperties | None
    fetcher: Any | None
