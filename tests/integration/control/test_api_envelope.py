"""Every answer of the control plane is Cloudflare's envelope, with the status and code its clients decide by."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

ABSENT_ACCOUNT = "/client/v4/accounts/" + "f" * 32


def check_failure(response: httpx.Response, status: int, code: int) -> str:
    body = response.json()
    assert (response.status_code, body["errors"][0]["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/json"
    assert body["success"] is False
    assert body["result"] is None
    assert body["messages"] == []
    return str(body["errors"][0]["message"])


async def test_health_needs_no_token(control: Any) -> None:
    response = await control.http.get("/healthz", headers={"Authorization": ""})

    assert response.status_code == 200
    assert response.json()["status"] == "ok"


@pytest.mark.parametrize(
    ("headers", "code", "words"),
    [
        ({}, 9106, "Authorization: Bearer"),
        ({"X-Auth-Email": "a@example.com", "X-Auth-Key": "k"}, 9106, "CLOUDFLARE_EMAIL"),
        ({"Authorization": ""}, 10000, "Authentication error"),
        ({"Authorization": "Bearer"}, 10000, "Authentication error"),
        ({"Authorization": "Bearer nonsense"}, 10000, "Authentication error"),
        ({"Authorization": "Bearer tnt_0123456789abcdef_" + "A" * 43}, 10000, "Authentication error"),
        ({"Authorization": "Bearer " + "x" * 100_000}, 10000, "Authentication error"),
        ({"Authorization": b"Bearer \xff\xfe"}, 10000, "Authentication error"),
        ({"Authorization": "Basic {token}"}, 10000, "Authentication error"),
    ],
)
async def test_nothing_is_reached_without_a_token(control: Any, headers: dict[str, Any], code: int, words: str) -> None:
    del control.http.headers["Authorization"]
    sent = {
        name: value.replace("{token}", control.token) if isinstance(value, str) else value
        for name, value in headers.items()
    }

    for path in ("/client/v4/accounts", "/client/v4/user/tokens/verify", "/tenantry/v1/processes", "/no/route", "/"):
        response = await control.http.get(path, headers=sent)

        assert words in check_failure(response, 401, code)
        assert response.headers["www-authenticate"] == "Bearer"


async def test_the_scheme_of_the_token_is_read_in_any_case(control: Any) -> None:
    response = await control.http.get(
        "/client/v4/user/tokens/verify", headers={"Authorization": f"bEARER {control.token}"}
    )

    assert response.json()["result"] == {"id": control.token.split("_")[1], "status": "active"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/no/such/route", 404, 7003),
        ("GET", "/client/v4/nothing", 404, 7003),
        ("GET", "{account}/workers/scripts/a/b/c", 404, 7003),
        ("GET", f"{ABSENT_ACCOUNT}/storage/kv/namespaces", 404, 7003),
        ("PUT", f"{ABSENT_ACCOUNT}/workers/scripts/w", 404, 7003),
        ("PATCH", "{account}/storage/kv/namespaces", 405, 7001),
        ("GET", "{account}/storage/kv/namespaces?page=x", 400, 10001),
        ("GET", "{account}/storage/kv/namespaces?order=size", 400, 10001),
        ("GET", "{account}/r2/buckets?cursor=%FF", 400, 10001),
        ("GET", "{account}/workers/scripts/absent", 404, 10007),
        ("DELETE", "{account}/workers/scripts/absent", 404, 10007),
        ("GET", "{account}/workers/dispatch/namespaces/absent", 404, 10007),
        ("GET", "{account}/workers/dispatch/namespaces/absent/scripts/w", 404, 10007),
        ("PUT", "{account}/workers/dispatch/namespaces/absent/scripts/w", 404, 10007),
        ("DELETE", "{account}/workers/dispatch/namespaces/absent/scripts/w", 404, 10007),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_table_of_failures(emptied_control: Any, method: str, path: str, status: int, code: int) -> None:
    response = await emptied_control.http.request(method, path.replace("{account}", emptied_control.path))

    check_failure(response, status, code)


async def test_a_wrong_method_names_the_right_ones(control: Any) -> None:
    response = await control.call("DELETE", "/storage/kv/namespaces")

    assert {"GET", "POST"} <= set(response.headers["allow"].split(", "))


async def test_a_double_slash_after_the_base_is_tolerated(control: Any) -> None:
    response = await control.http.get("/client/v4//accounts")

    assert response.json()["result"][0]["id"] == control.account


async def test_our_own_bug_shows_nothing_of_it(control: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail of /the/host")

    monkeypatch.setattr(control.store.resources, "dispatch_namespaces", broken)

    response = await control.call("GET", "/workers/dispatch/namespaces")

    message = check_failure(response, 500, 10013)
    assert "reference = " in message
    assert "secret detail" not in response.text


async def test_processes_are_as_the_host_reports_them(control: Any) -> None:
    response = await control.http.get("/tenantry/v1/processes")

    assert response.json()["result"] == [{"pid": 7, "worker": "w"}]
