"""`workers.Request`: Python's view of a request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tenantry.runtime.streams import ReadableStream
from workers._forms import Blob, FormData, read_form
from workers._web.buffers import ArrayBuffer
from workers._web.headers import http_message, sdk_pairs_of
from workers._web.request import Request as RawRequest

if TYPE_CHECKING:
    from http import HTTPMethod
    from http.client import HTTPMessage

__all__ = ["Request"]


class Request:
    """An HTTP request. `js_object` is the same request with JavaScript's names."""

    __slots__ = ("__weakref__", "_js_request")

    def __init__(self, input: Any, **options: Any) -> None:
        if isinstance(input, RawRequest):
            if options:
                raise ValueError("Expected no options when constructing Request from a js.Request")
            self._js_request = input
            return
        if "headers" in options:
            options["headers"] = sdk_pairs_of(options["headers"]) if options["headers"] is not None else None
        if options.get("method") is not None:
            options["method"] = str(getattr(options["method"], "value", options["method"]))
        self._js_request = RawRequest(input, options)

    @classmethod
    def _wrap(cls, raw: RawRequest) -> Request:
        request = cls.__new__(cls)
        request._js_request = raw
        return request

    @property
    def js_object(self) -> RawRequest:
        return self._js_request

    @property
    def url(self) -> str:
        return self._js_request.url

    @property
    def method(self) -> HTTPMethod:
        """Raises KeyError for a verb that Python's HTTPMethod does not have."""
        from http import HTTPMethod

        return HTTPMethod[self._js_request.method]

    @property
    def headers(self) -> HTTPMessage:
        """A new HTTPMessage; changing it does not change the request."""
        return http_message(self._js_request.pairs)

    @property
    def body(self) -> ReadableStream | None:
        return self._js_request.body

    @property
    def body_used(self) -> bool:
        return self._js_request.bodyUsed

    @property
    def cf(self) -> Any:
        return self._js_request.cf

    @property
    def cache(self) -> str:
        return self._js_request.cache or "default"

    @property
    def redirect(self) -> str:
        return self._js_request.redirect

    @property
    def credentials(self) -> str:
        return self._js_request.credentials

    @property
    def destination(self) -> str:
        return self._js_request.destination

    @property
    def integrity(self) -> str:
        return self._js_request.integrity

    @property
    def is_history_navigation(self) -> bool:
        return self._js_request.isHistoryNavigation

    @property
    def keepalive(self) -> bool:
        return self._js_request.keepalive

    @property
    def mode(self) -> str:
        return self._js_request.mode

    @property
    def referrer(self) -> str:
        return self._js_request.referrer

    @property
    def referrer_policy(self) -> str:
        return self._js_request.referrerPolicy

    def _unused(self) -> RawRequest:
        if self._js_request.bodyUsed:
            raise OSError("Body already used")
        return self._js_request

    def clone(self) -> Request:
        return self._wrap(self._unused().clone())

    async def buffer(self) -> ArrayBuffer:
        return await self._unused().arrayBuffer()

    async def bytes(self) -> bytes:
        return await self._unused().bytes()

    async def text(self) -> str:
        return await self._unused().text()

    async def json(self, **options: Any) -> Any:
        return json.loads(await self._unused().text(), **options)

    async def form_data(self) -> FormData:
        return await read_form(self._unused())

    async def blob(self) -> Blob:
        return Blob._wrap(await self._unused().blob())

    def __getattr__(self, name: str) -> Any:
        # A raw request may arrive where the SDK's is written, and the reverse: JavaScript's names work on both.
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return getattr(self._js_request, name)
        except AttributeError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __repr__(self) -> str:
        return f"Request(method={self._js_request.method!r}, url={self._js_request.url!r})"

    def _tenantry_value(self, capabilities: list[Any]) -> Any:
        return self._js_request._tenantry_value(capabilities)
