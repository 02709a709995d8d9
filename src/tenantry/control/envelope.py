"""Cloudflare's envelope around every answer, and the one table from errors to statuses and codes."""

from __future__ import annotations

import errno
import math
import secrets
import sqlite3
from typing import Any, Generic, TypeVar

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from sqlalchemy.exc import OperationalError

from tenantry.control.catalog import not_offered
from tenantry.control.errors import (
    ControlError,
    Forbidden,
    Invalid,
    NotFound,
    NotOffered,
    Throttled,
    TooLarge,
    TooLong,
    Unauthenticated,
)
from tenantry.errors import StorageFull

__all__ = ["STATUS", "ApiMessage", "Envelope", "ResultInfo", "error_envelope", "on_error", "status_of"]

_log = structlog.get_logger(__name__)

T = TypeVar("T")

# No 409: Cloudflare's SDK repeats it. No 5xx for what the caller can mend: wrangler repeats those. A
# 501 is no exception: nothing that the caller could change makes it succeed.
STATUS: dict[type[ControlError], int] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    TooLarge: 413,
    TooLong: 414,
    Throttled: 429,
    NotOffered: 501,
}


class ApiMessage(msgspec.Struct, frozen=True):
    """An entry of `errors`. wrangler decides by `code`, the SDK by the HTTP status."""

    code: int
    message: str


class ResultInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where in a list a page stands. Lists by cursor leave the counts out, and the cursor too at the end."""

    page: int | None = None
    per_page: int | None = None
    count: int | None = None
    total_count: int | None = None
    total_pages: int | None = None
    cursor: str | None = None


class Envelope(msgspec.Struct, Generic[T], frozen=True):
    """What every answer is."""

    result: T
    success: bool = True
    errors: tuple[ApiMessage, ...] = ()
    messages: tuple[ApiMessage, ...] = ()
    result_info: ResultInfo | msgspec.UnsetType = msgspec.UNSET


def error_envelope(code: int, message: str) -> Envelope[None]:
    return Envelope(result=None, success=False, errors=(ApiMessage(code, message),))


def status_of(error: ControlError) -> int:
    return STATUS[type(error)]


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[Envelope[None]]:
    """Any exception of a handler or the router as an envelope. What is our bug is logged, and named by an id only."""
    headers: dict[str, str] = {}
    if isinstance(error, ControlError):
        status, code, message = status_of(error), error.code, error.message
        if isinstance(error, Throttled):
            headers["Retry-After"] = str(math.ceil(error.wait_seconds))
    elif isinstance(error, NotFoundException | MethodNotAllowedException) and (
        missing := not_offered(request.url.path)
    ):
        status, code, message = status_of(missing), missing.code, missing.message
    elif isinstance(error, NotFoundException):
        status, code = 404, 7003
        message = f"Could not route to {_path(request)}, perhaps your object identifier is invalid?"
    elif isinstance(error, MethodNotAllowedException):
        status, code, message = 405, 7001, f"Method {request.method} not available for that URI."
        headers["Allow"] = (error.headers or {}).get("allow", "")
    elif isinstance(error, HTTPException) and error.status_code < 500:
        status, code, message = error.status_code, 10001, error.detail
    elif _is_full(error):
        _log.error("control_request_failed", reason="the disk is full", path=request.url.path)
        status, code, message = 507, 10013, "The disk of this platform is full. Nothing was written; try again later."
    else:
        reference = _reference()
        _log.error("control_request_failed", reference=reference, path=request.url.path, exc_info=error)
        status, code = 500, 10013
        message = f"An unknown error has occurred; reference = {reference}"
    return Response(error_envelope(code, message), status_code=status, headers=headers, media_type="application/json")


def _is_full(error: BaseException) -> bool:
    """Whether the disk has no room, for a resource, for the control store or for a bundle."""
    if isinstance(error, OperationalError) and isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorcode == sqlite3.SQLITE_FULL
    return isinstance(error, StorageFull) or (isinstance(error, OSError) and error.errno == errno.ENOSPC)


def _path(request: Request[Any, Any, Any]) -> str:
    path = request.url.path
    return path if len(path) <= 200 else path[:197] + "..."


def _reference() -> str:
    return secrets.token_hex(8)
