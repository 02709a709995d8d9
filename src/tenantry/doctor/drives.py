"""How the host's side of an attack goes, where one request is not enough to tell.

Each takes the arena, the attacker and the attack, and returns the outcome that the table then judges. Those whose name
ends in `_seen_from_outside` look at the attacker's living process afterwards, and return what is wrong with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tenantry.doctor import limits
from tenantry.doctor.attacks.model import Attack, Drive, NotCovered, refused
from tenantry.doctor.clock import skip
from tenantry.doctor.posture import inspect_process
from tenantry.errors import Overloaded, TenantryError
from tenantry.sandbox import limits as sandbox_limits

if TYPE_CHECKING:
    from tenantry.doctor.arena import Arena, Attacker

_MIB: Final = 1024 * 1024


async def one_request(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    """The attack, while the bystander is asked too."""
    async with asyncio.TaskGroup() as group:
        hurt = group.create_task(arena.ask_bystander())
        outcome = group.create_task(arena.outcome(attacker))
    return hurt.result() or outcome.result()


async def in_shared_process(arena: Arena, _attacker: Attacker, what: Attack) -> str:
    """For attacks that leave their process as it was: one process for all of them."""
    return await arena.outcome(arena.sweeper(), what.code)


# Processes ----------------------------------------------------------------------------------------------------------


async def killed_from_outside(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    outcome = await arena.outcome(attacker)
    handles = [os.pidfd_open(pid) for pid in arena.pids(attacker)]
    arena.remove(attacker)  # which ends its process as any end of a Worker does
    return f"{outcome}, {'gone' if handles and await _all_gone(handles) else 'still there'}"


async def crash_loop(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    """The last of some crashes in a row. They are held back longer each time, on a clock that is real."""
    outcome = ""
    for _ in range(12):
        outcome = await arena.outcome(attacker)
        if "held back" in outcome:
            break
    return outcome


async def nothing_left(arena: Arena, _attacker: Attacker, _attack: Attack) -> str:
    """Every process below the host is the zygote's (itself, its init, its stock of blanks), the bystander or idle."""
    arena.remove_sweeper()
    left: list[str] = []
    for _ in range(100):
        left = []
        known = {process["pid"] for process in arena.host.processes()}
        workers = 0
        for pid in _below(os.getpid()):
            name, state = _name_and_state(pid)
            if state == "Z":
                left.append(f"{name} {pid} is a zombie")
            elif name not in ("tenantry-init", "tenantry-zygote", "tenantry-worker"):
                left.append(f"{name} {pid}")
            elif name == "tenantry-worker" and pid not in known:
                workers += 1
        if workers > sandbox_limits.BLANK_COUNT:
            left.append(f"{workers} workers that the host does not know")
        if not left:
            return "= None"
        await asyncio.sleep(0.02)
    return "; ".join(left)


async def threads_seen_from_outside(arena: Arena, attacker: Attacker) -> str | None:
    for pid in arena.pids(attacker):
        count = int(_status(pid).get("Threads", "0"))
        if count > sandbox_limits.THREADS:
            return f"its process has {count} threads: {sandbox_limits.THREADS} are the most"
    return None


