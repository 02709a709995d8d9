"""From an ASGI scope to an S3 request: bucket, key, parameters, headers. Everything in is hostile.

The bucket is the first segment of the path (`http://s3.example.com/bucket/key`), or stands in front of one of the
endpoint's own domains (`http://bucket.s3.example.com/key`). The key is all that follows, percent-decoded once and
taken as it is: `..`, `//` and `%2F` have no meaning in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from tenantry.s3.errors import error
from tenantry.s3.limits import HEADER_BYTES_MAX, HEADERS_MAX, QUERY_PARAMETERS_MAX, TARGET_BYTES_MAX
from tenantry.s3.sigv4 import SignedRequest, split_query

__all__ = ["S3Request", "read_request"]

# An ASGI scope is a dict of whatever its type says.
Scope = Mapping[str, Any]

_HOST: Final = re.compile(rb"(?P<name>[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_TARGET: Final = re.compile(rb"/[\x21-\x7e]*")
_QUERY: Final = re.compile(rb"[\x21-\x7e]*")
_DIGITS: Final = re.compile(rb"\d{1,18}")


@dataclass(frozen=True, slots=True)
class S3Request:
    """`bucket` and `key` are empty where the path names none. `length` is None where the client did not say."""

    method: str
    bucket: str
    key: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    length: int | None
    signed: SignedRequest

    def header(self, name: str) -> str | None:
        return self.headers.get(name)


def read_request(scope: Scope, domains: Sequence[str]) -> S3Request:
    """The request without its body. Raises S3Error."""
    path, query = scope["raw_path"] or b"/", scope["query_string"]
    if len(path) + len(query) > TARGET_BYTES_MAX:
        raise error("InvalidURI", "The URI is too long.")
    if not _TARGET.fullmatch(path) or not _QUERY.fullmatch(query):
        raise error("InvalidURI")
    headers = _headers(scope["headers"])
    signed = SignedRequest(scope["method"], path.decode("ascii"), query.decode("ascii"), headers)
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    bucket, key = _address(path, joined["host"], domains)
    return S3Request(
        method=signed.method,
        bucket=bucket,
        key=key,
        parameters=_parameters(signed.query),
        headers=joined,
        length=_length(scope),
        signed=signed,
    )


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    if len(raw) > HEADERS_MAX or sum(len(name) + len(value) + 4 for name, value in raw) > HEADER_BYTES_MAX:
        raise error("RequestHeaderSectionTooLarge")
    hosts = [value for name, value in raw if name.lower() == b"host"]
    # Two of them, and what stands before this server may have gone by the other (RFC 9112, section 3.2).
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise error("BadRequest", "The request needs one Host header, with a host name.")
    return [(name.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape")) for name, value in raw]


def _parameters(query: str) -> dict[str, str]:
    pairs = split_query(query)
    if len(pairs) > QUERY_PARAMETERS_MAX:
        raise error("InvalidArgument", "The query has too many parameters.")
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        # Which of the two counts is a question that a proxy and we could answer differently.
        raise error("InvalidArgument", "A parameter is given more than once.")
    return parameters


def _address(path: bytes, host: str, domains: Sequence[str]) -> tuple[str, str]:
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    name = name.lower()
    rest = path[1:]
    bucket = b""
    for domain in domains:
        if name == domain:
            break
        if name.endswith(f".{domain}"):
            bucket = name.removesuffix(f".{domain}").encode()
            break
    if not bucket:
        bucket, _, rest = rest.partition(b"/")
    try:
        return unquote_to_bytes(bucket).decode(), unquote_to_bytes(rest).decode()
    except UnicodeDecodeError:
        raise error("InvalidURI", "The path is not percent-encoded UTF-8.") from None


def _length(scope: Scope) -> int | None:
    """The length of the body; 0 where there is none."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    if len(lengths) > 1 or (lengths and chunked):
        # What stands before this server may have gone by the other (RFC 9112, section 6.3).
        raise error("BadRequest", "The request says the length of its body twice.")
    if lengths:
        if not _DIGITS.fullmatch(lengths[0]):
            raise error("InvalidArgument", "Content-Length is not a number.")
        return int(lengths[0])
    unsaid = scope["http_version"] not in ("1.0", "1.1") and scope["method"] in ("PUT", "POST")
    return None if chunked or unsaid else 0
