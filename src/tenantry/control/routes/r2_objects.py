"""The objects of a bucket over REST, as `wrangler r2 object` and the SDKs use them. Bodies stream both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Response, delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response.streaming import Stream
from litestar.types import ASGIApp, Receive, Scope, Send

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope, ResultInfo, error_envelope
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.routes.account import check_account
from tenantry.control.routes.r2_requests import Buckets, r2_errors, storage_class_untrusted
from tenantry.errors import StreamError
from tenantry.services.r2.conditions import conditions_from_headers
from tenantry.services.r2.limits import DELETE_KEYS_MAX, LIST_LIMIT_MAX, READ_BYTES_MAX
from tenantry.services.r2.model import ObjectRecord, Window
from tenantry.services.r2.options import GetOptions, list_options, put_options, valid_key
from tenantry.services.r2.ranges import WHOLE, range_from_header
from tenantry.services.r2.service import BucketRules
from tenantry.streams import ByteStream

__all__ = ["r2_object_routes"]

_METADATA_HEADERS: Final = {
    "contentType": "content-type",
    "contentLanguage": "content-language",
    "contentDisposition": "content-disposition",
    "contentEncoding": "content-encoding",
    "cacheControl": "cache-control",
    "cacheExpiry": "expires",
}
_BOTH_METADATA: Final = ["httpMetadata", "customMetadata"]


class StoredView(msgspec.Struct, frozen=True):
    """`size` is text: Cloudflare's schema says so."""

    key: str
    etag: str
    size: str
    version: str
    uploaded: str
    storage_class: str


class ObjectView(msgspec.Struct, frozen=True):
    key: str
    etag: str
    size: int
    last_modified: str
    http_metadata: dict[str, str]
    custom_metadata: dict[str, str]
    storage_class: str
    ssec: bool


class KeyView(msgspec.Struct, frozen=True):
    key: str


class ObjectsInfo(ResultInfo, frozen=True, omit_defaults=True):
    """Clients go on for as long as there is a cursor, so the last page has none."""

    is_truncated: bool | None = None
    delimited: list[str] | None = None


