"""Leaks: after many cold starts and kills the host holds what it held before, and no more.

Each round is a cold start that ends badly, in one of the ways in which processes of a hostile tenant, or of a machine
in trouble, end: killed while idle, while it sends or gets a body, while it holds somebody's callback, by its own hand,
by breaking the protocol, together with its zygote; or its client leaves, or it is replaced. What is counted before and
after are descriptors, tasks, child processes, threads, files, and the objects that stand for any of them.

A short run is part of every test run; `make soak` asks for SOAK_ROUNDS of them, and looks at the memory too.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import secrets
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenantry.channel import Peer, RemoteStream
from tenantry.config.deployment import BindingSpec, DeployedWorker, WorkerLimits
from tenantry.errors import InvocationError, StreamError
from tenantry.host import Answer, Host, LogEvent, PythonRuntime
from tenantry.host.invocation import Invocation
from tenantry.host.pool import WorkerPool
from tenantry.host.process import WorkerProcess
from tenantry.host.remote_stub import RemoteStub
from tenantry.host.runtime import python_policy
from tenantry.sandbox import Zygote
from tenantry.sandbox.limits import BLANK_COUNT
from tenantry.sandbox.process import SandboxedProcess
from tenantry.services import ServiceSettings
from tenantry.services.installed import InstalledServices
from tenantry.services.r2 import R2Service
from tenantry.streams import BytesStream, read_all
from tenantry.wire.session import Session
from tenantry.wire.values import RequestValue

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "100"))
AT_ONCE = 3
ROUNDS_PER_ZYGOTE = 25
WARM_ROUNDS = 20
MEMORY_WARM_ROUNDS = 500
"""Before them memory says nothing: the allocator fills its arenas."""
MEMORY_BYTES_MAX = 16 * 1024 * 1024
THREADS_MAX = 48
"""Pools of threads grow to their own bounds, as chance has it; the groups they are of stay the same."""
SETTLE_SECONDS_MAX = 30.0
ROUND_SECONDS_MAX = 60.0

COUNTED = (
    Invocation,
    Peer,
    RemoteStream,
    RemoteStub,
    SandboxedProcess,
    Session,
    WorkerPool,
    WorkerProcess,
    Zygote,
)

VICTIM = """
import asyncio, os
from workers import Response, WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        what = request.url.rpartition("/")[2]
        if what == "fill":
            await self.env.BUCKET.put("large", b"x" * 10_000_000)
        if what == "stream":
            found = await self.env.BUCKET.get("large")
            return Response(found.body)
        if what == "read":
            print("reading")
            return Response(str(len(await request.bytes())))
        if what == "form":
            form = await request.form_data()
            print("has the form")
            await asyncio.sleep(3600)
        if what == "wait":
            self.ctx.waitUntil(asyncio.sleep(3600))
            print("waiting")
            await asyncio.sleep(3600)
        if what == "exit":
            os._exit(1)
        if what == "garbage":
            for number in range(3, 16):
                try:
                    os.write(number, b"this is no frame" * 100)
                except OSError:
                    pass
            await asyncio.sleep(3600)
        if what == "calls":
            await asyncio.gather(*[self.env.KV.put(f"key{n}", "x" * 1000) for n in range(20)])
        return Response("fine")

    async def hold(self, function):
        await function()
        print("holding")
        await asyncio.sleep(3600)
"""

DISPATCHER = """
from workers import Response, WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        _, _, _, victim, what = request.url.split("/")
        stub = self.env.VICTIMS.get(victim)
        try:
            if what == "hold":
                async def called():
                    return 1
                return Response(await stub.hold(called))
            return await stub.fetch(request)
        except Exception as error:
            return Response(str(error), status=500)
