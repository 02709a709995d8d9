"""AWS Signature Version 4 for S3: values in, values out. No clock, no store, no sockets.

    canonical request  = method \\n path \\n query \\n headers \\n\\n signed header names \\n payload hash
    string to sign     = "AWS4-HMAC-SHA256" \\n time \\n scope \\n SHA-256(canonical request)
    scope              = date / region / s3 / aws4_request
    signing key        = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, date), region), "s3"), "aws4_request")
    signature          = HMAC(signing key, string to sign)

A signature comes in the header `Authorization`, or in the query of a presigned URL. S3 differs from other services:
the path is encoded once and never normalised, so `a/../b` and `a//b` are keys like any other.

Each chunk of a streamed body has a signature that continues the one before (`chunk_signature`), and trailers one that
ends the row (`trailer_signature`).

Source: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html and the pages below it. Functions
that end in `_untrusted` raise S3Error and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from tenantry.s3.errors import error, not_implemented
from tenantry.s3.limits import (
    ACCESS_KEY_ID_CHARACTERS,
    CLOCK_SKEW_SECONDS_MAX,
    PRESIGN_SECONDS_MAX,
    SIGNED_HEADERS_MAX,
)

__all__ = [
    "EMPTY_SHA256",
    "UNSIGNED_PAYLOAD",
    "Claim",
    "SignedRequest",
    "canonical_path",
    "canonical_query",
    "canonical_request",
    "check_time",
    "chunk_signature",
    "claim_untrusted",
    "signature_of",
    "signing_key",
    "split_query",
    "string_to_sign",
    "trailer_signature",
    "verify",
]

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()

_TIME: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SCOPE: Final = re.compile(r"(?P<key>[^/\s]+)/(?P<date>\d{8})/(?P<region>[^/\s]*)/s3/aws4_request", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEADER_NAMES: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+(;[a-z0-9!#$%&'*+.^_`|~-]+)*", re.ASCII)
_FIELD: Final = re.compile(r"\s*(Credential|SignedHeaders|Signature)\s*=\s*([^,\s]*)\s*", re.ASCII)
_EXPIRES: Final = re.compile(r"\d{1,9}", re.ASCII)
_PRESIGN_PARAMETERS: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)
_MEANINGFUL: Final = ("x-amz-", "cf-create-bucket-", "cf-copy-destination-")
_SPACES: Final = re.compile(r"[ \t]+")
_REGIONS: Final = frozenset({"auto", "us-east-1", "", "wnam", "enam", "weur", "eeur", "apac", "oc"})


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What of a request is signed. `path` and `query` are as they came, percent-encoded.

    Header names are in lower case; values are UTF-8 with surrogate escapes, so that any bytes come out as they came in.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a request says it is from, and the signature that is to prove it. Nothing of it is checked but its form."""

    access_key_id: str
    date: str
    region: str
    time: str
    signed_headers: tuple[str, ...]
    signature: str
    expires_seconds: int | None
    """Of a presigned URL; None for a header."""

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/s3/aws4_request"


def split_query(query: str) -> list[tuple[str, str]]:
    """The parameters of a query, decoded, in their order. `a` and `a=` are the same. Raises S3Error."""
    pairs = []
    for field in query.split("&") if query else ():
        if field:
            name, _, value = field.partition("=")
            pairs.append((_decoded(name), _decoded(value)))
    return pairs


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise error("InvalidURI", "The query is not percent-encoded UTF-8.") from None


def _encoded(text: str | bytes, safe: str = "") -> str:
    return quote(text, safe=safe + "~")  # quote() leaves letters, digits and "_.-" as they are


def canonical_query(query: str, *, without: str | None = None) -> str:
    """Encoded anew and sorted by encoded name, then value; every repetition stays."""
    pairs = [(_encoded(name), _encoded(value)) for name, value in split_query(query) if name != without]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def canonical_path(path: str) -> str:
    """Decoded, and encoded in the one right way."""
    return _encoded(unquote_to_bytes(path), safe="/")


