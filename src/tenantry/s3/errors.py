"""S3's errors as R2 has them, and the one table from R2's numbers to S3's names and HTTP statuses.

    TenantryError
    └── S3Error     one answer: `code` as S3 names it, `status`, a message for the client

The names and statuses are those of developers.cloudflare.com/r2/api/error-codes; where R2 documents none, S3's.
"""

from __future__ import annotations

from typing import Final

from tenantry.errors import BindingError, StorageError, StorageFull, TenantryError
from tenantry.s3.limits import CLOCK_SKEW_SECONDS_MAX
from tenantry.services.r2.errors import QuotaExceeded, R2Error

__all__ = ["S3Error", "error", "from_binding", "not_implemented"]


class S3Error(TenantryError):
    """What the client is told. Nothing in it is about the host."""

    def __init__(self, name: str, status: int, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.status = status
        self.message = message


_WRONG_SIGNATURE: Final = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your secret access key and signing method."
)
_ERRORS: Final[dict[str, tuple[int, str]]] = {
    "AccessDenied": (403, "Access Denied"),
    "BadDigest": (400, "The checksum you specified did not match what we received."),
    "BadRequest": (400, "The request is not valid."),
    "BucketAlreadyOwnedByYou": (409, "The bucket you tried to create already exists, and you own it."),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty."),
    "ClientDisconnect": (400, "The client disconnected before the request was complete."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed object size."),
    "ExpiredRequest": (400, "Request has expired"),
    "IncompleteBody": (400, "You did not provide the number of bytes specified by the Content-Length HTTP header."),
    "InsufficientStorage": (507, "The disk of this platform is full. Nothing was written; try again later."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket name is not valid."),
    "InvalidDigest": (400, "The Content-MD5 or checksum you specified is not valid."),
    "InvalidObjectName": (400, "The specified object name is not valid."),
    "InvalidPart": (400, "One or more of the specified parts could not be found."),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (400, "The request is not valid."),
    "InvalidURI": (400, "Couldn't parse the specified URI."),
    "MalformedXML": (400, "The XML you provided was not well formed or did not validate against our published schema."),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchLifecycleConfiguration": (404, "The lifecycle configuration does not exist"),
    "NoSuchUpload": (404, "The specified multipart upload does not exist."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold."),
    "QuotaExceeded": (403, "Your proposed upload exceeds the quota."),
    "RequestHeaderSectionTooLarge": (400, "Your request header section exceeds the maximum allowed size."),
    "RequestTimeTooSkewed": (
        403,
        f"The request time is more than {CLOCK_SKEW_SECONDS_MAX // 60} minutes from ours: set the client's clock.",
    ),
    "RequestTimeout": (400, "Your socket connection was not read from or written to within the timeout period."),
    "SignatureDoesNotMatch": (
        403,
        _WRONG_SIGNATURE,
    ),
    "Unauthorized": (401, "Unauthorized"),
    "XAmzContentSHA256Mismatch": (400, "The provided 'x-amz-content-sha256' header does not match what was computed."),
}

_BY_NUMBER: Final = {
    10001: "InternalError",
    10003: "AccessDenied",
    10006: "NoSuchBucket",
    10007: "NoSuchKey",
    10011: "EntityTooSmall",
    10012: "MetadataTooLarge",
    10013: "IncompleteBody",
    10020: "InvalidObjectName",
    10022: "InvalidArgument",
    10024: "NoSuchUpload",
    10025: "InvalidPart",
    10029: "InvalidRequest",
    10031: "PreconditionFailed",
    10037: "BadDigest",
    10039: "InvalidRange",
    10048: "InvalidPart",
    10062: "InvalidArgument",
    100100: "EntityTooLarge",
}
"""R2's number to S3's name."""


def error(name: str, message: str | None = None) -> S3Error:
    """The error of that name, in R2's words if no others are given."""
    status, text = _ERRORS[name]
    return S3Error(name, status, message or text)


def not_implemented(what: str) -> S3Error:
    """501, in R2's words: `what` is an operation, or a header with its value."""
    return S3Error("NotImplemented", 501, f"{what} not implemented")


def from_binding(failure: BindingError) -> S3Error:
    """What R2's rules refused, as S3 says it."""
    if isinstance(failure, StorageFull):
        return error("InsufficientStorage")
    if isinstance(failure, StorageError):
        return error("InternalError")
    if not isinstance(failure, R2Error):  # a TypeError or RangeError: the request has a value of a wrong shape
        return error("InvalidArgument", failure.message)
    if isinstance(failure, QuotaExceeded):
        return error("QuotaExceeded", failure.text)
    return error(_BY_NUMBER.get(failure.code, "InvalidRequest"), failure.text)
