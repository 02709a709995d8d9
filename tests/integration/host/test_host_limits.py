"""Limits from outside: CPU, calls, log volume; crashes, and who is hurt by them."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from tenantry.errors import LimitExceeded, WorkerCrashed
from tenantry.host import watchdog

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = """
    from workers import Response, WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            return Response("hello")
"""

SPINS = {
    "a loop in Python": "while True: pass",
    "a power": "10 ** 10 ** 8",
    "a regular expression": "__import__('re').match(r'(a+)+$', 'a' * 64 + 'b')",
    "a sum": "sum(range(10 ** 15))",
    "a string of digits": "__import__('sys').set_int_max_str_digits(0) or int('9' * 10 ** 7)",
    "a loop that swallows exceptions": "exec('while True:\\n try:\\n  1/0\\n except BaseException: pass')",
}


def spinning(statement: str) -> str:
    return f"""
    from workers import Response, WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            if request.url.endswith("/spin"):
                {statement}
            return Response("fine")
    """


@pytest.mark.parametrize("statement", SPINS.values(), ids=SPINS.keys())
async def test_a_worker_that_spins_is_ended_and_its_neighbours_are_served(
    platform: Any, unique: str, statement: str
) -> None:
    platform.deploy(unique, spinning(statement), cpu_ms=150)
    platform.deploy("neighbour", HELLO)
    assert await platform.text("neighbour") == "hello"  # its start is not what is measured
    spin = asyncio.create_task(platform.fetch(unique, "/spin"))
    served = 0
    while not spin.done():
        assert await platform.text("neighbour") == "hello"
        served += 1
    with pytest.raises(LimitExceeded, match="exceeded CPU"):
        await spin
    assert served > 2
    assert "exceeded CPU time limit" in platform.logs(unique)
    assert await platform.text(unique) == "fine"


async def test_the_log_says_where_a_loop_in_python_was(
    platform: Any, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine that is full, it may get no processor for a while. Its CPU time is what ends it.
    monkeypatch.setattr(watchdog, "LAST_WORDS_SECONDS", 20)
    platform.deploy(
        unique,
        """
        import threading
        from workers import Response, WorkerEntrypoint

        def count_for_ever():
            number = 0
            while True: number += 1  # here it turns

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if request.url.endswith("/threads"):
                    thread = threading.Thread(target=count_for_ever, daemon=True)
                    thread.start()
                    while True: thread.join(0.01)  # here it waits
                count_for_ever()
        """,
        cpu_ms=150,
    )
    with pytest.raises(LimitExceeded, match="exceeded CPU"):
        await platform.fetch(unique)
    log = platform.logs(unique)
    assert "0.15 s" in log
    assert "Where it was" in log
    assert "in fetch" in log
    assert "here it turns" in log
    assert "asyncio" not in log
    assert "tenantry" not in log
    monkeypatch.setattr(watchdog, "LAST_WORDS_CPU_SECONDS", 1)  # which the other thread uses up too
    with pytest.raises(LimitExceeded, match="exceeded CPU"):
        await platform.fetch(unique, "/threads")
    log = platform.logs(unique).rpartition("exceeded CPU")[2]
    assert "here it waits" in log
    assert "Where another thread was" in log
    assert "here it turns" in log


async def test_who_does_not_say_where_it_is_gains_nothing(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import signal, time
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                signal.signal(signal.SIGXCPU, lambda *_: time.sleep(10 ** 6))
                while True:
                    pass
        """,
        cpu_ms=100,
    )
    with pytest.raises(LimitExceeded, match="exceeded CPU"):
        await platform.fetch(unique)
    assert platform.pids(unique) == []
    assert "Where it was" not in platform.logs(unique)


async def test_an_answer_that_comes_when_the_time_is_over_is_none(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import signal
        from workers import Response, WorkerEntrypoint

        class Over(Exception):
            pass

        def stop(*_):
            raise Over

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                try:
                    signal.signal(signal.SIGXCPU, stop)
                    while True:
                        pass
                except Over:
                    return Response("made it")
        """,
        cpu_ms=100,
    )
    with pytest.raises(LimitExceeded, match="exceeded CPU"):
        await platform.fetch(unique)
    async with asyncio.timeout(20):
        while platform.pids(unique):
            await asyncio.sleep(0.01)


async def test_many_short_invocations_do_not_add_up_to_one_long_one(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import time
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                end = time.process_time() + 0.03
                while time.process_time() < end:
                    pass
                return Response("done")
        """,
        cpu_ms=150,
    )
    for _ in range(10):
        assert await platform.text(unique) == "done"


