"""Dispatch namespaces and the Workers in them: listed by tags, deleted together, renamed without a gap."""

from __future__ import annotations

from typing import Any

import pytest

NAMESPACES = "/workers/dispatch/namespaces"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def control(emptied_control: Any) -> Any:
    return emptied_control


@pytest.fixture
async def tagged(control: Any) -> None:
    """Four Workers of a namespace."""
    await control.call("POST", NAMESPACES, json={"name": "customers"})
    for name, tags in {"a": ["pro", "eu"], "b": ["pro"], "c": [], "d": ["eu"]}.items():
        await control.deploy(name, "customers", tags=tags)


async def names(control: Any, query: str = "") -> list[str]:
    response = await control.call("GET", f"{NAMESPACES}/customers/scripts{query}")
    return [worker["script"]["id"] for worker in response.json()["result"]]


@pytest.mark.usefixtures("tagged")
async def test_workers_are_found_by_their_tags(control: Any) -> None:
    assert await names(control) == ["a", "b", "c", "d"]
    assert await names(control, "?tags=pro:yes") == ["a", "b"]
    assert await names(control, "?tags=pro:yes,eu:no") == ["b"]
    assert await names(control, "?tags=pro:no") == ["c", "d"]
    assert await names(control, "?tags=none:yes") == []


@pytest.mark.usefixtures("tagged")
async def test_pages_go_on_where_the_one_before_ended(control: Any) -> None:
    first = (await control.call("GET", f"{NAMESPACES}/customers/scripts?limit=3")).json()
    rest = (
        await control.call("GET", f"{NAMESPACES}/customers/scripts?limit=3&cursor={first['result_info']['cursor']}")
    ).json()

    assert [worker["script"]["id"] for worker in first["result"] + rest["result"]] == ["a", "b", "c", "d"]
    assert "cursor" not in rest["result_info"]
    assert (await control.call("GET", f"{NAMESPACES}/customers/scripts?cursor=%21")).status_code == 400


@pytest.mark.usefixtures("tagged")
async def test_workers_are_deleted_by_their_tags_and_never_without(control: Any) -> None:
    for query in ("", "?tags=", "?tags=pro", "?tags=pro:maybe"):
        refused = await control.call("DELETE", f"{NAMESPACES}/customers/scripts{query}")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, 10021), query

    deleted = await control.call("DELETE", f"{NAMESPACES}/customers/scripts?tags=pro:yes")

    assert deleted.json()["result"] == {"deleted": 2}
    assert await names(control) == ["c", "d"]
    assert control.deployments.calls[-2:] == [("removed", "customers", "a"), ("removed", "customers", "b")]


@pytest.mark.usefixtures("tagged")
async def test_a_namespace_with_workers_is_not_deleted(control: Any) -> None:
    refused = await control.call("DELETE", f"{NAMESPACES}/customers")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, 10021)

    await control.call("DELETE", f"{NAMESPACES}/customers/scripts?tags=nobody:no")
    assert (await control.call("DELETE", f"{NAMESPACES}/customers")).json()["result"] is None
    assert (await control.call("GET", f"{NAMESPACES}/customers")).status_code == 404


@pytest.mark.usefixtures("tagged")
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_renamed_namespace_takes_its_workers_and_dispatchers_along(control: Any, method: str) -> None:
    await control.deploy("front", bindings=[{"name": "D", "type": "dispatch_namespace", "namespace": "customers"}])
    control.deployments.calls.clear()

    renamed = await control.call(method, f"{NAMESPACES}/customers", json={"name": "tenants"})

    assert renamed.json()["result"]["namespace_name"] == "tenants"
    assert renamed.json()["result"]["script_count"] == 4
    assert control.deployments.workers[None, "front"].bindings[0].fields == {"namespace": "tenants"}
    assert {key for key in control.deployments.workers if key[0]} == {("tenants", name) for name in "abcd"}
    kinds = [kind for kind, _, _ in control.deployments.calls]
    assert kinds.index("removed") > kinds.index("deployed"), "what is new is there before what is old goes"
    settings = (await control.call("GET", "/workers/scripts/front/settings")).json()["result"]
    assert settings["bindings"] == [{"name": "D", "type": "dispatch_namespace", "namespace": "tenants"}]
    inherited = await control.deploy(
        "front", bindings=[{"name": "D", "type": "inherit"}], query="?bindings_inherit=strict"
    )
    assert inherited.status_code == 200, inherited.text


@pytest.mark.usefixtures("tagged")
async def test_a_name_that_is_taken_or_none_is_no_new_name(control: Any) -> None:
    await control.call("POST", NAMESPACES, json={"name": "other"})

    for name in ("other", "a b", ""):
        refused = await control.call("PUT", f"{NAMESPACES}/customers", json={"name": name})
        assert refused.status_code == 400, name
    assert (await control.call("PUT", f"{NAMESPACES}/nope", json={"name": "x"})).status_code == 404
    trusted = await control.call("PATCH", f"{NAMESPACES}/customers", json={"trusted_workers": True})
    assert trusted.status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/workflows"),
        ("PUT", "/workflows/w"),
        ("GET", "/vectorize/v2/indexes"),
        ("GET", "/hyperdrive/configs/1"),
        ("PUT", "/workers/scripts/w/routes"),
        ("PUT", "/workers/scripts/w/domains/records"),
        ("POST", "/workers/workers"),
        ("POST", "/workers/scripts/w/edge-preview"),
        ("PUT", "/workers/account-settings"),
    ],
)
async def test_what_the_platform_has_not_says_so(control: Any, method: str, path: str) -> None:
    response = await control.call(method, path)

    assert response.status_code == 501
    assert response.json()["success"] is False
    assert response.json()["errors"][0]["message"].startswith("tenantry does not offer ")


async def test_who_is_asking(control: Any) -> None:
    account = (await control.call("GET", "")).json()["result"]
    (membership,) = (await control.http.get("/client/v4/memberships")).json()["result"]

    assert account["id"] == control.account
    assert membership["account"] == account
    assert (await control.http.get("/client/v4/memberships?page=2")).json()["result"] == []
    assert "@" in (await control.http.get("/client/v4/user")).json()["result"]["email"]
    assert (await control.http.get("/client/v4/zones?name=example.com")).json()["result"] == []
    assert (await control.http.get(f"/client/v4/accounts/{'f' * 32}")).status_code == 404
