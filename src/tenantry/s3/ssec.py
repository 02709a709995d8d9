"""SSE-C: the customer's own key, in three headers. What becomes of it is R2's rules' to say."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from tenantry.s3.errors import error
from tenantry.services.r2.limits import SSEC_KEY_BYTES
from tenantry.services.r2.model import Encryption

__all__ = ["ssec_headers", "ssec_key_of"]

_NAME: Final = "server-side-encryption-customer-"


def ssec_key_of(headers: Mapping[str, str], prefix: str = "x-amz-") -> bytes | None:
    """The key, 32 bytes, or None. Raises S3Error. `prefix` is that of the object's own, or of a copy's source."""
    algorithm, key, digest = (headers.get(f"{prefix}{_NAME}{part}") for part in ("algorithm", "key", "key-md5"))
    if algorithm is None and key is None and digest is None:
        return None
    if algorithm != "AES256":
        raise error("InvalidArgument", "Requests specifying Server Side Encryption must name the algorithm AES256.")
    if key is None or digest is None:
        raise error("InvalidArgument", "The customer's key and its MD5 must be given with the algorithm.")
    value, given = _decoded(key), _decoded(digest)
    if len(value) != SSEC_KEY_BYTES:
        raise error("InvalidArgument", "The secret key was invalid for the specified algorithm.")
    if not hmac.compare_digest(hashlib.md5(value, usedforsecurity=False).digest(), given):
        raise error("InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided.")
    return value


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def ssec_headers(encryption: Encryption | None) -> dict[str, str]:
    if encryption is None:
        return {}
    return {
        f"x-amz-{_NAME}algorithm": "AES256",
        f"x-amz-{_NAME}key-md5": base64.b64encode(encryption.key_md5).decode(),
    }
