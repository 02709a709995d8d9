"""Static assets on a real host: what answers without a process, what a Worker is asked, what it may ask itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tenantry.config.deployment import AssetsConfig, BindingSpec, DeployedAssets, DeployedWorker
from tenantry.errors import WorkerCrashed
from tenantry.services.assets import Asset

pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGE = bytes(range(256)) * 1024

SOURCE = """
from workers import WorkerEntrypoint, Response

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        path = "/" + request.url.split("/", 3)[3]
        if path.startswith("/ask"):
            return await self.env.ASSETS.fetch("http://any" + path.removeprefix("/ask"))
        if path == "/body":
            return Response("worker got " + await request.text())
        return Response("worker " + path)

    async def name(self):
        return "rpc"
"""

FRONT = """
from workers import WorkerEntrypoint, Response

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        worker = self.env.D.get(request.headers["x-worker"])
        if request.url.endswith("/rpc"):
            try:
                return Response(await worker.name())
            except Exception as error:
                return Response(str(error), status=500)
        return await worker.fetch(request)
"""


def keep(platform: Any, files: Mapping[str, bytes]) -> DeployedAssets:
    assets = platform.assets
    found = {}
    for path, content in files.items():
        address = hashlib.sha256(content).hexdigest()
        staged = assets.stage()
        staged.write(content)
        staged.finish()
        assets.adopt({address: staged})
        found[path] = Asset(address[:32], address, len(content))
    return DeployedAssets(assets.write_manifest(found))


def with_assets(
    platform: Any, worker: DeployedWorker, files: Mapping[str, bytes], *, code: bool = True, **config: Any
) -> DeployedWorker:
    """The Worker anew, with files."""
    assets = replace(keep(platform, files), config=AssetsConfig(**config))
    changed = replace(worker, version_id=f"{worker.version_id}-assets", assets=assets)
    if not code:
        changed = replace(changed, main_module="", bundle="", bindings=())
    platform.host.deployed(changed)
    return changed


async def get(platform: Any, worker: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    answer = await platform.fetch(worker, path, method=method, headers=named)
    return answer.response.status, await platform.body(answer)


async def test_files_are_served_without_a_process_and_the_rest_is_the_workers(platform: Any, unique: str) -> None:
    worker = platform.deploy(unique, SOURCE)
    with_assets(platform, worker, {"/index.html": b"home", "/large.bin": LARGE})

    assert await get(platform, unique, "/") == (200, b"home")
    assert await get(platform, unique, "/large.bin") == (200, LARGE)
    assert await get(platform, unique, "/large.bin", "POST") == (405, b"")
    head = await platform.fetch(unique, "/large.bin", method="HEAD")
    assert (head.response.body, dict(head.response.headers)["content-length"]) == (None, str(len(LARGE)))
    assert platform.pids(unique) == []

    assert await get(platform, unique, "/other") == (200, b"worker /other")
    body = await platform.fetch(unique, "/body", method="POST", body=b"x" * 100_000)
    assert await platform.body(body) == b"worker got " + b"x" * 100_000
    assert len(platform.pids(unique)) == 1


async def test_a_worker_reads_its_files_by_its_binding(platform: Any, unique: str) -> None:
    bound = replace(platform.deploy(unique, SOURCE), bindings=(BindingSpec("ASSETS", "assets", {}),))
    files = {"/index.html": b"home", "/large.bin": LARGE, "/404.html": b"lost"}
    with_assets(platform, bound, files, run_worker_first=True, not_found_handling="404-page")

    assert await get(platform, unique, "/") == (200, b"worker /")
    assert await get(platform, unique, "/ask/") == (200, b"home")
    assert await get(platform, unique, "/ask/index.html") == (200, b"home"), "redirects are followed"
    assert await get(platform, unique, "/ask/large.bin") == (200, LARGE)
    assert await get(platform, unique, "/ask/none") == (404, b"lost")


async def test_a_user_worker_meets_its_files_first_too(platform: Any, unique: str) -> None:
    platform.deploy(unique, FRONT, bindings={"D": ("dispatch_namespace", {"namespace": unique})})
    with_assets(platform, platform.deploy("both", SOURCE, namespace=unique), {"/index.html": b"home", "/big": LARGE})
    with_assets(platform, platform.deploy("only", SOURCE, namespace=unique), {"/index.html": b"only"}, code=False)

    for _ in range(2):  # the second time the Worker has a process, and there is a quicker way to it
        assert await get(platform, unique, "/", x_worker="both") == (200, b"home")
        assert await get(platform, unique, "/big", x_worker="both") == (200, LARGE)
        assert await get(platform, unique, "/other", x_worker="both") == (200, b"worker /other")
        assert await get(platform, unique, "/rpc", x_worker="both") == (200, b"rpc")
    assert await get(platform, unique, "/", x_worker="only") == (200, b"only")
    assert await get(platform, unique, "/none", x_worker="only") == (404, b"")
    status, text = await get(platform, unique, "/rpc", x_worker="only")
    assert (status, b"static assets only" in text) == (500, True)
    assert platform.pids("only") == []


async def test_each_version_of_a_split_has_its_own_files(platform: Any, unique: str) -> None:
    worker = platform.deploy(unique, SOURCE)
    old = with_assets(platform, replace(worker, version_id="old"), {"/a.txt": b"old"})
    new = with_assets(platform, replace(worker, version_id="new"), {"/a.txt": b"new"})
    platform.host.deployed(replace(old, percentage=50.0), replace(new, percentage=50.0))

    found = {
        version: await get(
            platform, unique, "/a.txt", cloudflare_workers_version_overrides=f'{unique}="{version.version_id}"'
        )
        for version in (old, new)
    }
    assert [body for _, body in found.values()] == [b"old", b"new"]

    platform.host.deployed(old)
    assert await get(platform, unique, "/a.txt") == (200, b"old")


async def test_files_that_are_gone_fail_their_own_requests_only(platform: Any, unique: str) -> None:
    worker = platform.deploy(unique, SOURCE)
    assets = DeployedAssets("0" * 64)
    platform.host.deployed(replace(worker, version_id="broken", assets=assets))
    with pytest.raises(WorkerCrashed, match="cannot be read"):
        await get(platform, unique, "/")
    with_assets(platform, worker, {"/index.html": b"home"})
    assert await get(platform, unique, "/") == (200, b"home")
