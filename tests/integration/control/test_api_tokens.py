"""Tokens over the API: made, shown once, listed, changed, rolled, revoked, expired, and guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tenantry.control.clock import now
from tenantry.control.failures import Failures
from tenantry.control.limits import FAILURE_ADDRESSES, FAILURE_SECONDS, FAILURES_MAX
from tenantry.control.scopes import Scope

ADMIN, READ, NAMESPACE, WORKER = (f"5e1a3c1f0d7b4d0f9a52c0c9e1b7a00{number}" for number in (1, 2, 3, 4))


def policies(control: Any, group: str = READ, resource: str | None = None) -> list[dict[str, Any]]:
    name = resource or f"com.cloudflare.api.account.{control.account}"
    return [{"effect": "allow", "permission_groups": [{"id": group}], "resources": {name: "*"}}]


async def make(control: Any, **body: Any) -> dict[str, Any]:
    response = await control.call("POST", "/tokens", json={"name": "ci", "policies": policies(control), **body})
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()["result"]
    return result


async def status_of(control: Any, value: str) -> int:
    response = await control.http.get("/client/v4/user/tokens/verify", headers={"Authorization": f"Bearer {value}"})
    return int(response.status_code)


async def test_a_tokens_life(control: Any) -> None:
    made = await make(control)
    assert await status_of(control, made["value"]) == 200

    listed = (await control.call("GET", "/tokens")).json()
    [own] = [token for token in listed["result"] if token["id"] == made["id"]]
    assert own == {key: value for key, value in made.items() if key != "value"}
    assert listed["result_info"]["total_count"] == 2  # with the one that asks

    changed = (await control.call("PUT", f"/tokens/{made['id']}", json={"name": "other"})).json()["result"]
    assert changed["name"] == "other"
    assert changed["policies"] == made["policies"]

    rolled = (await control.call("PUT", f"/tokens/{made['id']}/value", json={})).json()["result"]
    assert await status_of(control, made["value"]) == 401
    assert await status_of(control, rolled) == 200

    assert (await control.call("DELETE", f"/tokens/{made['id']}")).status_code == 200
    assert await status_of(control, rolled) == 401
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("PUT", "/value")):
        response = await control.call(method, f"/tokens/{made['id']}{path}", json={})
        assert (response.status_code, response.json()["errors"][0]["code"]) == (404, 1003)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("group", "resource", "scope"),
    [
        (ADMIN, None, (Scope.ADMIN, "")),
        (READ, None, (Scope.READ, "")),
        (NAMESPACE, "tenantry.dispatch_namespace.bindings", (Scope.NAMESPACE, "bindings")),
        (WORKER, "tenantry.worker.front", (Scope.WORKER, "front")),
        (WORKER, "tenantry.worker.bindings/customer-1", (Scope.WORKER, "bindings/customer-1")),
    ],
)
async def test_a_policy_becomes_a_scope(
    emptied_control: Any, group: str, resource: str | None, scope: tuple[Scope, str]
) -> None:
    control = emptied_control
    made = await make(control, policies=policies(control, group, resource))
    token = control.store.tokens.verify_untrusted(made["value"])
    assert (token.scope, token.resource) == scope
    assert token.granted == frozenset()
    [policy] = made["policies"]
    assert list(policy["resources"]) == [resource or f"com.cloudflare.api.account.{control.account}"]
    [own] = policy["permission_groups"]
    groups = (await control.call("GET", "/tokens/permission_groups")).json()["result"]
    assert own["name"] == next(each["name"] for each in groups if each["id"] == group)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "name is 1 to 120"),
        ({"name": "x" * 121}, "name is 1 to 120"),
        ({"name": "a\x1b[2J"}, "printable"),
        ({"policies": []}, "one policy"),
        ({"policies": [{"effect": "deny", "permission_groups": [{"id": READ}], "resources": {}}]}, "effect allow"),
        ({"policies": [{"permission_groups": [{"id": "f" * 32}], "resources": {}}]}, "not the id of a permission"),
        ({"policies": [{"permission_groups": [{"id": READ}], "resources": {}}]}, "1 to 100 entries"),
        (
            {
                "policies": [
                    {"permission_groups": [{"id": WORKER}], "resources": {"tenantry.worker.a": {"tenantry.d1.b": "*"}}}
                ]
            },
            'the value "*"',
        ),
        (
            {"policies": [{"permission_groups": [{"id": WORKER}], "resources": {"tenantry.d1.b": "*"}}]},
            "one of the resources",
        ),
        (
            {
                "policies": [
                    {
                        "permission_groups": [{"id": WORKER}],
                        "resources": {"tenantry.worker.a": "*", "tenantry.service.b": "*"},
                    }
                ]
            },
            "one of the resources",
        ),
        (
            {"policies": [{"permission_groups": [{"id": READ}], "resources": {"com.cloudflare.api.account.f": "*"}}]},
            "is com",
        ),
        ({"policies": [{"permission_groups": [{"id": WORKER}], "resources": {"tenantry.worker.": "*"}}]}, "<script>"),
        (
            {"policies": [{"permission_groups": [{"id": NAMESPACE}], "resources": {"tenantry.worker.a": "*"}}]},
            "<namespace>",
        ),
        ({"expires_on": "tomorrow"}, "a time in UTC"),
        ({"expires_on": "2020-01-01T00:00:00Z"}, "is over"),
    ],
    ids=str,
)
async def test_a_token_that_cannot_be_made(emptied_control: Any, change: dict[str, Any], words: str) -> None:
    control = emptied_control
    response = await control.call("POST", "/tokens", json={"name": "ci", "policies": policies(control), **change})
    assert response.status_code == 400
    assert words in response.json()["errors"][0]["message"]


async def test_an_expired_token_is_worthless(control: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = await make(control, expires_on=soon)
    assert await status_of(control, made["value"]) == 200
    verified = await control.http.get(
        "/client/v4/user/tokens/verify", headers={"Authorization": f"Bearer {made['value']}"}
    )
    assert verified.json()["result"]["expires_on"].startswith(soon.removesuffix("Z"))

    control.store.tokens.update(control.account, made["id"], "ci", now())
    assert await status_of(control, made["value"]) == 401
    shown = (await control.call("GET", f"/tokens/{made['id']}")).json()["result"]
    assert shown["status"] == "expired"


async def test_no_token_is_kept_in_clear(control: Any) -> None:
    made = await make(control)
    assert all(made["value"].encode() not in file.read_bytes() for file in control.data.rglob("*") if file.is_file())


async def test_who_guesses_tokens_has_to_wait(control: Any) -> None:
    with capture_logs() as log:
        for _ in range(FAILURES_MAX):
            assert await status_of(control, "tnt_0123456789abcdef_" + "A" * 43) == 401
    response = await control.http.get("/client/v4/accounts")
    assert response.status_code == 429
    assert 0 < int(response.headers["retry-after"]) <= FAILURE_SECONDS
    assert response.json()["errors"][0]["code"] == 971
    assert [entry["event"] for entry in log] == ["too many requests with tokens that are not valid"]


def test_an_address_is_listened_to_again_when_its_window_is_over() -> None:
    failures = Failures()
    told = [failures.failed("a", 100.0) for _ in range(FAILURES_MAX)]
    assert told == [False] * (FAILURES_MAX - 1) + [True]
    assert failures.wait_seconds("a", 110.0) == FAILURE_SECONDS - 10
    assert failures.wait_seconds("b", 110.0) == 0
    assert failures.wait_seconds("a", 100.0 + FAILURE_SECONDS) == 0
    assert not failures.failed("a", 100.0 + FAILURE_SECONDS)
    assert failures.wait_seconds("a", 100.0 + FAILURE_SECONDS) == 0


def test_many_addresses_cost_no_memory() -> None:
    failures = Failures()
    for number in range(FAILURE_ADDRESSES + 100):
        failures.failed(str(number), 0.0)
    assert len(failures._counted) == FAILURE_ADDRESSES
