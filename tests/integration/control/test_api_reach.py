"""What a token that is limited to a namespace, or to a Worker, may bind to what it deploys: nothing beyond that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tenantry.control.metadata import _TYPES, INHERIT
from tenantry.control.reach import _NEEDLES, WITHOUT_RESOURCE
from tenantry.control.scopes import Scope

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROPS = {"tenant": "one"}
CODES = {"kv": 10041, "d1": 10181, "r2": 10085, "namespace": 10021, "service": 10143, "outbound": 10021}


@dataclass
class Reached:
    """A control plane with two of each resource: `own` is bound to the Worker `first` of the namespace `mine`, and
    `foreign` to none."""

    control: Any
    own: dict[str, dict[str, Any]]
    foreign: dict[str, dict[str, Any]]

    async def call(self, scope: Scope, resource: str, method: str, path: str, **arguments: Any) -> Any:
        token = self.control.store.tokens.issue(self.control.account, "limited", scope, resource)[1]
        return await self.control.call(method, path, headers={"Authorization": f"Bearer {token}"}, **arguments)

    async def deploy(
        self, resource: str, worker: str, binding: dict[str, Any], granted: frozenset[Any] = frozenset()
    ) -> Any:
        """With a token for `resource`, one binding. `worker` is as the resource of such a token: `namespace/name`."""
        namespace, _, name = worker.rpartition("/")
        scope = Scope.WORKER if resource == worker else Scope.NAMESPACE
        token = self.control.store.tokens.issue(self.control.account, "limited", scope, resource, None, granted)[1]
        headers = {"Authorization": f"Bearer {token}"}
        return await self.control.deploy(name, namespace or None, headers=headers, bindings=[{"name": "B", **binding}])


def code(response: Any) -> int | None:
    return None if response.status_code == 200 else int(response.json()["errors"][0]["code"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reached(shared_control: Any) -> Reached:
    control = shared_control
    bindings: dict[str, dict[str, dict[str, Any]]] = {}
    await control.call("POST", "/workers/dispatch/namespaces", json={"name": "mine"})
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
    listed = [{"name": name, **fields} for name, fields in bindings["own"].items()]
    assert (await control.deploy("first", "mine", bindings=listed)).status_code == 200
    # What a version has that is not deployed any more counts too: it could be deployed again.
    assert (await control.deploy("first", "mine")).status_code == 200
    return Reached(control, **bindings)


@pytest.mark.parametrize("kind", CODES)
async def test_a_limited_token_binds_what_is_bound_where_it_deploys(reached: Reached, kind: str) -> None:
    for resource, worker in (("mine", "mine/other"), ("mine/first", "mine/first")):
        assert code(await reached.deploy(resource, worker, reached.own[kind])) is None
        assert code(await reached.deploy(resource, worker, reached.foreign[kind])) == CODES[kind]


async def test_what_another_worker_has_is_beyond_one_worker(reached: Reached) -> None:
    await reached.control.call("POST", "/r2/buckets", json={"name": "beside"})
    bucket = {"type": "r2_bucket", "bucket_name": "beside"}
    # An ordinary Worker of the same name, and another of the same namespace.
    for name, namespace in (("first", None), ("second", "mine")):
        response = await reached.control.deploy(name, namespace, bindings=[{"name": "R2", **bucket}])
        assert response.status_code == 200
        assert code(await reached.deploy("mine/first", "mine/first", bucket)) == 10085
    assert code(await reached.deploy("first", "first", bucket)) is None
    assert code(await reached.deploy("mine", "mine/third", bucket)) is None


async def test_what_was_named_when_the_token_was_made(reached: Reached) -> None:
    foreign = reached.foreign
    granted = frozenset(
        {
            ("kv_namespace", foreign["kv"]["namespace_id"]),
            ("d1", foreign["d1"]["id"]),
            ("r2_bucket", "foreign"),
            ("service", "foreign-service"),  # the API makes no token with this one
        }
    )
    for kind in ("kv", "d1", "r2"):
        # Of a namespace of their own, for what is bound there is within reach from then on.
        response = await reached.deploy("own-namespace", "own-namespace/w", foreign[kind], granted)
        assert code(response) is None
    assert code(await reached.deploy("own-namespace", "own-namespace/w", foreign["service"], granted)) == 10143


async def test_where_a_token_deploys_it_also_leads(reached: Reached) -> None:
    itself = {"type": "service", "service": "alone", "entrypoint": "Inner", "props": {"a": 1}}
    assert code(await reached.deploy("alone", "alone", itself)) is None
    assert code(await reached.deploy("mine/alone", "mine/alone", itself)) == 10143
    binding = {"type": "dispatch_namespace", "namespace": "mine"}
    assert code(await reached.deploy("mine", "mine/dispatcher", binding)) is None
    assert code(await reached.deploy("mine/one", "mine/one", binding)) == 10021


@pytest.mark.parametrize(
    "change",
    [{"props": {"tenant": "two"}}, {"props": None}, {"entrypoint": "Root"}, {"entrypoint": None}],
    ids=str,
)
async def test_a_service_is_within_reach_with_its_entrypoint_and_properties_only(
    reached: Reached, change: dict[str, Any]
) -> None:
    assert code(await reached.deploy("mine", "mine/other", {**reached.own["service"], **change})) == 10143


async def test_a_service_by_the_name_of_a_customers_worker(reached: Reached) -> None:
    """Not even the account's own token can bind one, whatever namespace it is in: the name is an ordinary Worker's."""
    await reached.control.deploy("victim", "foreign-namespace")
    binding = {"type": "service", "service": "victim"}
    assert code(await reached.deploy("mine", "mine/other", binding)) == 10143
    for name, namespace in (("x", None), ("x", "mine"), ("x", "foreign-namespace"), ("victim", "foreign-namespace")):
        response = await reached.control.deploy(name, namespace, bindings=[{"name": "B", **binding}])
        assert code(response) == 10143


async def test_a_binding_out_of_reach_reads_like_one_that_is_not_there(reached: Reached) -> None:
    texts = []
    for service in ("foreign-service", "absent-service"):
        response = await reached.deploy("mine", "mine/other", {"type": "service", "service": service})
        texts.append(str(response.json()["errors"]).replace(service, "…"))
    assert texts[0] == texts[1]


async def test_settings_are_no_wider_way(reached: Reached) -> None:
    path = "/workers/dispatch/namespaces/mine/scripts/first/settings"
    for binding, status in ((reached.foreign["r2"], 400), (reached.own["r2"], 200)):
        settings = {"bindings": [{"name": "B", **binding}]}
        response = await reached.call(Scope.NAMESPACE, "mine", "PATCH", path, json=settings)
        assert response.status_code == status, response.text


@pytest.mark.parametrize(
    ("path", "absent_code"),
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
    reached: Reached, path: str, absent_code: int
) -> None:
    """wrangler looks there before it deploys to a namespace, and goes on when there is nothing."""
    await reached.control.deploy("foreign-service", "foreign-namespace")
    assert (await reached.control.call("GET", path.replace("W", "foreign-service"))).status_code == 200
    for scope, resource in ((Scope.NAMESPACE, "mine"), (Scope.WORKER, "mine/first"), (Scope.WORKER, "first")):
        there, absent = [
            await reached.call(scope, resource, "GET", path.replace("W", name))
            for name in ("foreign-service", "absent-service")
        ]
        assert (there.status_code, code(there)) == (404, absent_code)
        assert there.json() == absent.json()


async def test_what_there_is_to_bind_is_judged() -> None:
    """Whoever adds a type of binding says what it gives: see `reach`."""
    assert set(_TYPES) <= {*_NEEDLES, *WITHOUT_RESOURCE, INHERIT}
    assert not set(_NEEDLES) & WITHOUT_RESOURCE
