"""The table of limits over HTTP: what the client is answered, and what the log of the Worker says, row by row.

The rows that need a host with fewer places, or a bound on request bodies, are in `test_gateway_limits.py`; recursion
and sub-requests are exceptions inside of Workers: `tests/integration/host/test_host_limits.py`.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import Any

import pytest

from tenantry.config.deployment import WorkerLimits
from tenantry.config.plans import Plan, Plans
from tenantry.host import pool, watchdog
from tenantry.host.limits import PROCESSES_PER_WORKER_MAX

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMESPACE = "customers"
HOST_OPTIONS = {
    "plans": Plans(
        Plan(startup_cpu_ms=200, startup_seconds=3),
        {
            (NAMESPACE, "planned"): Plan(cpu_ms=50, subrequests=2),
            (NAMESPACE, "generous"): Plan(cpu_ms=60_000, subrequests=50),
        },
    )
}
DISPATCHER = {"DISPATCHER": ("dispatch_namespace", {"namespace": NAMESPACE})}
KV = {"KV": ("kv_namespace", {"namespace_id": "0" * 32})}

FRONT = """
    from urllib.parse import parse_qs, urlsplit
    from workers import Response, WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            url = urlsplit(request.url)
            limits = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
            user = self.env.DISPATCHER.get(url.path.split("/")[1], {}, {"limits": limits})
            try:
                return await user.fetch(request)
            except Exception as error:
                return Response(str(error))
"""

WORKER = """
    import asyncio
    from workers import Response, WorkerEntrypoint

    def spin():
        while True: pass  # here it turns

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            what = request.url.partition("?")[0].rpartition("/")[2]
            if what == "spin":
                spin()
            if what == "calls":
                for done in range(1000):
                    try:
                        await self.env.KV.get("key")
                    except Exception as error:
                        return Response(f"{done} {error}")
            if what == "headers":
                return Response("body", headers={"x-large": "x" * 32_768})
            if what == "almost":
                return Response("body", headers={"x-large": "x" * 32_000})
            if what == "log":
                for number in range(40):
                    print(f"line {number} " + "x" * 10_000)
            return Response("fine")
