"""What a token that is limited to a namespace, or to a Worker, may bind to what it deploys: nothing beyond its limit."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tenantry.control.scopes import Scope

PROPS = {"tenant": "one"}


@pytest_asyncio.fixture
async def resources(control: Any) -> dict[str, dict[str, Any]]:
    """Of each type one that a Worker of the namespace `mine` is bound to, and one that is somebody else's."""
    bindings: dict[str, dict[str, Any]] = {}
    for which in ("own", "foreign"):
        kv = await control.call("POST", "/storage/kv/namespaces", json={"title": which})
        d1 = await control.call("POST", "/d1/database", json={"name": which})
        await control.call("POST", "/r2/buckets", json={"name": which})
        await control.call("POST", "/workers/dispatch/namespaces", json={"name": f"{which}-namespace"})
        assert (await control.deploy(f"{which}-service")).status_code == 200
        bindings[which] = {
            "kv": {"type": "kv_namespace", "namespace_id": kv.json()["result"]["id"]},
            "d1": {"type": "d1", "id": d1.json()["result"]["uuid"]},
            "r2": {"type": "r2_bucket", "bucket_name": which},
            "namespace": {"type": "dispatch_namespace", "namespace": f"{which}-namespace"},
            "service": {"type": "service", "service": f"{which}-service", "entrypoint": "Admin", "props": PROPS},
            "outbound": {
                "type": "dispatch_namespace",
                "namespace": "mine",
                "outbound": {"worker": {"service": f"{which}-service"}},
            },
        }
        if which == "own":
            await control.call("POST", "/workers/dispatch/namespaces", json={"name": "mine"})
            listed = [{"name": name, **fields} for name, fields in bindings["own"].items()]
            assert (await control.deploy("first", "mine", bindings=listed)).status_code == 200
            # What a version has that is not deployed any more counts too: it could be deployed again.
            assert (await control.deploy("first", "mine")).status_code == 200
    return bindings


@pytest.fixture
def deploy(control: Any) -> Any:
    """Deploy with a limited token, with one binding; the code of the error, None for success."""

    async def deploy(
        resource: str, name: str, namespace: str | None, binding: dict[str, Any], granted: frozenset[Any] = frozenset()
    ) -> int | None:
        scope = Scope.WORKER if "first" in resource or namespace is None else Scope.NAMESPACE
        token = control.store.tokens.issue(control.account, "limited", scope, resource, None, granted)[1]
        before, control.http.headers["Authorization"] = control.http.headers["Authorization"], f"Bearer {token}"
        response = await control.deploy(name, namespace, bindings=[{"name": "B", **binding}])
        control.http.headers["Authorization"] = before
        return None if response.status_code == 200 else response.json()["errors"][0]["code"]

    return deploy


KINDS = {"kv": 10041, "d1": 10181, "r2": 10085, "namespace": 10021, "service": 10143, "outbound": 10021}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_namespace_binds_what_is_bound_in_it(control: Any, resources: Any, deploy: Any, kind: str) -> None:
    assert await deploy("mine", "second", "mine", resources["own"][kind]) is None
    assert await deploy("mine", "third", "mine", resources["foreign"][kind]) == KINDS[kind]
    assert (None, "third") not in control.deployments.workers


@pytest.mark.parametrize("kind", KINDS)
async def test_a_worker_binds_what_it_was_bound_to(resources: Any, deploy: Any, kind: str) -> None:
    assert await deploy("mine/first", "first", "mine", resources["own"][kind]) is None
    assert await deploy("mine/first", "first", "mine", resources["foreign"][kind]) == KINDS[kind]


async def test_what_another_worker_of_the_namespace_has_is_beyond_one_worker(
    control: Any, resources: Any, deploy: Any
) -> None:
    await control.deploy("second", "mine", bindings=[{"name": "R2", **resources["foreign"]["r2"]}])
    assert await deploy("mine/first", "first", "mine", resources["foreign"]["r2"]) == 10085
    assert await deploy("mine", "first", "mine", resources["foreign"]["r2"]) is None


async def test_an_ordinary_worker_of_the_same_name_is_another(control: Any, resources: Any, deploy: Any) -> None:
    await control.deploy("first", bindings=[{"name": "R2", **resources["foreign"]["r2"]}])
    assert await deploy("mine/first", "first", "mine", resources["foreign"]["r2"]) == 10085
    assert await deploy("first", "first", None, resources["foreign"]["r2"]) is None