def r2_object_routes(buckets: Buckets) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/r2/buckets/{bucket_name:str}/objects"
    # One handler for the list and the objects: to a router the keys "" and "/" look the same.
    paths = [path, path + "/{key:path}"]

    @put(paths, name="put_object")
    async def put_object(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[StoredView]:
        check_account(request, account_id)
        bucket = await buckets.open(request, account_id, bucket_name)
        with r2_errors():
            key = _key_untrusted(request)
            options = put_options("put", _put_options_untrusted(request))
            record = await bucket.put(key, _RequestBody(request), options, any_length=True)
        assert record is not None, "a put without conditions"
        return Envelope(
            StoredView(
                record.key,
                record.etag,
                str(record.size),
                record.version,
                _iso(record.uploaded_ms),
                record.metadata.storage_class,
            )
        )

    @get(paths, name="get_object")
    async def get_object(
        request: ApiRequest,
        account_id: FromPath[str],
        bucket_name: FromPath[str],
        prefix: FromQuery[str] = "",
        delimiter: FromQuery[str] = "",
        cursor: FromQuery[str] = "",
        start_after: FromQuery[str] = "",
        per_page: FromQuery[int] = LIST_LIMIT_MAX,
    ) -> Response[Any]:  # Any: an envelope or bytes
        check_account(request, account_id)
        bucket = await buckets.open(request, account_id, bucket_name)
        with r2_errors():
            if not _raw_key(request):
                return await _page(bucket, prefix, delimiter, cursor, start_after, per_page)
            key = _key_untrusted(request)
            if request.headers.get("cf-metadata-only") == "true":
                record = await bucket.head(key)
                if record is None:
                    raise NotFound(10007, "The specified key does not exist.")
                return Response(Envelope(_view(record)))
            return await _answer(request, bucket, key)

    @delete(paths, name="delete_object", status_code=200)
    async def delete_object(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[KeyView] | Envelope[list[KeyView]]:
        check_account(request, account_id)
        bucket = await buckets.open(request, account_id, bucket_name)
        with r2_errors():
            if not _raw_key(request):
                keys = [valid_key("delete", key) for key in await _keys_untrusted(request)]
                await bucket.delete(keys)
                return Envelope([KeyView(key) for key in keys])
            key = _key_untrusted(request)
            await bucket.delete([key])
        return Envelope(KeyView(key))

    return [put_object, get_object, delete_object]


async def _page(
    bucket: BucketRules, prefix: str, delimiter: str, cursor: str, start_after: str, per_page: int
) -> Response[Any]:
    wanted: dict[str, Any] = {
        "prefix": prefix,
        "delimiter": delimiter,
        "limit": min(max(per_page, 1), LIST_LIMIT_MAX),
        "include": _BOTH_METADATA,
        "cursor": cursor or None,
        "startAfter": start_after or None,
    }
    page = await bucket.list(list_options(wanted))
    info = ObjectsInfo(
        per_page=wanted["limit"],
        cursor=page.cursor,
        is_truncated=page.cursor is not None,
        delimited=page.prefixes,
    )
    return Response(Envelope([_view(record) for record in page.objects], result_info=info))


async def _answer(request: ApiRequest, bucket: BucketRules, key: str) -> Response[Any]:
    """The object, or part of it, or that a condition does not hold. Raises NotFound (10007)."""
    headers = {name: value for name, value in request.headers.items() if name.startswith("if-")}
    wanted = range_from_header(request.headers["range"]) if "range" in request.headers else WHOLE
    found = await bucket.get(key, GetOptions(conditions_from_headers(headers), wanted))
    if found is None:
        raise NotFound(10007, "The specified key does not exist.")
    record, window, stream = found
    if stream is not None and window is not None:
        return _ObjectResponse(record, window, stream)
    if "if-none-match" in headers or "if-modified-since" in headers:
        return Response(None, status_code=304, headers=_object_headers(record))
    failed = error_envelope(10031, "At least one of the pre-conditions you specified did not hold.")
    return Response(failed, status_code=412, headers={"etag": f'"{record.etag}"'})


def _raw_key(request: ApiRequest) -> bytes:
    """The key as it stands in the path. The router's own view of it has lost double and last slashes."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    _, _, behind = raw.partition(b"/r2/buckets/")
    return behind.partition(b"/objects/")[2]


def _key_untrusted(request: ApiRequest) -> str:
    """Decoded once: `%2F` and `/` reach the same object. Raises BindingError and Invalid (10020)."""
    raw = _raw_key(request)
    if not raw:
        raise Invalid(10020, "The specified object name is not valid.")
    try:
        return valid_key("put", unquote_to_bytes(raw).decode())
    except UnicodeDecodeError:
        raise Invalid(10020, "The specified object name is not valid: it is not UTF-8.") from None


def _put_options_untrusted(request: ApiRequest) -> dict[str, Any]:
    """The request's headers as the options of a put. Raises Invalid."""
    headers = request.headers
    given: dict[str, str] = {
        # What a browser or curl sends as UTF-8 arrives as Latin-1.
        name: _text_of(headers[name])
        for name in _METADATA_HEADERS.values()
        if name in headers
    }
    options: dict[str, Any] = {"httpMetadata": {"headers": given}}
    if "cf-r2-storage-class" in headers:
        options["storageClass"] = storage_class_untrusted(headers["cf-r2-storage-class"])
    if "cf-r2-custom-metadata" in headers:
        try:
            options["customMetadata"] = msgspec.json.decode(
                headers["cf-r2-custom-metadata"].encode("latin-1"), type=dict[str, str]
            )
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Invalid(10029, "cf-r2-custom-metadata is a JSON object of texts") from error
    return options


def _text_of(value: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


async def _keys_untrusted(request: ApiRequest) -> list[str]:
    keys = await read_json_untrusted(request, list[str], 10001, limits.KEYS_BODY_BYTES_MAX)
    if len(keys) > DELETE_KEYS_MAX:
        raise Invalid(10001, f"at most {DELETE_KEYS_MAX} keys can be deleted at once")
    return keys


class _RequestBody:
    """A request's body as a `ByteStream`: as long as it says, or of unknown length where it comes in chunks."""

    def __init__(self, request: ApiRequest) -> None:
        declared = request.headers.get("content-length", "")
        self.length: int | None = None
        if declared.isascii() and declared.isdigit():
            self.length = int(declared[:18])
        elif "transfer-encoding" not in request.headers and request.scope.get("http_version") != "2":
            self.length = 0  # HTTP/1.1 has no third way to have a body
        self._receive = request.receive
        self._pending = memoryview(b"")
        self._more = True

    async def read(self, size_max: int) -> bytes:
        while not self._pending and self._more:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise StreamError("the request body broke off")
            if event["type"] == "http.request":
                self._pending = memoryview(event.get("body", b""))
                self._more = event.get("more_body", False)
        piece = bytes(self._pending[:size_max])
        self._pending = self._pending[size_max:]
        return piece

    async def aclose(self) -> None:
        self._more = False
        self._pending = memoryview(b"")


class _Chunks:
    """A stream as what Litestar sends."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._stream.read(READ_BYTES_MAX)
        if not chunk:
            raise StopAsyncIteration
        return chunk


class _ObjectResponse(Stream):
    """An object's body with its headers. The stream is closed however the answer ends."""

    def __init__(self, record: ObjectRecord, window: Window, stream: ByteStream) -> None:
        headers = {**_object_headers(record), "content-length": str(window.length), "accept-ranges": "bytes"}
        partial = window.length != record.size
        if partial:
            last = window.offset + window.length - 1
            headers["content-range"] = f"bytes {window.offset}-{last}/{record.size}"
        # Not as Litestar's media type, to which it would add a charset.
        headers.setdefault("content-type", "application/octet-stream")
        super().__init__(_Chunks(stream), status_code=206 if partial else 200, headers=headers)
        self._stream = stream

    def to_asgi_response(self, *args: Any, **keywords: Any) -> Any:
        # Any: Litestar's own, twelve parameters that go on as they are.
        answer: ASGIApp = super().to_asgi_response(*args, **keywords)

        async def closing(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await answer(scope, receive, send)
            finally:
                await self._stream.aclose()

        return closing


def _object_headers(record: ObjectRecord) -> dict[str, str]:
    headers = {
        # Litestar encodes headers as Latin-1; a client reads UTF-8.
        _METADATA_HEADERS[name]: text.encode().decode("latin-1")
        for name, text in _http_metadata(record, _http_date).items()
    }
    headers["etag"] = f'"{record.etag}"'
    headers["last-modified"] = _http_date(record.uploaded_ms)
    headers["cf-r2-storage-class"] = record.metadata.storage_class
    # A tenant's page must not be one of the control plane's, should a browser ever show it.
    headers["x-content-type-options"] = "nosniff"
    headers["content-security-policy"] = "default-src 'none'; sandbox"
    return headers


def _view(record: ObjectRecord) -> ObjectView:
    return ObjectView(
        record.key,
        record.etag,
        record.size,
        _iso(record.uploaded_ms),
        _http_metadata(record, _iso),
        dict(record.metadata.custom),
        record.metadata.storage_class,
        record.ssec_key_md5 is not None,
    )


def _http_metadata(record: ObjectRecord, date: Callable[[int], str]) -> dict[str, str]:
    return {name: date(value) if isinstance(value, int) else value for name, value in record.metadata.http.items()}


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _iso(milliseconds: int) -> str:
    return _moment(milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _http_date(milliseconds: int) -> str:
    return format_datetime(_moment(milliseconds), usegmt=True)