"""


EXCEEDED_CPU = "Error: Worker exceeded CPU time limit."
TOO_MANY = "Error: Too many API requests by single Worker invocation."


async def exception(site: Any, path: str) -> str:
    """What the dispatcher was thrown, as it tells its client."""
    reply = await site.get(path)
    assert reply.status == 200
    return str(reply.body.decode())


async def test_cpu_time_is_a_503_and_the_log_says_how_much_and_where(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine that is full, it may get no processor for a while. Its CPU time is what ends it.
    monkeypatch.setattr(watchdog, "LAST_WORDS_SECONDS", 20)
    site.deploy(WORKER, limits=WorkerLimits(cpu_ms=120))
    reply = await site.get("/spin")
    assert (reply.status, reply.body) == (503, b"error code: 1102\n")
    assert len(reply.values("x-error-reference")) == 1
    log = site.logs()
    used = re.search(r"exceeded CPU time limit: ([\d.]+) s in one invocation, which may use 0\.12 s", log)
    assert used is not None, log
    assert float(used[1]) >= 0.12
    assert "here it turns" in log
    assert (await site.get("/")).body == b"fine"


async def test_a_response_with_too_many_headers_is_a_502_and_one_with_fewer_is_sent(site: Any) -> None:
    site.deploy(WORKER)
    reply = await site.get("/headers")
    assert (reply.status, reply.body) == (502, b"error code: 1101\n")
    assert reply.values("x-large") == []
    reply = await site.get("/almost")
    assert (reply.status, reply.body, len(reply.values("x-large")[0])) == (200, b"body", 32_000)


async def test_a_log_of_more_than_256_kib_is_cut_and_says_so(site: Any) -> None:
    site.deploy(WORKER)
    assert (await site.get("/log")).body == b"fine"
    await site.wait_log("Log size limit exceeded: more than 256 KiB")
    lines = [message for _, message in site.said if message.startswith("line ")]
    assert [line.split()[1] for line in lines] == [str(number) for number in range(len(lines))]
    assert 250 * 1024 < sum(map(len, lines)) <= 256 * 1024


# Start-up -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["pass", "time.sleep(3600)"], ids=["CPU", "wall"])
async def test_an_import_that_takes_too_long_is_a_503_and_its_traceback_is_logged(site: Any, statement: str) -> None:
    site.deploy(f"import time\n\ndef prepare():\n    while True: {statement}\n\nprepare()\n")
    reply = await site.get("/")
    assert (reply.status, reply.body) == (503, b"error code: 1101\n")
    log = site.logs()
    assert "Worker exceeded its start-up limit: its import took more than " in log
    if statement != "pass":  # on a machine that is full, a loop may reach the limit of time first
        assert "more than 3 s." in log
    assert "Traceback" in log
    assert "line 4, in prepare" in log
    assert f"while True: {statement}" in log


# Whose limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("worker", "wishes", "seconds", "calls"),
    [
        ("planned", WorkerLimits(cpu_ms=60_000, subrequests=9), "0.05 s", 2),
        ("generous", WorkerLimits(cpu_ms=60, subrequests=9), "0.06 s", 9),
        ("generous", WorkerLimits(cpu_ms=60, subrequests=900), "0.06 s", 50),
    ],
    ids=["the plan's", "its author's", "the smaller of each"],
)
async def test_a_worker_has_its_authors_limits_up_to_its_plans(
    site: Any, worker: str, wishes: WorkerLimits, seconds: str, calls: int
) -> None:
    site.deploy(FRONT, DISPATCHER)
    site.deploy(WORKER, KV, name=worker, namespace=NAMESPACE, limits=wishes)
    assert await exception(site, f"/{worker}/spin") == EXCEEDED_CPU
    assert f"which may use {seconds}." in site.logs(worker)
    assert await exception(site, f"/{worker}/calls") == f"{calls} {TOO_MANY}"


async def test_a_caller_tightens_them_for_one_call_and_never_widens_them(site: Any) -> None:
    site.deploy(FRONT, DISPATCHER)
    site.deploy(WORKER, KV, name="generous", namespace=NAMESPACE, limits=WorkerLimits(cpu_ms=80, subrequests=9))
    assert await exception(site, "/generous/spin?cpuMs=40") == EXCEEDED_CPU
    assert "which may use 0.04 s." in site.logs("generous")
    assert await exception(site, "/generous/spin?cpuMs=40000") == EXCEEDED_CPU
    assert "which may use 0.08 s." in site.logs("generous")
    assert await exception(site, "/generous/calls?subRequests=3") == f"3 {TOO_MANY}"
    assert await exception(site, "/generous/calls?subRequests=300") == f"9 {TOO_MANY}"


# Processes ----------------------------------------------------------------------------------------------------------


async def test_a_worker_whose_processes_are_all_held_is_told_when_to_come_again(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "HELD_SECONDS_MAX", 0.1)
    site.deploy(WORKER, limits=WorkerLimits(cpu_ms=60_000))
    way = site.host.find(None, "front")
    spinning: list[Any] = []
    async with asyncio.timeout(60):
        while not way._is_held:
            if len(spinning) < PROCESSES_PER_WORKER_MAX:
                spinning.append(await site.connect())
                await spinning[-1].send(b"GET /spin HTTP/1.1\r\nhost: h\r\n\r\n")
            while len(site.pids()) < len(spinning) or not all(process.held for process in way.processes):
                await asyncio.sleep(0.01)
    reply = await site.get("/")
    assert (reply.status, reply.body) == (429, b"error code: 1015\n")
    assert reply.values("retry-after") == ["1"]
    assert len(site.pids()) == PROCESSES_PER_WORKER_MAX

    # Those that get no processor for a while, and use none therefore, have not let go of it.
    monkeypatch.setattr(watchdog, "SILENT_CPU_SHARE", 1000)  # whatever they used is forgiven at the next look
    for pid in site.pids():
        os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(20):
        while any(process.cpu_in_one_go for process in way.processes):
            await asyncio.sleep(0.01)
    assert (await site.get("/")).status == 429

    for pid in site.pids():
        os.kill(pid, signal.SIGKILL)
    assert [(await connection.reply()).status for connection in spinning] == [500] * len(spinning)
    assert (await site.get("/")).body == b"fine"
