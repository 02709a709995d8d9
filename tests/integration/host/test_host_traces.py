"""What a host tells of invocations to those who watch a Worker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tenantry.errors import WorkerThrew
from tenantry.host import Trace

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCE = """
from workers import WorkerEntrypoint, Response
import asyncio

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        print("seen", request.url)
        if request.url.endswith("/fail"):
            raise ValueError("broken on purpose")
        if request.url.endswith("/later"):
            async def later():
                await asyncio.sleep(0)
                print("behind the answer")
            self.ctx.waitUntil(later())
        return Response("ok", status=201)
    def name(self):
        print("called")
        return "me"
"""

FRONT = """
from workers import WorkerEntrypoint, Response

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(await self.env.D.get("WORKER").name())
"""


class Watch:
    def __init__(self, platform: Any, name: str, namespace: str | None = None) -> None:
        self.traces: asyncio.Queue[Trace] = asyncio.Queue()
        self.leave = platform.host.traces.watch(namespace, name, self.traces.put_nowait)

    async def next(self) -> Trace:
        async with asyncio.timeout(30):
            return await self.traces.get()


class Notable(Watch):
    """Of all Workers; only this one's are let through."""

    def __init__(self, platform: Any, name: str) -> None:
        self.traces = asyncio.Queue()
        self.leave = platform.host.traces.watch_notable(
            lambda trace: self.traces.put_nowait(trace) if trace.worker == name else None
        )


SECRETIVE = """
from workers import WorkerEntrypoint, Response

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        print("the key is", self.env.KEY, "and", [self.env.LINES], self.env.SHORT, self.env.PUBLIC)
        raise ValueError(f"no luck with {self.env.KEY}")
"""


async def test_a_secret_is_shown_to_nobody_whatever_prints_it(platform: Any, unique: str) -> None:
    secrets = {"KEY": "canary-key-1", "LINES": "canary\nlines", "SHORT": "short"}
    bindings = {name: ("secret_text", {"text": text}) for name, text in secrets.items()}
    platform.deploy(unique, SECRETIVE, bindings={**bindings, "PUBLIC": ("plain_text", {"text": "for all to see"})})
    platform.deploy(f"{unique}-other", SOURCE)
    watches = [Watch(platform, unique), Notable(platform, unique)]

    with pytest.raises(WorkerThrew):
        await platform.fetch(unique)

    for watch in watches:
        trace = await watch.next()
        assert [log.message for log in trace.logs] == ["the key is [redacted] and ['[redacted]'] short for all to see"]
        (exception,) = trace.exceptions
        assert exception.message == "no luck with [redacted]"
        assert "no luck with [redacted]" in exception.stack
        watch.leave()
    assert "no luck with [redacted]" in platform.logs(unique)
    assert "canary" not in platform.logs(unique)
    await platform.text(f"{unique}-other", "/canary-key-1")
    assert "canary-key-1" in platform.logs(f"{unique}-other"), "it is no secret of this one"


async def test_only_what_said_something_or_failed_is_notable(platform: Any, unique: str) -> None:
    silent = """
    from workers import WorkerEntrypoint, Response
    import asyncio

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            if request.url.endswith("/late"):
                async def late():
                    while await self.env.KV.get("answered") is None:
                        await asyncio.sleep(0.005)
                    print("behind the answer")
                self.ctx.waitUntil(late())
            if request.url.endswith("/answered"):
                await self.env.KV.put("answered", "yes")
            if request.url.endswith("/loud"):
                print("loud")
            if request.url.endswith("/fail"):
                raise ValueError("broken")
            return Response("ok", status=203)
    """
    platform.deploy(unique, silent, bindings={"KV": ("kv_namespace", {"namespace_id": unique})})
    watch = Notable(platform, unique)

    for path in ("/silent", "/late", "/answered", "/loud"):
        await platform.text(unique, path)
    with pytest.raises(WorkerThrew):
        await platform.fetch(unique, "/fail")

    found = {}
    for _ in range(3):
        trace = await watch.next()
        assert trace.request is not None
        assert trace.began_at is not None
        found[trace.request.url.rsplit("/", 1)[1]] = (trace.outcome, trace.status, [log.message for log in trace.logs])
    assert found == {
        "late": ("ok", None, ["behind the answer"]),
        "loud": ("ok", 203, ["loud"]),
        "fail": ("exception", None, []),
    }
    watch.leave()
    await platform.text(unique, "/loud")
    assert watch.traces.empty()


