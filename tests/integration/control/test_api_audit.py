"""The audit log: every change, who made it and what came of it, also when nothing came of it."""

from __future__ import annotations

from typing import Any

from tenantry.control.audit import Change
from tenantry.control.scopes import Scope


async def logged(control: Any, query: str = "") -> list[dict[str, Any]]:
    response = await control.call("GET", f"/audit_logs{query}")
    assert response.status_code == 200, response.text
    result: list[dict[str, Any]] = response.json()["result"]
    return result


async def test_a_change_is_in_the_log_by_the_time_it_is_answered(control: Any) -> None:
    response = await control.call("POST", "/r2/buckets", json={"name": "files"})
    [entry] = await logged(control)
    token = control.store.tokens.verify_untrusted(control.token)
    assert entry["id"] == response.headers["x-request-id"]
    assert entry["actor"] == {"id": token.id, "name": "test", "ip": "127.0.0.1", "type": "token"}
    assert entry["action"] == {"type": "POST", "result": True, "status": 200}
    assert entry["resource"] == {"path": f"/client/v4/accounts/{control.account}/r2/buckets"}


async def test_what_was_refused_or_failed_is_in_the_log_too(control: Any) -> None:
    _, value = control.store.tokens.issue(control.account, "reader", Scope.READ)
    await control.call("POST", "/r2/buckets", json={"name": "files"}, headers={"Authorization": f"Bearer {value}"})
    await control.call("POST", "/r2/buckets", json={"name": "X"})
    outcomes = [
        (entry["actor"]["name"], entry["action"]["status"]) for entry in await logged(control, "?direction=asc")
    ]
    assert outcomes == [("reader", 403), ("test", 400)]


async def test_reading_is_not_a_change(control: Any) -> None:
    await control.call("GET", "/r2/buckets")
    assert await logged(control) == []


async def test_a_change_during_which_the_host_died_is_seen_as_one(control: Any) -> None:
    control.store.audit.begin(Change("1" * 32, control.account, "t", "test", "127.0.0.1", "PUT", "/path"))
    [entry] = await logged(control)
    assert entry["action"] == {"type": "PUT", "result": None, "status": None}


async def test_no_body_and_no_query_is_in_the_log(control: Any) -> None:
    await control.call("POST", "/r2/buckets?secret=canary-in-query", json={"name": "canary-in-body"})
    assert "canary" not in str(await logged(control))


async def test_the_log_by_time_actor_and_page(control: Any) -> None:
    for name in ("one", "two", "three"):
        await control.call("POST", "/r2/buckets", json={"name": f"bucket-{name}"})
    entries = await logged(control, "?direction=asc")
    assert len(entries) == 3
    middle = entries[1]["when"]
    assert await logged(control, f"?direction=asc&since={middle}") == entries[1:]
    assert await logged(control, f"?before={middle}") == entries[:1]
    assert await logged(control, "?actor=nobody") == []
    assert await logged(control, "?per_page=1&page=2&direction=asc") == entries[1:2]
    assert (await control.call("GET", "/audit_logs?since=yesterday")).status_code == 400


async def test_another_accounts_changes_are_not_shown(control: Any) -> None:
    control.store.audit.begin(Change("1" * 32, "f" * 32, "t", "test", "127.0.0.1", "PUT", "/path"))
    assert await logged(control) == []
