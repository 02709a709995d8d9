"""`workers.Response`: Python's view of a response."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from tenantry.runtime.streams import ReadableStream
from workers._errors import HttpStatusError, JsException
from workers._forms import Blob, FormData, read_form
from workers._web.body import is_body
from workers._web.buffers import ArrayBuffer
from workers._web.headers import first, http_message, sdk_pairs_of
from workers._web.response import REDIRECT_STATUSES
from workers._web.response import Response as RawResponse
from workers.rpc import JsArray, JsObject

if TYPE_CHECKING:
    from http import HTTPStatus
    from http.client import HTTPMessage

__all__ = ["FetchResponse", "Response"]


class FetchResponse:
    """What Response has of pyodide's FetchResponse. `js_response` is the same response with JavaScript's names."""

    __slots__ = ("__weakref__", "js_response")
    js_response: RawResponse

    @classmethod
    def _wrap(cls, raw: RawResponse) -> Self:
        response = cls.__new__(cls)
        response.js_response = raw
        return response

    @property
    def js_object(self) -> RawResponse:
        return self.js_response

    @property
    def url(self) -> str:
        return self.js_response.url

    @property
    def status(self) -> int:
        return self.js_response.status

    @property
    def status_text(self) -> str:
        return self.js_response.statusText

    @property
    def ok(self) -> bool:
        return self.js_response.ok

    @property
    def redirected(self) -> bool:
        return self.js_response.redirected

    @property
    def type(self) -> str:
        return self.js_response.type

    @property
    def body_used(self) -> bool:
        return self.js_response.bodyUsed

    @property
    def body(self) -> ReadableStream | None:
        return self.js_response.body

    @property
    def headers(self) -> HTTPMessage:
        """A new HTTPMessage; changing it does not change the response."""
        return http_message(self.js_response.pairs)

    def _unused(self) -> RawResponse:
        if self.js_response.bodyUsed:
            raise OSError("Body already used")
        return self.js_response

    async def buffer(self) -> ArrayBuffer:
        return await self._unused().arrayBuffer()

    async def bytes(self) -> bytes:
        return await self._unused().bytes()

    async def memoryview(self) -> memoryview:
        return memoryview(await self._unused().bytes())

    async def text(self) -> str:
        return await self._unused().text()

    async def string(self) -> str:
        return await self.text()

    async def json(self, **options: Any) -> Any:
        return json.loads(await self._unused().text(), **options)

    async def blob(self) -> Blob:
        return Blob._wrap(await self._unused().blob())

    async def form_data(self) -> FormData:
        return await read_form(self._unused())

    async def formData(self) -> FormData:
        return await self.form_data()

    def clone(self) -> Self:
        return self._wrap(self._unused().clone())

    def replace_body(self, body: Any) -> Response:
        """Another body under the same status and headers."""
        _check_body(body)
        return Response._wrap(self.js_response.with_body(body))

    def raise_for_status(self) -> None:
        if 400 <= self.status < 600:
            raise HttpStatusError(self.status, self.status_text, self.url)

    def abort(self, reason: Any = None) -> None:
        """Give the body up."""
        self.js_response._used = True

    def __getattr__(self, name: str) -> Any:
        # JavaScript's names work here too: some bindings return raw responses upstream.
        if name.startswith("_") or name == "js_response":
            raise AttributeError(name)
        try:
            return getattr(self.js_response, name)
        except AttributeError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __repr__(self) -> str:
        raw = self.js_response
        parts = [f"status={raw.status!r}"]
        for name, value in (
            ("status_text", raw.statusText),
            ("content_type", first(raw.pairs, "content-type")),
            ("url", raw.url),
            ("type", raw.type if raw.type != "default" else ""),
        ):
            if value:
                parts.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def _tenantry_value(self, capabilities: list[Any]) -> Any:
        return self.js_response._tenantry_value(capabilities)


def _check_body(body: Any) -> None:
    if not is_body(body):
        raise TypeError(f"Unsupported type in Response: {type(body).__name__}")


class _Json:
    """`Response.json(data)` makes a response; `await response.json()` reads one."""

    def __get__(self, response: Response | None, owner: type[Response]) -> Any:
        return owner.from_json if response is None else FetchResponse.json.__get__(response)


class Response(FetchResponse):
    """An HTTP response."""

    __slots__ = ()

    def __init__(
        self,
        body: Any = None,
        status: HTTPStatus | int | None = None,
        status_text: str = "",
        headers: Any = None,
        web_socket: Any = None,
    ) -> None:
        if isinstance(body, RawResponse):
            if status is not None or status_text or headers is not None or web_socket is not None:
                raise ValueError("Expected no options when constructing Response from a js.Response")
            self.js_response = body
            return
        _check_body(body)
        self.js_response = RawResponse.of(body, status, str(status_text or ""), sdk_pairs_of(headers), web_socket)

    @staticmethod
    def redirect(url: str, status: HTTPStatus | int = 302) -> RawResponse:
        """The raw response, as upstream."""
        if int(status) not in REDIRECT_STATUSES:
            raise ValueError(
                f"{int(status)} is not a redirect status code. It must be one of: 301, 302, 303, 307, or 308."
            )
        try:
            return RawResponse.redirect(url, int(status))
        except JsException as error:
            raise TypeError(error.message) from error

    @staticmethod
    def from_json(data: Any, status: HTTPStatus | int = 200, status_text: str = "", headers: Any = None) -> Response:
        if isinstance(data, (JsObject, JsArray)):
            text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        else:
            text = json.dumps(data)
        pairs = sdk_pairs_of(headers)
        if first(pairs, "content-type") is None:
            pairs.append(("content-type", "application/json"))
        return Response(text, status, status_text, pairs)

    json = _Json()  # one name, two meanings: see _Json
