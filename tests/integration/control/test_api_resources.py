"""Namespaces, buckets and databases: made, listed, refused when taken; pages that end."""

from __future__ import annotations

import re
from typing import Any

import pytest

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def control(emptied_control: Any) -> Any:
    return emptied_control


async def test_accounts_and_their_end(control: Any) -> None:
    first = (await control.http.get("/client/v4/accounts")).json()
    second = (await control.http.get("/client/v4/accounts?page=2&unknown=1")).json()

    assert [account["id"] for account in first["result"]] == [control.account]
    assert first["result_info"]["total_count"] == 1
    assert second["result"] == []


async def test_a_dispatch_namespace(control: Any) -> None:
    path = "/workers/dispatch/namespaces"
    made = (await control.call("POST", path, json={"name": "bindings", "quota": 9})).json()["result"]
    await control.deploy("w", "bindings")

    assert re.fullmatch(UUID, made["namespace_id"])
    assert made["namespace_name"] == "bindings"
    got = (await control.call("GET", f"{path}/bindings")).json()["result"]
    assert got == {**made, "script_count": 1}
    assert (await control.call("GET", path)).json()["result"] == [got]


async def test_a_kv_namespace(control: Any) -> None:
    made = (await control.call("POST", "/storage/kv/namespaces", json={"title": "My title"})).json()["result"]

    assert re.fullmatch(r"[0-9a-f]{32}", made["id"])
    assert made == {"id": made["id"], "title": "My title", "supports_url_encoding": True}


async def test_a_bucket(control: Any) -> None:
    made = (await control.call("POST", "/r2/buckets", json={"name": "files", "locationHint": "weur"})).json()["result"]

    assert made["name"] == "files"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", made["creation_date"])
    assert (await control.call("GET", "/r2/buckets")).json()["result"] == {"buckets": [made]}


async def test_a_database(control: Any) -> None:
    made = (await control.call("POST", "/d1/database", json={"name": "db"})).json()["result"]

    assert re.fullmatch(UUID, made["uuid"])
    assert made["version"] == "production"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/workers/dispatch/namespaces", {"name": "bindings"}, 10021),
        ("/storage/kv/namespaces", {"title": "title"}, 10014),
        ("/r2/buckets", {"name": "files"}, 10004),
        ("/d1/database", {"name": "db"}, 7502),
    ],
)
async def test_a_taken_name_is_a_400_that_no_client_retries(control: Any, path: str, body: Any, code: int) -> None:
    await control.call("POST", path, json=body)

    response = await control.call("POST", path, json=body)

    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, code)
    assert "exists" in response.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/workers/dispatch/namespaces", 10021),
        ("/storage/kv/namespaces", 10019),
        ("/r2/buckets", 10001),
        ("/d1/database", 7400),
    ],
)
async def test_a_body_that_is_not_right_is_a_400(control: Any, path: str, code: int) -> None:
    for body in (b"", b"{", b"[]", b"null", b'{"name": 1, "title": 1}', b"\xff", b"[" * 50_000):
        response = await control.call("POST", path, content=body)

        assert (response.status_code, response.json()["errors"][0]["code"]) == (400, code)


async def test_a_body_is_json_whatever_its_type_says(control: Any) -> None:
    response = await control.call(
        "POST", "/r2/buckets", content=b'{"name": "files"}', headers={"Content-Type": "text/plain;charset=UTF-8"}
    )

    assert response.json()["success"] is True


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_a_413(control: Any, declared: bool) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1000

    response = await control.call("POST", "/r2/buckets", content=b" " * 100_000 if declared else chunks())

    assert response.status_code == 413
    assert response.json()["errors"][0]["code"] == 10001


async def test_kv_pages_by_length_and_until_empty(control: Any) -> None:
    for number in range(5):
        await control.call("POST", "/storage/kv/namespaces", json={"title": f"t{number}"})

    async def titles(query: str) -> list[str]:
        return [
            entry["title"] for entry in (await control.call("GET", f"/storage/kv/namespaces?{query}")).json()["result"]
        ]

    assert await titles("order=title&per_page=2") == ["t0", "t1"]
    assert await titles("order=title&per_page=2&page=3") == ["t4"]
    assert await titles("order=title&per_page=2&page=4") == []
    assert await titles("order=title&direction=desc&per_page=1") == ["t4"]
    assert len(await titles("per_page=99999999&page=-3")) == 5
    info = (await control.call("GET", "/storage/kv/namespaces?per_page=2")).json()["result_info"]
    assert info == {"page": 1, "per_page": 2, "count": 2, "total_count": 5, "total_pages": 3}


async def test_buckets_by_cursor(control: Any) -> None:
    for name in ("bbb", "aaa", "ccc", "a-1", "a_x".replace("_", "-")):
        await control.call("POST", "/r2/buckets", json={"name": name})

    seen: list[str] = []
    cursor = ""
    while True:
        page = (await control.call("GET", "/r2/buckets", params={"per_page": 2, "cursor": cursor})).json()
        seen += [bucket["name"] for bucket in page["result"]["buckets"]]
        cursor = page["result_info"].get("cursor", "")
        if not cursor:
            break
    assert seen == ["a-1", "a-x", "aaa", "bbb", "ccc"]

    async def names(**query: Any) -> list[str]:
        found = (await control.call("GET", "/r2/buckets", params=query)).json()["result"]["buckets"]
        return [bucket["name"] for bucket in found]

    assert await names(name_contains="a-") == ["a-1", "a-x"]
    assert await names(name_contains="%") == []
    assert await names(name_contains="_") == []
    assert await names(start_after="bbb") == ["ccc"]
    assert await names(direction="desc", per_page=2) == ["ccc", "bbb"]


async def test_databases_by_exact_name(control: Any) -> None:
    for name in ("db", "db-2"):
        await control.call("POST", "/d1/database", json={"name": name})

    found = (await control.call("GET", "/d1/database?name=db")).json()
    beyond = (await control.call("GET", "/d1/database?per_page=10&page=2")).json()

    assert [database["name"] for database in found["result"]] == ["db"]
    assert beyond["result"] == []
