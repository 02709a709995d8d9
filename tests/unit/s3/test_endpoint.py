"""The endpoint as hostile clients meet it: raw requests, signed by botocore, into the ASGI application."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tenantry.errors import StorageError, StorageFull
from tenantry.s3 import BucketEntry, Credential, Permission, S3Endpoint
from tenantry.s3.limits import HEADER_BYTES_MAX, TARGET_BYTES_MAX
from tenantry.services.quota import Limit, Meter, Quota
from tenantry.services.r2.engines.memory import MemoryEngine
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.metered import MeteredEngine
from tenantry.services.r2.options import GetOptions, PutOptions
from tenantry.services.r2.service import BucketRules

HOST = "s3.test:8789"
ACCOUNT = Credential("a" * 32, "account secret", Permission.ADMIN_READ_WRITE, None)
OWN = Credential("b" * 32, "bucket secret", Permission.OBJECT_READ_WRITE, "bucket")


class FakeDirectory:
    """Two buckets and two access keys."""

    account_id = "0" * 32

    def __init__(self) -> None:
        self.names = {"bucket", "other"}

    async def credential(self, access_key_id: str) -> Credential | None:
        return {one.access_key_id: one for one in (ACCOUNT, OWN)}.get(access_key_id)

    async def bucket(self, name: str) -> BucketEntry | None:
        return BucketEntry(name, datetime.now(UTC)) if name in self.names else None

    async def buckets(self, prefix: str, after: str, limit: int) -> list[BucketEntry]:
        return []

    async def create_bucket(self, name: str) -> bool:
        self.names.add(name)
        return True

    async def delete_bucket(self, name: str) -> bool:
        self.names.discard(name)
        return True


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


@dataclass
class Raw:
    """A request as it is on the wire. `gone`: the client leaves after `body`."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: Sequence[bytes] = ()
    gone: bool = False


class Server:
    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.endpoint = S3Endpoint(FakeDirectory(), self.rules, domains=["s3.test"])

    def rules(self, name: str) -> BucketRules:
        return BucketRules(self.engine.bucket(name))

    async def send(self, raw: Raw, **scope: Any) -> Answer:
        path, _, query = raw.target.partition("?")
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": part, "more_body": True} for part in raw.body
        ]
        messages.append({"type": "http.disconnect"} if raw.gone else {"type": "http.request", "more_body": False})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop(0)
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        await self.endpoint(
            {
                "type": "http",
                "method": raw.method,
                "raw_path": path.encode(),
                "query_string": query.encode(),
                "headers": [(name.lower().encode(), value.encode()) for name, value in raw.headers],
                "http_version": "1.1",
                **scope,
            },
            receive,
            send,
        )
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))

    async def stored(self, key: str = "k") -> bytes | None:
        found = await self.rules("bucket").get(key, GetOptions())
        return None if found is None or found[2] is None else await found[2].read(1_000_000)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    yield made
    await made.engine.aclose()


