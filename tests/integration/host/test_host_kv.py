"""The cases of `kv_cases` from inside a Worker: `self.env` in a sandboxed process, over the real channel.

One process runs them all. A case has two namespaces of its own, and turns the service's clock through a binding that
only these tests have.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import kv_cases
import pytest

from tenantry.errors import BindingError
from tenantry.services import ServiceSettings
from tenantry.services.installed import InstalledServices
from tenantry.services.kv import KvService

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024

RUNNER = """
import traceback
from urllib.parse import urlsplit

import kv_cases
from workers import Response, WorkerEntrypoint


class WorkerSubject:
    def __init__(self, env, case):
        self.kv = env[f"KV_{case}"]
        self.other = env[f"OTHER_{case}"]
        self._clock = env.CLOCK

    async def now(self):
        return int(await self._clock.get("now"))

    async def advance(self, seconds):
        await self._clock.put("advance", seconds)


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        case = urlsplit(request.url).path[1:]
        try:
            await kv_cases.CASES[case][0](WorkerSubject(self.env, case))
        except Exception:
            return Response(traceback.format_exc())
        return Response("ok")
"""


class Clock:
    """The service's clock, and the binding by which a case reads and turns it."""

    eager = False

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    async def call(self, method: str, args: list[Any]) -> Any:
        if method == "get":
            return str(int(self.now)).encode()
        assert method == "put"
        self.now += int(args[1])
        return None


class ClockedKv:
    """The service, and the clock under a name of its own."""

    def __init__(self, service: KvService, clock: Clock) -> None:
        self.service = service
        self.clock = clock

    def open(self, resource_id: str) -> Any:
        return self.clock if resource_id == "clock" else self.service.open(resource_id)

    async def delete(self, resource_id: str) -> None:
        await self.service.delete(resource_id)

    async def aclose(self) -> None:
        await self.service.aclose()


def install_services(services: InstalledServices, settings: ServiceSettings) -> None:
    clock = Clock()
    kv = ClockedKv(KvService(settings, clock=clock), clock)
    services.by_name["kv"] = kv
    services.by_binding_type["kv_namespace"] = (kv, "namespace_id")


def namespaces(**ids: str) -> dict[str, tuple[str, dict[str, Any]]]:
    return {name: ("kv_namespace", {"namespace_id": each}) for name, each in ids.items()}


def deploy_cases(platform: Any) -> str:
    """The Worker that runs cases, deployed once."""
    if not platform.pids("kv-cases"):
        bindings = namespaces(CLOCK="clock")
        for case in kv_cases.CASES:
            bindings |= namespaces(**{f"KV_{case}": f"{case}-mine", f"OTHER_{case}": f"{case}-other"})
        source = Path(kv_cases.__file__).read_text()
        platform.deploy(
            "kv-cases", RUNNER, bindings=bindings, files={"kv_cases.py": source}, subrequests=100_000, cpu_ms=60_000
        )
    return "kv-cases"


