"""What one process may use: memory, and CPU and time for its import."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from tenantry.config.plans import Plan, Plans
from tenantry.errors import LimitExceeded, StartLimitExceeded, WorkerThrew

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST_OPTIONS = {
    "plans": Plans(
        Plan(memory_mib=48, startup_cpu_ms=400),
        {(None, "sleeper"): Plan(startup_seconds=2)},
    )
}

# They grow no faster than the host looks: the sandbox's own bound would come first.
HUNGRY = """
    import asyncio, time
    from workers import Response, WorkerEntrypoint

    kept = []

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            if request.url.endswith("/grow"):
                while True:
                    kept.append(b"x" * 1_000_000 + str(len(kept)).encode())
                    time.sleep(0.001)
            if request.url.endswith("/slowly"):
                while True:
                    kept.append(b"x" * 1_000_000 + str(len(kept)).encode())
                    await asyncio.sleep(0.001)
            if request.url.endswith("/at-once"):
                kept.append(bytearray(2**40))
            if request.url.endswith("/some"):
                kept.append(b"x" * 20_000_000)
            return Response("fine")
"""


@pytest.mark.parametrize("path", ["/grow", "/slowly"])
async def test_a_process_that_grows_too_large_is_ended_from_outside(platform: Any, unique: str, path: str) -> None:
    platform.deploy(unique, HUNGRY)
    assert await platform.text(unique, "/some") == "fine"
    before = platform.pids(unique)
    with pytest.raises(LimitExceeded, match="Worker exceeded memory limit"):
        await platform.fetch(unique, path)
    assert "exceeded memory limit: more than 48 MiB" in platform.logs(unique)
    assert await platform.text(unique) == "fine"
    assert platform.pids(unique) != before


async def test_memory_that_was_never_given_is_an_exception_of_the_worker(platform: Any, unique: str) -> None:
    platform.deploy(unique, HUNGRY)
    with pytest.raises(WorkerThrew, match="MemoryError"):
        await platform.fetch(unique, "/at-once")
    assert await platform.text(unique) == "fine"


def importing(statement: str) -> str:
    entry = """
    from workers import Response, WorkerEntrypoint

    STATEMENT

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            return Response("fine")
    """
    return textwrap.dedent(entry).replace("STATEMENT", statement)


async def test_an_import_that_computes_for_ever_is_stopped_and_its_line_is_logged(platform: Any, unique: str) -> None:
    platform.deploy(unique, importing("while True:  # here\n    pass"))
    with pytest.raises(StartLimitExceeded):
        await platform.fetch(unique)
    log = platform.logs(unique)
    assert "start-up limit: its import took more than 0.4 s of CPU time" in log
    assert "Traceback" in log
    assert "# here" in log
    platform.deploy(unique, importing("pass"))
    assert await platform.text(unique) == "fine"


async def test_an_import_that_sleeps_for_ever_is_woken(platform: Any) -> None:
    platform.deploy("sleeper", importing("import time; time.sleep(10 ** 6)"))
    with pytest.raises(StartLimitExceeded):
        await platform.fetch("sleeper")
    log = platform.logs("sleeper")
    assert "its import took more than 2 s." in log
    assert "time.sleep" in log


@pytest.mark.parametrize(
    "statement",
    [
        "sum(range(10 ** 15))",
        "exec('while True:\\n try:\\n  sum(range(10 ** 6))\\n except BaseException: pass')",
        "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
    ],
    ids=["a loop in C", "a loop that swallows exceptions", "a loop that ignores signals"],
)
async def test_an_import_that_does_not_stop_is_ended(platform: Any, unique: str, statement: str) -> None:
    platform.deploy(unique, importing(statement))
    with pytest.raises(StartLimitExceeded, match="start-up limit"):
        await platform.fetch(unique)
    assert "did not stop its import when told to" in platform.logs(unique)


async def test_an_import_that_allocates_for_ever_is_ended(platform: Any, unique: str) -> None:
    grow = "kept.append(b'x' * 1_000_000); time.sleep(0.001)"  # as HUNGRY, for the same reason
    platform.deploy(unique, importing(f"import time; kept = []\nwhile True: {grow}"))
    with pytest.raises(LimitExceeded, match="exceeded memory limit"):
        await platform.fetch(unique)


async def test_no_invocation_pays_for_the_import(platform: Any, unique: str) -> None:
    spin = "import time\nwhile time.process_time() < START + 0.2: pass"
    platform.deploy(
        unique,
        importing(spin.replace("START", "began").replace("import time", "import time; began = time.process_time()")),
        cpu_ms=50,
    )
    assert await platform.text(unique) == "fine"


async def test_the_first_request_has_the_limits_of_a_request(platform: Any, unique: str) -> None:
    """It is not taken for the import, though the process said nothing to the host before."""
    platform.deploy(
        unique,
        """
        import time
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                end = time.process_time() + 0.8
                while time.process_time() < end:
                    pass
                return Response("done")
        """,
    )
    assert await platform.text(unique) == "done"