def signed(
    method: str,
    target: str,
    body: bytes = b"",
    *,
    who: Credential = OWN,
    sha256: str | None = None,
    sends: Sequence[bytes] | None = None,
    host: str = HOST,
    **headers: str,
) -> Raw:
    """A request that is signed rightly, with underscores for the hyphens of header names."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method=method, url=f"http://{host}{target}", headers={"host": host, **given}, data=body)
    payload = sha256 or hashlib.sha256(body).hexdigest()
    auth = S3SigV4Auth(Credentials(who.access_key_id, who.secret_access_key), "s3", "auto")
    auth.payload = lambda _: payload  # type: ignore[method-assign]
    auth.add_auth(request)
    found = list(request.headers.items())
    if body or sends is not None:
        found.append(("content-length", str(len(body) if sends is None else sum(map(len, sends)))))
    return Raw(method, target, found, [body] if sends is None else sends)


def with_header(raw: Raw, name: str, value: str) -> Raw:
    return replace(raw, headers=[(n, v) for n, v in raw.headers if n.lower() != name] + [(name, value)])


# Who asks


async def test_without_a_signature_nothing_is_told(server: Server) -> None:
    for target in ("/", "/bucket", "/bucket/k", "/never/k", "/bucket?acl", "/bucket?nonsense"):
        answer = await server.send(Raw("GET", target, [("host", HOST)]))

        assert (answer.status, answer.code) == (401, "Unauthorized")
        assert answer.body.endswith(b"<Error><Code>Unauthorized</Code><Message>Unauthorized</Message></Error>")


async def test_an_unknown_key_and_a_wrong_secret_are_refused(server: Server) -> None:
    unknown = await server.send(signed("GET", "/bucket/k", who=replace(OWN, access_key_id="c" * 32)))
    wrong = await server.send(signed("GET", "/bucket/k", who=replace(OWN, secret_access_key="x")))

    assert (unknown.status, unknown.code) == (401, "Unauthorized")
    assert (wrong.status, wrong.code) == (403, "SignatureDoesNotMatch")


async def test_what_is_added_to_a_signed_request_counts(server: Server) -> None:
    raw = signed("PUT", "/bucket/k", b"1")

    assert (await server.send(with_header(raw, "x-amz-meta-a", "1"))).code == "AccessDenied"
    assert (await server.send(with_header(raw, "x-amz-copy-source", "other/k"))).code == "AccessDenied"
    assert (await server.send(replace(raw, target="/bucket/k?uploads"))).code == "SignatureDoesNotMatch"
    assert (await server.send(replace(raw, target="/other/k"))).code == "SignatureDoesNotMatch"
    assert await server.stored() is None


async def test_other_buckets_are_neither_there_nor_not(server: Server) -> None:
    answers = [
        await server.send(signed(method, f"/{name}{rest}"))
        for name in ("other", "never", "bucket%2F..%2Fother", "..", "%2e%2e", "bucket%00", "BUCKET")
        for method, rest in (("GET", "/k"), ("GET", ""), ("DELETE", "/k"), ("PUT", ""), ("GET", "?cors"))
    ]

    assert {(answer.status, answer.body) for answer in answers} == {(403, answers[0].body)}
    assert answers[0].code == "AccessDenied"


async def test_a_bucket_in_front_of_the_host_is_that_bucket(server: Server) -> None:
    await server.send(signed("PUT", "/a/k", b"1", host="bucket.s3.test:8789"))
    foreign = await server.send(signed("GET", "/bucket/a/k", host="other.s3.test"))

    assert await server.stored("a/k") == b"1"
    assert foreign.code == "AccessDenied", "the host names the bucket, whatever the path begins with"


# What comes in


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (Raw("GET", "/bucket/k", []), "BadRequest"),
        (Raw("GET", "/bucket/k", [("host", HOST), ("host", "evil")]), "BadRequest"),
        (Raw("GET", "/bucket/k", [("host", "a b")]), "BadRequest"),
        (Raw("GET", "bucket", [("host", HOST)]), "InvalidURI"),
        (Raw("GET", "/bucket/a b", [("host", HOST)]), "InvalidURI"),
        (Raw("GET", "/bucket/\x01", [("host", HOST)]), "InvalidURI"),
        (Raw("GET", "/bucket/%ff", [("host", HOST)]), "InvalidURI"),
        (Raw("GET", "/bucket?prefix=%ff", [("host", HOST)]), "InvalidURI"),
        (Raw("GET", "/" + "k" * TARGET_BYTES_MAX, [("host", HOST)]), "InvalidURI"),
        (Raw("GET", "/bucket?prefix=a&prefix=b", [("host", HOST)]), "InvalidArgument"),
        (Raw("GET", "/bucket?" + "&".join(map(str, range(65))), [("host", HOST)]), "InvalidArgument"),
        (Raw("GET", "/b", [("host", HOST), ("x", "y" * HEADER_BYTES_MAX)]), "RequestHeaderSectionTooLarge"),
        (Raw("GET", "/b", [("host", HOST), *((f"x{n}", "") for n in range(256))]), "RequestHeaderSectionTooLarge"),
        (Raw("PUT", "/b", [("host", HOST), ("content-length", "-1")]), "InvalidArgument"),
        (Raw("PUT", "/b", [("host", HOST), ("content-length", "1"), ("content-length", "2")]), "BadRequest"),
        (Raw("PUT", "/b", [("host", HOST), ("content-length", "1"), ("transfer-encoding", "chunked")]), "BadRequest"),
    ],
)
async def test_a_request_of_a_wrong_form_goes_no_further(server: Server, raw: Raw, code: str) -> None:
    assert (await server.send(raw)).code == code


async def test_keys_are_taken_as_they_are(server: Server) -> None:
    for path, key in (
        ("/bucket/a/../b", "a/../b"),
        ("/bucket//x", "/x"),
        ("/bucket/a%2Fb", "a/b"),
        ("/bucket/%2e%2e/%2e%2e/etc/passwd", "../../etc/passwd"),
        ("/bucket/a%00b", "a\0b"),
        ("/bucket/a%252Fb", "a%2Fb"),
    ):
        answer = await server.send(signed("PUT", path, key.encode()))
        assert (answer.status, await server.stored(key)) == (200, key.encode())


async def test_a_body_that_is_not_what_was_signed_is_not_stored(server: Server) -> None:
    raw = signed("PUT", "/bucket/k", b"signed")

    assert (await server.send(replace(raw, body=[b"change"]))).code == "XAmzContentSHA256Mismatch"
    assert (await server.send(replace(raw, body=[b"sig"]))).code == "IncompleteBody"
    assert (await server.send(replace(raw, body=[b"signed", b"more"]))).code == "IncompleteBody"
    assert (await server.send(replace(raw, body=[b"sig"], gone=True))).code == "ClientDisconnect"
    assert await server.stored() is None


async def test_a_body_of_unknown_length_is_refused(server: Server) -> None:
    raw = signed("PUT", "/bucket/k", transfer_encoding="chunked", sha256="UNSIGNED-PAYLOAD")

    answer = await server.send(raw)

    assert (answer.status, answer.code) == (411, "MissingContentLength")


async def test_a_body_that_never_comes_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantry.s3.payload.BODY_IDLE_SECONDS_MAX", 0.01)
    raw = signed("PUT", "/bucket/k", b"12345")
    taken = [{"type": "http.request", "body": b"1", "more_body": True}]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if taken:
            return taken.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "raw_path": b"/bucket/k", "query_string": b"", "http_version": "1.1"}
    headers = [(name.lower().encode(), value.encode()) for name, value in raw.headers]
    await server.endpoint({**scope, "headers": headers}, receive, send)

    assert b"<Code>RequestTimeout</Code>" in sent[1]["body"]
    assert await server.stored() is None


def chunk_signed(data: Sequence[bytes], *, spoil: int | None = None) -> Raw:
    """Chunks that are signed by an implementation of its own, the `spoil`th of them changed afterwards."""
    length = sum(map(len, data))
    raw = signed(
        "PUT",
        "/bucket/k",
        sha256="STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        content_encoding="aws-chunked",
        x_amz_decoded_content_length=str(length),
    )
    headers = {name.lower(): value for name, value in raw.headers}
    scope = headers["authorization"].partition("Credential=")[2].partition(",")[0].split("/", 1)[1]
    key = f"AWS4{OWN.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    previous = headers["authorization"].rpartition("Signature=")[2]
    body: list[bytes] = []
    for number, chunk in enumerate([*data, b""]):
        text = [
            "AWS4-HMAC-SHA256-PAYLOAD",
            headers["x-amz-date"],
            scope,
            previous,
            hashlib.sha256(b"").hexdigest(),
            hashlib.sha256(chunk).hexdigest(),
        ]
        previous = hmac.new(key, "\n".join(text).encode(), "sha256").hexdigest()
        sent = b"X" * len(chunk) if number == spoil else chunk
        body.append(f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + sent + b"\r\n")
    return with_header(replace(raw, body=body), "content-length", str(sum(map(len, body))))


async def test_signed_chunks_are_stored_without_their_wrapping(server: Server) -> None:
    answer = await server.send(chunk_signed([b"one", b"two", b"three"]))
    headed = await server.send(signed("HEAD", "/bucket/k"))

    assert (answer.status, await server.stored()) == (200, b"onetwothree")
    assert "content-encoding" not in headed.headers


@pytest.mark.parametrize("spoil", [0, 1, 2])
async def test_one_changed_chunk_spoils_the_whole(server: Server, spoil: int) -> None:
    answer = await server.send(chunk_signed([b"one", b"two", b"three"], spoil=spoil))

    assert (answer.status, answer.code, await server.stored()) == (403, "SignatureDoesNotMatch", None)


def trailing(checksum: bytes, name: str = "crc32") -> Raw:
    body = b"5\r\nhello\r\n0\r\nx-amz-checksum-%s:%s\r\n\r\n" % (name.encode(), base64.b64encode(checksum))
    return signed(
        "PUT",
        "/bucket/k",
        sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        sends=[body[:7], body[7:20], body[20:]],
        content_encoding="gzip,aws-chunked",
        x_amz_decoded_content_length="5",
        x_amz_trailer=f"x-amz-checksum-{name}",
        x_amz_sdk_checksum_algorithm=name.upper(),
    )


async def test_a_checksum_in_a_trailer_is_compared_stored_and_returned(server: Server) -> None:
    right = zlib.crc32(b"hello").to_bytes(4, "big")

    wrong = await server.send(trailing(bytes(4)))
    assert (wrong.code, await server.stored()) == ("BadDigest", None)
    assert (await server.send(trailing(b"123"))).code == "InvalidDigest"
    assert (await server.send(trailing(bytes(4), "md5"))).code == "InvalidRequest"

    made = await server.send(trailing(right))
    headed = await server.send(signed("HEAD", "/bucket/k", x_amz_checksum_mode="ENABLED"))
    assert made.headers["x-amz-checksum-crc32"] == base64.b64encode(right).decode()
    assert headed.headers["x-amz-checksum-crc32"] == made.headers["x-amz-checksum-crc32"]
    assert headed.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x_amz_checksum_crc32": "AAAAAA==", "x_amz_checksum_sha1": "AAAA"}, "InvalidRequest"),
        ({"x_amz_checksum_crc32": "not base64"}, "InvalidDigest"),
        ({"x_amz_checksum_crc32": "AAAA"}, "InvalidDigest"),
        ({"x_amz_checksum_md5": "AAAA"}, "InvalidRequest"),
        ({"x_amz_sdk_checksum_algorithm": "CRC32"}, "InvalidRequest"),
        ({"x_amz_sdk_checksum_algorithm": "SHA1", "x_amz_checksum_crc32": "AAAAAA=="}, "InvalidRequest"),
        ({"content_md5": "AAAA"}, "InvalidDigest"),
        ({"sha256": "nonsense"}, "InvalidArgument"),
        ({"sha256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}, "NotImplemented"),
        ({"sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}, "MissingContentLength"),
        ({"sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x_amz_decoded_content_length": "1"}, "InvalidRequest"),
    ],
)
async def test_checksums_that_make_no_sense_are_refused(server: Server, headers: dict[str, str], code: str) -> None:
    assert (await server.send(signed("PUT", "/bucket/k", b"1", **headers))).code == code
    assert await server.stored() is None


async def test_xml_that_is_too_large_is_not_read(server: Server) -> None:
    answer = await server.send(signed("POST", "/bucket?delete", b"<Delete>" + b" " * 2_000_000 + b"</Delete>"))

    assert answer.code == "EntityTooLarge"


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("POST", "/bucket", "NotImplemented"),
        ("PATCH", "/bucket/k", "MethodNotAllowed"),
        ("GET", "/bucket/k?uploadId=u&acl", "InvalidArgument"),
        ("PUT", "/bucket/k?partNumber=1", "InvalidArgument"),
        ("PUT", "/bucket/k?uploadId=u", "InvalidArgument"),
        ("PUT", "/bucket/k?uploadId=u&partNumber=0", "InvalidArgument"),
        ("PUT", "/bucket/k?uploadId=u&partNumber=1e9", "InvalidArgument"),
        ("GET", "/bucket?list-type=3", "InvalidArgument"),
        ("GET", "/bucket?max-keys=-1", "InvalidArgument"),
        ("GET", "/bucket?max-keys=x", "InvalidArgument"),
        ("GET", "/bucket?encoding-type=base64", "InvalidArgument"),
        ("GET", "/bucket?list-type=2&continuation-token=", "InvalidArgument"),
        ("GET", "/bucket/k?partNumber=0", "InvalidArgument"),
        ("GET", "/bucket/" + "k" * 1025, "InvalidObjectName"),
    ],
)
async def test_parameters_that_make_no_sense_are_refused(server: Server, method: str, target: str, code: str) -> None:
    assert (await server.send(signed(method, target))).code == code


# What goes out


async def test_no_stored_value_can_end_a_header(server: Server) -> None:
    metadata = PutOptions().metadata
    custom = {"a": "b\r\nset-cookie: c", "bad name": "1", "ünï": "2"}
    await server.rules("bucket").put("k", b"1", PutOptions(type(metadata)(custom=custom)))

    answer = await server.send(signed("GET", "/bucket/k"))

    assert answer.headers["x-amz-meta-a"] == "b  set-cookie: c"
    assert answer.headers["x-amz-missing-meta"] == "2"
    assert "set-cookie" not in answer.headers


async def test_a_range_of_an_object_that_changed_is_the_whole(server: Server) -> None:
    etag = (await server.send(signed("PUT", "/bucket/k", b"0123456789"))).headers["etag"]

    fresh = await server.send(signed("GET", "/bucket/k", range="bytes=0-1", if_range=etag))
    stale = await server.send(signed("GET", "/bucket/k", range="bytes=0-1", if_range='"other"'))

    assert (fresh.status, fresh.body) == (206, b"01")
    assert (stale.status, stale.body) == (200, b"0123456789")


async def test_a_failed_head_has_no_body(server: Server) -> None:
    answer = await server.send(signed("HEAD", "/bucket/none"))

    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (StorageFull("the disk of /data is full"), 507, "InsufficientStorage"),
        (StorageError("/data/index.sqlite is corrupted"), 500, "InternalError"),
        (BucketGone(), 404, "NoSuchBucket"),
    ],
    ids=str,
)
async def test_a_storage_that_fails_is_told_of_without_its_paths(
    server: Server, monkeypatch: pytest.MonkeyPatch, raised: Exception, status: int, code: str
) -> None:
    async def refuse(*_: object) -> None:
        raise raised

    monkeypatch.setattr(BucketRules, "put", refuse)
    answer = await server.send(signed("PUT", "/bucket/k", b"1"))

    assert (answer.status, answer.code) == (status, code)
    assert b"/data" not in answer.body


async def test_what_breaks_inside_is_not_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise RuntimeError("the secret of the host")

    monkeypatch.setattr(server.endpoint, "_open_bucket", broken)
    answer = await server.send(signed("GET", "/bucket/k"))

    assert (answer.status, answer.code) == (500, "InternalError")
    assert b"secret" not in answer.body


async def test_a_presigned_address_says_who_and_what(server: Server) -> None:
    await server.send(signed("PUT", "/bucket/k", b"1"))
    request = AWSRequest(method="GET", url=f"http://{HOST}/bucket/k", headers={"host": HOST})
    credentials = Credentials(OWN.access_key_id, OWN.secret_access_key)
    S3SigV4QueryAuth(credentials, "s3", "auto", expires=60).add_auth(request)
    parts = urlsplit(request.url)
    target = f"{parts.path}?{parts.query}"

    assert (await server.send(Raw("GET", target, [("host", HOST)]))).body == b"1"
    assert (await server.send(Raw("DELETE", target, [("host", HOST)]))).code == "SignatureDoesNotMatch"
    assert (await server.send(Raw("GET", target + "&response-content-type=text/html", [("host", HOST)]))).code == (
        "SignatureDoesNotMatch"
    )
    both = signed("GET", target)
    assert (await server.send(both)).code == "InvalidArgument"


async def test_a_preflight_needs_no_signature_and_tells_strangers_nothing(server: Server) -> None:
    asks = [("host", HOST), ("origin", "https://a.example"), ("access-control-request-method", "GET")]

    answers = [await server.send(Raw("OPTIONS", target, asks)) for target in ("/bucket/k", "/never/k", "/")]

    assert {(answer.status, answer.body) for answer in answers} == {(403, answers[0].body)}


# Quotas


async def test_what_passes_a_quota_is_refused_in_s3s_form(server: Server) -> None:
    engine = MeteredEngine(server.engine, Meter(Quota(Limit(1_000, 2))))
    server.rules = lambda name: BucketRules(engine.bucket(name))  # type: ignore[method-assign]
    server.endpoint = S3Endpoint(FakeDirectory(), server.rules, domains=["s3.test"])

    assert (await server.send(signed("PUT", "/bucket/k", bytes(600)))).status == 200
    for refused in (
        await server.send(signed("PUT", "/bucket/j", bytes(401))),
        await server.send(signed("PUT", "/bucket/copy", x_amz_copy_source="/bucket/k")),
    ):
        assert (refused.status, refused.code) == (403, "QuotaExceeded")
        assert b"more bytes than the bucket may hold" in refused.body
    assert (await server.send(signed("PUT", "/bucket/j", bytes(400)))).status == 200
    refused = await server.send(signed("PUT", "/bucket/i", b""))
    assert (refused.status, refused.code) == (403, "QuotaExceeded")
    begun = await server.send(signed("POST", "/bucket/u?uploads="))
    upload = begun.body.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()
    refused = await server.send(signed("PUT", f"/bucket/u?partNumber=1&uploadId={upload}", b"x"))
    assert (refused.status, refused.code) == (403, "QuotaExceeded")
    assert (await server.send(signed("DELETE", "/bucket/j"))).status == 204
    assert (await server.send(signed("PUT", f"/bucket/u?partNumber=1&uploadId={upload}", b"x"))).status == 200