async def test_what_was_named_when_the_token_was_made(resources: Any, deploy: Any) -> None:
    foreign = resources["foreign"]
    granted = frozenset(
        {
            ("kv_namespace", foreign["kv"]["namespace_id"]),
            ("d1", foreign["d1"]["id"]),
            ("r2_bucket", "foreign"),
            ("service", "foreign-service"),  # no token can be made with this one
        }
    )
    for kind in ("kv", "d1", "r2"):
        assert await deploy("mine", "second", "mine", foreign[kind], granted) is None
    assert await deploy("mine", "second", "mine", foreign["service"], granted) == 10143


async def test_a_namespace_dispatches_to_itself(resources: Any, deploy: Any) -> None:
    assert await deploy("mine", "second", "mine", {"type": "dispatch_namespace", "namespace": "mine"}) is None


@pytest.mark.parametrize(
    "change",
    [{"props": {"tenant": "two"}}, {"props": None}, {"entrypoint": "Root"}, {"entrypoint": None}],
    ids=str,
)
async def test_a_service_is_within_reach_with_its_entrypoint_and_properties_only(
    resources: Any, deploy: Any, change: dict[str, Any]
) -> None:
    assert await deploy("mine", "second", "mine", {**resources["own"]["service"], **change}) == 10143


async def test_a_service_by_the_name_of_a_customers_worker(control: Any, resources: Any, deploy: Any) -> None:
    """Not even the account's own token can bind one, whatever namespace it is in."""
    await control.deploy("victim", "foreign-namespace")
    binding = {"type": "service", "service": "victim"}
    assert await deploy("mine", "second", "mine", binding) == 10143
    for namespace in (None, "mine", "foreign-namespace"):
        response = await control.deploy("second", namespace, bindings=[{"name": "B", **binding}])
        assert response.json()["errors"][0]["code"] == 10143
    response = await control.deploy("victim", "foreign-namespace", bindings=[{"name": "B", **binding}])
    assert response.json()["errors"][0]["code"] == 10143, "nor itself: the name is an ordinary Worker's"


async def test_a_binding_out_of_reach_reads_like_one_that_is_not_there(
    control: Any, resources: Any, deploy: Any
) -> None:
    token = control.store.tokens.issue(control.account, "limited", Scope.NAMESPACE, "mine")[1]
    control.http.headers["Authorization"] = f"Bearer {token}"
    texts = []
    for service in ("foreign-service", "absent-service"):
        binding = {"name": "B", "type": "service", "service": service}
        errors = (await control.deploy("second", "mine", bindings=[binding])).json()["errors"]
        texts.append(str(errors).replace(service, "…"))
    assert texts[0] == texts[1]


async def test_other_ways_to_bind_are_no_wider(control: Any, resources: Any) -> None:
    """A version that is not deployed, and settings."""
    token = control.store.tokens.issue(control.account, "limited", Scope.NAMESPACE, "mine")[1]
    control.http.headers["Authorization"] = f"Bearer {token}"
    path = "/workers/dispatch/namespaces/mine/scripts/first"
    for which, status in (("foreign", 400), ("own", 200)):
        settings = {"bindings": [{"name": "B", **resources[which]["r2"]}]}
        changed = await control.call("PATCH", f"{path}/settings", json=settings)
        assert changed.status_code == status, changed.text


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/workers/services/W", 10090),
        ("/workers/workers/W", 10007),
        ("/workers/scripts/W/secrets", 10007),
        ("/workers/scripts/W/settings", 10007),
        ("/workers/scripts/W/deployments", 10007),
        ("/workers/dispatch/namespaces/foreign-namespace/scripts/W", 10092),
    ],
)
async def test_what_a_limited_token_looks_up_elsewhere_is_not_there(
    control: Any, resources: Any, path: str, code: int
) -> None:
    """wrangler looks there before it deploys to a namespace, and goes on when there is nothing."""
    await control.deploy("foreign-service", "foreign-namespace")
    for scope, resource in ((Scope.NAMESPACE, "mine"), (Scope.WORKER, "mine/first"), (Scope.WORKER, "first")):
        token = control.store.tokens.issue(control.account, "limited", scope, resource)[1]
        headers = {"Authorization": f"Bearer {token}"}
        there, absent = [
            await control.call("GET", path.replace("W", name), headers=headers)
            for name in ("foreign-service", "absent-service")
        ]
        assert (there.status_code, there.json()["errors"][0]["code"]) == (404, code)
        assert there.json() == absent.json()
        assert await _known(control, path, "foreign-service")


async def _known(control: Any, path: str, name: str) -> bool:
    return bool((await control.call("GET", path.replace("W", name))).status_code == 200)