"""


class Arena:
    """A host, and one victim after the other."""

    def __init__(self, host: Host, runtime: PythonRuntime, services: InstalledServices, data: Path) -> None:
        self.host = host
        self.runtime = runtime
        self.services = services
        self.data = data
        self.ways: Counter[str] = Counter()
        self._waiting: dict[tuple[str, str], asyncio.Event] = {}
        self._versions = 0
        self.deploy_dispatcher()

    def on_log(self, event: LogEvent) -> None:
        for message in event.messages:
            found = self._waiting.get((event.worker, message))
            if found is not None:
                found.set()

    def deploy(self, namespace: str | None, name: str, bundle: str, *bindings: BindingSpec) -> None:
        self._versions += 1
        self.host.deployed(
            DeployedWorker(
                namespace=namespace,
                name=name,
                version_id=f"version-{self._versions}",
                bundle=bundle,
                main_module="entry.py",
                compatibility_date="2026-09-01",
                compatibility_flags=("python_workers",),
                bindings=bindings,
                limits=WorkerLimits(cpu_ms=None, subrequests=None),
            )
        )

    def deploy_dispatcher(self) -> None:
        self.deploy(None, "dispatcher", "dispatcher", BindingSpec("VICTIMS", "dispatch_namespace", {"namespace": "v"}))

    def deploy_victim(self, name: str) -> None:
        """A version of its own, so that what crashed before does not hold it back."""
        kv = BindingSpec("KV", "kv_namespace", {"namespace_id": "everybodys"})
        bucket = BindingSpec("BUCKET", "r2_bucket", {"bucket_name": "everybodys"})
        self.deploy("v", name, "victim", kv, bucket)

    async def fill(self) -> None:
        """The bucket that victims read from."""
        self.deploy_victim("victim-fill")
        assert await self.text("victim-fill", "fill") == b"fine"
        self.host.removed("v", "victim-fill")

    async def sweep(self) -> None:
        """What a host does when it is five minutes old. SQLite keeps the descriptor of a connection beside others for
        the next such connection: it is there from the first sweep on."""
        r2 = self.services.by_name["r2"]
        assert isinstance(r2, R2Service)
        await r2.sweeper.sweep()

    def has_full_stock(self) -> bool:
        zygote = self.runtime._zygote
        return zygote is not None and len(zygote._blanks) == BLANK_COUNT

    async def fetch(self, victim: str, what: str, body: BytesStream | None = None, kind: str = "") -> Answer:
        headers = [("content-type", kind)] if kind else []
        request = RequestValue("POST" if body else "GET", f"http://host/{victim}/{what}", headers)
        return await self.host.fetch("dispatcher", request, body)

    async def text(self, victim: str, what: str) -> bytes:
        answer = await self.fetch(victim, what)
        if answer.stream is not None:
            return await read_all(answer.stream, 1 << 30)
        return answer.response.body if isinstance(answer.response.body, bytes) else b""

    def kill(self, victim: str) -> None:
        for process in self.host.processes():
            if process["worker"] == victim:
                with suppress(ProcessLookupError):
                    os.kill(process["pid"], signal.SIGKILL)

    async def until_logged(self, victim: str, text: str, work: Awaitable[Any]) -> asyncio.Task[Any]:
        """Start some work and wait until the victim said that it is in the middle of it."""
        logged = self._waiting[(victim, text)] = asyncio.Event()
        task = asyncio.ensure_future(work)
        try:
            await logged.wait()
        finally:
            del self._waiting[(victim, text)]
        return task


async def killed_while_idle(arena: Arena, victim: str) -> None:
    assert await arena.text(victim, "calls") == b"fine"
    arena.kill(victim)


async def killed_while_it_answers(arena: Arena, victim: str) -> None:
    answer = await arena.fetch(victim, "stream")
    assert answer.stream is not None
    await answer.stream.read(1000)
    arena.kill(victim)
    await answer.stream.aclose()


class _Endless:
    """A body that never ends."""

    length = None

    async def read(self, size_max: int) -> bytes:
        await asyncio.sleep(0)
        return bytes(min(size_max, 10_000))

    async def aclose(self) -> None:
        pass


async def killed_while_it_reads(arena: Arena, victim: str) -> None:
    body: Any = _Endless()
    await killed(arena, victim, await arena.until_logged(victim, "reading", arena.fetch(victim, "read", body)))


async def killed_while_it_holds_a_form(arena: Arena, victim: str) -> None:
    file = b"x" * 300_000
    head = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    form = BytesStream(head + file + b"\r\n--b--\r\n")
    work = arena.fetch(victim, "form", form, "multipart/form-data; boundary=b")
    await killed(arena, victim, await arena.until_logged(victim, "has the form", work))


async def killed_while_it_holds_a_callback(arena: Arena, victim: str) -> None:
    await killed(arena, victim, await arena.until_logged(victim, "holding", arena.fetch(victim, "hold")))


async def killed(arena: Arena, victim: str, task: asyncio.Task[Answer]) -> None:
    arena.kill(victim)
    answer = await task
    assert answer.response.status == 500
    if answer.stream is not None:
        await answer.stream.aclose()


async def ends_itself(arena: Arena, victim: str) -> None:
    assert b"ended before it answered" in await arena.text(victim, "exit")


async def breaks_the_protocol(arena: Arena, victim: str) -> None:
    assert b"ended before it answered" in await arena.text(victim, "garbage")


async def loses_its_client(arena: Arena, victim: str) -> None:
    task = await arena.until_logged(victim, "waiting", arena.fetch(victim, "wait"))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    arena.kill(victim)


async def is_replaced(arena: Arena, victim: str) -> None:
    task = await arena.until_logged(victim, "waiting", arena.fetch(victim, "wait"))
    arena.deploy_victim(victim)
    assert await arena.text(victim, "calls") == b"fine"
    arena.kill(victim)
    await task


WAYS: tuple[Callable[[Arena, str], Awaitable[None]], ...] = (
    killed_while_idle,
    killed_while_it_answers,
    killed_while_it_reads,
    killed_while_it_holds_a_form,
    killed_while_it_holds_a_callback,
    ends_itself,
    breaks_the_protocol,
    loses_its_client,
    is_replaced,
)


async def play_round(arena: Arena, number: int, chance: random.Random) -> None:
    victim = f"victim-{number}"
    way = chance.choice(WAYS)
    arena.deploy_victim(victim)
    try:
        async with asyncio.timeout(ROUND_SECONDS_MAX):
            await way(arena, victim)
    finally:
        arena.host.removed("v", victim)
    arena.ways[way.__name__] += 1


async def kill_zygote(arena: Arena) -> None:
    """With victims that are idle, busy and streaming, all of which end with it."""
    victims = ["victim-idle", "victim-busy", "victim-streaming"]
    for victim in victims:
        arena.deploy_victim(victim)
    assert await arena.text("victim-idle", "calls") == b"fine"
    answer = await arena.fetch("victim-streaming", "stream")
    busy = await arena.until_logged("victim-busy", "waiting", arena.fetch("victim-busy", "wait"))
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == "tenantry-zygote":
                process.kill()
    with suppress(InvocationError):
        await busy
    assert answer.stream is not None
    with suppress(StreamError):
        await read_all(answer.stream, 1 << 30)
    await answer.stream.aclose()
    for victim in victims:
        arena.host.removed("v", victim)
    arena.deploy_dispatcher()  # anew: it crashed with the others, and shall not be held back for that
    arena.ways["the zygote is killed"] += 1


async def play(arena: Arena, rounds: int, chance: random.Random) -> None:
    for first in range(0, rounds, AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for number in range(first, min(first + AT_ONCE, rounds)):
                group.create_task(play_round(arena, number, chance))
        if first % ROUNDS_PER_ZYGOTE < AT_ONCE:
            await kill_zygote(arena)


def holdings(arena: Arena) -> dict[str, Counter[str]]:
    """What the host holds, by what it is of."""
    gc.collect()
    descriptors: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that lists
            descriptors[os.readlink(f"/proc/self/fd/{name}").partition(":[")[0]] += 1
    children: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            children[process.name()] += 1
    return {
        "descriptors": descriptors,
        "child processes": children,
        "tasks": Counter(str(task.get_coro()).split(" at ")[0] for task in asyncio.all_tasks()),
        "groups of threads": Counter({thread.name.rstrip("0123456789") for thread in threading.enumerate()}),
        "files": Counter(str(file.relative_to(arena.data)) for file in arena.data.rglob("*")),
        "objects": Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, COUNTED)),
    }


async def settled_holdings(arena: Arena, before: dict[str, Counter[str]] | None = None) -> dict[str, Counter[str]]:
    """Once they are `before`, or have had the time to become so. Without that: once the stock of blank processes is
    full and nothing has changed for a while."""
    found: dict[str, Counter[str]] = {}
    equal_looks = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS_MAX):
            while True:
                last, found = found, holdings(arena)
                equal_looks = equal_looks + 1 if found == last else 0
                if found == before or (before is None and equal_looks >= 5 and arena.has_full_stock()):
                    break
                await asyncio.sleep(0.05)
    return found


@pytest.fixture
async def arena(tmp_path: Path) -> AsyncIterator[Arena]:
    data = tmp_path / "data"
    for name, source in (("victim", VICTIM), ("dispatcher", DISPATCHER)):
        (data / "bundles" / name).mkdir(parents=True)
        (data / "bundles" / name / "entry.py").write_text(source)
    data.chmod(0o755)
    runtime = PythonRuntime(python_policy(data, "strict"))
    await runtime.open()
    made: list[Arena] = []
    services = InstalledServices(ServiceSettings(data / "accounts" / "account", "process"))
    host = Host(data, services, runtime, lambda event: made[0].on_log(event))
    made.append(Arena(host, runtime, services, data))
    try:
        yield made[0]
    finally:
        await host.aclose()
        await services.aclose()


async def test_cold_starts_and_kills_leave_nothing_behind(arena: Arena) -> None:
    seed = int(os.environ.get("SOAK_SEED", "0")) or secrets.randbits(32)
    print(f"SOAK_SEED={seed}")
    chance = random.Random(seed)
    await arena.fill()
    await arena.sweep()
    for way in WAYS:
        arena.deploy_victim("victim-warm")
        await way(arena, "victim-warm")
        arena.host.removed("v", "victim-warm")
    await play(arena, WARM_ROUNDS, chance)
    before = await settled_holdings(arena)

    await play(arena, min(ROUNDS, MEMORY_WARM_ROUNDS), chance)
    memory_before = psutil.Process().memory_info().rss
    await play(arena, ROUNDS - MEMORY_WARM_ROUNDS, chance)
    await arena.sweep()
    after = await settled_holdings(arena, before)
    memory = psutil.Process().memory_info().rss - memory_before
    print(f"{dict(arena.ways)}; memory {memory_before / 2**20:.1f} MiB {memory / 2**20:+.1f}")
    for what, counted in before.items():
        more, less = after[what] - counted, counted - after[what]
        assert not more, f"{what} that were not there before: {dict(more)}"
        assert not less, f"{what} that are there no more: {dict(less)}"
    assert threading.active_count() <= THREADS_MAX
    if ROUNDS > MEMORY_WARM_ROUNDS:
        assert memory < MEMORY_BYTES_MAX
    assert ROUNDS < 100 or set(arena.ways) > {way.__name__ for way in WAYS}