def posture(*aspects: str) -> Drive:
    """These aspects of the attacker's process, seen from outside."""

    async def look(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
        outcome = await arena.outcome(attacker, "result = None")
        (pid,) = arena.pids(attacker)
        seen = inspect_process(pid, arena.isolation)
        wrong = [str(deviation) for deviation in seen.deviations if deviation.aspect in aspects]
        if wrong:
            return "; ".join(wrong)
        if set(aspects) <= set(seen.unseen):
            raise NotCovered("only root may look at this of a process that is not dumpable")
        return outcome

    return look


def then_fresh(code: str) -> Drive:
    """The attack, the end of its process, and `code` in the next one of the same Worker."""

    async def drive(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
        first = await arena.outcome(attacker)
        await _end(arena, attacker)
        return f"{first} | {await arena.outcome(attacker, code)}"

    return drive


# Files --------------------------------------------------------------------------------------------------------------


async def bean(arena: Arena, attacker: Attacker, what: Attack) -> str:
    """What one leaves in /tmp, looked for by another."""
    left = await arena.outcome(attacker)
    other = arena.deploy(what)
    try:
        found = await arena.outcome(other, "result = os.path.exists('/tmp/bean')")
    finally:
        arena.remove(other)
    return f"= ({left.removeprefix('= ')}, {found.removeprefix('= ')})"


async def submount(arena: Arena, _attacker: Attacker, what: Attack) -> str:
    """A host of its own, whose bundle has a writable file system mounted inside before its zygote starts."""
    command = [sys.executable, "-m", "tenantry.doctor.submount", arena.isolation, what.code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode == 3:
        raise NotCovered("this user cannot mount anything")
    return out.decode().strip() or err.decode(errors="replace").strip()[-200:]


# Memory and time ----------------------------------------------------------------------------------------------------


async def memory_seen_from_outside(arena: Arena, attacker: Attacker) -> str | None:
    for pid in arena.pids(attacker):
        status = _status(pid)
        held = sum(int(status.get(name, "0 kB").split()[0]) for name in ("RssAnon", "RssShmem", "VmSwap")) * 1024
        if held > sandbox_limits.MEMORY_BYTES + sandbox_limits.STACK_BYTES:
            return f"its process holds {held // _MIB} MiB: {sandbox_limits.MEMORY_BYTES // _MIB} are the most"
    return None


async def swap(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    with open("/proc/swaps") as file:  # noqa: ASYNC230 - the kernel's, and never waits
        swaps = len(file.readlines()) > 1
    if swaps and not os.access("/sys/fs/cgroup/cgroup.procs", os.W_OK):
        raise NotCovered("this machine swaps, and only a delegated cgroup v2 keeps a process out of it")
    outcome = await arena.outcome(attacker)
    swapped = [_status(pid).get("VmSwap", "0 kB") for pid in arena.pids(attacker)]
    return outcome if set(swapped) <= {"0 kB"} else f"{swapped} of it are swapped out"


async def clock_turned_on(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    """Minutes pass on the host's clock as soon as the attack runs, until the host has ended it."""
    task = asyncio.ensure_future(_answered(arena, attacker))
    try:
        async with asyncio.timeout(None):
            for _ in range(7500):
                if task.done():
                    return task.result()
                await asyncio.sleep(0.001)
                if arena.pids(attacker):
                    skip(2.0)  # small steps: what is due in between happens in its order
        return "! the host did not end it"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def cpu_after_the_answer(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    """A process that computes while it holds no request pays for it too."""
    outcome = await arena.outcome(attacker)
    if outcome != "= None":
        return outcome
    # A second of CPU time, which it gets when nobody else wants it: on a machine that is full that takes a while.
    for _ in range(4000):
        if not arena.pids(attacker):
            return "= 'ended'"
        await asyncio.sleep(0.02)
    return "its process goes on, and nobody charges it"


async def many_requests(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    """More at once than any Worker may have; the bystander is served meanwhile, and those that wait can leave."""
    tasks: list[asyncio.Task[str]] = []
    outcome = "! as many as were sent are running"
    try:
        for _ in range(60):
            tasks += [asyncio.ensure_future(_answered(arena, attacker)) for _ in range(100)]
            await asyncio.sleep(0)
            if (hurt := await arena.ask_bystander()) is not None:
                return hurt
            refused = [task for task in tasks if task.done()]
            if refused:
                outcome = refused[0].result()
                break
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return outcome


async def cold_starts(arena: Arena, attacker: Attacker, what: Attack) -> str:
    others = [arena.deploy(what) for _ in range(60)]
    try:
        starts = asyncio.gather(*(arena.outcome(other) for other in others))
        served = 0
        while not starts.done():
            if (hurt := await arena.ask_bystander()) is not None:
                return hurt
            served += 1
            await asyncio.sleep(0.001)
        wrong = [outcome for outcome in starts.result() if outcome != "= 1" and not outcome.startswith("! Overloaded")]
    finally:
        for other in others:
            arena.remove(other)
    if served < 5:
        return f"the bystander was served {served} times while the others started"
    return wrong[0] if wrong else await arena.outcome(attacker)


async def recursion(arena: Arena, attacker: Attacker, what: Attack) -> str:
    arena.deploy(what, namespace="arena", name=attacker.name)
    return await arena.outcome(attacker, what.code.replace("NAME", attacker.name))


async def flood(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    """The bystander is served again and again while it lasts."""
    task = asyncio.ensure_future(arena.outcome(attacker))
    while not task.done():
        if (hurt := await arena.ask_bystander()) is not None:
            task.cancel()
            return hurt
        await asyncio.sleep(0.001)
    return task.result()


# Bodies -------------------------------------------------------------------------------------------------------------


class _Endless:
    """A client that sends for as long as somebody reads."""

    length: int | None = None

    def __init__(self) -> None:
        self.bytes_read = 0

    async def read(self, size_max: int) -> bytes:
        size = min(size_max, 64 * 1024)
        self.bytes_read += size
        return bytes(size)

    async def aclose(self) -> None:
        pass


async def unread_body(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    body = _Endless()
    outcome = await arena.outcome(attacker, body=body)
    if body.bytes_read > 4 * _MIB:
        return f"the host read {body.bytes_read} bytes that nobody wanted"
    return outcome


async def endless_answer(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    """Read some of it, look at what piles up, leave."""
    answer = await arena.answer(attacker)
    assert answer.stream is not None
    before = _own_memory_bytes()
    size = 0
    while size < 8 * _MIB:
        size += len(await answer.stream.read(256 * 1024))
    await asyncio.sleep(0.1)
    grown = _own_memory_bytes() - before
    await answer.stream.aclose()
    return "= 'ended'" if grown < 64 * _MIB else f"the host's memory grew by {grown // _MIB} MiB"


async def compressed_answer(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    answer = await arena.answer(attacker)
    body = answer.response.body
    if isinstance(body, bytes) and body[:2] == b"\x1f\x8b" and len(body) < _MIB:
        return "= 'passed on as it is'"
    return f"{len(body) if isinstance(body, bytes) else body} bytes of something else"


async def body_of_frames(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    return f"= {len(await arena.outcome(attacker))}"


# The network ---------------------------------------------------------------------------------------------------------


async def inner_service(arena: Arena, attacker: Attacker, what: Attack) -> str:
    """A server of the host's own, on its loopback interface, that nobody may reach. The attack is told its port."""
    reached = 0

    def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal reached
        reached += 1
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        outcome = await arena.outcome(attacker, f"port = {port}\n{what.code}")
        (await asyncio.open_connection("127.0.0.1", port))[1].close()  # it does answer; and nothing is on its way now
    finally:
        server.close()
        await server.wait_closed()
    return outcome if reached == 1 else f"a server of the host's was reached {reached - 1} times"


# The channel --------------------------------------------------------------------------------------------------------


async def many_ends(arena: Arena, attacker: Attacker, what: Attack) -> str:
    """Starts and ends of many processes leave no descriptor and no task."""

    async def rounds(count: int) -> tuple[int, int]:
        for _ in range(count):
            other = arena.deploy(what)
            await arena.outcome(other)
            arena.remove(other)
        for _ in range(50):  # what is on its way out
            await asyncio.sleep(0.002)
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

    before = await rounds(5)
    after = await rounds(30)
    # The stock of blank workers may be full or not: two descriptors each.
    spare = 2 * sandbox_limits.BLANK_COUNT
    if after[0] > before[0] + spare or after[1] > before[1] + 2:
        return f"(descriptors, tasks) were {before} and are {after}"
    return "= 'nothing is kept'"


async def descriptors_kept(arena: Arena, attacker: Attacker, what: Attack) -> str:
    await arena.outcome(attacker, "result = 1")
    before = len(os.listdir("/proc/self/fd"))
    outcome = await arena.outcome(attacker, what.code)
    after = len(os.listdir("/proc/self/fd"))
    if after > before + 2 * sandbox_limits.BLANK_COUNT:
        return f"{after - before} descriptors arrived"
    return "= 'none arrived'" if outcome.startswith(("= ", "EPERM", "! WorkerCrashed")) else outcome


async def error_texts(arena: Arena, attacker: Attacker, _attack: Attack) -> str:
    text = await arena.outcome(attacker)
    if len(text) < 1000:
        return text
    for word in ("Traceback", 'File "', ".py", str(arena.folder), "site-packages", "apsw", "sqlite3", "internal error"):
        if word in text:
            at = text.index(word)
            return f"an error tells {text[max(0, at - 80) : at + 80]!r}"
    return "= 'nothing told'"


# Helpers ------------------------------------------------------------------------------------------------------------


async def _answered(arena: Arena, attacker: Attacker) -> str:
    """As `Arena.outcome`, without a time limit of its own."""
    try:
        await arena.answer(attacker)
    except Overloaded as error:
        return f"! Overloaded: {error}"
    except TenantryError as error:
        return refused(error)
    return "= answered"


async def _end(arena: Arena, attacker: Attacker) -> None:
    """Kill its processes, and wait until the host knows."""
    handles = [os.pidfd_open(pid) for pid in arena.pids(attacker)]
    for handle in handles:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    await _all_gone(handles)
    for _ in range(500):
        if not arena.pids(attacker):
            return
        await asyncio.sleep(0.002)


async def _all_gone(handles: list[int]) -> bool:
    """Whether the processes of these pidfds end in time. Closes the handles."""
    try:
        async with asyncio.timeout(limits.END_SECONDS_MAX):
            for handle in handles:
                async with _readable(handle) as is_over:
                    await is_over
    except TimeoutError:
        return False
    finally:
        for handle in handles:
            os.close(handle)
    return True


@asynccontextmanager
async def _readable(handle: int) -> AsyncIterator[asyncio.Future[None]]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.add_reader(handle, _set, future)
    try:
        yield future
    finally:
        loop.remove_reader(handle)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _status(pid: int) -> dict[str, str]:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {}


def _name_and_state(pid: int) -> tuple[str, str]:
    status = _status(pid)
    return status.get("Name", "tenantry-worker"), status.get("State", "X")[0]


def _below(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_below(child)]
    return found


def _own_memory_bytes() -> int:
    return int(_status(os.getpid())["VmRSS"].split()[0]) * 1024
