"""Logs by query: filtered, by cursor, and to each token those of its own Workers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tenantry.control import LogRing, create_app
from tenantry.control.scopes import Scope
from tenantry.host import Trace
from tenantry.host.traces import TraceLog

PATH = "/tenantry/v1/logs"


class Watch:
    def ready(self) -> bool:
        return True

    processes = tuple

    def metrics(self) -> bytes:
        return b""


@pytest.fixture
async def ask(control: Any) -> AsyncIterator[Any]:
    """Asks as the admin, or with a scope; the texts of the first lines, or the error's message."""
    ring = LogRing(control.data / "logs" / "logs.sqlite", 1_000_000, 3600)
    now = int(time.time() * 1000)
    for number, (worker, namespace) in enumerate((("w", None), ("w", "ns"), ("v", "ns"), ("v", "other"))):
        ring(Trace(worker, namespace, "1", "ok", [TraceLog("log", f"{number}", now)], began_at=now))
    ring.flush()
    app: Any = create_app(
        control.store,
        control.bundles,
        control.deployments,
        control.services,
        Watch(),
        assets=control.assets,
        logs=ring,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://control") as http:

        async def call(scope: Scope = Scope.ADMIN, resource: str = "", **params: Any) -> Any:
            token = control.store.tokens.issue(control.account, "test", scope, resource)[1]
            answer = (await http.get(PATH, params=params, headers={"Authorization": f"Bearer {token}"})).json()
            if not answer["success"]:
                return answer["errors"][0]["message"]
            return [entry["logs"][0]["message"] for entry in answer["result"]], answer["result_info"].get("cursor")

        yield call
    ring.close()


async def test_each_token_sees_what_it_is_for(ask: Any) -> None:
    rows: list[tuple[tuple[Any, ...], dict[str, str], Any]] = [
        ((), {}, ["3", "2", "1", "0"]),
        ((Scope.READ,), {"worker": "w"}, ["1", "0"]),
        ((Scope.ADMIN,), {"worker": "w", "namespace": ""}, ["0"]),
        ((Scope.NAMESPACE, "ns"), {}, ["2", "1"]),
        ((Scope.NAMESPACE, "ns"), {"worker": "v"}, ["2"]),
        ((Scope.WORKER, "ns/v"), {}, ["2"]),
        ((Scope.WORKER, "w"), {}, ["0"]),
    ]
    for who, params, expected in rows:
        assert await ask(*who, **params) == (expected, None), (who, params)
    for who, params in (
        ((Scope.NAMESPACE, "ns"), {"namespace": "other"}),
        ((Scope.NAMESPACE, "ns"), {"namespace": ""}),
        ((Scope.WORKER, "ns/v"), {"worker": "w"}),
        ((Scope.WORKER, "w"), {"namespace": "ns"}),
    ):
        assert "limited to the scope" in await ask(*who, **params), (who, params)


async def test_a_cursor_leads_on_and_after_leads_back(ask: Any) -> None:
    found, cursor = await ask(limit=3)
    assert found == ["3", "2", "1"]
    assert await ask(limit=3, cursor=cursor) == (["0"], None)
    assert await ask(after=2) == (["2", "3"], None)


async def test_what_is_no_query_is_refused(ask: Any) -> None:
    rows: list[tuple[dict[str, Any], str]] = [
        ({"limit": 0}, "limit is a number from 1"),
        ({"cursor": "-1"}, "cursor is the id"),
        ({"after": "9" * 30}, "after is the id"),
        ({"since": "yesterday"}, "since is a day"),
        ({"before": "2026-13-01"}, "before is a day"),
        ({"level": "loud"}, "level"),
    ]
    for params, message in rows:
        assert message in await ask(**params), params
