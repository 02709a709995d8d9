"""js.Request."""

from __future__ import annotations

import re
from typing import Any, Final

from tenantry.wire.values import RequestValue
from workers._errors import type_error
from workers._web.body import Body, Content, body_from_field, extract_body
from workers._web.headers import Pairs, first, pairs_of
from workers._web.raw import init_options, js_string
from workers._web.url import normalised

__all__ = ["Request"]

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
_is_method = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_REDIRECT = (
    'Invalid redirect value, must be one of "follow" or "manual" ("error" won\'t be implemented since it does not make '
    'sense at the edge; use "manual" and check the response status code).'
)


class Request(Body):
    __slots__ = ("_cf", "_fetcher", "_redirect", "cache", "method", "signal", "url")
    js_name = "Request"

    def __init__(self, input: Any, options: dict[str, Any] | None = None, **keywords: Any) -> None:
        init = init_options(options, keywords)
        base = getattr(input, "js_object", input)
        if isinstance(base, Request):
            self._override(base, init)
        else:
            # A URL object is a URL by its text.
            self.url = normalised(js_string(base))
            self.method = "GET"
            self._redirect = "follow"
            self._cf: Any = None
            self._fetcher: Any = None
            self._pairs: Pairs = []
            self._body: Content = None
        self._used = False
        self.cache = init.get("cache")
        self.signal = init.get("signal")
        if self.cache not in (None, "no-store", "no-cache", "default", "reload"):
            raise type_error(f"Unsupported cache mode: {self.cache}")
        if init.get("method") is not None:
            self.method = _method(js_string(init["method"]))
        if init.get("redirect") is not None:
            if init["redirect"] not in ("follow", "manual"):
                raise type_error(_REDIRECT)
            self._redirect = init["redirect"]
        if init.get("headers") is not None:
            self._pairs = pairs_of(init["headers"])
        if init.get("cf") is not None:
            self._cf = init["cf"]
        if init.get("fetcher") is not None:
            self._fetcher = init["fetcher"]
        if init.get("body") is not None:
            self._body, content_type = extract_body(init["body"])
            if content_type is not None and first(self._pairs, "content-type") is None:
                self._pairs.append(("content-type", content_type))
        if self._body is not None and self.method in ("GET", "HEAD"):
            raise type_error("Request with a GET or HEAD method cannot have a body.")

    def _override(self, base: Request, init: dict[str, Any]) -> None:
        """Start from another request. Its body moves here, unless it gets a new one."""
        self.url, self.method = base.url, base.method
        self._redirect, self._cf, self._fetcher = base._redirect, base._cf, base._fetcher
        self._pairs = list(base._pairs)
        self._body = None
        if init.get("body") is None:
            if base.bodyUsed:
                raise type_error("Cannot reconstruct a Request with a used body.")
            self._body = base.take()

    @staticmethod
    def from_value(value: RequestValue, capabilities: list[Any]) -> Request:
        request = Request.__new__(Request)
        request.url = value.url
        request.method = value.method
        request._pairs = value.headers
        request._body = body_from_field(value.body, capabilities)
        request._used = False
        request._redirect = value.redirect
        request._cf = value.cf
        request._fetcher = request.cache = request.signal = None
        return request

    def clone(self) -> Request:
        twin = Request.__new__(Request)
        twin.url, twin.method = self.url, self.method
        twin._body, twin._used = self.split(), False
        twin._pairs = list(self._pairs)
        twin._redirect, twin._cf, twin._fetcher = self._redirect, self._cf, self._fetcher
        twin.cache, twin.signal = self.cache, self.signal
        return twin

    @property
    def redirect(self) -> str:
        return self._redirect

    @property
    def fetcher(self) -> Any:
        return self._fetcher

    @property
    def cf(self) -> Any:
        if isinstance(self._cf, dict) and type(self._cf) is dict:
            from workers._convert import raw_object

            self._cf = raw_object(self._cf)
        return self._cf

    credentials = "same-origin"
    destination = ""
    integrity = ""
    isHistoryNavigation = False
    keepalive = False
    mode = "same-origin"
    referrer = "about:client"
    referrerPolicy = ""

    def _tenantry_value(self, capabilities: list[Any]) -> RequestValue:
        cf = self._cf
        if cf is not None:
            from workers._convert import plain

            cf = plain(cf)
        return RequestValue(self.method, self.url, self._pairs, self._field(capabilities), self._redirect, cf)


def _method(method: str) -> str:
    upper = method.upper()
    if upper in _METHODS:
        return upper
    if not _is_method(method):
        raise type_error(f"Invalid HTTP method string: {method}")
    return method
