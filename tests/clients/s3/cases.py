"""What S3 clients may count on, as data: each case is a row of docs/reference/s3-compatibility.md and a test.

A case gets a client of boto3 with an admin access key, and the name of an empty bucket of its own. A *refused* case is
a call that must be answered with exactly that error.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

PART = 5 * 1024 * 1024
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
CHECKSUMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")


@dataclass(frozen=True)
class Case:
    """`outcome` is "works", or the code and status with which it is refused."""

    operation: str
    feature: str
    outcome: str
    run: Callable[[Any, str], None]

    @property
    def works(self) -> bool:
        return self.outcome == "works"

    @property
    def id(self) -> str:
        return f"{self.operation}-{self.feature}".replace(" ", "_")


CASES: list[Case] = []


def works(operation: str, feature: str) -> Callable[[Callable[[Any, str], None]], None]:
    def add(run: Callable[[Any, str], None]) -> None:
        CASES.append(Case(operation, feature, "works", run))

    return add


def refused(operation: str, feature: str, code: str, status: int, call: Callable[[Any, str], object]) -> None:
    def run(s3: Any, bucket: str) -> None:
        fails(code, status, lambda: call(s3, bucket))

    CASES.append(Case(operation, feature, f"{code} ({status})", run))


def fails(code: str, status: int, call: Callable[[], object]) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    # A HEAD has no body to say the code in.
    assert response["Error"]["Code"] in (code, str(status))
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    return caught.value


def body_of(s3: Any, bucket: str, key: str, **arguments: Any) -> bytes:
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


def customer_key(seed: str) -> dict[str, str]:
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": hashlib.sha256(seed.encode()).digest()}


# Buckets


@works("ListBuckets", "all buckets of the account")
def _(s3: Any, bucket: str) -> None:
    found = s3.list_buckets()
    assert bucket in [entry["Name"] for entry in found["Buckets"]]
    assert len(found["Owner"]["ID"]) == 32


@works("ListBuckets", "prefix, pages and continuation (R2's extension)")
def _(s3: Any, bucket: str) -> None:
    for letter in "abc":
        s3.create_bucket(Bucket=f"{bucket}-{letter}")
    names: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = s3.list_buckets(Prefix=f"{bucket}-", MaxBuckets=2, **token)
        names += [entry["Name"] for entry in page["Buckets"]]
        if "ContinuationToken" not in page:
            break
        token = {"ContinuationToken": page["ContinuationToken"]}
    assert names == [f"{bucket}-a", f"{bucket}-b", f"{bucket}-c"]


@works("CreateBucket", "in the regions auto, us-east-1 and R2's location hints")
def _(s3: Any, bucket: str) -> None:
    for region in ("auto", "weur"):
        name = f"{bucket}-{region}"
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
        s3.head_bucket(Bucket=name)


refused("CreateBucket", "that exists", "BucketAlreadyOwnedByYou", 409, lambda s3, b: s3.create_bucket(Bucket=b))
refused("CreateBucket", "a name with capitals", "InvalidBucketName", 400, lambda s3, b: s3.create_bucket(Bucket="ABC"))
refused(
    "CreateBucket",
    "another region",
    "InvalidRegionName",
    400,
    lambda s3, b: s3.create_bucket(Bucket=f"{b}-x", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-2"}),
)
refused(
    "CreateBucket",
    "x-amz-acl other than private",
    "NotImplemented",
    501,
    lambda s3, b: s3.create_bucket(Bucket=f"{b}-x", ACL="public-read"),
)
refused(
    "CreateBucket",
    "object lock",
    "NotImplemented",
    501,
    lambda s3, b: s3.create_bucket(Bucket=f"{b}-x", ObjectLockEnabledForBucket=True),
)


@works("HeadBucket", "that exists")
def _(s3: Any, bucket: str) -> None:
    assert s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200


refused("HeadBucket", "that does not", "NoSuchBucket", 404, lambda s3, b: s3.head_bucket(Bucket=f"{b}-x"))
refused(
    "HeadBucket",
    "x-amz-expected-bucket-owner",
    "NotImplemented",
    501,
    lambda s3, b: s3.head_bucket(Bucket=b, ExpectedBucketOwner="123456789012"),
)


@works("DeleteBucket", "that is empty; its name is free again")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    fails("NoSuchBucket", 404, lambda: s3.head_bucket(Bucket=bucket))
    s3.create_bucket(Bucket=bucket)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@works("DeleteBucket", "refused while it holds an object (BucketNotEmpty, 409)")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    fails("BucketNotEmpty", 409, lambda: s3.delete_bucket(Bucket=bucket))
    assert body_of(s3, bucket, "k") == b"1"


@works("GetBucketLocation", "auto")
def _(s3: Any, bucket: str) -> None:
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == "auto"


@works("GetBucketEncryption", "AES256, as for every bucket")
def _(s3: Any, bucket: str) -> None:
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


# Settings of buckets

CORS_RULE = {
    "ID": "pages",
    "AllowedOrigins": ["https://app.example.com", "http://localhost:*"],
    "AllowedMethods": ["GET", "PUT"],
    "AllowedHeaders": ["content-type", "x-amz-*"],
    "ExposeHeaders": ["ETag"],
    "MaxAgeSeconds": 3600,
}


@works("PutBucketCors", "read back with GetBucketCors")
def _(s3: Any, bucket: str) -> None:
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [CORS_RULE]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [CORS_RULE]


@works("PutBucketCors", "answers preflights and marks answers")
def _(s3: Any, bucket: str) -> None:
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [CORS_RULE]})
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    asks = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "Content-Type"}
    allowed = httpx.options(url, headers={"Origin": "https://app.example.com", **asks})
    stranger = httpx.options(url, headers={"Origin": "https://evil.example.com", **asks})
    other = httpx.options(url, headers={"Origin": "https://app.example.com", "Access-Control-Request-Method": "DELETE"})
    answer = httpx.put(url, content=b"1", headers={"Origin": "http://localhost:3000"})

    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
    assert allowed.headers["access-control-allow-methods"] == "GET, PUT"
    assert allowed.headers["access-control-allow-headers"] == "content-type"
    assert allowed.headers["access-control-max-age"] == "3600"
    assert (stranger.status_code, other.status_code) == (403, 403)
    assert "access-control-allow-origin" not in stranger.headers
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert answer.headers["access-control-expose-headers"] == "ETag"


@works("DeleteBucketCors", "and GetBucketCors says NoSuchCORSConfiguration (404)")
def _(s3: Any, bucket: str) -> None:
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [CORS_RULE]})
    s3.delete_bucket_cors(Bucket=bucket)
    fails("NoSuchCORSConfiguration", 404, lambda: s3.get_bucket_cors(Bucket=bucket))


refused(
    "PutBucketCors",
    "an origin that is none",
    "InvalidRequest",
    400,
    lambda s3, b: s3.put_bucket_cors(
        Bucket=b, CORSConfiguration={"CORSRules": [{"AllowedOrigins": ["nowhere"], "AllowedMethods": ["GET"]}]}
    ),
)
refused(
    "PutBucketCors",
    "a method that S3 does not have",
    "MalformedXML",
    400,
    lambda s3, b: s3.put_bucket_cors(
        Bucket=b, CORSConfiguration={"CORSRules": [{"AllowedOrigins": ["*"], "AllowedMethods": ["PATCH"]}]}
    ),
)


@works("PutBucketLifecycleConfiguration", "read back with GetBucketLifecycleConfiguration")
def _(s3: Any, bucket: str) -> None:
    rules = [
        {"ID": "old logs", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 30}},
        {
            "ID": "cool",
            "Filter": {"Prefix": ""},
            "Status": "Disabled",
            "Transitions": [{"Days": 60, "StorageClass": "STANDARD_IA"}],
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules


@works("GetBucketLifecycleConfiguration", "a new bucket aborts uploads after 7 days")
def _(s3: Any, bucket: str) -> None:
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [rule["AbortIncompleteMultipartUpload"] for rule in rules] == [{"DaysAfterInitiation": 7}]


@works("DeleteBucketLifecycle", "and GetBucketLifecycleConfiguration says NoSuchLifecycleConfiguration (404)")
def _(s3: Any, bucket: str) -> None:
    s3.delete_bucket_lifecycle(Bucket=bucket)
    fails("NoSuchLifecycleConfiguration", 404, lambda: s3.get_bucket_lifecycle_configuration(Bucket=bucket))


refused(
    "PutBucketLifecycleConfiguration",
    "a filter by tag",
    "MalformedXML",
    400,
    lambda s3, b: s3.put_bucket_lifecycle_configuration(
        Bucket=b,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "t",
                    "Filter": {"Tag": {"Key": "a", "Value": "b"}},
                    "Status": "Enabled",
                    "Expiration": {"Days": 1},
                }
            ]
        },
    ),
)


# Objects


@works("PutObject", "bytes, content headers and metadata, read back by GetObject and HeadObject")
def _(s3: Any, bucket: str) -> None:
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    s3.put_object(
        Bucket=bucket,
        Key="k",
        Body=b"hello",
        ContentType="text/plain; charset=utf-8",
        CacheControl="max-age=60",
        ContentDisposition='attachment; filename="a.txt"',
        ContentEncoding="identity",
        ContentLanguage="de",
        Expires=expires,
        Metadata={"one": "1", "two": "zwei"},
    )
    got, headed = s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"hello"
    for found in (got, headed):
        assert found["ContentLength"] == 5
        assert found["ETag"] == '"5d41402abc4b2a76b9719d911017c592"'
        assert found["ContentType"] == "text/plain; charset=utf-8"
        assert found["CacheControl"] == "max-age=60"
        assert found["ContentDisposition"] == 'attachment; filename="a.txt"'
        assert found["ContentEncoding"] == "identity"
        assert found["ContentLanguage"] == "de"
        assert found["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
        assert found["Metadata"] == {"one": "1", "two": "zwei"}


@works("PutObject", "an empty object")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="empty")
    assert body_of(s3, bucket, "empty") == b""
    assert s3.head_object(Bucket=bucket, Key="empty")["ContentLength"] == 0


@works("PutObject", "keys with any character: spaces, `+`, `%`, `..`, `//`, Unicode, control characters")
def _(s3: Any, bucket: str) -> None:
    keys = ["a b+c%20&=?#.txt", "../../etc/passwd", "a//b///", "/leading", "ünï/日本語/😀", "tab\tnew\nline", "~'()*!"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert [body_of(s3, bucket, key) for key in keys] == [key.encode() for key in keys]
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == sorted(keys, key=str.encode)


@works("PutObject", "metadata in Unicode, as RFC 2047")
def _(s3: Any, bucket: str) -> None:
    encoded = f"=?UTF-8?B?{base64.b64encode('größe'.encode()).decode()}?="
    # It is decoded, and encoded anew: what was sent in one form of RFC 2047 comes back in another.
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"title": "=?utf-8?q?gr=C3=B6=C3=9Fe?="})
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"title": encoded}


@works("PutObject", "`If-None-Match: *` creates, and never replaces")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"first", IfNoneMatch="*")
    fails("PreconditionFailed", 412, lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*"))
    assert body_of(s3, bucket, "k") == b"first"


@works("PutObject", "`If-Match` replaces the version that is meant, and no other")
def _(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)
    fails("PreconditionFailed", 412, lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=etag))
    assert body_of(s3, bucket, "k") == b"2"


@works("PutObject", "the storage class STANDARD_IA")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", StorageClass="STANDARD_IA")
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == "STANDARD_IA"
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == "STANDARD_IA"


for _algorithm in CHECKSUMS:

    @works("PutObject", f"a {_algorithm} checksum: compared, stored, returned")
    def _(s3: Any, bucket: str, algorithm: str = _algorithm) -> None:
        name = f"Checksum{algorithm}"
        made = s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 100_000, ChecksumAlgorithm=algorithm)
        found = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert found[name] == made[name]
        assert found["ChecksumType"] == "FULL_OBJECT"
        # boto3 compares it with what it has read.
        assert body_of(s3, bucket, "k", ChecksumMode="ENABLED") == b"x" * 100_000
        wrong = base64.b64encode(bytes(len(base64.b64decode(made[name])))).decode()
        fails("BadDigest", 400, lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"y", **{name: wrong}))
        assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 100_000


@works("PutObject", "`Content-MD5` compared")
def _(s3: Any, bucket: str) -> None:
    right = base64.b64encode(hashlib.md5(b"1").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", ContentMD5=right)
    fails("BadDigest", 400, lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"2", ContentMD5=right))
    fails("InvalidDigest", 400, lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"2", ContentMD5="bm8="))
    assert body_of(s3, bucket, "k") == b"1"


@works("PutObject", "a key of the customer's (SSE-C), asked for again by GetObject and HeadObject")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret" * 50_000, **customer_key("a"))
    assert body_of(s3, bucket, "k", **customer_key("a")) == b"secret" * 50_000
    assert body_of(s3, bucket, "k", Range="bytes=65530-65541", **customer_key("a")) == (b"secret" * 50_000)[65530:65542]
    assert s3.head_object(Bucket=bucket, Key="k", **customer_key("a"))["SSECustomerAlgorithm"] == "AES256"
    fails("InvalidRequest", 400, lambda: s3.get_object(Bucket=bucket, Key="k"))
    fails("AccessDenied", 403, lambda: s3.get_object(Bucket=bucket, Key="k", **customer_key("b")))


@works("PutObject", "`x-amz-acl: private`, which is what every object is")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", ACL="private")


def _create_if_missing(s3: Any, bucket: str) -> None:
    def add_header(request: Any, **_: object) -> None:
        request.headers["cf-create-bucket-if-missing"] = "true"

    s3.meta.events.register("before-sign.s3.PutObject", add_header)
    try:
        s3.put_object(Bucket=f"{bucket}-made", Key="k", Body=b"1")
    finally:
        s3.meta.events.unregister("before-sign.s3.PutObject", add_header)
    assert body_of(s3, f"{bucket}-made", "k") == b"1"


CASES.append(Case("PutObject", "`cf-create-bucket-if-missing` (R2's extension)", "works", _create_if_missing))

for _feature, _arguments in {
    "tags": {"Tagging": "a=b"},
    "x-amz-acl other than private": {"ACL": "public-read"},
    "grants": {"GrantRead": "id=1"},
    "object lock": {"ObjectLockLegalHoldStatus": "ON"},
    "a KMS key": {"ServerSideEncryption": "aws:kms"},
    "x-amz-website-redirect-location": {"WebsiteRedirectLocation": "/x"},
    "x-amz-request-payer": {"RequestPayer": "requester"},
    "x-amz-expected-bucket-owner": {"ExpectedBucketOwner": "123456789012"},
}.items():
    refused(
        "PutObject",
        _feature,
        "NotImplemented",
        501,
        lambda s3, b, arguments=_arguments: s3.put_object(Bucket=b, Key="k", Body=b"", **arguments),
    )
refused(
    "PutObject",
    "another storage class",
    "InvalidStorageClass",
    400,
    lambda s3, b: s3.put_object(Bucket=b, Key="k", Body=b"", StorageClass="GLACIER"),
)
refused(
    "PutObject",
    "a key of more than 1,024 bytes",
    "InvalidObjectName",
    400,
    lambda s3, b: s3.put_object(Bucket=b, Key="ü" * 513, Body=b""),
)
refused(
    "PutObject",
    "more than 8,192 bytes of metadata",
    "MetadataTooLarge",
    400,
    lambda s3, b: s3.put_object(Bucket=b, Key="k", Body=b"", Metadata={"a": "x" * 8192}),
)
refused(
    "PutObject",
    "into a bucket that is not there",
    "NoSuchBucket",
    404,
    lambda s3, b: s3.put_object(Bucket=f"{b}-x", Key="k", Body=b"1"),
)


@works("GetObject", "one range: from-to, from, last")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    for asked, body, shown in (
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ):
        found = s3.get_object(Bucket=bucket, Key="k", Range=asked)
        assert (found["Body"].read(), found["ContentRange"]) == (body, shown)
        assert found["ResponseMetadata"]["HTTPStatusCode"] == 206
    fails("InvalidRange", 416, lambda: s3.get_object(Bucket=bucket, Key="k", Range="bytes=10-"))


@works("GetObject", "several ranges: answered with the whole")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    found = s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-1,4-5")
    assert (found["Body"].read(), found["ResponseMetadata"]["HTTPStatusCode"]) == (b"0123456789", 200)


@works("GetObject", "conditions: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`")
def _(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    stored = s3.head_object(Bucket=bucket, Key="k")["LastModified"]

    def get(**conditions: Any) -> bytes:
        return body_of(s3, bucket, "k", **conditions)

    for holds in (
        {"IfMatch": etag},
        {"IfNoneMatch": '"other"'},
        {"IfModifiedSince": LONG_AGO},
        {"IfUnmodifiedSince": stored},
        {"IfMatch": etag, "IfUnmodifiedSince": LONG_AGO},
        {"IfNoneMatch": '"other"', "IfModifiedSince": stored},
    ):
        assert get(**holds) == b"1"
    fails("PreconditionFailed", 412, lambda: get(IfMatch='"other"'))
    fails("PreconditionFailed", 412, lambda: get(IfUnmodifiedSince=LONG_AGO))
    fails("304", 304, lambda: get(IfNoneMatch=etag))
    fails("304", 304, lambda: get(IfModifiedSince=stored))


@works("GetObject", "`response-*` parameters")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", ContentType="text/plain")
    found = s3.get_object(
        Bucket=bucket,
        Key="k",
        ResponseContentType="application/pdf",
        ResponseContentDisposition="inline",
        ResponseCacheControl="no-store",
        ResponseContentLanguage="fr",
        ResponseContentEncoding="identity",
    )
    assert found["ContentType"] == "application/pdf"
    assert found["ContentDisposition"] == "inline"
    assert found["CacheControl"] == "no-store"
    assert found["ContentLanguage"] == "fr"
    assert found["ContentEncoding"] == "identity"


@works("GetObject", "a presigned URL, until it expires")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a b.txt", Body=b"1")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b.txt"}, ExpiresIn=300)
    assert httpx.get(url).content == b"1"
    assert httpx.get(url.replace("a%20b.txt", "other.txt")).status_code == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in httpx.get(url.replace("X-Amz-Expires=300", "X-Amz-Expires=301")).text


refused("GetObject", "that is not there", "NoSuchKey", 404, lambda s3, b: s3.get_object(Bucket=b, Key="none"))
refused(
    "GetObject",
    "a version",
    "NotImplemented",
    501,
    lambda s3, b: s3.get_object(Bucket=b, Key="k", VersionId="0123"),
)


refused(
    "GetObject",
    "x-amz-expected-bucket-owner",
    "NotImplemented",
    501,
    lambda s3, b: s3.get_object(Bucket=b, Key="k", ExpectedBucketOwner="123456789012"),
)


@works("HeadObject", "conditions, ranges and parts as GetObject has them")
def _(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["ETag"]
    found = s3.head_object(Bucket=bucket, Key="k", Range="bytes=2-4", IfMatch=etag)
    assert (found["ContentLength"], found["ContentRange"]) == (3, "bytes 2-4/10")
    fails("412", 412, lambda: s3.head_object(Bucket=bucket, Key="k", IfMatch='"other"'))
    fails("304", 304, lambda: s3.head_object(Bucket=bucket, Key="k", IfNoneMatch=etag))
    fails("404", 404, lambda: s3.head_object(Bucket=bucket, Key="none"))


@works("DeleteObject", "that is there, and one that is not")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")
    fails("NoSuchKey", 404, lambda: s3.get_object(Bucket=bucket, Key="k"))


@works("DeleteObjects", "up to 1,000 keys; what is wrong with one is said of that one")
def _(s3: Any, bucket: str) -> None:
    for key in ("a", "b/ü", "c&<d>"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    keys = ["a", "b/ü", "c&<d>", "never there", "x" * 1025]
    found = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert [entry["Key"] for entry in found["Deleted"]] == keys[:4]
    assert [(entry["Key"], entry["Code"]) for entry in found["Errors"]] == [("x" * 1025, "InvalidObjectName")]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@works("DeleteObjects", "quiet")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    found = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}], "Quiet": True})
    assert "Deleted" not in found


refused(
    "DeleteObjects",
    "more than 1,000 keys",
    "MalformedXML",
    400,
    lambda s3, b: s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": str(n)} for n in range(1001)]}),
)


@works("CopyObject", "within a bucket and to another; metadata is copied along")
def _(s3: Any, bucket: str) -> None:
    other = f"{bucket}-other"
    s3.create_bucket(Bucket=other)
    s3.put_object(Bucket=bucket, Key="a b/ü", Body=b"1", ContentType="text/css", Metadata={"a": "1"})
    s3.copy_object(Bucket=other, Key="copy", CopySource={"Bucket": bucket, "Key": "a b/ü"})
    found = s3.get_object(Bucket=other, Key="copy")
    assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (b"1", "text/css", {"a": "1"})


@works("CopyObject", "the metadata directives REPLACE and MERGE (the latter is R2's), and a storage class")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", ContentType="text/css", Metadata={"a": "1", "b": "2"})
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="r", CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "3"})
    s3.copy_object(Bucket=bucket, Key="m", CopySource=source, MetadataDirective="MERGE", Metadata={"b": "4"})
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source, StorageClass="STANDARD_IA")
    assert s3.head_object(Bucket=bucket, Key="r")["Metadata"] == {"c": "3"}
    merged = s3.head_object(Bucket=bucket, Key="m")
    assert (merged["Metadata"], merged["ContentType"]) == ({"a": "1", "b": "4"}, "text/css")
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == "STANDARD_IA"


@works("CopyObject", "conditions on the source")
def _(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="c", CopySource=source, CopySourceIfMatch=etag)
    for condition in ({"CopySourceIfNoneMatch": etag}, {"CopySourceIfModifiedSince": LATER}):
        fails(
            "PreconditionFailed",
            412,
            lambda condition=condition: s3.copy_object(Bucket=bucket, Key="d", CopySource=source, **condition),
        )


@works("CopyObject", "between keys of the customer's (SSE-C)")
def _(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret", **customer_key("a"))
    old = {f"CopySource{name}": value for name, value in customer_key("a").items()}
    s3.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "k"}, **old, **customer_key("b"))
    assert body_of(s3, bucket, "c", **customer_key("b")) == b"secret"


refused(
    "CopyObject",
    "from an object that is not there",
    "NoSuchKey",
    404,
    lambda s3, b: s3.copy_object(Bucket=b, Key="c", CopySource={"Bucket": b, "Key": "none"}),
)
refused(
    "CopyObject",
    "to itself, with nothing changed",
    "InvalidRequest",
    400,
    lambda s3, b: s3.copy_object(Bucket=b, Key="c", CopySource={"Bucket": b, "Key": "c"}),
)


# Listings


def _fill(s3: Any, bucket: str) -> list[str]:
    keys = ["a", "b/1", "b/2", "b/c/3", "d e", "f%2F", "ü"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    return keys


def _pages(s3: Any, operation: str, bucket: str, **arguments: Any) -> Iterator[str]:
    for page in s3.get_paginator(operation).paginate(Bucket=bucket, **arguments):
        entries = [entry["Key"] for entry in page.get("Contents", ())]
        entries += [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
        yield from sorted(entries, key=str.encode)


for _operation, _name in (("list_objects_v2", "ListObjectsV2"), ("list_objects", "ListObjects")):

    @works(_name, "byte order, in pages")
    def _(s3: Any, bucket: str, operation: str = _operation) -> None:
        keys = _fill(s3, bucket)
        for size in (1, 2, 1000):
            assert list(_pages(s3, operation, bucket, PaginationConfig={"PageSize": size})) == keys

    @works(_name, "prefix and delimiter, in pages")
    def _(s3: Any, bucket: str, operation: str = _operation) -> None:
        _fill(s3, bucket)
        for size in (1, 2, 1000):
            paging = {"PageSize": size}
            top = list(_pages(s3, operation, bucket, Delimiter="/", PaginationConfig=paging))
            inside = list(_pages(s3, operation, bucket, Delimiter="/", Prefix="b/", PaginationConfig=paging))
            assert top == ["a", "b/", "d e", "f%2F", "ü"]
            assert inside == ["b/1", "b/2", "b/c/"]


@works("ListObjectsV2", "`start-after`, `fetch-owner`, `max-keys=0`")
def _(s3: Any, bucket: str) -> None:
    _fill(s3, bucket)
    found = s3.list_objects_v2(Bucket=bucket, StartAfter="b/2", FetchOwner=True, MaxKeys=2)
    assert [entry["Key"] for entry in found["Contents"]] == ["b/c/3", "d e"]
    assert all(len(entry["Owner"]["ID"]) == 32 for entry in found["Contents"])
    nothing = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (nothing["KeyCount"], nothing["IsTruncated"]) == (0, False)


@works("ListObjects", "`marker`")
def _(s3: Any, bucket: str) -> None:
    _fill(s3, bucket)
    found = s3.list_objects(Bucket=bucket, Marker="d e")
    assert [entry["Key"] for entry in found["Contents"]] == ["f%2F", "ü"]


refused(
    "ListObjectsV2",
    "of a bucket that is not there",
    "NoSuchBucket",
    404,
    lambda s3, b: s3.list_objects_v2(Bucket=f"{b}-x"),
)


# Uploads in parts


def _upload(s3: Any, bucket: str, bodies: list[bytes], **arguments: Any) -> tuple[str, list[dict[str, Any]]]:
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k", **arguments)["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        made = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=number, Body=body)
        sums = {name: value for name, value in made.items() if name.startswith("Checksum") and name != "ChecksumType"}
        parts.append({"PartNumber": number, "ETag": made["ETag"], **sums})
    return upload_id, parts


def _complete(s3: Any, bucket: str, upload_id: str, parts: list[dict[str, Any]], **more: Any) -> Any:
    return s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload_id, MultipartUpload={"Parts": parts}, **more
    )


@works("CreateMultipartUpload", "headers and metadata of the object to be, read back after CompleteMultipartUpload")
def _(s3: Any, bucket: str) -> None:
    upload_id, parts = _upload(
        s3, bucket, [b"1" * PART, b"2"], ContentType="text/css", Metadata={"a": "1"}, StorageClass="STANDARD_IA"
    )
    made = _complete(s3, bucket, upload_id, parts)
    found = s3.head_object(Bucket=bucket, Key="k")
    assert made["ETag"] == found["ETag"]
    digests = b"".join(hashlib.md5(body).digest() for body in (b"1" * PART, b"2"))
    assert found["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-2"'
    assert (found["ContentType"], found["Metadata"], found["StorageClass"]) == ("text/css", {"a": "1"}, "STANDARD_IA")
    assert body_of(s3, bucket, "k") == b"1" * PART + b"2"


for _algorithm in CHECKSUMS:
    _kind = "FULL_OBJECT" if _algorithm == "CRC64NVME" else "COMPOSITE"

    @works("CompleteMultipartUpload", f"a {_algorithm} checksum, {_kind}")
    def _(s3: Any, bucket: str, algorithm: str = _algorithm, kind: str = _kind) -> None:
        name = f"Checksum{algorithm}"
        upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm)["UploadId"]
        parts = []
        for number, body in enumerate((b"1" * PART, b"2"), 1):
            made = s3.upload_part(
                Bucket=bucket,
                Key="k",
                UploadId=upload_id,
                PartNumber=number,
                Body=body,
                ChecksumAlgorithm=algorithm,
            )
            parts.append({"PartNumber": number, "ETag": made["ETag"], name: made[name]})
        whole = _complete(s3, bucket, upload_id, parts)
        found = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (found[name], found["ChecksumType"]) == (whole[name], kind)
        if kind == "COMPOSITE":
            assert found[name].endswith("-2")
        else:
            s3.put_object(Bucket=bucket, Key="same", Body=b"1" * PART + b"2", ChecksumAlgorithm=algorithm)
            assert s3.head_object(Bucket=bucket, Key="same", ChecksumMode="ENABLED")[name] == found[name]


refused(
    "CreateMultipartUpload",
    "the checksum type FULL_OBJECT for CRC32",
    "InvalidRequest",
    400,
    lambda s3, b: s3.create_multipart_upload(Bucket=b, Key="k", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"),
)


@works("UploadPart", "a part is replaced by a later one of its number")
def _(s3: Any, bucket: str) -> None:
    upload_id, _ = _upload(s3, bucket, [b"old"])
    again = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=b"new")
    _complete(s3, bucket, upload_id, [{"PartNumber": 1, "ETag": again["ETag"]}])
    assert body_of(s3, bucket, "k") == b"new"


@works("UploadPart", "under a key of the customer's (SSE-C)")
def _(s3: Any, bucket: str) -> None:
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k", **customer_key("a"))["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=b"secret", **customer_key("a"))
    _complete(s3, bucket, upload_id, [{"PartNumber": 1, "ETag": part["ETag"]}])
    assert body_of(s3, bucket, "k", **customer_key("a")) == b"secret"


@works("UploadPartCopy", "an object, or a range of one")
def _(s3: Any, bucket: str) -> None:
    data = os.urandom(PART) + b"tail"
    s3.put_object(Bucket=bucket, Key="source", Body=data)
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    parts = []
    for number, span in enumerate((f"bytes=0-{PART - 1}", f"bytes={PART}-{PART + 3}"), 1):
        made = s3.upload_part_copy(
            Bucket=bucket,
            Key="k",
            UploadId=upload_id,
            PartNumber=number,
            CopySource={"Bucket": bucket, "Key": "source"},
            CopySourceRange=span,
        )
        parts.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})
    _complete(s3, bucket, upload_id, parts)
    assert body_of(s3, bucket, "k") == data


@works("GetObject", "`partNumber`")
def _(s3: Any, bucket: str) -> None:
    upload_id, parts = _upload(s3, bucket, [b"1" * PART, b"22"])
    _complete(s3, bucket, upload_id, parts)
    found = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert (found["Body"].read(), found["PartsCount"]) == (b"22", 2)
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=1)["ContentLength"] == PART
    fails("InvalidRange", 416, lambda: s3.get_object(Bucket=bucket, Key="k", PartNumber=3))


@works("ListParts", "in pages")
def _(s3: Any, bucket: str) -> None:
    upload_id, _ = _upload(s3, bucket, [b"1", b"22", b"333"])
    found = [
        (part["PartNumber"], part["Size"])
        for page in s3.get_paginator("list_parts").paginate(
            Bucket=bucket, Key="k", UploadId=upload_id, PaginationConfig={"PageSize": 2}
        )
        for part in page["Parts"]
    ]
    assert found == [(1, 1), (2, 2), (3, 3)]


@works("ListMultipartUploads", "prefix and delimiter, in pages")
def _(s3: Any, bucket: str) -> None:
    keys = ["a", "a", "b/1", "b/2", "c"]
    ids = [s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in keys]
    for size in (1, 2, 1000):
        pages = list(
            s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": size})
        )
        found = [(upload["Key"], upload["UploadId"]) for page in pages for upload in page.get("Uploads", ())]
        assert sorted(found) == sorted(zip(keys, ids, strict=True))
        assert [key for key, _ in found] == keys
    folded = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [upload["Key"] for upload in folded["Uploads"]] == ["a", "a", "c"]
    assert [entry["Prefix"] for entry in folded["CommonPrefixes"]] == ["b/"]
    assert len(s3.list_multipart_uploads(Bucket=bucket, Prefix="b/")["Uploads"]) == 2


@works("AbortMultipartUpload", "and its parts are gone")
def _(s3: Any, bucket: str) -> None:
    upload_id, parts = _upload(s3, bucket, [b"1"])
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload_id)
    fails("NoSuchUpload", 404, lambda: s3.list_parts(Bucket=bucket, Key="k", UploadId=upload_id))
    fails("NoSuchUpload", 404, lambda: _complete(s3, bucket, upload_id, parts))
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@works("CompleteMultipartUpload", "refuses parts that are too small, not uniform, wrong or out of order")
def _(s3: Any, bucket: str) -> None:
    upload_id, parts = _upload(s3, bucket, [b"1", b"2"])
    fails("EntityTooSmall", 400, lambda: _complete(s3, bucket, upload_id, parts))
    fails("InvalidPartOrder", 400, lambda: _complete(s3, bucket, upload_id, parts[::-1]))
    wrong = [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}]
    fails("InvalidPart", 400, lambda: _complete(s3, bucket, upload_id, wrong))
    upload_id, parts = _upload(s3, bucket, [b"1" * PART, b"2" * (PART + 1), b"3"])
    fails("InvalidPart", 400, lambda: _complete(s3, bucket, upload_id, parts))
    fails("NoSuchUpload", 404, lambda: _complete(s3, bucket, "never-there", parts))


refused(
    "UploadPart",
    "a number above 10,000",
    "InvalidArgument",
    400,
    lambda s3, b: s3.upload_part(Bucket=b, Key="k", UploadId="u", PartNumber=10_001, Body=b"1"),
)
refused(
    "UploadPart",
    "of an upload that is not there",
    "NoSuchUpload",
    404,
    lambda s3, b: s3.upload_part(Bucket=b, Key="k", UploadId="u", PartNumber=1, Body=b"1"),
)


# What S3 has and R2 has not

for _operation, _call in {
    "GetBucketAcl": lambda s3, b: s3.get_bucket_acl(Bucket=b),
    "PutBucketAcl": lambda s3, b: s3.put_bucket_acl(Bucket=b, ACL="private"),
    "GetBucketPolicy": lambda s3, b: s3.get_bucket_policy(Bucket=b),
    "PutBucketPolicy": lambda s3, b: s3.put_bucket_policy(Bucket=b, Policy="{}"),
    "GetBucketVersioning": lambda s3, b: s3.get_bucket_versioning(Bucket=b),
    "PutBucketVersioning": lambda s3, b: s3.put_bucket_versioning(
        Bucket=b, VersioningConfiguration={"Status": "Enabled"}
    ),
    "ListObjectVersions": lambda s3, b: s3.list_object_versions(Bucket=b),
    "GetBucketTagging": lambda s3, b: s3.get_bucket_tagging(Bucket=b),
    "PutBucketTagging": lambda s3, b: s3.put_bucket_tagging(Bucket=b, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
    "GetBucketWebsite": lambda s3, b: s3.get_bucket_website(Bucket=b),
    "GetBucketLogging": lambda s3, b: s3.get_bucket_logging(Bucket=b),
    "GetBucketNotificationConfiguration": lambda s3, b: s3.get_bucket_notification_configuration(Bucket=b),
    "GetObjectLockConfiguration": lambda s3, b: s3.get_object_lock_configuration(Bucket=b),
    "GetPublicAccessBlock": lambda s3, b: s3.get_public_access_block(Bucket=b),
    "GetObjectAcl": lambda s3, b: s3.get_object_acl(Bucket=b, Key="k"),
    "PutObjectAcl": lambda s3, b: s3.put_object_acl(Bucket=b, Key="k", ACL="private"),
    "GetObjectTagging": lambda s3, b: s3.get_object_tagging(Bucket=b, Key="k"),
    "PutObjectTagging": lambda s3, b: s3.put_object_tagging(
        Bucket=b, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
    ),
    "DeleteObjectTagging": lambda s3, b: s3.delete_object_tagging(Bucket=b, Key="k"),
    "GetObjectAttributes": lambda s3, b: s3.get_object_attributes(Bucket=b, Key="k", ObjectAttributes=["ETag"]),
    "GetObjectRetention": lambda s3, b: s3.get_object_retention(Bucket=b, Key="k"),
    "RestoreObject": lambda s3, b: s3.restore_object(Bucket=b, Key="k", RestoreRequest={"Days": 1}),
    "SelectObjectContent": lambda s3, b: s3.select_object_content(
        Bucket=b,
        Key="k",
        Expression="select 1",
        ExpressionType="SQL",
        InputSerialization={"CSV": {}},
        OutputSerialization={"CSV": {}},
    ),
}.items():
    refused(_operation, "", "NotImplemented", 501, _call)


def _post_form(s3: Any, bucket: str) -> None:
    form = s3.generate_presigned_post(bucket, "k")
    answer = httpx.post(form["url"], data=form["fields"], files={"file": b"1"})
    assert (answer.status_code, "<Code>Unauthorized</Code>" in answer.text) == (401, True)


CASES.append(Case("PostObject", "a browser's form (presigned POST)", "Unauthorized (401)", _post_form))

EXPIRED = timedelta(days=8)


def _presign_too_long(s3: Any, bucket: str) -> None:
    url = s3.generate_presigned_url(
        "get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=int(EXPIRED.total_seconds())
    )
    answer = httpx.get(url)
    assert (answer.status_code, "<Code>InvalidArgument</Code>" in answer.text) == (400, True)


CASES.append(Case("GetObject", "presigned for more than 7 days", "InvalidArgument (400)", _presign_too_long))