async def test_calls_of_one_invocation_are_counted_by_the_host(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                done = 0
                try:
                    while True:
                        await self.env.KV.get("key")
                        done += 1
                except Exception as error:
                    return Response(f"{done} {error}")
        """,
        bindings={"KV": ("kv_namespace", {"namespace_id": "counted"})},
        subrequests=20,
    )
    text = await platform.text(unique)
    assert text.startswith("20 ")
    assert "Too many" in text


async def test_a_flood_of_log_lines_is_cut_with_a_marker(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                for _ in range(3000):
                    print("x" * 1000)
                return Response("done")
        """,
    )
    assert await platform.text(unique) == "done"
    log = platform.logs(unique)
    assert "Log size limit exceeded" in log
    assert len(log) < 300 * 1024


@pytest.mark.parametrize(
    "statement",
    [
        "__import__('os')._exit(0)",
        "__import__('os').abort()",
        "__import__('ctypes').string_at(0)",
        "import functools as f, sys; sys.setrecursionlimit(10 ** 9); repr(f.reduce(lambda a, _: [a], range(10 ** 6)))",
    ],
)
async def test_a_process_that_ends_itself_fails_its_request_and_the_next_gets_a_fresh_one(
    platform: Any, unique: str, statement: str
) -> None:
    platform.deploy(unique, spinning(statement))
    with pytest.raises(WorkerCrashed):
        await platform.fetch(unique, "/spin")
    assert await platform.text(unique) == "fine"


async def test_a_process_that_is_killed_fails_only_what_it_held(platform: Any, unique: str) -> None:
    waits = """
        import asyncio
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if request.url.endswith("/wait"):
                    print("waiting")
                    while await self.env.KV.get("go") is None:
                        await asyncio.sleep(0.005)
                return Response("fine")
    """
    ids = {"KV": ("kv_namespace", {"namespace_id": f"killed-{unique}"})}
    platform.deploy(unique, waits, bindings=ids)
    platform.deploy(f"{unique}b", waits, bindings=ids)
    victims = [asyncio.create_task(platform.text(unique, "/wait")) for _ in range(20)]
    others = [asyncio.create_task(platform.text(f"{unique}b", "/wait")) for _ in range(20)]
    await platform.wait_log(unique, "waiting")
    await platform.wait_log(f"{unique}b", "waiting")
    for pid in platform.pids(unique):
        os.kill(pid, signal.SIGKILL)
    results = await asyncio.gather(*victims, return_exceptions=True)
    assert {type(result) for result in results} == {WorkerCrashed}
    assert await platform.text(unique) == "fine"
    platform.deploy(
        "opener",
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                await self.env.KV.put("go", "now")
                return Response("")
        """,
        bindings=ids,
    )
    await platform.text("opener")
    assert await asyncio.gather(*others) == ["fine"] * 20


async def test_a_crash_loop_is_held_back(platform: Any, unique: str) -> None:
    platform.deploy(f"{unique}-other", HELLO)
    assert await platform.text(f"{unique}-other") == "hello"
    platform.deploy(unique, spinning("__import__('os')._exit(1)"))
    messages = []
    for _ in range(12):
        with pytest.raises(WorkerCrashed) as caught:
            await platform.fetch(unique, "/spin")
        messages.append(str(caught.value))
        if "held back" in messages[-1]:
            break
    assert "held back" in messages[-1]
    assert "crashed 3 times in a row: it is started again in 0.1 s" in platform.logs(unique)
    refused = asyncio.ensure_future(platform.fetch(unique, "/spin"))
    assert await platform.text(f"{unique}-other") == "hello"
    assert not refused.done()  # others come first, however often it is asked
    with pytest.raises(WorkerCrashed):
        await refused
    platform.deploy(unique, HELLO)
    assert await platform.text(unique) == "hello"  # a new version starts with a clean sheet


async def test_a_busy_worker_gets_more_processes(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import asyncio
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                await asyncio.sleep(0.2)
                return Response("fine")
        """,
    )
    texts = await asyncio.gather(*[platform.text(unique) for _ in range(300)])
    assert set(texts) == {"fine"}
    await asyncio.gather(*[platform.text(unique) for _ in range(300)])
    assert 1 < len(platform.pids(unique)) <= 4


async def test_fetch_finds_no_way_out(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint, fetch

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                try:
                    await fetch("http://127.0.0.1:1/")
                except OSError as error:
                    return Response(str(error))
        """,
    )
    assert "not permitted" in await platform.text(unique)
