"""The control plane as an ASGI application with a fake data plane behind it, spoken to over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import delete

from tenantry.config.deployment import DeployedWorker
from tenantry.config.quotas import Quotas
from tenantry.control import BundleStore, Store, Vault, create_app, schema
from tenantry.control.schema import METADATA
from tenantry.services import ServiceSettings
from tenantry.services.assets import AssetStore
from tenantry.services.installed import InstalledServices
from tenantry.services.quota import Quota


class FakeWatch:
    """A platform that is up and has one worker process."""

    def ready(self) -> bool:
        return True

    def processes(self) -> list[dict[str, Any]]:
        return [{"pid": 7, "worker": "w"}]

    def metrics(self) -> bytes:
        return b"up 1\n"


@dataclass
class FakeDeployments:
    """The data plane: remembers what it was told, in order."""

    calls: list[tuple[str, str | None, str]] = field(default_factory=list)
    workers: dict[tuple[str | None, str], DeployedWorker] = field(default_factory=dict)
    """Of each the version with the largest share."""
    splits: dict[tuple[str | None, str], tuple[DeployedWorker, ...]] = field(default_factory=dict)

    def deployed(self, *versions: DeployedWorker) -> None:
        worker = versions[0]
        self.calls.append(("deployed", worker.namespace, worker.name))
        self.workers[(worker.namespace, worker.name)] = worker
        self.splits[(worker.namespace, worker.name)] = versions

    def removed(self, namespace: str | None, name: str) -> None:
        self.calls.append(("removed", namespace, name))
        del self.workers[(namespace, name)]


@dataclass
class Control:
    """A running control plane and a client with its token."""

    app: Any  # ASGI
    http: httpx.AsyncClient
    store: Store
    bundles: BundleStore
    assets: AssetStore
    deployments: FakeDeployments
    services: InstalledServices
    account: str
    token: str
    data: Path

    @property
    def path(self) -> str:
        return f"/client/v4/accounts/{self.account}"

    def empty(self) -> None:
        """As it was when it was made: nothing in the store but the account and its token, nothing deployed."""
        with self.store._database.write() as connection:
            for table in reversed(METADATA.sorted_tables):
                if table is schema.tokens:
                    connection.execute(delete(table).where(table.c.id != self.token.split("_")[1]))
                elif table is not schema.accounts:
                    connection.execute(delete(table))
        self.deployments.calls.clear()
        self.deployments.workers.clear()
        self.deployments.splits.clear()

    async def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return await self.http.request(method, self.path + path, **arguments)

    async def deploy(
        self,
        name: str = "w",
        namespace: str | None = None,
        files: Mapping[str, bytes] | None = None,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        **metadata: Any,
    ) -> httpx.Response:
        path = f"/workers/scripts/{name}"
        if namespace is not None:
            path = f"/workers/dispatch/namespaces/{namespace}/scripts/{name}"
        document = {
            "main_module": "entry.py",
            "compatibility_date": "2026-01-15",
            "compatibility_flags": ["python_workers"],
            **metadata,
        }
        parts = [
            (name, (name, content, "text/x-python"))
            for name, content in (files or {"entry.py": b"from lib import a", "lib/a.py": b""}).items()
        ]
        return await self.call(
            "PUT", path + query, data={"metadata": json.dumps(document)}, files=parts, headers=headers
        )


@asynccontextmanager
async def running_control(
    tmp_path: Path, quotas: Mapping[str, Quota] | None = None, counts: Quotas | None = None
) -> AsyncIterator[Control]:
    store = Store(tmp_path / "control.db", Vault.open(tmp_path / "secrets.keys"), durable=False, quotas=counts)
    bundles = BundleStore(tmp_path / "bundles", durable=False)
    deployments = FakeDeployments()
    account = store.accounts.default().id
    token = store.tokens.issue(account, "test")[1]
    settings = ServiceSettings(tmp_path / "accounts" / account, "process", quotas=quotas or {})
    services = InstalledServices(settings)
    assets = AssetStore(tmp_path / "assets", durable=False)
    app = create_app(store, bundles, deployments, services, FakeWatch(), assets=assets)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]  # two ASGI types
    async with httpx.AsyncClient(
        transport=transport, base_url="http://control", headers={"Authorization": f"Bearer {token}"}
    ) as http:
        yield Control(app, http, store, bundles, assets, deployments, services, account, token, tmp_path)
    await services.aclose()
    store.close()


@pytest_asyncio.fixture(loop_scope="function")
async def own_control(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Control]:
    """A test module's `QUOTAS` are the account's, its `COUNTS` say how many resources there may be."""
    async with running_control(
        tmp_path, getattr(request.module, "QUOTAS", None), getattr(request.module, "COUNTS", None)
    ) as control:
        yield control


@pytest.fixture
def control(own_control: Control) -> Control:
    """A test's own; modules most of whose tests can do with less have `emptied_control` by this name."""
    return own_control


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_control(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Control]:
    """One for all tests of a module, each of which has resources of its own in it."""
    async with running_control(tmp_path_factory.mktemp("control")) as control:
        yield control


@pytest_asyncio.fixture(loop_scope="module")
async def emptied_control(shared_control: Control) -> Control:
    """As good as one of the test's own, without the time that making one takes. Not for tests that close it, look at
    its files, or send what it remembers outside of its store: wrong tokens, and objects in buckets."""
    shared_control.empty()
    return shared_control
