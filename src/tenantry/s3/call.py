"""One request on its way to its handler: who asks, for what, and what it may reach."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tenantry.errors import BindingError, StreamError
from tenantry.s3.directory import Credential, Directory
from tenantry.s3.errors import S3Error, error, from_binding, not_implemented
from tenantry.s3.limits import XML_INLINE_BYTES_MAX
from tenantry.s3.payload import Payload, read_whole
from tenantry.s3.request import S3Request
from tenantry.s3.xml import Element, parse_untrusted
from tenantry.services.r2.options import valid_key
from tenantry.services.r2.service import BucketRules

__all__ = ["Call"]


@dataclass(frozen=True, slots=True)
class Call:
    """`open_bucket` gives the rules of a bucket, whether it exists or not."""

    request: S3Request
    payload: Payload
    credential: Credential
    directory: Directory
    open_bucket: Callable[[str], BucketRules]

    @property
    def bucket(self) -> BucketRules:
        """The bucket of the request, which exists and may be reached."""
        return self.open_bucket(self.request.bucket)

    @property
    def key(self) -> str:
        """The key of the request, within R2's limits. Raises BindingError."""
        return valid_key("s3", self.request.key)

    async def other_bucket(self, name: str) -> BucketRules:
        """Another bucket to read from. Raises S3Error: for a key of one bucket the others are neither there nor not."""
        await self.check_bucket(name)
        return self.open_bucket(name)

    async def check_bucket(self, name: str) -> None:
        """Raises S3Error unless the bucket exists and the key is for it."""
        if self.credential.bucket not in (None, name):
            raise error("AccessDenied")
        if await self.directory.bucket(name) is None:
            raise error("NoSuchBucket")

    def parameter(self, name: str) -> str | None:
        return self.request.parameters.get(name)

    def header(self, name: str) -> str | None:
        return self.request.headers.get(name)

    async def xml(self, root: str, bytes_max: int) -> Element:
        """The body as a document. Raises S3Error."""
        body = await read_whole(self.payload, bytes_max)
        if len(body) <= XML_INLINE_BYTES_MAX:
            return parse_untrusted(body, root)
        return await asyncio.to_thread(parse_untrusted, body, root)

    def failure_of(self, failure: BindingError | StreamError) -> S3Error:
        """What the client is told when R2's rules refuse or the body broke off: first what is wrong with the body."""
        if self.payload.failure is not None:
            return self.payload.failure
        return from_binding(failure) if isinstance(failure, BindingError) else error("IncompleteBody")

    def refuse_version(self) -> None:
        """R2 has no versions. Raises S3Error where one is asked for."""
        if self.parameter("versionId") not in (None, "null"):
            raise self.not_implemented_version()

    @staticmethod
    def not_implemented_version() -> S3Error:
        return not_implemented("Search parameter versionId")

    def not_implemented_header(self, name: str) -> S3Error:
        return not_implemented(f"Header '{name}' with value '{(self.header(name) or '')[:128]}'")
