"""KV over REST: namespaces and what lies in them, in Cloudflare's shapes, whatever the keys and bodies."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from litestar.exceptions import LitestarException

from tenantry.control import limits
from tenantry.services.kv.limits import VALUE_BYTES_MAX

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    "a",
    "a/b",
    "a//b",
    "/a",
    "a/",
    "/",
    "//",
    "...",
    "../x",
    "a/../b",
    "/etc/passwd",
    "%2e%2e",
    "a%2Fb",
    "a?b#c",
    "a+b c",
    "a\x00b",
    "\n",
    "\u202eabc",
    "é",
    "\U0001f600",
    "values/x",
    "k" * 512,
    "\U0010ffff" * 128,
]


class Kv:
    """One namespace, over HTTP."""

    def __init__(self, control: Any, namespace: str) -> None:
        self.control = control
        self.id = namespace

    async def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        response: httpx.Response = await self.control.call(
            method, f"/storage/kv/namespaces/{self.id}{path}", **arguments
        )
        return response

    def scope(self, method: str, path: str) -> dict[str, Any]:
        """For clients that do what no HTTP client of ours would."""
        path = f"{self.control.path}/storage/kv/namespaces/{self.id}{path}"
        return {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {self.control.token}".encode())],
        }

    async def put(self, key: str, body: Any, query: str = "", **arguments: Any) -> httpx.Response:
        return await self.call("PUT", f"/values/{quote(key, safe='')}{query}", content=body, **arguments)

    async def get(self, key: str) -> httpx.Response:
        return await self.call("GET", f"/values/{quote(key, safe='')}")

    async def names(self, query: str = "") -> list[str]:
        response = await self.call("GET", f"/keys?{query}")
        return [key["name"] for key in response.json()["result"]]


@pytest_asyncio.fixture(loop_scope="module")
async def kv(shared_control: Any) -> Kv:
    return await another(shared_control)


async def another(control: Any) -> Kv:
    made = await control.call("POST", "/storage/kv/namespaces", json={"title": str(uuid.uuid4())})
    return Kv(control, made.json()["result"]["id"])


def check(response: httpx.Response, status: int, code: int) -> str:
    body = response.json()
    assert (response.status_code, body["errors"][0]["code"]) == (status, code), response.text
    assert (body["success"], body["result"]) == (False, None)
    return str(body["errors"][0]["message"])


class TestNamespaces:
    async def test_one_is_shown_renamed_and_deleted(self, kv: Kv) -> None:
        view = (await kv.call("GET", "")).json()["result"]
        assert view == {"id": kv.id, "title": view["title"], "supports_url_encoding": True}
        new = f"new {view['title']}"

        renamed = await kv.call("PUT", "", json={"title": new})

        assert renamed.json()["result"] == {**view, "title": new}
        assert (await kv.call("GET", "")).json()["result"]["title"] == new
        assert (await kv.call("DELETE", "")).json() == {"result": None, "success": True, "errors": [], "messages": []}
        assert check(await kv.call("GET", ""), 404, 10013) == "get namespace: 'namespace not found'"
        assert check(await kv.call("DELETE", ""), 404, 10013) == "remove namespace: 'namespace not found'"

    async def test_a_title_is_free_again_after_a_rename_and_a_delete(self, kv: Kv) -> None:
        other = await another(kv.control)
        title = (await kv.call("GET", "")).json()["result"]["title"]
        message = check(await other.call("PUT", "", json={"title": title}), 400, 10014)
        assert message == "rename namespace: 'a namespace with this account ID and title already exists'"
        await kv.call("PUT", "", json={"title": f"new {title}"})
        assert (await other.call("PUT", "", json={"title": title})).status_code == 200
        await other.call("DELETE", "")
        again = await kv.control.call("POST", "/storage/kv/namespaces", json={"title": title})
        assert again.json()["result"]["id"] not in (kv.id, other.id), "no id is used twice"

    async def test_deleting_one_removes_its_bytes_and_what_is_bound_to_it_is_refused(self, kv: Kv) -> None:
        await kv.put("key", b"secret of a customer" * 10_000)
        assert any(b"secret of" in path.read_bytes() for path in kv.control.data.rglob("*") if path.is_file())

        await kv.call("DELETE", "")

        assert not any(b"secret of" in path.read_bytes() for path in kv.control.data.rglob("*") if path.is_file())
        for method, path in (("GET", "/values/key"), ("PUT", "/values/key"), ("GET", "/keys")):
            check(await kv.call(method, path), 404, 10013)

    @pytest.mark.parametrize("namespace", ["undefined", "0" * 31, "Z" * 32, "..", "a.b", "é", "0" * 33])
    async def test_an_id_that_is_none_is_refused(self, kv: Kv, namespace: str) -> None:
        broken = Kv(kv.control, quote(namespace))
        if namespace == "..":
            broken.id = "%2E%2E"
        for method, path in (("GET", "/values/key"), ("GET", ""), ("PUT", "/bulk"), ("GET", "/keys"), ("DELETE", "")):
            message = check(await broken.call(method, path, content=b"[]" if method == "PUT" else None), 400, 10011)
            assert f"invalid UUID length: {len(namespace)}" in message

    async def test_what_is_not_there_is_not_found_by_any_call(self, kv: Kv) -> None:
        absent = Kv(kv.control, "0" * 32)
        for method, path, body, action in (
            ("GET", "", None, "get namespace"),
            ("PUT", "", b'{"title": "t"}', "rename namespace"),
            ("DELETE", "", None, "remove namespace"),
            ("GET", "/values/k", None, "get"),
            ("PUT", "/values/k", b"v", "put"),
            ("DELETE", "/values/k", None, "remove key"),
            ("GET", "/metadata/k", None, "get metadata"),
            ("GET", "/keys", None, "list keys"),
            ("PUT", "/bulk", b"[]", "put bulk"),
            ("DELETE", "/bulk", b"[]", "delete bulk"),
            ("POST", "/bulk/delete", b"[]", "delete bulk"),
            ("POST", "/bulk/get", b'{"keys": ["k"]}', "get bulk"),
        ):
            assert (
                check(await absent.call(method, path, content=body), 404, 10013) == f"{action}: 'namespace not found'"
            )

    async def test_another_accounts_namespace_is_not_there(self, kv: Kv) -> None:
        path = f"/client/v4/accounts/{'f' * 32}/storage/kv/namespaces/{kv.id}"
        for method, tail in (("GET", ""), ("GET", "/values/k"), ("PUT", "/values/k"), ("PUT", "/bulk"), ("DELETE", "")):
            check(await kv.control.http.request(method, path + tail, content=b"x"), 404, 7003)
        assert (await kv.call("GET", "")).status_code == 200


class TestKeys:
    @pytest.mark.parametrize("key", KEYS)
    async def test_any_key_is_stored_and_found_exactly(self, kv: Kv, key: str) -> None:
        value = f"value of {key!a}".encode()

        assert (await kv.put(key, value)).status_code == 200

        assert (await kv.get(key)).content == value
        assert await kv.names() == [key]
        assert (await kv.call("GET", f"/metadata/{quote(key, safe='')}")).json()["result"] is None
        assert (await kv.call("DELETE", f"/values/{quote(key, safe='')}")).json()["result"] is None
        check(await kv.get(key), 404, 10009)

    async def test_a_path_is_decoded_once_whether_slashes_are_encoded_or_not(self, kv: Kv) -> None:
        await kv.call("PUT", "/values/a/b%20c", content=b"SDK 4.3")
        assert (await kv.call("GET", "/values/a%2Fb%20c")).content == b"SDK 4.3"
        await kv.call("PUT", "/values/a%252Fb", content=b"encoded")
        assert await kv.names() == ["a%2Fb", "a/b c"]

    async def test_a_double_slash_after_the_base_changes_no_key(self, kv: Kv) -> None:
        path = kv.control.path.replace("/v4/", "/v4//") + f"/storage/kv/namespaces/{kv.id}/values//a//"
        await kv.control.http.request("PUT", path, content=b"x")
        assert await kv.names() == ["/a//"]

    @pytest.mark.parametrize(
        ("path", "status", "code", "message"),
        [
            ("", 400, 10042, "'Key names must not be empty'"),
            ("%2E", 400, 10042, "'Illegal key name \".\". Please use a different name.'"),
            ("%2e%2E", 400, 10042, "'Illegal key name \"..\". Please use a different name.'"),
            ("%FF", 400, 10042, "'Could not URL-decode key name'"),
            ("%ED%A0%80", 400, 10042, "'Could not URL-decode key name'"),
            ("k" * 513, 414, 10030, "'UTF-8 encoded length of 513 exceeds key length limit of 512.'"),
            ("%C3%A9" * 257, 414, 10030, "'UTF-8 encoded length of 514 exceeds key length limit of 512.'"),
        ],
    )
    async def test_what_is_no_key_is_refused(self, kv: Kv, path: str, status: int, code: int, message: str) -> None:
        for method, action in (("GET", "get"), ("PUT", "put"), ("DELETE", "remove key")):
            assert check(await kv.call(method, f"/values/{path}"), status, code) == f"{action}: {message}"
        assert check(await kv.call("GET", f"/metadata/{path}"), status, code) == f"get metadata: {message}"
        assert await kv.names() == []


class TestValues:
    @pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 1_000_000])
    async def test_the_body_is_the_value_whatever_its_type(self, kv: Kv, size: int) -> None:
        value = bytes(index * 31 % 251 for index in range(size))
        for content_type in ("text/plain;charset=UTF-8", "application/json", "application/x-www-form-urlencoded", ""):
            put = await kv.put("key", value, headers={"Content-Type": content_type} if content_type else {})
            assert put.json() == {"result": None, "success": True, "errors": [], "messages": []}
            got = await kv.get("key")
            assert got.content == value
            assert got.headers["content-type"] == "application/octet-stream"
            assert got.headers["content-length"] == str(size)
            assert got.headers["x-content-type-options"] == "nosniff"
            assert "expiration" not in got.headers

    async def test_a_value_that_is_not_there_is_a_404_in_an_envelope(self, kv: Kv) -> None:
        assert check(await kv.get("key"), 404, 10009) == "get: 'key not found'"
        assert check(await kv.call("GET", "/metadata/key"), 404, 10009) == "get metadata: 'key not found'"
        assert (await kv.call("DELETE", "/values/key")).json()["success"] is True

    async def test_an_expiration_is_taken_from_the_query_and_shown_in_a_header(self, kv: Kv) -> None:
        now = int(time.time())
        await kv.put("key", b"v", f"?expiration={now + 1000}")
        assert (await kv.get("key")).headers["expiration"] == str(now + 1000)
        await kv.put("key", b"v" * 100_000, f"?expiration={now + 1000}&expiration_ttl=500")
        assert now + 500 <= int((await kv.get("key")).headers["expiration"]) <= now + 510
        [key] = (await kv.call("GET", "/keys")).json()["result"]
        assert now + 500 <= key["expiration"] <= now + 510
        await kv.put("key", b"v", "?expiration=&expiration_ttl=")
        assert "expiration" not in (await kv.get("key")).headers

    @pytest.mark.parametrize(
        ("query", "code", "words"),
        [
            ("expiration_ttl=59", 10034, "Invalid expiration_ttl of 59. Expiration TTL must be at least 60."),
            ("expiration_ttl=0", 10034, "Invalid expiration_ttl of 0. Please specify integer greater than 0."),
            ("expiration_ttl=-1", 10034, "Invalid expiration_ttl of -1. Please specify integer greater than 0."),
            ("expiration_ttl=soon", 10034, "Invalid expiration_ttl of soon."),
            ("expiration_ttl=1e3", 10034, "Invalid expiration_ttl of 1e3."),
            ("expiration=1000", 10033, "Invalid expiration of 1000. Please specify integer greater than the current"),
            ("expiration=%D9%A3", 10033, "Invalid expiration of"),
            ("expiration=253402300799", 10029, "Value out of range."),
            (f"expiration_ttl={'9' * 4000}", 10034, "Invalid expiration_ttl of 9999"),
        ],
    )
    async def test_an_expiration_that_is_none_is_refused(self, kv: Kv, query: str, code: int, words: str) -> None:
        assert words in check(await kv.put("key", b"v", f"?{query}"), 400, code)
        assert await kv.names() == []

    async def test_the_largest_value_and_one_byte_more(self, kv: Kv) -> None:
        async def chunks(size: int) -> AsyncIterator[bytes]:
            for at in range(0, size, 1_000_000):
                yield b"x" * min(1_000_000, size - at)

        for declared in (True, False):
            body = b"x" * (VALUE_BYTES_MAX + 1) if declared else chunks(VALUE_BYTES_MAX + 1)
            message = check(await kv.put("key", body), 413, 10024)
            assert message == "put: 'Value length of 26214401 exceeds limit of 26214400.'"
        assert await kv.names() == []
        assert (await kv.put("key", chunks(VALUE_BYTES_MAX))).status_code == 200
        assert len((await kv.get("key")).content) == VALUE_BYTES_MAX

    async def test_a_client_that_leaves_changes_nothing(self, kv: Kv) -> None:
        await kv.put("key", b"before")
        events = [
            {"type": "http.request", "body": b"x" * 300_000, "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return events.pop(0)

        async def send(event: Any) -> None:
            sent.append(event)

        await kv.control.app(kv.scope("PUT", "/values/key"), receive, send)
        assert sent[0]["status"] == 400
        assert (await kv.get("key")).content == b"before"

    async def test_a_client_that_leaves_a_download_leaves_nothing_open(self, kv: Kv) -> None:
        await kv.put("key", b"x" * 1_000_000)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(event: Any) -> None:
            if event["type"] == "http.response.body":
                raise ConnectionResetError

        with pytest.raises(LitestarException):
            await kv.control.app(kv.scope("GET", "/values/key"), receive, send)
        engine = kv.control.services.by_name["kv"]._engine
        assert engine._handles[kv.id].users == 0


class TestForms:
    async def put(self, kv: Kv, *parts: tuple[str, Any], **arguments: Any) -> httpx.Response:
        return await kv.call("PUT", "/values/key", files=list(parts), **arguments)

    @pytest.mark.parametrize("size", [0, 5, 64 * 1024, 64 * 1024 + 1, 700_000])
    @pytest.mark.parametrize("metadata_first", [False, True])
    async def test_a_value_with_metadata_before_or_after_it(self, kv: Kv, size: int, metadata_first: bool) -> None:
        value = bytes(index * 31 % 251 for index in range(size))
        parts = [
            ("value", ("upload", value, "application/octet-stream")),
            ("metadata", (None, '{"a": [1, "é"]}', "application/json")),
        ]
        response = await self.put(kv, *(reversed(parts) if metadata_first else parts))

        assert response.json()["success"] is True
        assert (await kv.get("key")).content == value
        assert (await kv.call("GET", "/metadata/key")).json()["result"] == {"a": [1, "é"]}
        assert (await kv.call("GET", "/keys")).json()["result"] == [{"name": "key", "metadata": {"a": [1, "é"]}}]

    async def test_a_plain_field_and_other_parts_as_wrangler_and_curl_send_them(self, kv: Kv) -> None:
        await self.put(kv, ("value", (None, "text")), ("metadata", (None, "7")), ("other", (None, "x" * 100_000)))
        assert (await kv.get("key")).content == b"text"
        assert (await kv.call("GET", "/metadata/key")).json()["result"] == 7

    async def test_without_metadata_there_is_none(self, kv: Kv) -> None:
        await self.put(kv, ("value", (None, "1")), ("metadata", (None, "{}")))
        await self.put(kv, ("value", (None, "2")))
        assert (await kv.call("GET", "/metadata/key")).json()["result"] is None

    @pytest.mark.parametrize(
        ("parts", "status", "code", "words"),
        [
            ([("metadata", (None, "{}"))], 400, 10012, "no part named value"),
            ([("value", (None, "1")), ("value", (None, "2"))], 400, 10012, "two parts named value"),
            ([("value", (None, "1")), ("metadata", (None, "a")), ("metadata", (None, "b"))], 400, 10012, "two parts"),
            ([("value", (None, "1")), ("metadata", (None, "{"))], 400, 10047, "Metadata must be valid JSON."),
            ([("value", (None, "1")), ("metadata", (None, b"\xff"))], 400, 10012, "not UTF-8"),
            ([("value", (None, "1")), ("metadata", (None, f'"{"m" * 1023}"'))], 400, 10047, "Metadata length of 1025"),
            ([("value", (None, "1")), ("metadata", (None, "m" * 10_000_000))], 413, 10012, "too long"),
            ([(f"p{index}", (None, "")) for index in range(50)], 400, 10012, "malformed"),
            ([("value", (None, b"x" * (VALUE_BYTES_MAX + 1)))], 413, 10024, "Value length of 26214401"),
        ],
        ids=range(9),
    )
    async def test_a_form_that_is_wrong_changes_nothing(
        self, kv: Kv, parts: list[Any], status: int, code: int, words: str
    ) -> None:
        await kv.put("key", b"before")
        assert words in check(await self.put(kv, *parts), status, code)
        assert (await kv.get("key")).content == b"before"

    async def test_a_form_cut_short_changes_nothing(self, kv: Kv) -> None:
        await kv.put("key", b"before")
        body = b'--xyz\r\nContent-Disposition: form-data; name="value"\r\n\r\n' + b"v" * 100_000
        for head, content in (
            ("multipart/form-data; boundary=xyz", body),
            ("multipart/form-data; boundary=xyz", b""),
            ("multipart/form-data", body),
        ):
            response = await kv.put("key", content, headers={"Content-Type": head})
            check(response, 400, 10012)
        assert (await kv.get("key")).content == b"before"

    async def test_form_data_is_a_value_where_the_type_says_nothing_of_it(self, kv: Kv) -> None:
        document = b'{"metadata": {"a": 1}, "value": "v"}'
        await kv.put("key", document, headers={"Content-Type": "application/json"})
        assert (await kv.get("key")).content == document


class TestListing:
    async def test_pages_by_cursor_in_byte_order(self, kv: Kv) -> None:
        names = sorted({*KEYS, *(f"p{index:03}" for index in range(30))}, key=str.encode)
        await kv.call("PUT", "/bulk", json=[{"key": name, "value": ""} for name in names])

        seen: list[str] = []
        cursor = ""
        while True:
            page = (await kv.call("GET", "/keys", params={"limit": 10, "cursor": cursor, "prefix": ""})).json()
            seen += [key["name"] for key in page["result"]]
            assert page["result_info"]["count"] == len(page["result"])
            cursor = page["result_info"]["cursor"]
            if not cursor:
                break
            assert len(page["result"]) == 10
        assert seen == names
        assert await kv.names("prefix=p00") == [f"p{index:03}" for index in range(10)]
        assert await kv.names("prefix=%2F") == [name for name in names if name.startswith("/")]

    @pytest.mark.parametrize("limit", ["9", "0", "-1", "1001", "x", "1.5", "9" * 4000, "%D9%A3%D9%A3"])
    async def test_a_limit_out_of_range_is_refused(self, kv: Kv, limit: str) -> None:
        check(await kv.call("GET", f"/keys?limit={limit}"), 400, 10028)

    async def test_a_cursor_of_another_namespace_or_prefix_is_refused(self, kv: Kv) -> None:
        other = await another(kv.control)
        pairs = [{"key": f"a{index:02}", "value": ""} for index in range(20)]
        for each in (kv, other):
            await each.call("PUT", "/bulk", json=pairs)
        cursor = (await kv.call("GET", "/keys?limit=10&prefix=a")).json()["result_info"]["cursor"]
        assert len(await kv.names(f"prefix=a&cursor={cursor}")) == 10
        for response in (
            await other.call("GET", f"/keys?prefix=a&cursor={cursor}"),
            await kv.call("GET", f"/keys?prefix=&cursor={cursor}"),
            await kv.call("GET", f"/keys?prefix=a&cursor={cursor[:-1]}"),
            await kv.call("GET", f"/keys?cursor={'A' * 30_000}"),
            await kv.call("GET", "/keys?cursor=%FF"),
        ):
            assert "Invalid cursor" in check(response, 400, 10041)

    async def test_a_prefix_that_is_too_long_is_refused(self, kv: Kv) -> None:
        check(await kv.call("GET", f"/keys?prefix={'p' * 513}"), 414, 10030)


class TestBulk:
    async def test_pairs_are_put_with_all_their_options(self, kv: Kv) -> None:
        now = int(time.time())
        pairs: list[dict[str, Any]] = [
            {"key": "text", "value": "é"},
            {"key": "binary", "value": base64.b64encode(b"\x00\xff").decode(), "base64": True},
            {"key": "big", "value": "x" * 300_000, "metadata": {"m": 1}, "expiration_ttl": 500},
            {"key": "until", "value": "", "expiration": now + 1000.0, "metadata": None, "unknown": 1},
            {"key": "twice", "value": "first"},
            {"key": "twice", "value": "second"},
        ]
        response = await kv.call("PUT", "/bulk", content=json.dumps(pairs), headers={"Content-Type": "text/plain"})

        assert response.json()["result"] == {"successful_key_count": 6, "unsuccessful_keys": []}
        assert (await kv.get("text")).content == "é".encode()
        assert (await kv.get("binary")).content == b"\x00\xff"
        assert (await kv.get("twice")).content == b"second"
        big = await kv.get("big")
        assert (len(big.content), int(big.headers["expiration"]) - now) in {(300_000, 500 + late) for late in range(9)}
        assert (await kv.get("until")).headers["expiration"] == str(now + 1000)
        assert (await kv.call("GET", "/metadata/big")).json()["result"] == {"m": 1}
        assert (await kv.call("GET", "/metadata/until")).json()["result"] is None

    async def test_ten_thousand_are_the_most(self, kv: Kv) -> None:
        pairs = [{"key": f"{index:05}", "value": str(index)} for index in range(limits.KV_BULK_ITEMS_MAX + 1)]
        assert "at most 10000" in check(await kv.call("PUT", "/bulk", json=pairs), 400, 10029)
        assert await kv.names() == []
        result = (await kv.call("PUT", "/bulk", json=pairs[:-1])).json()["result"]
        assert result == {"successful_key_count": 10_000, "unsuccessful_keys": []}
        keys = [pair["key"] for pair in pairs]
        check(await kv.call("DELETE", "/bulk", content=json.dumps(keys)), 400, 10029)
        result = (await kv.call("DELETE", "/bulk", content=json.dumps(keys[:-1]))).json()["result"]
        assert result == {"successful_key_count": 10_000, "unsuccessful_keys": []}
        assert await kv.names() == []

    @pytest.mark.parametrize(
        ("pair", "status", "code", "words"),
        [
            ({"key": "", "value": ""}, 400, 10042, "Key names must not be empty"),
            ({"key": "..", "value": ""}, 400, 10042, "Illegal key name"),
            ({"key": "k" * 513, "value": ""}, 414, 10030, "UTF-8 encoded length of 513"),
            ({"key": "k", "value": "", "expiration_ttl": 59}, 400, 10034, "at least 60"),
            ({"key": "k", "value": "", "expiration": 1}, 400, 10033, "Invalid expiration of 1."),
            ({"key": "k", "value": "", "metadata": "m" * 1023}, 400, 10047, "Metadata length of 1025"),
            ({"key": "k", "value": "?", "base64": True}, 400, 10012, "not base64"),
            ({"key": "k", "value": "x" * (VALUE_BYTES_MAX + 1)}, 413, 10024, "Value length of 26214401"),
            ({"key": "k", "value": 1}, 400, 10029, "could not parse the request body"),
            ({"key": "k"}, 400, 10029, "could not parse the request body"),
            ({"value": "v"}, 400, 10029, "could not parse the request body"),
            ("k", 400, 10029, "could not parse the request body"),
        ],
        ids=range(12),
    )
    async def test_one_wrong_pair_and_nothing_is_written(
        self, kv: Kv, pair: Any, status: int, code: int, words: str
    ) -> None:
        pairs = [{"key": "before", "value": "v"}, pair]
        assert words in check(await kv.call("PUT", "/bulk", json=pairs), status, code)
        assert await kv.names() == []

    async def test_bodies_that_are_none(self, kv: Kv) -> None:
        for method, path in (("PUT", "/bulk"), ("DELETE", "/bulk"), ("POST", "/bulk/delete"), ("POST", "/bulk/get")):
            for body in (b"", b"{", b"null", b"1", b"\xff", b'["\\ud800"]', b"[" * 100_000, b"[[]]"):
                check(await kv.call(method, path, content=body), 400, 10029)

    async def test_a_body_above_100_mb_is_refused_before_it_is_read(self, kv: Kv) -> None:
        headers = {"Content-Length": str(limits.KV_BULK_BODY_BYTES_MAX + 1)}
        check(await kv.call("PUT", "/bulk", content=b"[]", headers=headers), 413, 10024)

    @pytest.mark.parametrize(("method", "path"), [("DELETE", "/bulk"), ("POST", "/bulk/delete")])
    async def test_keys_are_deleted_by_both_spellings(self, kv: Kv, method: str, path: str) -> None:
        await kv.call("PUT", "/bulk", json=[{"key": key, "value": ""} for key in "abc"])
        result = (await kv.call(method, path, content=json.dumps(["a", "c", "a", "x"]))).json()["result"]
        assert result == {"successful_key_count": 4, "unsuccessful_keys": []}
        assert await kv.names() == ["b"]
        check(await kv.call(method, path, content=json.dumps(["b", ""])), 400, 10042)
        assert await kv.names() == ["b"]

    async def test_values_are_got_as_text_or_json_with_or_without_metadata(self, kv: Kv) -> None:
        now = int(time.time())
        pairs = [
            {"key": "a", "value": '{"n": 1}', "metadata": {"m": 1}, "expiration": now + 1000},
            {"key": "b", "value": json.dumps("x" * 100_000)},
        ]
        await kv.call("PUT", "/bulk", json=pairs)

        async def get(**body: Any) -> Any:
            return (await kv.call("POST", "/bulk/get", json=body)).json()["result"]["values"]

        assert await get(keys=["b", "absent", "a", "a"]) == {
            "b": pairs[1]["value"],
            "absent": None,
            "a": '{"n": 1}',
        }
        assert await get(keys=["a", "b"], type="json") == {"a": {"n": 1}, "b": "x" * 100_000}
        assert await get(keys=["a", "b", "absent"], type="json", withMetadata=True) == {
            "a": {"value": {"n": 1}, "metadata": {"m": 1}, "expiration": now + 1000},
            "b": {"value": "x" * 100_000, "metadata": None},
            "absent": None,
        }

    async def test_a_bulk_get_has_the_limits_of_the_binding(self, kv: Kv) -> None:
        await kv.put("text", b"no json")

        async def refused(**body: Any) -> str:
            return check(await kv.call("POST", "/bulk/get", json=body), 400, 10029)

        assert "maximum of 100 keys" in await refused(keys=[str(index) for index in range(101)])
        assert "minimum of 1 key" in await refused(keys=[])
        assert '"xml" is not a valid type' in await refused(keys=["k"], type="xml")
        assert "non-json value" in await refused(keys=["text"], type="json")

    async def test_several_large_bodies_at_once_are_all_done(self, kv: Kv) -> None:
        async def one(index: int) -> int:
            pairs = [{"key": f"{index}-{part}", "value": "x" * 700_000} for part in range(3)]
            response = await kv.call("PUT", "/bulk", json=pairs)
            return int(response.json()["result"]["successful_key_count"])

        assert await asyncio.gather(*(one(index) for index in range(5))) == [3] * 5
        assert len(await kv.names()) == 15