@pytest.mark.parametrize("case", list(kv_cases.CASES))
async def test_case(platform: Any, case: str) -> None:
    assert await platform.text(deploy_cases(platform), f"/{case}") == "ok"
    assert len(platform.pids("kv-cases")) == 1


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def test_a_value_of_25_mib_is_streamed_through_a_worker_without_being_held(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if request.method == "PUT":
                    await self.env.KV.put("big", request.body)
                    return Response("put")
                stream = await self.env.KV.get("big", "stream")
                if request.url.endswith("/passed"):
                    return Response(stream)
                size = 0
                while chunk := await stream.read(64 * 1024):
                    size += len(chunk)
                return Response(str(size))
        """,
        bindings=namespaces(KV=unique),
    )
    value = kv_cases.pattern(0, 25 * MIB)
    await platform.text(unique, method="PUT", body=b"x" * 100_000)
    assert await platform.text(unique) == "100000"
    [pid] = platform.pids(unique)
    before = peak_bytes(pid)

    assert await platform.text(unique, method="PUT", body=value) == "put"
    assert await platform.body(await platform.fetch(unique, "/passed")) == value
    assert await platform.text(unique) == str(25 * MIB)

    assert platform.pids(unique) == [pid]
    assert peak_bytes(pid) - before < 5 * MIB


async def test_a_worker_bound_to_a_deleted_namespace_is_refused_whatever_it_does(platform: Any, unique: str) -> None:
    source = """
        import asyncio
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                kv, errors = self.env.KV, []
                for call in (
                    lambda: kv.put("key", "value"), lambda: kv.put("key", "v" * 100_000), lambda: kv.get("key"),
                    lambda: kv.get(["key"]), lambda: kv.getWithMetadata("key"), lambda: kv.delete("key"), kv.list,
                ):
                    try:
                        await call()
                    except Exception as error:
                        errors.append(str(error))
                return Response.from_json(errors)
        """
    platform.deploy(unique, source, bindings=namespaces(KV=unique))
    assert json.loads(await platform.text(unique)) == []

    service, _ = platform.services.by_binding_type["kv_namespace"]
    await service.delete(unique)

    expected = [
        f"Error: KV {verb} failed: 404 namespace not found"
        for verb in ("PUT", "PUT", "GET", "GET_BULK", "GET", "DELETE", "GET")
    ]
    assert json.loads(await platform.text(unique)) == expected
    # Nor does another Worker that is deployed later with the same id get it back.
    platform.deploy(f"{unique}-2", source, bindings=namespaces(KV=unique))
    assert json.loads(await platform.text(f"{unique}-2")) == expected


async def test_two_workers_on_one_namespace_see_each_others_writes_at_once(platform: Any, unique: str) -> None:
    source = """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if request.method == "PUT":
                    await self.env.KV.put("key", await request.text())
                return Response(await self.env.KV.get("key", cacheTtl=3600))
        """
    for name in (unique, f"{unique}-2"):
        platform.deploy(name, source, bindings=namespaces(KV=unique))
    for index in range(20):
        writer, reader = (unique, f"{unique}-2") if index % 2 else (f"{unique}-2", unique)
        await platform.text(writer, method="PUT", body=str(index).encode())
        assert await platform.text(reader) == str(index)


async def test_what_a_worker_cannot_name_it_cannot_reach(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                errors = []
                for name, args in (
                    ("open", ["victim"]), ("namespace", []), ("_store", []), ("getMany", [["../victim/key"]]),
                    ("get", ["../victim"]), ("list", ["../"]), ("__class__", []), ("call", ["get", ["secret"]]),
                ):
                    try:
                        errors.append(str(await self.env.KV._call(name, *args)))
                    except Exception as error:
                        errors.append(str(error))
                return Response.from_json(errors)
        """,
        bindings=namespaces(KV=unique),
    )
    service, _ = platform.services.by_binding_type["kv_namespace"]
    await service.open("victim").call("put", ["secret", b"of another"])
    no_method = "TypeError: The KV namespace has no such method."
    assert json.loads(await platform.text(unique)) == [
        no_method,
        no_method,
        no_method,
        "[None]",
        "None",
        repr(b'{"keys":[],"list_complete":true}'),
        no_method,
        no_method,
    ]


async def test_a_worker_that_writes_as_fast_as_it_can_leaves_room_for_others(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import asyncio
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                value = "x" * 60_000
                await asyncio.gather(*(self.env.KV.put(str(index % 50), value) for index in range(400)))
                return Response("done")
        """,
        bindings=namespaces(KV=unique),
        subrequests=100_000,
    )
    service, _ = platform.services.by_binding_type["kv_namespace"]
    flood = asyncio.ensure_future(platform.text(unique))
    neighbour = service.open(f"{unique}-neighbour")
    reads = 0
    while not flood.done():
        await neighbour.call("put", ["key", str(reads).encode()])
        assert await neighbour.call("get", ["key"]) == str(reads).encode()
        reads += 1
    assert await flood == "done"
    assert reads > 0
    with pytest.raises(BindingError):
        await neighbour.call("get", [""])
