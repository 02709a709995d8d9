"""js.crypto: random values, identifiers and digests. The rest of Web Crypto is not here: Python has libraries."""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import Any, Final

from workers._errors import JsException
from workers._web.buffers import ArrayBuffer, buffer_bytes

__all__ = ["crypto"]

_RANDOM_BYTES_MAX: Final = 65536
_DIGESTS: Final = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512", "MD5": "md5"}


class _Subtle:
    async def digest(self, algorithm: Any, data: Any) -> ArrayBuffer:
        name = algorithm["name"] if isinstance(algorithm, dict) else algorithm
        known = _DIGESTS.get(str(name).upper())
        if known is None:
            raise JsException("NotSupportedError", f'Unrecognized or unimplemented digest algorithm "{name}".')
        return ArrayBuffer(hashlib.new(known, buffer_bytes(data) or b"", usedforsecurity=False).digest())


class _Crypto:
    subtle = _Subtle()

    def randomUUID(self) -> str:
        return str(uuid.uuid4())

    def getRandomValues(self, array: Any) -> Any:
        if len(array) > _RANDOM_BYTES_MAX:
            raise JsException(
                "QuotaExceededError",
                f"getRandomValues() only accepts buffers of size <= 64K but provided {len(array)} bytes.",
            )
        array[:] = os.urandom(len(array))
        return array


crypto = _Crypto()
