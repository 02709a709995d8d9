"""R2's errors as a Worker reads them: `<action>: <text> (<code>)`, or a TypeError or RangeError in plain words.

The codes are those of developers.cloudflare.com/r2/api/error-codes; the texts are Cloudflare's.
"""

from __future__ import annotations

from typing import Final

from tenantry.errors import BindingError, StorageError, StorageFull
from tenantry.services.quota import QuotaPassed

__all__ = [
    "BucketGone",
    "QuotaExceeded",
    "R2Error",
    "checksum_mismatch",
    "r2_error",
    "range_error",
    "ssec_error",
    "storage_refused",
    "type_error",
]

_TEXTS: Final = {
    10001: "We encountered an internal error. Please try again.",
    10006: "The specified bucket does not exist.",
    10011: "Your proposed upload is smaller than the minimum allowed object size.",
    10012: "Your metadata headers exceed the maximum allowed metadata size.",
    10013: "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    10020: "The specified object name is not valid.",
    10022: "MaxKeys params must be positive integer <= 1000.",
    10024: "The specified multipart upload does not exist.",
    10025: "One or more of the specified parts could not be found.",
    10029: "Metadata missing or invalid",
    10039: "The requested range is not satisfiable",
    10048: "There was a problem with the multipart upload.",
    10062: "The storage class is not valid: use Standard or InfrequentAccess.",
    100100: "Your proposed upload exceeds the maximum allowed object size.",
}


_SSEC: Final = {
    "key missing": (
        (
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to "
            "retrieve the object."
        ),
        10029,
    ),
    "wrong key": ("Access Denied", 10003),
    "not encrypted": ("The encryption parameters are not applicable to this object.", 10029),
    "part key missing": (
        (
            "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate "
            "encryption parameters."
        ),
        10029,
    ),
    "wrong part key": (
        "The provided encryption parameters did not match the ones used originally to encrypt the object.",
        10029,
    ),
    "upload not encrypted": (
        (
            "The multipart upload initiate did not request encryption. Please resend the request without sending "
            "encryption parameters."
        ),
        10029,
    ),
}
"""R2 documents none of these: the texts are S3's, the codes R2's for InvalidArgument and AccessDenied."""


class BucketGone(Exception):
    """The bucket was deleted, or the service closed, while the operation ran. Engines raise it; rules translate it."""


def storage_refused(action: str, error: StorageError) -> StorageError:
    """What an engine could not do, in the words of an operation."""
    if isinstance(error, StorageFull):
        return StorageFull(f"{action}: Insufficient storage: the disk of this platform is full. (10001)")
    return StorageError(f"{action}: {_TEXTS[10001]} (10001)")


class R2Error(BindingError):
    """An error with one of R2's codes. Other edges than a Worker's binding have their own words around `text`."""

    def __init__(self, action: str, text: str, code: int) -> None:
        super().__init__(f"{action}: {text} ({code})")
        self.text = text
        self.code = code


def r2_error(action: str, code: int) -> R2Error:
    """The error of `action` with one of R2's codes."""
    return R2Error(action, _TEXTS[code], code)


class QuotaExceeded(R2Error):
    """More than the bucket or the account may hold. R2 has no quotas, hence no words for them: the code is that of a
    body that is too large."""

    def __init__(self, action: str, passed: QuotaPassed) -> None:
        whose = "bucket" if passed.whose == "resource" else "account"
        what = "bytes" if passed.what == "bytes" else "objects"
        super().__init__(
            action, f"Your proposed upload exceeds the quota: more {what} than the {whose} may hold.", 100100
        )


_LABELS: Final = {
    "md5": "MD5",
    "sha1": "SHA-1",
    "sha256": "SHA-256",
    "sha384": "SHA-384",
    "sha512": "SHA-512",
    "crc32": "CRC32",
    "crc32c": "CRC32C",
    "crc64nvme": "CRC64NVME",
}


def checksum_mismatch(action: str, name: str, given: bytes, actual: bytes) -> R2Error:
    """10037: the body is not what the caller's checksum says."""
    algorithm = _LABELS[name]
    return R2Error(
        action,
        f"The {algorithm} checksum you specified did not match what we received.\n"
        f"You provided a {algorithm} checksum with value: {given.hex()}\n"
        f"Actual {algorithm} was: {actual.hex()}",
        10037,
    )


def ssec_error(action: str, what: str) -> R2Error:
    """A call whose customer key (SSE-C) is not that of the object or upload."""
    text, code = _SSEC[what]
    return R2Error(action, text, code)


def type_error(message: str) -> BindingError:
    """A JavaScript TypeError, which R2 throws for arguments of a wrong shape."""
    return BindingError(message, "TypeError")


def range_error(message: str) -> BindingError:
    """A JavaScript RangeError."""
    return BindingError(message, "RangeError")
