"""R2 over REST: buckets, objects, settings, as curl would ask for them."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest

BUCKETS = "/r2/buckets"
FILES = f"{BUCKETS}/files"


@pytest.fixture
async def files(control: Any) -> Any:
    await control.call("POST", BUCKETS, json={"name": "files"})
    return control


def error_of(response: Any) -> tuple[int, int]:
    return response.status_code, response.json()["errors"][0]["code"]


async def raw(control: Any, method: str, path: str, **arguments: Any) -> Any:
    """A request whose path goes out as it is: httpx would mend some."""
    url = control.http.base_url.copy_with(raw_path=(control.path + path).encode())
    return await control.http.request(method, url, **arguments)


async def test_a_bucket_is_made_looked_at_changed_and_deleted(control: Any) -> None:
    body = {"name": "files", "locationHint": "weur", "storageClass": "InfrequentAccess"}
    made = (await control.call("POST", BUCKETS, json=body)).json()["result"]
    assert made == {**made, "name": "files", "location": "WEUR", "storage_class": "InfrequentAccess"}
    assert "jurisdiction" not in made
    assert (await control.call("GET", FILES)).json()["result"] == made

    stored = (await control.call("PUT", f"{FILES}/objects/a", content=b"x")).json()["result"]
    assert stored["storage_class"] == "InfrequentAccess"
    changed = await control.call("PATCH", FILES, headers={"cf-r2-storage-class": "Standard"})
    assert changed.json()["result"] == {**made, "storage_class": "Standard"}
    stored = (await control.call("PUT", f"{FILES}/objects/b", content=b"x")).json()["result"]
    assert stored["storage_class"] == "Standard"

    assert error_of(await control.call("DELETE", FILES)) == (400, 10008)
    await control.call("DELETE", f"{FILES}/objects", json=["a", "b"])
    assert (await control.call("DELETE", FILES)).json() == {"result": {}, "success": True, "errors": [], "messages": []}
    for method in ("GET", "DELETE", "PATCH"):
        assert error_of(await control.call(method, FILES)) == (404, 10006)
    assert not (control.data / "accounts" / control.account / "r2" / "files").exists()


async def test_a_bucket_of_a_name_that_was_deleted_begins_empty_with_default_settings(files: Any) -> None:
    await files.call("PUT", f"{FILES}/objects/k", content=b"old")
    await files.call("PUT", f"{FILES}/cors", json={"rules": [{"allowed": {"origins": ["*"], "methods": ["GET"]}}]})
    await files.call("DELETE", f"{FILES}/objects/k")
    await files.call("DELETE", FILES)
    await files.call("POST", BUCKETS, json={"name": "files"})
    assert (await files.call("GET", f"{FILES}/objects")).json()["result"] == []
    assert error_of(await files.call("GET", f"{FILES}/cors")) == (404, 10059)


async def test_a_bucket_that_is_not_there(control: Any) -> None:
    await control.call("POST", BUCKETS, json={"name": "other"})
    for method, path in (
        ("GET", ""),
        ("GET", "/objects"),
        ("GET", "/objects/k"),
        ("PUT", "/objects/k"),
        ("DELETE", "/objects/k"),
        ("GET", "/cors"),
        ("PUT", "/lifecycle"),
    ):
        body = {"content": b'{"rules": []}'} if method == "PUT" else {}
        assert error_of(await control.call(method, f"{BUCKETS}/files{path}", **body)) == (404, 10006), path
        # Another account's bucket is not there either.
        response = await control.http.request(method, f"/client/v4/accounts/{'0' * 32}/r2/buckets/other{path}", **body)
        assert error_of(response) == (404, 7003), path


async def test_a_jurisdiction_is_part_of_the_name(control: Any) -> None:
    eu = {"cf-r2-jurisdiction": "eu"}
    made = (await control.call("POST", BUCKETS, json={"name": "files"}, headers=eu)).json()["result"]
    assert made["jurisdiction"] == "eu"
    assert error_of(await control.call("GET", FILES)) == (404, 10006)
    assert (await control.call("GET", FILES, headers=eu)).status_code == 200
    assert (await control.call("PUT", f"{FILES}/objects/k", content=b"x", headers=eu)).status_code == 200
    assert error_of(await control.call("GET", FILES, headers={"cf-r2-jurisdiction": "moon"})) == (400, 10001)


async def test_an_object_with_its_headers(files: Any) -> None:
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Disposition": "attachment",
        "Content-Encoding": "identity",
        "Content-Language": "de",
        "Cache-Control": "max-age=60",
        "Expires": "Thu, 01 Jan 2032 00:00:00 GMT",
        "cf-r2-storage-class": "InfrequentAccess",
        "cf-r2-custom-metadata": json.dumps({"name": "värde"}),
        "cf-r2-data-catalog-check": "true",
    }
    put = (await files.call("PUT", f"{FILES}/objects/dir/a.html", content=b"<p>", headers=headers)).json()["result"]
    etag = hashlib.md5(b"<p>").hexdigest()
    assert put == {**put, "key": "dir/a.html", "etag": etag, "size": "3", "storage_class": "InfrequentAccess"}
    assert re.fullmatch(r"[0-9a-f]{32}", put["version"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", put["uploaded"])

    got = await files.call("GET", f"{FILES}/objects/dir/a.html")
    assert (got.status_code, got.content) == (200, b"<p>")
    for name in ("Content-Type", "Content-Disposition", "Content-Language", "Cache-Control", "Expires"):
        assert got.headers[name] == headers[name]
    assert got.headers["etag"] == f'"{etag}"'
    assert got.headers["content-length"] == "3"

    head = await files.call("GET", f"{FILES}/objects/dir/a.html", headers={"cf-metadata-only": "true"})
    (listed,) = (await files.call("GET", f"{FILES}/objects")).json()["result"]
    assert head.json()["result"] == listed
    assert listed == {
        "key": "dir/a.html",
        "etag": etag,
        "size": 3,
        "last_modified": put["uploaded"],
        "http_metadata": {
            "contentType": "text/html; charset=utf-8",
            "contentDisposition": "attachment",
            "contentEncoding": "identity",
            "contentLanguage": "de",
            "cacheControl": "max-age=60",
            "cacheExpiry": "2032-01-01T00:00:00.000Z",
        },
        "custom_metadata": {"name": "värde"},
        "storage_class": "InfrequentAccess",
        "ssec": False,
    }


async def test_a_key_is_the_rest_of_the_path_decoded_once(files: Any) -> None:
    for path, key in (
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a//b/", "a//b/"),
        ("/", "/"),
        ("%2F", "/"),
        ("a%20b%C3%A4", "a bä"),
        ("a+b", "a+b"),
        ("..%2F..%2Fetc", "../../etc"),
        ("objects/objects", "objects/objects"),
        ("a%00b", "a\0b"),
    ):
        put = await raw(files, "PUT", f"{FILES}/objects/{path}", content=key.encode())
        assert put.json()["result"]["key"] == key
        assert [entry["key"] for entry in (await files.call("GET", f"{FILES}/objects")).json()["result"]] == [key]
        assert (await raw(files, "GET", f"{FILES}/objects/{path}")).content == key.encode()
        assert (await raw(files, "DELETE", f"{FILES}/objects/{path}")).json()["result"] == {"key": key}
        assert (await files.call("GET", f"{FILES}/objects")).json()["result"] == []


async def test_what_is_not_there_or_is_no_key(files: Any) -> None:
    assert error_of(await files.call("GET", f"{FILES}/objects/none")) == (404, 10007)
    assert (await files.call("DELETE", f"{FILES}/objects/none")).json()["result"] == {"key": "none"}
    assert error_of(await raw(files, "PUT", f"{FILES}/objects/%FF", content=b"")) == (400, 10020)
    assert error_of(await files.call("PUT", f"{FILES}/objects/{'x' * 1025}", content=b"")) == (400, 10020)
    assert error_of(await files.call("PUT", f"{FILES}/objects", content=b"")) == (400, 10020)


async def test_conditions_and_ranges(files: Any) -> None:
    await files.call("PUT", f"{FILES}/objects/k", content=b"0123456789")
    etag = f'"{hashlib.md5(b"0123456789").hexdigest()}"'

    async def get(**headers: str) -> tuple[int, bytes]:
        response = await files.call(
            "GET", f"{FILES}/objects/k", headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        assert response.headers["etag"] == etag
        return response.status_code, response.content if response.status_code < 400 else b""

    assert await get(If_None_Match=etag) == (304, b"")
    assert await get(If_None_Match='"x"') == (200, b"0123456789")
    assert await get(If_Modified_Since="Thu, 01 Jan 2099 00:00:00 GMT") == (304, b"")
    assert await get(If_Match='"x"') == (412, b"")
    assert await get(Range="bytes=2-4") == (206, b"234")
    assert await get(Range="bytes=-3") == (206, b"789")
    assert await get(Range="bytes=5-3") == (200, b"0123456789")
    response = await files.call("GET", f"{FILES}/objects/k", headers={"Range": "bytes=2-4"})
    assert response.headers["content-range"] == "bytes 2-4/10"


async def test_a_body_of_unknown_length(files: Any) -> None:
    for size in (0, 5, 70_000, 3_000_000):

        async def chunks(size: int = size) -> Any:
            for start in range(0, size, 9_999):
                yield b"x" * min(9_999, size - start)

        put = (await files.call("PUT", f"{FILES}/objects/k", content=chunks())).json()["result"]
        assert put["size"] == str(size)
        assert (await files.call("GET", f"{FILES}/objects/k")).content == b"x" * size


async def test_the_list_by_prefix_delimiter_and_cursor(files: Any) -> None:
    for key in ("a", "d/1", "d/2", "e/1", "z"):
        await files.call("PUT", f"{FILES}/objects/{key}", content=b"")

    async def page(**query: Any) -> tuple[list[str], dict[str, Any]]:
        answer = (await files.call("GET", f"{FILES}/objects", params=query)).json()
        return [entry["key"] for entry in answer["result"]], answer["result_info"]

    keys, info = await page(delimiter="/")
    assert (keys, info) == (["a", "z"], {"per_page": 1000, "is_truncated": False, "delimited": ["d/", "e/"]})
    assert (await page(prefix="d/"))[0] == ["d/1", "d/2"]
    assert (await page(start_after="d/2"))[0] == ["e/1", "z"]
    seen: list[str] = []
    cursor = ""
    while True:
        keys, info = await page(per_page=2, **({"cursor": cursor} if cursor else {}))
        seen += keys
        cursor = info.get("cursor", "")
        assert bool(cursor) == info["is_truncated"]
        if not cursor:
            break
    assert seen == ["a", "d/1", "d/2", "e/1", "z"]
    assert (await page(cursor="forged"))[0] == []


async def test_many_keys_are_deleted_at_once(files: Any) -> None:
    for key in ("a", "b", "c"):
        await files.call("PUT", f"{FILES}/objects/{key}", content=b"")
    answer = await files.call("DELETE", f"{FILES}/objects", json=["a", "c", "none"])
    assert answer.json()["result"] == [{"key": "a"}, {"key": "c"}, {"key": "none"}]
    assert [entry["key"] for entry in (await files.call("GET", f"{FILES}/objects")).json()["result"]] == ["b"]
    for body in (b"", b"{}", b"[1]", b'["k"', json.dumps(["k"] * 1001).encode()):
        assert error_of(await files.call("DELETE", f"{FILES}/objects", content=body)) == (400, 10001)


async def test_headers_of_a_put_that_cannot_be(files: Any) -> None:
    for headers in (
        {"cf-r2-custom-metadata": "{"},
        {"cf-r2-custom-metadata": '{"a": 1}'},
        {"cf-r2-custom-metadata": json.dumps({"a": "x" * 9000})},
        {"cf-r2-storage-class": "Glacier"},
    ):
        response = await files.call("PUT", f"{FILES}/objects/k", content=b"", headers=headers)
        assert response.status_code == 400, headers
    assert (await files.call("GET", f"{FILES}/objects")).json()["result"] == []


async def test_a_page_that_a_tenant_stored_is_none_of_the_control_planes(files: Any) -> None:
    html = {"Content-Type": "text/html"}
    await files.call("PUT", f"{FILES}/objects/k", content=b"<script>alert(1)</script>", headers=html)
    response = await files.call("GET", f"{FILES}/objects/k")
    assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_stored_metadata_never_becomes_a_header_of_its_own(files: Any) -> None:
    """Custom metadata may hold anything, and no header is made of it; HTTP metadata cannot hold a line end."""
    custom = json.dumps({"x\r\nSet-Cookie: a": "b\r\nSet-Cookie: c"})
    await files.call("PUT", f"{FILES}/objects/k", content=b"", headers={"cf-r2-custom-metadata": custom})
    response = await files.call("GET", f"{FILES}/objects/k")
    assert "set-cookie" not in response.headers
    (listed,) = (await files.call("GET", f"{FILES}/objects")).json()["result"]
    assert listed["custom_metadata"] == json.loads(custom)


CORS = {
    "rules": [
        {
            "id": "pages",
            "allowed": {"origins": ["https://example.com"], "methods": ["GET", "PUT"], "headers": ["content-type"]},
            "exposeHeaders": ["ETag"],
            "maxAgeSeconds": 3600,
        },
        {"allowed": {"origins": ["*"], "methods": ["HEAD"]}},
    ]
}


async def test_the_cors_policy(files: Any) -> None:
    assert error_of(await files.call("GET", f"{FILES}/cors")) == (404, 10059)
    assert (await files.call("PUT", f"{FILES}/cors", json=CORS)).json()["success"] is True
    assert (await files.call("GET", f"{FILES}/cors")).json()["result"] == CORS
    assert (await files.call("DELETE", f"{FILES}/cors")).json()["success"] is True
    assert error_of(await files.call("GET", f"{FILES}/cors")) == (404, 10059)


LIFECYCLE = {
    "rules": [
        {
            "id": "logs",
            "enabled": True,
            "conditions": {"prefix": "logs/"},
            "deleteObjectsTransition": {"condition": {"type": "Age", "maxAge": 86400}},
            "storageClassTransitions": [
                {"condition": {"type": "Age", "maxAge": 3600}, "storageClass": "InfrequentAccess"}
            ],
        },
        {
            "id": "uploads",
            "enabled": False,
            "conditions": {"prefix": ""},
            "abortMultipartUploadsTransition": {"condition": {"type": "Age", "maxAge": 60}},
        },
        {
            "id": "the end",
            "enabled": True,
            "conditions": {"prefix": "old/"},
            "deleteObjectsTransition": {"condition": {"type": "Date", "date": "2030-01-01T00:00:00Z"}},
        },
    ]
}


async def test_the_lifecycle(files: Any) -> None:
    (default,) = (await files.call("GET", f"{FILES}/lifecycle")).json()["result"]["rules"]
    assert default["abortMultipartUploadsTransition"] == {"condition": {"type": "Age", "maxAge": 7 * 86400}}
    assert (await files.call("PUT", f"{FILES}/lifecycle", json=LIFECYCLE)).json()["success"] is True
    assert (await files.call("GET", f"{FILES}/lifecycle")).json()["result"] == LIFECYCLE
    await files.call("DELETE", f"{FILES}/lifecycle")
    assert (await files.call("GET", f"{FILES}/lifecycle")).json()["result"] == {"rules": []}


async def test_settings_that_a_bucket_cannot_obey(files: Any) -> None:
    refused: list[tuple[str, Any, str]] = [
        ("cors", {"allowed": {"origins": [], "methods": ["GET"]}}, "at least one origin"),
        ("cors", {"allowed": {"origins": ["https://e.com/"], "methods": ["GET"]}}, "no origin"),
        ("cors", {"allowed": {"origins": ["*"], "methods": ["PATCH"]}}, "PATCH"),
        ("cors", {"allowed": {"origins": ["https://*.*"], "methods": ["GET"]}}, "more than one"),
        ("cors", {"allowed": {"origins": ["https://e\r\n.com"], "methods": ["GET"]}}, "printable"),
        ("cors", {"allowed": {"origins": ["*"], "methods": ["GET"]}, "maxAgeSeconds": 86_401}, "maxAgeSeconds"),
        ("lifecycle", {"id": "a", "enabled": True, "conditions": {"prefix": ""}}, "does nothing"),
        (
            "lifecycle",
            {"id": "", "deleteObjectsTransition": {"condition": {"type": "Age", "maxAge": 1}}},
            "needs an id",
        ),
        (
            "lifecycle",
            {"id": "a", "deleteObjectsTransition": {"condition": {"type": "Age", "maxAge": -1}}},
            "number of seconds",
        ),
        (
            "lifecycle",
            {"id": "a", "deleteObjectsTransition": {"condition": {"type": "Moon", "maxAge": 1}}},
            "Moon",
        ),
    ]
    for path, rule, says in refused:
        response = await files.call("PUT", f"{FILES}/{path}", json={"rules": [rule]})
        assert error_of(response) == (400, 10040), rule
        assert says in response.json()["errors"][0]["message"]


async def test_settings_have_a_number_of_rules(files: Any) -> None:
    rule = {"allowed": {"origins": ["*"], "methods": ["GET"]}}
    assert (await files.call("PUT", f"{FILES}/cors", json={"rules": [rule] * 100})).status_code == 200
    assert error_of(await files.call("PUT", f"{FILES}/cors", json={"rules": [rule] * 101})) == (400, 10040)
    twice = {"id": "a", "deleteObjectsTransition": {"condition": {"type": "Age", "maxAge": 1}}}
    assert error_of(await files.call("PUT", f"{FILES}/lifecycle", json={"rules": [twice, twice]})) == (400, 10040)
