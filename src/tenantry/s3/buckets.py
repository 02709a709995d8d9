"""Buckets: listed, made, looked for, deleted; and what is the same for all of them."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from tenantry.s3.answer import Answer, xml_answer
from tenantry.s3.call import Call
from tenantry.s3.errors import S3Error, error
from tenantry.s3.limits import BUCKETS_PER_PAGE_MAX, XML_BYTES_MAX
from tenantry.s3.xml import Value

__all__ = [
    "create_bucket",
    "delete_bucket",
    "get_bucket_encryption",
    "get_bucket_location",
    "head_bucket",
    "list_buckets",
]

_REGIONS: Final = frozenset({"", "auto", "us-east-1", "wnam", "enam", "weur", "eeur", "apac", "oc"})


async def list_buckets(call: Call) -> Answer:
    """R2's extension: the parameters of ListObjectsV2, in the query or, taking precedence, in headers."""

    def given(name: str) -> str | None:
        return call.header(f"cf-{name}") or call.parameter(name)

    prefix, start_after, token = given("prefix") or "", given("start-after") or "", given("continuation-token")
    limit = _limit(given("max-keys") or call.parameter("max-buckets"))
    after = start_after if token is None else _name_of(token)
    # One more than asked for says whether there is a next page.
    found = await call.directory.buckets(prefix, after, limit + 1)
    following = _token_of(found[limit - 1].name) if len(found) > limit else None
    owner = call.directory.account_id
    answer = xml_answer(
        "ListAllMyBucketsResult",
        {
            "Buckets": {
                "Bucket": [
                    {
                        "CreationDate": entry.created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                        "Name": entry.name,
                    }
                    for entry in found[:limit]
                ]
            },
            "Owner": {"DisplayName": owner, "ID": owner},
            "Prefix": prefix or None,
            "StartAfter": start_after or None,
            "KeyCount": min(len(found), limit),
            "MaxKeys": limit,
            "IsTruncated": following is not None,
            "ContinuationToken": following,
            "NextContinuationToken": following,
        },
    )
    answer.headers["cf-is-truncated"] = "true" if following is not None else "false"
    if following is not None:
        answer.headers["cf-next-continuation-token"] = following
    return answer


def _limit(text: str | None) -> int:
    if text is None:
        return BUCKETS_PER_PAGE_MAX
    if not text.isdecimal() or not text.isascii() or len(text) > 9 or int(text) < 1:
        raise error("InvalidArgument", "max-keys must be a positive integer")
    return min(int(text), BUCKETS_PER_PAGE_MAX)


def _token_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name_of(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise error("InvalidArgument", "The continuation token provided is incorrect") from None


async def create_bucket(call: Call) -> Answer:
    if call.payload.length != 0:
        root = await call.xml("CreateBucketConfiguration", XML_BYTES_MAX)
        root.only({"LocationConstraint"})
        region = (root.value("LocationConstraint") or "").lower()
        if region not in _REGIONS:
            raise S3Error(
                "InvalidRegionName",
                400,
                f"The region name {region[:32]!a} is not valid. Must be one of: wnam, enam, weur, eeur, apac, oc, auto",
            )
    name = call.request.bucket
    if not await call.directory.create_bucket(name):
        raise error("BucketAlreadyOwnedByYou")
    return Answer(headers={"location": f"/{name}"})


async def head_bucket(call: Call) -> Answer:
    return Answer(headers={"content-type": "application/xml", "x-amz-bucket-region": "auto"})


async def delete_bucket(call: Call) -> Answer:
    if not await call.directory.delete_bucket(call.request.bucket):
        raise error("BucketNotEmpty")
    return Answer(204)


async def get_bucket_location(call: Call) -> Answer:
    return xml_answer("LocationConstraint", "auto")


async def get_bucket_encryption(call: Call) -> Answer:
    """R2's fixed answer."""
    rule: Value = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}
    return xml_answer("ServerSideEncryptionConfiguration", {"Rule": rule})
