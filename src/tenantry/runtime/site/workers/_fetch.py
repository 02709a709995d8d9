"""`fetch()`, and the wrapper of everything that has one: service bindings, Workers of a dispatch namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from tenantry.runtime.invocation import current
from tenantry.runtime.streams import ReadableStream
from tenantry.wire.events import InvocationKind
from workers._errors import JsException, type_error
from workers._request import Request
from workers._response import Response
from workers._web.body import Content
from workers._web.headers import first
from workers._web.request import Request as RawRequest
from workers._web.response import REDIRECT_STATUSES
from workers._web.response import Response as RawResponse
from workers.rpc import method_of, stub_value

if TYPE_CHECKING:
    from tenantry.runtime.stub import Stub

__all__ = ["Fetcher", "fetch", "raw_fetch"]

REDIRECTS_MAX: Final = 20
_SCHEMES: Final = ("https://", "http://")
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "host", "proxy-authorization"})


async def fetch(resource: Any, **options: Any) -> Response:
    """Request a URL. Raises OSError when the network, or the policy of the platform, refuses it."""
    raw = _raw_request(resource, options)
    fetcher = raw.fetcher
    if fetcher is not None:
        response: Response = await fetcher.fetch(Request._wrap(raw))
        return response
    try:
        return Response._wrap(await raw_fetch(raw))
    except JsException as error:
        if isinstance(error, TypeError):
            raise
        raise OSError(error.message) from error


def _raw_request(resource: Any, options: dict[str, Any]) -> RawRequest:
    if isinstance(resource, RawRequest) and not options:
        return resource
    if isinstance(resource, RawRequest):
        resource = Request._wrap(resource)
    if isinstance(resource, Request) and not options:
        return resource.js_object
    return Request(resource, **options).js_object


async def raw_fetch(request: RawRequest) -> RawResponse:
    """Through the host. A redirect is a request anew: the platform's policy holds for each of them."""
    if not request.url.startswith(_SCHEMES):
        raise type_error(f"Fetch API cannot load: {request.url}")
    return await _follow(current().fetch_stub, request)


async def _follow(stub: Stub, request: RawRequest) -> RawResponse:
    """The answer to a request, and to those that its answers redirect to if it says so."""
    redirected = False
    for _ in range(REDIRECTS_MAX + 1):
        follows = request.redirect == "follow"
        kept: Content = request._body if follows and not request.bodyUsed else None
        response = _response(await stub.call(InvocationKind.FETCH, "fetch", [request]))
        location = first(response.pairs, "location") if response.status in REDIRECT_STATUSES else None
        if location is None or not follows:
            response.url = response.url or request.url
            response.redirected = response.redirected or redirected
            return response
        if isinstance(response._body, ReadableStream):
            await response._body.cancel()  # or it would hold its connection until the invocation is over
        request = _redirected(request, response.status, location, kept)
        redirected = True
    raise type_error("Too many redirects.")


def _response(value: Any) -> RawResponse:
    raw = getattr(value, "js_object", value)
    if not isinstance(raw, RawResponse):
        raise type_error("Incorrect type for Promise: the Promise did not resolve to 'Response'.")
    return raw


class Fetcher:
    """Another Worker: `fetch()` as the SDK's, any other attribute a method of its entrypoint."""

    __slots__ = ("_stub",)  # no public name but fetch: all others are the other Worker's

    def __init__(self, stub: Stub) -> None:
        self._stub = stub

    async def fetch(self, resource: Any, init: Any = None, **options: Any) -> Any:
        """A request in, a response out. A raw request gets a raw response; everything else gets the SDK's."""
        if init is not None:
            options = {**init, **options}
        is_raw = isinstance(resource, RawRequest)
        response = await _follow(self._stub, _raw_request(resource, options))
        return response if is_raw else Response._wrap(response)

    def __getattr__(self, name: str) -> Any:
        return method_of(self._stub, name)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def to_py(self, **_options: Any) -> Fetcher:
        return self

    def __repr__(self) -> str:
        return "[object Fetcher]"

    def _tenantry_value(self, capabilities: list[Any]) -> Any:
        return stub_value(self._stub, capabilities)


def _redirected(request: RawRequest, status: int, location: str, body: Content) -> RawRequest:
    """The request that a redirect asks for (Fetch standard, HTTP-redirect fetch)."""
    to_get = (status == 303 and request.method not in ("GET", "HEAD")) or (
        status in (301, 302) and request.method == "POST"
    )
    pairs = request.pairs
    if to_get:
        body = None
        pairs = [pair for pair in pairs if pair[0] not in ("content-type", "content-length", "content-encoding")]
    elif isinstance(body, ReadableStream):
        raise type_error(
            "A request with a one-time-use body (it was initialized from a stream) encountered a redirect."
        )
    url = urljoin(request.url, location)
    if not url.lower().startswith(_SCHEMES):
        raise JsException("Error", f"A redirect leads to a URL that is neither http nor https: {url[:200]}")
    target = RawRequest(url, method="GET" if to_get else request.method, redirect="follow", cf=request.cf)
    if urlsplit(target.url)[:2] != urlsplit(request.url)[:2]:
        # What was meant for one site is not told to another that it points to.
        pairs = [pair for pair in pairs if pair[0].lower() not in _CREDENTIALS]
    target._pairs = list(pairs)
    target._body = body
    return target
