"""Request bodies: read with a bound, and as JSON whatever their content type says (wrangler sends text/plain)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeVar

import msgspec
from litestar import Request

from tenantry.control import limits
from tenantry.control.bundles import BundleStore
from tenantry.control.errors import Invalid, TooLarge
from tenantry.control.threads import Threads
from tenantry.control.upload import (
    Files,
    Upload,
    UploadParser,
    form_part_untrusted,
    multipart_boundary_untrusted,
    parse_json_form_untrusted,
)

__all__ = [
    "ApiRequest",
    "read_body_untrusted",
    "read_json_untrusted",
    "read_settings_untrusted",
    "receive_chunks_untrusted",
    "receive_files_untrusted",
    "receive_upload_untrusted",
]

# Any: user, auth and state of Litestar, none of which is used.
ApiRequest = Request[Any, Any, Any]

T = TypeVar("T")


class Consumer(Protocol):
    """Takes a body, in threads. `close` comes in any case, perhaps while another thread is in `feed`."""

    def feed(self, chunk: bytes) -> None: ...

    def close(self) -> None: ...


C = TypeVar("C", bound=Consumer)


async def read_json_untrusted(
    request: ApiRequest, kind: type[T], code: int, bytes_max: int = limits.JSON_BODY_BYTES_MAX
) -> T:
    """The body as `kind`. Raises Invalid with `code`, or TooLarge with it."""
    return _decode(await read_body_untrusted(request, bytes_max, code), kind, code)


def _decode(body: bytes, kind: type[T], code: int) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Invalid(code, f"the request body is not what it should be: {error}") from error


async def receive_upload_untrusted(request: ApiRequest, bundles: BundleStore, threads: Threads) -> Upload:
    """An upload, its bundle complete and durable. Raises Invalid (10021) or TooLarge (10027)."""
    boundary = multipart_boundary_untrusted(request.headers.get("content-type", ""))
    if boundary is None:
        metadata = parse_json_form_untrusted(await read_body_untrusted(request, limits.METADATA_BYTES_MAX, 10027))
        if metadata.main_module:
            raise Invalid(
                10021, "the upload has no modules: send a multipart form with metadata and the Worker's files"
            )
        return Upload(metadata, "", {})
    return await receive_chunks_untrusted(
        request, threads, lambda: UploadParser(bundles, boundary), UploadParser.finish, limits.UPLOAD_BYTES_MAX
    )


async def receive_chunks_untrusted(
    request: ApiRequest, threads: Threads, make: Callable[[], C], finish: Callable[[C], T], bytes_max: int
) -> T:
    """What a consumer makes of a body that need not fit in memory. `make` and `finish` are called in threads too.

    Raises what they and the consumer do, Invalid (10021), and TooLarge (10027) for more than `bytes_max`.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Invalid(10021, "the upload is compressed; send it as it is, without Content-Encoding")
    _check_length(request, bytes_max, 10027)
    consumer = await threads.run(make)
    received = 0
    try:
        # Chunks are collected, so that a body in tiny pieces does not cost a thread switch for each.
        pending = bytearray()
        async for chunk in _chunks(request):
            received += len(chunk)
            if received > bytes_max:
                raise TooLarge(10027, f"the upload is larger than {bytes_max} bytes")
            pending += chunk
            if len(pending) >= limits.UPLOAD_CHUNK_BYTES:
                await threads.run(consumer.feed, bytes(pending))
                pending.clear()
        await threads.run(consumer.feed, bytes(pending))
        return await threads.run(finish, consumer)
    finally:
        # Not awaited: it must also happen when this task is cancelled.
        threads.start(consumer.close)


async def receive_files_untrusted(request: ApiRequest, bundles: BundleStore, threads: Threads) -> tuple[str, Files]:
    """The form of a call that brings code only: the main module's name, and the files. Raises as the one above."""
    boundary = multipart_boundary_untrusted(request.headers.get("content-type", ""))
    if boundary is None:
        raise Invalid(10021, "the body has to be a multipart form with metadata and the Worker's files")
    main = request.headers.get("cf-worker-main-module-part") or request.headers.get("cf-worker-body-part")
    return await receive_chunks_untrusted(
        request,
        threads,
        lambda: UploadParser(bundles, boundary),
        lambda parser: parser.finish_files(main),
        limits.UPLOAD_BYTES_MAX,
    )


async def read_settings_untrusted(request: ApiRequest, kind: type[T], code: int) -> T:
    """A JSON document that is the part `settings` of a form, or the whole body. Raises as reading JSON does."""
    boundary = multipart_boundary_untrusted(request.headers.get("content-type", ""))
    if boundary is None:
        return await read_json_untrusted(request, kind, code)
    body = await read_body_untrusted(request, limits.METADATA_BYTES_MAX, code)
    return _decode(form_part_untrusted(body, boundary, "settings"), kind, code)


async def _chunks(request: ApiRequest) -> AsyncIterator[bytes]:
    # Not Litestar's own stream: that turns a client that leaves into an internal server error.
    while True:
        event = await request.receive()
        if event["type"] == "http.disconnect":
            raise Invalid(10001, "the request body broke off")
        if event["type"] == "http.request":
            if body := event.get("body", b""):
                yield body
            if not event.get("more_body", False):
                return


async def read_body_untrusted(request: ApiRequest, bytes_max: int, code: int) -> bytes:
    """The whole body. Raises TooLarge with `code`."""
    _check_length(request, bytes_max, code)
    body = bytearray()
    async for chunk in _chunks(request):
        body += chunk
        if len(body) > bytes_max:
            raise TooLarge(code, f"the request body is larger than {bytes_max} bytes")
    return bytes(body)


def _check_length(request: ApiRequest, bytes_max: int, code: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > bytes_max):
        raise TooLarge(code, f"the request body is larger than {bytes_max} bytes")
