"""The ASGI application on the S3 port: who asks, whether they may, and then the operation.

The order of the checks: the request's form, its signature, whether there is such an operation, whether the key is for
the bucket, whether it has the right, whether the bucket exists. So a stranger learns nothing, and a key for one
bucket the same of all others, those that exist and those that do not: AccessDenied.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import structlog

from tenantry.errors import BindingError
from tenantry.s3.answer import Answer, Send, error_answer, send_answer
from tenantry.s3.call import Call
from tenantry.s3.chunked import ChunkSigner
from tenantry.s3.cors import cors_headers, preflight_headers
from tenantry.s3.directory import Credential, Directory
from tenantry.s3.errors import S3Error, error, from_binding
from tenantry.s3.limits import DRAIN_BYTES_MAX
from tenantry.s3.metadata import refuse_unsupported
from tenantry.s3.operations import Operation, operation_of
from tenantry.s3.payload import Payload, Receive, drop, payload_hash
from tenantry.s3.request import S3Request, read_request
from tenantry.s3.sigv4 import check_time, claim_untrusted, verify
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.service import BucketRules
from tenantry.services.r2.settings import BucketSettings

__all__ = ["DOMAINS_DEFAULT", "S3Endpoint"]

_log = structlog.get_logger()

DOMAINS_DEFAULT: Final = ("s3.localhost", "localhost")
"""Hosts in front of which a bucket may stand (`bucket.localhost`); more specific ones first."""

_UNKNOWN_SECRET: Final = "0" * 64

# An ASGI scope is a dict of whatever its type says.
Scope = MutableMapping[str, Any]
Now = Callable[[], datetime]


class S3Endpoint:
    """`open_bucket` gives the rules of a bucket of the directory's account, by its name."""

    def __init__(
        self,
        directory: Directory,
        open_bucket: Callable[[str], BucketRules],
        *,
        domains: Sequence[str] = DOMAINS_DEFAULT,
        now: Now = lambda: datetime.now(UTC),
    ) -> None:
        self._directory = directory
        self._open_bucket = open_bucket
        self._domains = tuple(domains)
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        reference = uuid4().hex
        request: S3Request | None = None
        exchange: _Exchange | None = None
        try:
            request = read_request(scope, self._domains)
            if request.method == "OPTIONS":
                answer = await self._preflight(request)
            else:
                exchange = _Exchange(request, receive)
                answer = await self._answer(exchange)
        except (S3Error, BindingError, BucketGone) as failure:
            answer = error_answer(_error_of(failure))
        except Exception:  # noqa: BLE001 - the edge: it is logged, and the client gets its number
            _log.exception("an S3 request could not be served", reference=reference)
            answer = error_answer(error("InternalError"))
        answer.headers["x-amz-request-id"] = reference
        try:
            if exchange is not None:
                await exchange.drain()
            if request is not None and (origin := request.header("origin")) is not None:
                answer.headers |= await self._cors(request, origin)
            await send_answer(answer, scope["method"], receive, send)
        finally:
            if not isinstance(answer.body, bytes):
                await answer.body.aclose()

    async def _answer(self, exchange: _Exchange) -> Answer:
        request = exchange.request
        credential = await self._authenticate(exchange)
        operation = operation_of(request)
        payload = exchange.payload(checksums=operation.checksums_body)
        call = Call(request, payload, credential, self._directory, self._open_bucket)
        await self._authorize(call, operation)
        refuse_unsupported(request.headers)
        return await operation.handler(call)

    async def _authenticate(self, exchange: _Exchange) -> Credential:
        """Whose request it is. Raises S3Error."""
        request = exchange.request
        claim = claim_untrusted(request.signed)
        check_time(claim, self._now())
        hashed = payload_hash(request, claim)
        credential = await self._directory.credential(claim.access_key_id)
        # An unknown key costs what a known one costs, so that time does not tell which ones there are.
        secret = _UNKNOWN_SECRET if credential is None else credential.secret_access_key
        try:
            key = verify(claim, request.signed, secret, hashed)
        except S3Error:
            if credential is None:
                raise error("Unauthorized") from None
            raise
        if credential is None:
            raise error("Unauthorized")
        exchange.hashed = hashed
        exchange.signer = ChunkSigner(key, claim.time, claim.scope, claim.signature)
        return credential

    async def _authorize(self, call: Call, operation: Operation) -> None:
        """Raises S3Error."""
        credential, bucket = call.credential, call.request.bucket
        if credential.bucket is not None and bucket != credential.bucket:
            raise error("AccessDenied")
        if not credential.permission.allows(write=operation.write, admin=operation.admin):
            raise error("AccessDenied")
        if not operation.needs_bucket:
            return
        if operation.creates_bucket and call.header("cf-create-bucket-if-missing") == "true":
            if await self._directory.bucket(bucket) is None:
                if credential.bucket is not None or not credential.permission.allows(write=True, admin=True):
                    raise error("AccessDenied")
                await self._directory.create_bucket(bucket)
            return
        await call.check_bucket(bucket)

    async def _preflight(self, request: S3Request) -> Answer:
        """Browsers ask it without a signature. Raises S3Error."""
        origin, method = request.header("origin"), request.header("access-control-request-method")
        if origin is None or method is None:
            raise error("BadRequest", "Insufficient information. Origin request header needed.")
        wanted = request.header("access-control-request-headers") or ""
        settings = await self._settings_of(request)
        headers = None if settings is None else preflight_headers(settings.cors, origin, method, wanted)
        if headers is None:
            raise error("AccessDenied", "CORSResponse: This CORS request is not allowed.")
        return Answer(200, headers)

    async def _cors(self, request: S3Request, origin: str) -> dict[str, str]:
        if request.method == "OPTIONS":
            return {}
        settings = await self._settings_of(request)
        return {} if settings is None else cors_headers(settings.cors, origin, request.method)

    async def _settings_of(self, request: S3Request) -> BucketSettings | None:
        if not request.bucket or await self._directory.bucket(request.bucket) is None:
            return None
        return await self._open_bucket(request.bucket).settings()


def _error_of(failure: S3Error | BindingError | BucketGone) -> S3Error:
    if isinstance(failure, S3Error):
        return failure
    return from_binding(failure) if isinstance(failure, BindingError) else error("NoSuchBucket")


class _Exchange:
    """A request and its body, which is there to be read once it is known who sends it."""

    def __init__(self, request: S3Request, receive: Receive) -> None:
        self.request = request
        self.hashed = ""
        self.signer: ChunkSigner | None = None
        self._receive = receive
        self._payload: Payload | None = None

    def payload(self, *, checksums: bool) -> Payload:
        """Raises S3Error."""
        assert self.signer is not None
        self._payload = Payload(self._receive, self.request, self.hashed, self.signer, checksums=checksums)
        return self._payload

    async def drain(self) -> None:
        """So that a client which is still sending a little reads the answer rather than a reset."""
        length = self.request.length
        if self._payload is not None:
            await self._payload.drain(DRAIN_BYTES_MAX)
        elif length is not None and 0 < length <= DRAIN_BYTES_MAX:
            await drop(self._receive)
