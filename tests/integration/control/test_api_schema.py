"""The API as its own description says it is: schemathesis sends what the document allows, and more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tenantry.control import BundleStore, Store, Vault, create_app
from tenantry.control.scopes import Scope
from tenantry.services import ServiceSettings
from tenantry.services.assets import AssetStore
from tenantry.services.installed import InstalledServices

EXAMPLES = 2
# A call to what Cloudflare has and this platform has not.
NOT_OFFERED = 501


class Watch:
    processes = tuple

    def metrics(self) -> bytes:
        return b""

    def ready(self) -> bool:
        return True


class Nobody:
    def deployed(self, *versions: Any) -> None: ...
    def removed(self, namespace: str | None, name: str) -> None: ...


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import schemathesis  # here, for the one process of pytest that runs this: it is a lot to import

    folder: Path = tmp_path_factory.mktemp("control")
    store = Store(folder / "control.db", Vault.open(folder / "secrets.keys"), durable=False)
    services = InstalledServices(ServiceSettings(folder, "process"))
    bundles, assets = BundleStore(folder / "bundles", durable=False), AssetStore(folder / "assets", durable=False)
    app = create_app(store, bundles, Nobody(), services, Watch(), assets=assets)
    account = store.accounts.default().id
    schema = schemathesis.openapi.from_asgi("/client/v4/openapi.json", app)
    schema.config.update(headers={"Authorization": f"Bearer {store.tokens.issue(account, 'test', Scope.ADMIN)[1]}"})
    yield schema
    store.close()


def test_no_call_is_answered_with_a_fault_of_ours(served: Any) -> None:
    described = [found.ok() for found in served.get_all_operations()]
    # A key is the rest of a path, with slashes: schemathesis makes none that it thinks fit to send, for seconds.
    operations = [operation for operation in described if not operation.path.endswith("/objects/{key}")]
    assert len(described) - 3 == len(operations) > 80
    envelopes = 0

    for operation in operations:
        # A test of its own for each, for hypothesis to shrink what it finds.
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            nonlocal envelopes
            response = case.call()
            assert response.status_code < 500 or response.status_code == NOT_OFFERED, response.text
            if case.operation.path != "/client/v4/graphql" and "json" in response.headers["content-type"][0]:
                envelopes += 1
                body = response.json()
                assert set(body) >= {"success", "errors", "messages", "result"}
                assert body["success"] is (response.status_code < 400)

        check()

    assert envelopes > len(operations)
