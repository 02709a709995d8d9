"""js.Response."""

from __future__ import annotations

import json
from typing import Any, Final

from tenantry.wire.values import ResponseValue
from workers._errors import range_error, type_error
from workers._web.body import Body, Content, body_from_field, extract_body
from workers._web.headers import Pairs, first, pairs_of
from workers._web.raw import init_options, js_string
from workers._web.url import parse

__all__ = ["REDIRECT_STATUSES", "Response"]

NULL_BODY_STATUSES: Final = frozenset({101, 204, 205, 304})
REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})


class Response(Body):
    __slots__ = ("_status_text", "redirected", "status", "type", "url", "webSocket")
    js_name = "Response"

    def __init__(self, body: Any = None, options: dict[str, Any] | None = None, **keywords: Any) -> None:
        init = init_options(options, keywords)
        self._fill(
            body,
            init.get("status"),
            js_string(init.get("statusText") or ""),
            pairs_of(init.get("headers")),
            init.get("webSocket"),
        )

    def _fill(self, body: Any, status: int | None, status_text: str, pairs: Pairs, web_socket: Any) -> None:
        self.status = 200 if status is None else int(status)
        self._status_text = status_text
        self._pairs = pairs
        self.webSocket = web_socket
        self.url, self.redirected, self.type = "", False, "default"
        self._used = False
        self._body = None
        self._check(body)
        self._set_body(body)

    @staticmethod
    def of(body: Any, status: int | None, status_text: str, pairs: Pairs, web_socket: Any = None) -> Response:
        """A response of checked pairs, which are its own from here on."""
        response = Response.__new__(Response)
        response._fill(body, status, status_text, pairs, web_socket)
        return response

    def _check(self, body: Any) -> None:
        if self.webSocket is not None:
            if self.status != 101:
                raise range_error("Responses with a WebSocket must have status code 101.")
        elif not 200 <= self.status <= 599:
            raise range_error("Responses may only be constructed with status codes in the range 200 to 599, inclusive.")
        if self._status_text and any(character < " " or character == "\x7f" for character in self._status_text):
            raise type_error("Invalid statusText")
        # Upstream lets an empty string or buffer pass, and sends nothing.
        if self.status in NULL_BODY_STATUSES and body is not None and body != "" and body != b"":
            raise type_error("Response with null body status (101, 204, 205, or 304) cannot have a body.")

    def _set_body(self, body: Any) -> None:
        self._body, content_type = extract_body(body)
        if self.status in NULL_BODY_STATUSES:
            self._body = None
        if content_type is not None and first(self._pairs, "content-type") is None:
            self._pairs.append(("content-type", content_type))

    @staticmethod
    def from_value(value: ResponseValue, capabilities: list[Any]) -> Response:
        response = Response.__new__(Response)
        response.status = value.status
        response._status_text = value.status_text
        response._pairs = value.headers
        response._body = body_from_field(value.body, capabilities)
        response._used = False
        response.url = value.url
        response.redirected = value.redirected
        response.type = "default"
        response.webSocket = None
        return response

    def _copy(self, body: Content) -> Response:
        twin = Response.__new__(Response)
        twin.status, twin._status_text = self.status, self._status_text
        twin._pairs = list(self._pairs)
        twin._body, twin._used = body, False
        twin.url, twin.redirected, twin.type = self.url, self.redirected, self.type
        twin.webSocket = self.webSocket
        return twin

    def clone(self) -> Response:
        return self._copy(self.split())

    def with_body(self, body: Any) -> Response:
        """The same status and headers around another body."""
        twin = self._copy(None)
        twin._check(body)
        twin._set_body(body)
        return twin

    @property
    def statusText(self) -> str:
        if not self._status_text:
            from http import HTTPStatus

            try:
                return HTTPStatus(self.status).phrase
            except ValueError:
                return ""
        return self._status_text

    @property
    def ok(self) -> bool:
        return 200 <= self.status <= 299

    @staticmethod
    def redirect(url: Any, status: int = 302) -> Response:
        if status not in REDIRECT_STATUSES:
            raise range_error(f"{status} is not a redirect status code. It must be one of: 301, 302, 303, 307, or 308.")
        try:
            location = parse(js_string(url)).href
        except TypeError:
            raise type_error(f"Unable to parse URL: {js_string(url)}") from None
        return Response(None, status=status, headers={"location": location})

    @staticmethod
    def error() -> Response:
        response = Response(None)
        response.status, response.type = 0, "error"
        return response

    def _tenantry_value(self, capabilities: list[Any]) -> ResponseValue:
        return ResponseValue(
            self.status, self._pairs, self._field(capabilities), self._status_text, self.url, self.redirected
        )


class _Json:
    """`Response.json(data)` makes a response; `response.json()` reads one."""

    def __get__(self, response: Response | None, owner: type[Response]) -> Any:
        if response is not None:
            return Body.json.__get__(response)
        return owner_json


def owner_json(data: Any, options: dict[str, Any] | None = None, **keywords: Any) -> Response:
    from workers._convert import plain

    init = init_options(options, keywords)
    text = json.dumps(plain(data), separators=(",", ":"), ensure_ascii=False)
    pairs = pairs_of(init.get("headers"))
    if first(pairs, "content-type") is None:
        pairs.append(("content-type", "application/json"))
    return Response(text, {**init, "headers": pairs})


Response.json = _Json()  # type: ignore[assignment,method-assign]  # one name, two meanings: see _Json
