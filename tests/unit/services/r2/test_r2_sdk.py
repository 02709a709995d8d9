"""The SDK half as tenant code uses it, straight on the real binding."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from http.client import HTTPMessage

import pytest
from workers._bindings.r2 import R2Bucket, R2Object, R2ObjectBody
from workers._errors import JsException, error_from_peer
from workers._web.blob import Blob, File
from workers._web.headers import Headers
from workers._web.raw import JSNULL
from workers._web.response import Response
from workers._web.streams import ReadableStream
from workers.rpc import JsDict

from tenantry.errors import BindingError
from tenantry.services.r2.binding import R2Binding

TYPE = {"contentType": "text/plain"}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # naive, as the times that a Worker has


class DirectStub:
    """Calls the binding without a channel between, and counts what crosses."""

    def __init__(self, binding: R2Binding) -> None:
        self._binding = binding
        self.sent: list[object] = []

    async def call(self, kind: object, method: str, args: list[object]) -> object:
        self.sent.extend(args)
        plain = [arg.take() if isinstance(arg, ReadableStream) else arg for arg in args]
        try:
            return self._receive(await self._binding.call(method, plain))
        except BindingError as error:
            raise error_from_peer(error.name, error.message) from None

    def _receive(self, value: object) -> object:
        if isinstance(value, dict):
            return JsDict((key, self._receive(item)) for key, item in value.items())
        if isinstance(value, list):
            return [self._receive(item) for item in value]
        return ReadableStream(value) if hasattr(value, "aclose") else value


@pytest.fixture
def stub(bucket: R2Binding) -> DirectStub:
    return DirectStub(bucket)


@pytest.fixture
def r2(stub: DirectStub) -> R2Bucket:
    return R2Bucket(stub)


async def test_put_get_head_delete(r2):
    stored = await r2.put("key", "text", customMetadata={"a": "b"}, httpMetadata=TYPE)
    assert isinstance(stored, R2Object)
    assert (stored.size, stored.key, stored.range) == (4, "key", None)
    found = await r2.get("key")
    assert isinstance(found, R2ObjectBody)
    assert not found.bodyUsed
    assert await found.text() == "text"
    assert found.bodyUsed
    assert found.body_used
    head = await r2.head("key")
    assert head.httpEtag == head.http_etag == head["httpEtag"] == f'"{hashlib.md5(b"text").hexdigest()}"'
    assert head.customMetadata == head.custom_metadata == {"a": "b"}
    assert head.httpMetadata.contentType == "text/plain"
    assert (head.range.offset, head.range.length) == (0, 4)
    assert head.storage_class == "Standard"
    assert head.to_py() is head
    assert bytes(head.checksums.md5) == hashlib.md5(b"text").digest()
    assert head.checksums.sha1 is None
    assert head.checksums.toJSON() == {"md5": head.etag}
    assert head.constructor.name == "HeadResult"
    await r2.delete("key")
    assert await r2.head("key") is None
    assert await r2.get("key") is None


async def test_a_body_is_read_once(r2):
    await r2.put("key", "text")
    found = await r2.get("key")
    await found.text()
    with pytest.raises(JsException, match="Body has already been used"):
        await found.bytes()


async def test_the_ways_to_read(r2):
    await r2.put("key", '\ufeff{"a": {"b": [1, 2.0]}}', http_metadata={"content_type": "application/json"})
    data = await (await r2.get("key")).json()
    assert data.a.b == [1, 2]
    assert isinstance(data.a.b[1], int)
    assert bytes(await (await r2.get("key")).bytes()).endswith(b"}")
    assert bytes(await (await r2.get("key")).array_buffer()).endswith(b"}")
    blob = await (await r2.get("key")).blob()
    assert blob.type == "application/json"
    assert await (await r2.get("key")).body.read(3) == b"\xef\xbb\xbf"
    await r2.put("key", "no json")
    with pytest.raises(JsException, match="SyntaxError"):
        await (await r2.get("key")).json()


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("grün", "grün".encode()),
        (b"bytes", b"bytes"),
        (bytearray(b"array"), b"array"),
        (memoryview(b"view"), b"view"),
        (None, b""),
        (JSNULL, b""),
        (Blob(["a", b"b"]), b"ab"),
        (File(["a" * 100_000], "name"), b"a" * 100_000),
        (b"x" * 70_000, b"x" * 70_000),
        ("é" * 50_000, "é".encode() * 50_000),
    ],
)
async def test_values(r2, stub, value, data):
    await r2.put("key", value)
    sent = stub.sent[1]
    assert isinstance(sent, ReadableStream) == (len(data) > 64 * 1024)
    found = await r2.get("key")
    assert bytes(await found.bytes()) == data


async def test_streams_pass_through_unread(r2, stub):
    await r2.put("key", Response("x" * 100_000).body)
    await r2.put("copy", (await r2.get("key")).body)
    assert isinstance(stub.sent[-2], ReadableStream)
    assert await (await r2.get("copy")).text() == "x" * 100_000


@pytest.mark.parametrize("value", [5, object(), ["list"], {"a": 1}])
async def test_a_value_that_is_none(r2, value):
    with pytest.raises(TypeError, match="is not of type 'ReadableStream"):
        await r2.put("key", value)


async def test_a_stream_of_unknown_length(r2):
    async def chunks():
        yield b"x"

    for value in (ReadableStream.from_iterable([b"x"]), chunks()):
        with pytest.raises(JsException, match="Provided readable stream must have a known length"):
            await r2.put("key", value)


async def test_conditions_and_ranges_in_both_forms(r2):
    stored = await r2.put("key", "0123456789")
    request_headers = HTTPMessage()
    request_headers["If-None-Match"] = stored.httpEtag
    request_headers["Range"] = "bytes=2-4"
    for headers in (request_headers, dict(request_headers), Headers(dict(request_headers))):
        found = await r2.get("key", onlyIf=headers)
        assert not hasattr(found, "body")
        found = await r2.get("key", {"range": headers})
        assert await found.text() == "234"
        assert found.range == {"offset": 2, "length": 3}
    assert not hasattr(await r2.get("key", only_if={"etag_does_not_match": stored.etag}), "body")
    assert await (await r2.get("key", range={"suffix": 2})).text() == "89"
    assert await (await r2.get("key", onlyIf={"uploadedAfter": LONG_AGO})).text() == "0123456789"
    assert not hasattr(await r2.get("key", onlyIf={"uploadedBefore": LONG_AGO}), "body")
    assert await r2.put("key", "new", onlyIf={"etagMatches": "other"}) is None
    with pytest.raises(ValueError, match="Starting offset"):
        await r2.get("key", range={"offset": -1})


async def test_http_metadata_is_written_into_headers(r2):
    expiry = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    await r2.put("key", "", httpMetadata={**TYPE, "cacheControl": "no-store", "cacheExpiry": expiry})
    head = await r2.head("key")
    plain, raw, message = {"content-type": "x/y", "Other": "1"}, Headers({"content-type": "x/y"}), HTTPMessage()
    message["Content-Type"] = "x/y"
    for headers in (plain, raw, message):
        head.writeHttpMetadata(headers)
    expected = {
        "Content-Type": "text/plain",
        "Cache-Control": "no-store",
        "Expires": "Wed, 02 Jan 2030 03:04:05 GMT",
    }
    assert plain == {"Other": "1", **expected}
    assert dict(message.items()) == expected
    assert raw.to_py() == {name.lower(): value for name, value in expected.items()}
    await r2.put("copy", "", httpMetadata=raw, onlyIf=JSNULL)
    assert (await r2.head("copy")).httpMetadata == head.httpMetadata
    assert head.httpMetadata.cacheExpiry == expiry.replace(tzinfo=None)


async def test_times_are_naive_and_have_javascript_s_methods(r2):
    uploaded = (await r2.put("key", "")).uploaded
    assert uploaded.tzinfo is None
    assert abs(uploaded.getTime() / 1000 - datetime.now(UTC).timestamp()) < 60
    assert uploaded.toISOString() == uploaded.isoformat(timespec="milliseconds") + "Z"
    assert type(uploaded.to_py()) is datetime


async def test_list(r2):
    for key in ("a", "b/1", "b/2", "c"):
        await r2.put(key, key, httpMetadata=TYPE, customMetadata={"number": 5, "on": True})
    page = await r2.list(limit=2, delimiter="/")
    assert [entry.key for entry in page.objects] == ["a"]
    assert page["delimitedPrefixes"] == page.delimited_prefixes == ["b/"]
    assert page.truncated
    rest = await r2.list({"cursor": page.cursor, "include": ["http_metadata", "customMetadata"]})
    assert [entry["key"] for entry in rest.objects] == ["c"]
    assert "cursor" not in rest
    assert rest.objects[0].customMetadata == {"number": "5", "on": "true"}
    headers = {}
    rest.objects[0].write_http_metadata(headers)
    assert headers == {"Content-Type": "text/plain"}
    with pytest.raises(JsException, match=r"HTTP metadata unknown for key `a`\. Did you forget to add 'httpMetadata'"):
        page.objects[0].writeHttpMetadata(headers)
    await r2.delete(["a", "c"])
    assert [entry.key for entry in (await r2.list(prefix="")).objects] == ["b/1", "b/2"]


async def test_multipart(r2):
    upload = await r2.createMultipartUpload("key", httpMetadata=TYPE)
    assert upload.upload_id == upload["uploadId"]
    first = await upload.uploadPart(1, b"x" * 5 * 1024 * 1024)
    resumed = r2.resume_multipart_upload("key", upload.uploadId)
    second = await resumed.upload_part(2, "end")
    stored = await resumed.complete([first, {"part_number": 2, "etag": second.etag}])
    assert stored.size == 5 * 1024 * 1024 + 3
    assert stored.etag.endswith("-2")
    assert (await r2.head("key")).httpMetadata == TYPE
    other = await r2.create_multipart_upload("key")
    await other.abort()
    with pytest.raises(JsException, match="10024"):
        await other.complete([])


async def test_checksums(r2):
    stored = await r2.put("key", "text", sha256=memoryview(hashlib.sha256(b"text").digest()))
    assert stored.checksums.toJSON()["sha256"] == hashlib.sha256(b"text").hexdigest()
    with pytest.raises(JsException, match="10037"):
        await r2.put("key", "text", md5="0" * 32)


async def test_objects_stay_in_the_worker(r2):
    stored = await r2.put("key", "")
    with pytest.raises(JsException, match='Could not serialize object of type "HeadResult"'):
        stored._tenantry_value([])
    with pytest.raises(AttributeError):
        _ = stored.nothing
    with pytest.raises(KeyError):
        stored["nothing"]
    assert repr(r2) == "[object R2Bucket]"
    with pytest.raises(JsException, match=r"An R2 bucket binding cannot be serialized\.$"):
        r2._tenantry_value([])


async def test_errors_are_the_host_s(r2):
    with pytest.raises(JsException) as caught:
        await r2.get("x" * 2000)
    assert str(caught.value) == "Error: get: The specified object name is not valid. (10020)"
    with pytest.raises(TypeError):
        await r2.get(None)