async def test_a_silent_invocation_is_kept_where_somebody_asks_for_it(platform: Any, unique: str) -> None:
    silent = """
    from workers import WorkerEntrypoint, Response

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            return Response("ok", status=203)
    """
    worker = platform.deploy(unique, silent)
    watch = Notable(platform, unique)
    await platform.text(unique, "/before")
    processes = platform.pids(unique)
    platform.host.deployed(replace(worker, kept_rate=1.0))
    await platform.text(unique, "/sampled")
    assert platform.pids(unique) == processes, "the version is the same, and so is its process"
    platform.host.deployed(worker)
    await platform.text(unique, "/between")
    platform.host.traces.keeping.attend((None, unique), 600)
    await platform.text(unique, "/attended")

    for path in ("/sampled", "/attended"):
        trace = await watch.next()
        assert trace.request is not None
        assert trace.request.url.endswith(path)
        assert (trace.outcome, trace.status, trace.logs) == ("ok", 203, [])
    watch.leave()


async def test_a_request_its_log_and_its_answer(platform: Any, unique: str) -> None:
    platform.deploy(unique, SOURCE)
    watch = Watch(platform, unique)

    await platform.text(unique, "/x?a=1", headers=[("X-Plan", "pro"), ("Authorization", "Bearer s3cret")])
    trace = await watch.next()

    assert (trace.outcome, trace.status) == ("ok", 201)
    assert trace.request is not None
    assert (trace.request.method, trace.request.url) == ("GET", "http://example.com/x?a=1")
    assert trace.request.headers == {"x-plan": "pro", "authorization": "REDACTED"}
    assert [(log.level, log.message) for log in trace.logs] == [("log", "seen http://example.com/x?a=1")]
    assert trace.exceptions == []


async def test_a_failure_has_the_tenants_own_traceback(platform: Any, unique: str) -> None:
    platform.deploy(unique, SOURCE)
    watch = Watch(platform, unique)

    with pytest.raises(WorkerThrew):
        await platform.fetch(unique, "/fail")
    trace = await watch.next()

    assert trace.outcome == "exception"
    (exception,) = trace.exceptions
    assert "broken on purpose" in exception.message
    assert "entry.py" in exception.stack
    assert [log.message for log in trace.logs] == ["seen http://example.com/fail"]


async def test_what_goes_on_behind_the_answer_is_part_of_it(platform: Any, unique: str) -> None:
    platform.deploy(unique, SOURCE)
    watch = Watch(platform, unique)

    await platform.text(unique, "/later")

    assert [log.message for log in (await watch.next()).logs] == [
        "seen http://example.com/later",
        "behind the answer",
    ]


async def test_a_call_by_another_worker(platform: Any, unique: str) -> None:
    platform.deploy(unique, SOURCE, namespace="traced")
    bindings = {"D": ("dispatch_namespace", {"namespace": "traced"})}
    platform.deploy(f"{unique}-front", FRONT.replace("WORKER", unique), bindings=bindings)
    watch = Watch(platform, unique, "traced")

    assert await platform.text(f"{unique}-front") == "me"
    trace = await watch.next()

    assert (trace.method, trace.request, trace.outcome) == ("name", None, "ok")
    assert [log.message for log in trace.logs] == ["called"]


async def test_who_left_hears_nothing_and_others_are_not_told(platform: Any, unique: str) -> None:
    platform.deploy(unique, SOURCE)
    platform.deploy(f"{unique}-other", SOURCE)
    gone, stays = Watch(platform, unique), Watch(platform, f"{unique}-other")
    gone.leave()
    gone.leave()

    await platform.text(unique)
    await platform.text(f"{unique}-other")

    assert (await stays.next()).worker == f"{unique}-other"
    assert gone.traces.empty()
    stays.leave()