def canonical_request(path: str, request: SignedRequest, signed_headers: Sequence[str], payload_hash: str) -> str:
    """The text that is hashed into the string to sign. `path` is that of the request in its canonical form."""
    values: dict[str, list[str]] = {}
    for name, value in request.headers:
        values.setdefault(name, []).append(_SPACES.sub(" ", value.strip(" \t")))
    lines = [f"{name}:{','.join(values.get(name, ()))}\n" for name in signed_headers]
    return "\n".join(
        (
            request.method,
            path,
            canonical_query(request.query, without="X-Amz-Signature"),
            "".join(lines),
            ";".join(signed_headers),
            payload_hash,
        )
    )


def string_to_sign(time: str, scope: str, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{ALGORITHM}\n{time}\n{scope}\n{digest}"


@lru_cache(maxsize=1024)
def signing_key(secret: str, date: str, region: str) -> bytes:
    """The key of a day and region."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature_of(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256").hex()


def chunk_signature(key: bytes, time: str, scope: str, previous: str, chunk_sha256: str) -> str:
    """Of one chunk of `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`; the first follows on the request's own."""
    text = f"{ALGORITHM}-PAYLOAD\n{time}\n{scope}\n{previous}\n{EMPTY_SHA256}\n{chunk_sha256}"
    return signature_of(key, text)


def trailer_signature(key: bytes, time: str, scope: str, previous: str, trailers: bytes) -> str:
    """`trailers` is each as `name:value\\n`, in order."""
    digest = hashlib.sha256(trailers).hexdigest()
    return signature_of(key, f"{ALGORITHM}-TRAILER\n{time}\n{scope}\n{previous}\n{digest}")


def claim_untrusted(request: SignedRequest) -> Claim:
    """The claim of a request, from its header or its query. Raises S3Error, Unauthorized where there is none."""
    authorization = [value for name, value in request.headers if name == "authorization"]
    parameters = split_query(request.query)
    presigned = any(name in _PRESIGN_PARAMETERS for name, _ in parameters)
    if any(name.lower() == "x-amz-security-token" for name, _ in (*request.headers, *parameters)):
        raise not_implemented("A temporary credential (X-Amz-Security-Token) is")
    if presigned and authorization:
        raise error("InvalidArgument", "Only one auth mechanism allowed: the header Authorization, or a presigned URL.")
    if presigned:
        claim = _presigned(parameters)
    elif authorization:
        if len(authorization) > 1:
            raise error("InvalidArgument", "The request has more than one Authorization header.")
        claim = _from_header(authorization[0], request)
    else:
        raise error("Unauthorized")
    _check_form(claim, request)
    return claim


def _from_header(text: str, request: SignedRequest) -> Claim:
    scheme, _, rest = text.strip().partition(" ")
    if scheme != ALGORITHM:
        raise error("InvalidArgument", f"The Authorization header is not {ALGORITHM}: use Signature Version 4.")
    fields: dict[str, str] = {}
    for part in rest.split(","):
        match = _FIELD.fullmatch(part)
        if match is None or match[1] in fields:
            raise error("InvalidArgument", "The Authorization header is malformed.")
        fields[match[1]] = match[2]
    if len(fields) != 3:
        raise error("InvalidArgument", "The Authorization header needs Credential, SignedHeaders and Signature.")
    dates = [value.strip() for name, value in request.headers if name == "x-amz-date"]
    if len(dates) != 1:
        raise error("AccessDenied", "AWS authentication requires one valid X-Amz-Date header")
    return _claim(fields["Credential"], fields["SignedHeaders"], fields["Signature"], dates[0], None)


def _presigned(parameters: Sequence[tuple[str, str]]) -> Claim:
    found: dict[str, str] = {}
    for name, value in parameters:
        if name in _PRESIGN_PARAMETERS:
            if name in found:
                raise error("InvalidArgument", f"{name} is given more than once.")
            found[name] = value
    missing = [name for name in _PRESIGN_PARAMETERS if name not in found]
    if missing:
        raise error("InvalidArgument", f"A presigned URL needs {', '.join(missing)} too.")
    if found["X-Amz-Algorithm"] != ALGORITHM:
        raise error("InvalidArgument", f"X-Amz-Algorithm only supports {ALGORITHM}.")
    expires = found["X-Amz-Expires"]
    if not _EXPIRES.fullmatch(expires) or not 1 <= int(expires) <= PRESIGN_SECONDS_MAX:
        raise error("InvalidArgument", f"X-Amz-Expires must be between 1 and {PRESIGN_SECONDS_MAX} seconds.")
    return _claim(
        found["X-Amz-Credential"],
        found["X-Amz-SignedHeaders"],
        found["X-Amz-Signature"],
        found["X-Amz-Date"],
        int(expires),
    )


def _claim(credential: str, signed_headers: str, signature: str, time: str, expires_seconds: int | None) -> Claim:
    scope = _SCOPE.fullmatch(credential)
    if scope is None:
        raise error("InvalidArgument", "The Credential is not <access key>/<date>/<region>/s3/aws4_request.")
    if len(scope["key"]) != ACCESS_KEY_ID_CHARACTERS:
        raise error(
            "InvalidArgument",
            f"Credential access key has length {len(scope['key'])}, should be {ACCESS_KEY_ID_CHARACTERS}",
        )
    if scope["region"] not in _REGIONS:
        raise error("InvalidArgument", f"The region {scope['region'][:32]!a} is not valid: use auto or us-east-1.")
    if not _TIME.fullmatch(time):
        raise error("InvalidArgument", "X-Amz-Date must be in the ISO 8601 form yyyyMMddTHHmmssZ.")
    if time[:8] != scope["date"]:
        raise error("InvalidArgument", "The date of the Credential is not that of X-Amz-Date.")
    if not _HEADER_NAMES.fullmatch(signed_headers):
        raise error("InvalidArgument", "SignedHeaders is not a list of header names in lower case.")
    if not _SIGNATURE.fullmatch(signature):
        raise error("SignatureDoesNotMatch")
    names = tuple(signed_headers.split(";"))
    return Claim(scope["key"], scope["date"], scope["region"], time, names, signature, expires_seconds)


def _check_form(claim: Claim, request: SignedRequest) -> None:
    """What must be signed is signed: `host`, and every header that S3 reads a meaning into."""
    signed = set(claim.signed_headers)
    if len(claim.signed_headers) > SIGNED_HEADERS_MAX or len(signed) != len(claim.signed_headers):
        raise error("InvalidArgument", "SignedHeaders names a header twice, or too many.")
    present = {name for name, _ in request.headers}
    needed = {name for name in present if name.startswith(_MEANINGFUL)} | {"host"}
    # A presigned URL says nothing of its payload: this header is then a remark.
    needed.discard("x-amz-content-sha256" if claim.expires_seconds is not None else "")
    if not needed <= signed:
        raise error("AccessDenied", "There were headers present in the request which were not signed")


def check_time(claim: Claim, now: datetime) -> None:
    """Raises S3Error for a signature from another time. `now` is aware."""
    try:
        signed_at = datetime.strptime(claim.time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise error("InvalidArgument", "X-Amz-Date is not a date.") from None
    age = (now - signed_at).total_seconds()
    if age < -CLOCK_SKEW_SECONDS_MAX or (claim.expires_seconds is None and age > CLOCK_SKEW_SECONDS_MAX):
        raise error("RequestTimeTooSkewed")
    if claim.expires_seconds is not None and age > claim.expires_seconds:
        raise error("ExpiredRequest")


def verify(claim: Claim, request: SignedRequest, secret: str, payload_hash: str) -> bytes:
    """The signing key, for the chunks of the body, if the signature is right. Raises S3Error if it is not."""
    key = signing_key(secret, claim.date, claim.region)
    # A client that encodes its paths in its own way (`%2F`) signs what it sends. Both forms name the same key.
    for path in {canonical_path(request.path): None, request.path: None}:
        canonical = canonical_request(path, request, claim.signed_headers, payload_hash)
        expected = signature_of(key, string_to_sign(claim.time, claim.scope, canonical))
        if hmac.compare_digest(expected, claim.signature):
            return key
    raise error("SignatureDoesNotMatch")
