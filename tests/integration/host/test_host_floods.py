"""Workers that send without end, or keep what they should let go of: what it costs, and whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tenantry.errors import InvocationError
from tenantry.host import logs
from tenantry.wire.limits import LOG_WINDOW_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_log_flood_outside_of_any_invocation_is_cut(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import asyncio
        from workers import Response, WorkerEntrypoint

        for _ in range(20_000):
            print("while it starts")

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                peer = self.ctx._invocation.worker.peer
                for number in range(40):
                    for _ in range(500):
                        peer.log(0, "log", "stray")
                        peer.log(4_000_000, "log", "stray")
                    await asyncio.sleep(0)
                return Response("fine")
        """,
    )
    assert await platform.text(unique) == "fine"
    said = [message for worker, message in platform.said if worker == unique]
    assert 100 < len(said) < 5000
    assert any("Log size limit exceeded" in message for message in said)


async def test_a_log_flood_of_many_invocations_is_cut_too(
    platform: Any, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOG_BURST_BYTES", 100_000)
    monkeypatch.setattr(logs, "LOG_BYTES_PER_SECOND", 1000)
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                for _ in range(200):
                    print("x" * 1000)
                return Response("fine")
        """,
    )
    assert [await platform.text(unique) for _ in range(8)] == ["fine"] * 8
    await platform.wait_log(unique, "lines were lost")
    said = [message for worker, message in platform.said if worker == unique]
    unasked = LOG_WINDOW_BYTES + 100_000
    assert unasked // 1100 < said.count("x" * 1000) < unasked // 1064 + 200  # and 1 KB each second that it took
    assert any("Log rate limit exceeded" in message for message in said)
    platform.deploy(f"{unique}-other", "print('heard')\nfrom workers import WorkerEntrypoint as Default\n")
    with pytest.raises(InvocationError):
        await platform.text(f"{unique}-other")
    assert "heard" in platform.logs(f"{unique}-other")


async def test_calls_without_end_end_the_process(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import asyncio
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if request.url.endswith("/fine"):
                    return Response("fine")
                async def call():
                    try:
                        await self.env.KV.get("key")
                    except Exception:
                        pass
                while True:
                    await asyncio.gather(*[call() for _ in range(500)])
        """,
        bindings={"KV": ("kv_namespace", {"namespace_id": "flood"})},
        subrequests=10,
    )
    with pytest.raises(InvocationError):
        await asyncio.wait_for(platform.text(unique), 30)
    assert await platform.text(unique, "/fine") == "fine"


async def test_what_comes_beside_the_body_of_a_response_is_given_back(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint
        from tenantry.wire.events import StreamExport, StubExport
        from tenantry.streams import BytesStream

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                worker = self.ctx._invocation.worker
                plain = worker.encode
                def encode(value, invocation):
                    payload, capabilities = plain(value, invocation)
                    return payload, [*capabilities, StubExport(print), StreamExport(BytesStream(b"more"), 4)]
                worker.encode = encode
                return Response("body")
        """,
    )
    assert await platform.text(unique) == "body"
    async with asyncio.timeout(10):
        while any(process["in_flight"] for process in platform.host.processes() if process["worker"] == unique):
            await asyncio.sleep(0.01)


async def test_a_thread_that_prints_is_heard_before_it_is_done(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import asyncio, threading
        from workers import Response, WorkerEntrypoint

        go_on = threading.Event()

        def work():
            print("from the thread")
            go_on.wait(30)

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if request.url.endswith("/go"):
                    go_on.set()
                else:
                    await asyncio.to_thread(work)
                return Response("fine")
        """,
    )
    waiting = asyncio.create_task(platform.text(unique, "/wait"))
    await platform.wait_log(unique, "from the thread")
    assert await platform.text(unique, "/go") == "fine"
    assert await waiting == "fine"


async def test_recursion_through_stubs_ends(platform: Any, unique: str) -> None:
    platform.deploy(
        "bouncer",
        """
        from workers import WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def bounce(self, back):
                return await back(self.again)

            async def again(self, back):
                return await back(self.again)
        """,
        namespace="bouncers",
    )
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                count = 0
                async def back(again):
                    nonlocal count
                    count += 1
                    return await again(back)
                try:
                    await self.env.DISPATCHER.get("bouncer").bounce(back)
                except Exception as error:
                    return Response(f"{count} {error}")
        """,
        bindings={"DISPATCHER": ("dispatch_namespace", {"namespace": "bouncers"})},
    )
    text = await platform.text(unique)
    assert int(text.split()[0]) <= 16
    assert "deep" in text
