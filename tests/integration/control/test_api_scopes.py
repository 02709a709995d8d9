"""Every route with every scope: what a token may do, and that nothing was forgotten."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tenantry.control.authorization import template
from tenantry.control.edge import PUBLIC_PATHS
from tenantry.control.scopes import RULES, Scope

MINE = {"namespace": "mine", "script_name": "own"}
OTHERS = {"namespace": "others", "script_name": "foreign"}
OF_A_WORKER = "/{script_name}"


def routes(control: Any) -> list[tuple[str, str]]:
    """Method and path, as in the table, of all that the application serves with a token."""
    return sorted(
        (method, template(route.path))
        for route in control.app._app.routes
        for method in route.methods
        if method not in ("OPTIONS", "HEAD") and route.path not in PUBLIC_PATHS
    )


def fill(path: str, account: str, names: dict[str, str]) -> str:
    """The path of a request: names for what they are known to be, anything for the rest."""
    known = {"account_id": account, **names}
    return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], "f" * 32), path)


@pytest.fixture
def token(control: Any) -> Any:
    def make(scope: Scope, resource: str = "") -> dict[str, str]:
        return {"Authorization": f"Bearer {control.store.tokens.issue(control.account, 'test', scope, resource)[1]}"}

    return make


async def refused(control: Any, method: str, path: str, headers: dict[str, str]) -> bool:
    """Whether it is said that it may not be. A limited token is told that there is nothing where it may not look."""
    response = await control.http.request(method, path, headers=headers)
    assert response.status_code != 401
    return bool(response.status_code == 403)


async def there(control: Any, path: str, headers: dict[str, str]) -> bool:
    return bool((await control.http.get(path, headers=headers)).status_code != 404)


async def test_every_route_has_a_row_and_every_row_a_route(control: Any) -> None:
    assert set(routes(control)) == set(RULES)


async def test_admins_are_refused_nothing(control: Any, token: Any) -> None:
    headers = token(Scope.ADMIN)
    for method, path in routes(control):
        assert not await refused(control, method, fill(path, control.account, MINE), headers), (method, path)


async def test_who_may_read_changes_nothing_and_makes_no_tokens(control: Any, token: Any) -> None:
    headers = token(Scope.READ)
    for method, path in routes(control):
        is_refused = await refused(control, method, fill(path, control.account, MINE), headers)
        rule = RULES[method, path]
        assert is_refused == (Scope.READ not in rule.scopes), (method, path)
        if rule.audited or method in ("PUT", "PATCH", "DELETE"):
            assert is_refused, (method, path)


@pytest.mark.parametrize(
    ("scope", "resource"), [(Scope.NAMESPACE, "mine"), (Scope.WORKER, "mine/own"), (Scope.WORKER, "own")]
)
async def test_who_deploys_reaches_what_the_token_names_and_nothing_beside_it(
    control: Any, token: Any, scope: Scope, resource: str
) -> None:
    headers = token(scope, resource)
    for namespace in ("mine", "others"):
        await control.call("POST", "/workers/dispatch/namespaces", json={"name": namespace})
    for name in ("own", "foreign"):
        for namespace in (None, "mine", "others"):
            await control.deploy(name, namespace)
    for method, path in routes(control):
        rule = RULES[method, path]
        in_namespace = "{namespace}" in path
        names_it = OF_A_WORKER in path and (in_namespace if "mine" in resource else not in_namespace)
        if scope is Scope.NAMESPACE:
            names_it = in_namespace
        own = not await refused(control, method, fill(path, control.account, MINE), headers)
        foreign = not await refused(control, method, fill(path, control.account, OTHERS), headers)
        if foreign and not rule.shared:
            # It is not refused: it is not there, though for an admin it is.
            assert not rule.audited, (method, path)
            if method == "GET":
                assert not await there(control, fill(path, control.account, OTHERS), headers), (method, path)
            continue
        if rule.shared:
            assert own, (method, path)
            assert not rule.audited, (method, path)
            continue
        assert not foreign, (method, path)
        if rule.audited:
            assert own == (names_it and scope in rule.scopes), (method, path)
        elif own:
            assert scope in rule.scopes, (method, path)
            assert in_namespace or names_it, (method, path)


async def test_a_refusal_says_what_the_token_is_for(control: Any, token: Any) -> None:
    response = await control.http.post(
        f"/client/v4/accounts/{control.account}/r2/buckets", headers=token(Scope.WORKER, "own"), json={"name": "abc"}
    )
    assert response.status_code == 403
    assert response.json()["errors"][0]["message"].endswith("limited to the scope worker to 'own'.")


async def test_a_route_that_is_in_no_row_is_for_nobody(control: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RULES, ("GET", "/client/v4/accounts"))  # type: ignore[arg-type]  # a dict behind a Mapping
    assert (await control.http.get("/client/v4/accounts")).status_code == 403
