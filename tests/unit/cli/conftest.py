"""The real control plane behind a real HTTP port, with nothing behind it: what the CLI's commands talk to."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from tenantry.config.deployment import DeployedWorker
from tenantry.control import BundleStore, Store, Vault, create_app, schema
from tenantry.services import ServiceSettings
from tenantry.services.assets import AssetStore
from tenantry.services.installed import InstalledServices


@dataclass
class Server:
    """Where the control plane answers, and what it was told to run."""

    folder: Path
    control_url: str
    account_id: str
    admin_token: str
    store: Store
    bundles: BundleStore
    requests: list[str] = field(default_factory=list)
    workers: dict[tuple[str | None, str], DeployedWorker] = field(default_factory=dict)

    @property
    def gateway_url(self) -> str:
        return self.control_url

    @property
    def s3_url(self) -> str:
        return self.control_url

    def deployed(self, worker: DeployedWorker) -> None:
        self.workers[(worker.namespace, worker.name)] = worker

    def ready(self) -> bool:
        return True

    def processes(self) -> list[dict[str, Any]]:
        return []

    def metrics(self) -> bytes:
        return b""

    def removed(self, namespace: str | None, name: str) -> None:
        del self.workers[(namespace, name)]

    def empty(self) -> None:
        """As it was when it was made: nothing in the store but the account and its token, nothing deployed."""
        with self.store._database.write() as connection:
            for table in reversed(schema.METADATA.sorted_tables):
                if table is schema.tokens:
                    connection.execute(delete(table).where(table.c.id != self.admin_token.split("_")[1]))
                elif table is not schema.accounts:
                    connection.execute(delete(table))
        shutil.rmtree(self.folder / "assets", ignore_errors=True)  # made when the first is kept
        self.requests.clear()
        self.workers.clear()


@pytest.fixture
def server(shared_server: Server) -> Server:
    """As good as one of the test's own, without the time that making one takes."""
    shared_server.empty()
    return shared_server


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    store = Store(folder / "control.db", Vault.open(folder / "secrets.keys"), durable=False)
    bundles = BundleStore(folder / "bundles", durable=False)
    account = store.accounts.default().id
    found = Server(folder, "", account, store.tokens.issue(account, "test")[1], store, bundles)
    services = InstalledServices(ServiceSettings(folder / "accounts" / account, "process"))
    app = create_app(store, bundles, found, services, found, assets=AssetStore(folder / "assets", durable=False))
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # two ASGI types
    client = httpx.AsyncClient(transport=transport, base_url="http://control")

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.requests.append(f"{self.command} {self.path.partition('?')[0]}")
            call = client.request(self.command, self.path, content=body, headers=dict(self.headers))
            response = asyncio.run_coroutine_threadsafe(call, loop).result(20)
            self.send_response(response.status_code)
            self.send_header("Content-Type", response.headers["content-type"])
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 # http.server's names

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    serving = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    found.control_url = f"http://127.0.0.1:{http.server_port}"
    yield found
    http.shutdown()
    serving.join()
    http.server_close()
    asyncio.run_coroutine_threadsafe(client.aclose(), loop).result(5)
    asyncio.run_coroutine_threadsafe(services.aclose(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    store.close()


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Writes a Worker's project and returns its folder."""

    def write(name: str = "w", **config: Any) -> Path:
        folder = tmp_path / "platform" / name
        (folder / "src").mkdir(parents=True)
        (folder / "src/entry.py").write_text(f"# {name}\n")
        document = {
            "name": name,
            "main": "src/entry.py",
            "compatibility_date": "2026-01-15",
            "compatibility_flags": ["python_workers"],
            **config,
        }
        (folder / "wrangler.jsonc").write_text(json.dumps(document))
        return folder

    return write
