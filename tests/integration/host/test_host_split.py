"""A Worker whose requests are split between two versions, on a real host."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tenantry.config.deployment import DeployedWorker
from tenantry.wire.values import RequestValue

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCE = """
from workers import WorkerEntrypoint, Response

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("NAME")
    def name(self):
        return "NAME"
"""

FRONT = """
from workers import WorkerEntrypoint, Response

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        worker = self.env.D.get("WORKER")
        names = [await worker.name() for _ in range(4)]
        names.append(await (await self.env.D.get("WORKER").fetch(request)).text())
        return Response(" ".join(names))
"""


def share(worker: DeployedWorker, percentage: float) -> DeployedWorker:
    return replace(worker, percentage=percentage)


def deploy_two(platform: Any, name: str) -> tuple[DeployedWorker, DeployedWorker]:
    """Two versions of one Worker, the second deployed."""
    first = platform.deploy(name, SOURCE.replace("NAME", "old"))
    return first, platform.deploy(name, SOURCE.replace("NAME", "new"))


async def ask(platform: Any, worker: str, **headers: str) -> str:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    answer = await platform.host.fetch(worker, RequestValue("GET", "http://example.com/", named))
    return (await platform.body(answer)).decode()


async def test_keys_divide_the_requests_and_hold(platform: Any, unique: str) -> None:
    versions = deploy_two(platform, unique)
    platform.host.deployed(share(versions[0], 80), share(versions[1], 20))
    keys = [f"key {number}" for number in range(100)]

    first = [await ask(platform, unique, cloudflare_workers_version_key=key) for key in keys]
    second = [await ask(platform, unique, cloudflare_workers_version_key=key) for key in keys]

    assert first == second
    assert 65 <= Counter(first)["old"] <= 95, "the keys are always the same"


async def test_requests_without_a_key_reach_both(platform: Any, unique: str) -> None:
    versions = deploy_two(platform, unique)
    platform.host.deployed(share(versions[0], 50), share(versions[1], 50))
    seen: set[str] = set()
    async with asyncio.timeout(30):
        while len(seen) < 2:
            seen.add(await ask(platform, unique))

    assert seen == {"old", "new"}


async def test_an_override_reaches_a_version_without_a_share(platform: Any, unique: str) -> None:
    versions = deploy_two(platform, unique)
    platform.host.deployed(share(versions[1], 100), share(versions[0], 0))
    override = f'{unique}="{versions[0].version_id}"'

    assert await ask(platform, unique) == "new"
    assert await ask(platform, unique, cloudflare_workers_version_overrides=override) == "old"


async def test_one_request_meets_one_version_however_often_it_calls(platform: Any, unique: str) -> None:
    bindings = {"D": ("dispatch_namespace", {"namespace": "split"})}
    old = platform.deploy(unique, SOURCE.replace("NAME", "old"), namespace="split")
    new = platform.deploy(unique, SOURCE.replace("NAME", "new"), namespace="split")
    platform.deploy(f"{unique}-front", FRONT.replace("WORKER", unique), bindings=bindings)
    platform.host.deployed(share(old, 50), share(new, 50))

    answers = {await ask(platform, f"{unique}-front", cloudflare_workers_version_key=str(key)) for key in range(20)}
    drawn = {await ask(platform, f"{unique}-front") for _ in range(20)}

    assert answers == {" ".join(["old"] * 5), " ".join(["new"] * 5)}
    assert drawn <= answers


async def test_a_version_that_stays_keeps_its_processes(platform: Any, unique: str) -> None:
    versions = deploy_two(platform, unique)
    platform.host.deployed(share(versions[0], 100), share(versions[1], 0))
    assert await ask(platform, unique) == "old"
    (pid,) = platform.pids(unique)

    platform.host.deployed(share(versions[0], 10), share(versions[1], 90))
    override = f'{unique}="{versions[0].version_id}"'
    assert await ask(platform, unique, cloudflare_workers_version_overrides=override) == "old"

    assert pid in platform.pids(unique)


async def test_a_split_is_ended_by_a_deployment_and_by_removal(platform: Any, unique: str) -> None:
    versions = deploy_two(platform, unique)
    platform.host.deployed(share(versions[0], 50), share(versions[1], 50))
    platform.host.deployed(share(versions[1], 100))
    assert {await ask(platform, unique) for _ in range(20)} == {"new"}

    platform.host.removed(None, unique)
    assert platform.host.find(None, unique) is None
