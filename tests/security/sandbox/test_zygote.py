"""The life of a zygote and its workers, as the host drives it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenantry.errors import ConfigError, IsolationError, TenantryError
from tenantry.sandbox import Isolation, ResourceLimits, SandboxedProcess, SandboxPolicy, Zygote

_SHELL = '''
import os, time

def echo(channel, assignment):
    """Sends back the assignment, then does what the channel says: one line of Python at a time."""
    channel.sendall(assignment + b"\\n")
    for line in channel.makefile("rb"):
        exec(line.decode())
'''


@pytest.fixture
def policy(tmp_path: Path) -> SandboxPolicy:
    for name in ("bundles", "bundles/mine", "bundles/other", "site", "preload"):
        (tmp_path / name).mkdir()
    (tmp_path / "bundles" / "mine" / "main.py").write_text("X = 1\n")
    (tmp_path / "preload" / "shell.py").write_text(_SHELL)
    return SandboxPolicy(
        isolation=Isolation.STRICT,
        bundles=tmp_path / "bundles",
        site=tmp_path / "site",
        entry="shell:echo",
        preload_path=(tmp_path / "preload",),
    )


@pytest.fixture
async def zygote(policy: SandboxPolicy) -> AsyncIterator[Zygote]:
    zygote = await Zygote.start(policy)
    yield zygote
    await zygote.aclose()


async def _line(process: SandboxedProcess) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        chunk = await asyncio.get_running_loop().sock_recv(process.channel, 65536)
        if not chunk:
            return received
        received += chunk
    return received


async def _ask(process: SandboxedProcess, expression: str) -> str:
    """What an expression is worth inside the worker."""
    line = f"channel.sendall(repr({expression}).encode() + b'\\n')\n"
    await asyncio.get_running_loop().sock_sendall(process.channel, line.encode())
    return (await _line(process)).decode().strip()


async def _end(process: SandboxedProcess) -> int:
    process.channel.close()
    return await process.exited


async def test_the_entry_gets_its_assignment_and_a_channel(zygote: Zygote) -> None:
    process = await zygote.spawn("mine", b"hello")
    assert await _line(process) == b"hello\n"
    assert await _ask(process, "os.listdir('.')") == "['main.py']"
    assert await _end(process) == 0


async def test_the_longest_assignment_arrives_whole(zygote: Zygote) -> None:
    process = await zygote.spawn("mine", b"x" * 65536)
    assert await _line(process) == b"x" * 65536 + b"\n"
    await _end(process)


async def test_a_longer_assignment_is_refused(zygote: Zygote) -> None:
    with pytest.raises(TenantryError, match="65537 bytes"):
        await zygote.spawn("mine", b"x" * 65537)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../mine", "a/b", "/etc", "mine/", ".hidden", "a\0b", "ü", "x" * 129, "mine\n"]
)
async def test_a_name_that_is_not_a_folders_is_refused(zygote: Zygote, name: str) -> None:
    with pytest.raises(TenantryError, match="not a bundle's name"):
        await zygote.spawn(name, b"")


async def test_a_name_that_slips_past_the_host_is_refused_by_the_child(
    zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantry.sandbox.zygote.check_bundle_name", lambda name: name)
    with pytest.raises(IsolationError, match="not a bundle's name"):
        await zygote.spawn("../root/usr", b"")


async def test_a_bundle_that_is_not_there_is_an_error_of_that_spawn_only(zygote: Zygote) -> None:
    with pytest.raises(IsolationError) as caught:
        await zygote.spawn("missing", b"")
    assert caught.value.layer == "bundle"
    await _end(await zygote.spawn("mine", b""))


async def test_a_link_in_place_of_a_bundle_is_not_followed(zygote: Zygote, policy: SandboxPolicy) -> None:
    (policy.bundles / "link").symlink_to("mine")
    with pytest.raises(IsolationError) as caught:
        await zygote.spawn("link", b"")
    assert caught.value.layer == "bundle"


async def test_a_refusal_names_no_path_of_the_host(zygote: Zygote, tmp_path: Path) -> None:
    with pytest.raises(IsolationError) as caught:
        await zygote.spawn("missing", b"")
    assert str(tmp_path) not in str(caught.value)
    assert "/.tenantry" not in str(caught.value)


async def test_a_bundle_deployed_later_is_found(zygote: Zygote, policy: SandboxPolicy) -> None:
    (policy.bundles / "later").mkdir()
    (policy.bundles / "later" / "fresh.py").touch()
    process = await zygote.spawn("later", b"")
    await _line(process)
    assert await _ask(process, "os.listdir('.')") == "['fresh.py']"
    await _end(process)


async def test_what_a_worker_leaves_in_tmp_is_not_there_for_the_next(zygote: Zygote) -> None:
    for _ in range(2):
        process = await zygote.spawn("mine", b"")
        await _line(process)
        assert await _ask(process, "(os.listdir('/tmp'), open('/tmp/bean', 'w').close())") == "([], None)"
        await _end(process)


async def test_siblings_share_no_randomness(zygote: Zygote) -> None:
    numbers = set()
    for _ in range(3):
        process = await zygote.spawn("mine", b"")
        await _line(process)
        numbers.add(await _ask(process, "__import__('random').random()"))
        await _end(process)
    assert len(numbers) == 3


@pytest.mark.parametrize(
    ("line", "code"), [("os._exit(7)", 7), ("raise SystemExit(5)", 5), ("raise SystemExit", 0), ("1 / 0", 70)]
)
async def test_exit_codes_reach_the_host(zygote: Zygote, line: str, code: int) -> None:
    process = await zygote.spawn("mine", b"")
    process.channel.setblocking(True)
    process.channel.sendall(line.encode() + b"\n")
    assert await process.exited == code
    process.channel.close()


async def test_kill_ends_a_worker_that_catches_every_signal(zygote: Zygote) -> None:
    process = await zygote.spawn("mine", b"")
    await _line(process)
    await _ask(process, "[__import__('signal').signal(n, lambda *_: None) for n in (1, 2, 15)] and 1")
    process.kill()
    assert await process.exited == -signal.SIGKILL
    process.kill()  # nothing happens
    process.channel.close()


async def test_the_cpu_clock_is_read_from_outside(zygote: Zygote) -> None:
    process = await zygote.spawn("mine", b"")
    await _line(process)
    before = process.cpu_seconds()
    assert 0 < before < 5
    await _ask(process, "sum(range(3_000_000))")
    running = process.cpu_seconds()
    assert running > before
    await _end(process)
    assert process.cpu_seconds() >= running


async def test_the_pid_is_the_hosts(zygote: Zygote) -> None:
    process = await zygote.spawn("mine", b"")
    assert Path(f"/proc/{process.pid}/comm").exists()
    assert await _line(process) == b"\n"
    assert await _ask(process, "os.getpid()") == "1"
    await _end(process)


async def test_many_at_once_are_all_served(zygote: Zygote) -> None:
    processes = await asyncio.gather(*(zygote.spawn("mine", b"%d" % number) for number in range(40)))
    assert [await _line(process) for process in processes] == [b"%d\n" % number for number in range(40)]
    assert len({process.pid for process in processes}) == 40
    for process in processes:
        await _end(process)


async def test_a_storm_beyond_the_queue_fails_at_once(zygote: Zygote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantry.sandbox.limits.SPAWNS_WAITING_MAX", 5)
    results = await asyncio.gather(*(zygote.spawn("mine", b"") for _ in range(20)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, TenantryError)]
    assert refused
    assert "too many" in str(refused[0])
    for result in results:
        if isinstance(result, SandboxedProcess):
            await _end(result)


async def test_a_cancelled_spawn_leaves_no_process(zygote: Zygote) -> None:
    for delay in range(6):
        task = asyncio.create_task(zygote.spawn("mine", b""))
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await _end(await task)
    process = await zygote.spawn("mine", b"")
    await _end(process)


async def test_two_hundred_lives_leak_no_descriptor(zygote: Zygote) -> None:
    (inner,) = Path(f"/proc/{zygote._child.pid}/task/{zygote._child.pid}/children").read_text().split()

    def descriptors() -> tuple[int, int]:
        """Ours and the zygote's."""
        return len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{inner}/fd"))

    async def live(number: int) -> None:
        process = await zygote.spawn("mine", b"")
        if number % 2:
            process.kill()
        await _end(process)

    async def rest() -> None:
        """Until nothing lives but a full stock, and the zygote has let go of the last one that it handed over."""
        async with asyncio.timeout(10):
            while len(zygote._blanks) < 4 or len(zygote._processes) > 4 or descriptors()[1] > 9:
                await asyncio.sleep(0.001)

    await rest()
    before = descriptors()
    for _ in range(25):
        await asyncio.gather(*(live(number) for number in range(8)))
    await rest()
    assert descriptors() == before


async def test_a_killed_zygote_takes_its_workers_along_and_says_so(zygote: Zygote) -> None:
    process = await zygote.spawn("mine", b"")
    zygote._child.kill()
    assert "died" in await zygote.closed or "closed" in zygote.closed.result()
    assert await process.exited == -signal.SIGKILL
    with pytest.raises(TenantryError, match="zygote is gone"):
        await zygote.spawn("mine", b"")
    process.channel.close()


async def test_a_zygote_that_dies_fails_the_spawns_that_wait(zygote: Zygote) -> None:
    spawns = [asyncio.create_task(zygote.spawn("mine", b"")) for _ in range(30)]
    await asyncio.sleep(0)
    zygote._child.kill()
    results = await asyncio.gather(*spawns, return_exceptions=True)
    assert any(isinstance(result, TenantryError) for result in results)
    for result in results:
        if isinstance(result, SandboxedProcess):
            await _end(result)
        else:
            assert isinstance(result, TenantryError)


async def test_closing_leaves_nothing_behind(policy: SandboxPolicy) -> None:
    zygote = await Zygote.start(policy)
    processes = [await zygote.spawn("mine", b"") for _ in range(3)]
    await zygote.aclose()
    await zygote.aclose()  # nothing happens
    for process in processes:
        assert process.exited.done()
        assert not Path(f"/proc/{process.pid}").exists()
        process.channel.close()


@pytest.mark.parametrize("level", ["strict", "none"])
def test_kill_9_of_the_host_leaves_no_process_behind(arena: Path, level: str) -> None:
    arguments = [sys.executable, str(arena / "scripts" / "outlive.py"), str(arena), level]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        try:
            tree = json.loads(host.stdout.readline())
            handles = [handle for pid in tree if (handle := _try_open(pid)) is not None]
        finally:
            host.kill()
    assert len(handles) >= 3  # the zygote and two workers; and whatever blanks there were
    deadline = time.monotonic() + 10
    for handle in handles:
        ready, _, _ = select.select([handle], [], [], max(0, deadline - time.monotonic()))
        assert ready, "a process outlived the host"
        os.close(handle)


def _try_open(pid: int) -> int | None:
    """A handle of a process; None of one that has ended by itself, as the zygote's probe of its layers does."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


async def test_a_module_that_cannot_be_imported_is_named(
    policy: SandboxPolicy, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = SandboxPolicy(isolation=policy.isolation, bundles=policy.bundles, site=policy.site, entry="absent:run")
    with pytest.raises(IsolationError, match="absent:run"):
        await Zygote.start(broken)
    assert "ModuleNotFoundError" in capfd.readouterr().err


async def test_a_preloaded_module_that_starts_a_thread_is_refused(policy: SandboxPolicy, tmp_path: Path) -> None:
    (tmp_path / "preload" / "shell.py").write_text(
        _SHELL + "import threading\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    with pytest.raises(IsolationError, match="started 1 threads"):
        await Zygote.start(policy)


async def test_a_prepare_that_fails_is_told(policy: SandboxPolicy, tmp_path: Path) -> None:
    (tmp_path / "preload" / "shell.py").write_text(_SHELL + "def prepare(): raise RuntimeError('no luck')\n")
    broken = SandboxPolicy(
        isolation=policy.isolation,
        bundles=policy.bundles,
        site=policy.site,
        entry="shell:echo",
        prepare="shell:prepare",
        preload_path=policy.preload_path,
    )
    with pytest.raises(IsolationError, match="no luck"):
        await Zygote.start(broken)


async def test_site_packages_of_the_operator_are_importable_and_read_only(
    policy: SandboxPolicy, tmp_path: Path
) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "gift.py").write_text("VALUE = 42\n")
    (tmp_path / "site" / "sdk_module.py").write_text("VALUE = 43\n")
    zygote = await Zygote.start(
        SandboxPolicy(
            isolation=policy.isolation,
            bundles=policy.bundles,
            site=policy.site,
            worker_site=tmp_path / "extra",
            entry=policy.entry,
            preload_path=policy.preload_path,
            limits=ResourceLimits(memory_bytes_max=200 << 20),
        )
    )
    try:
        process = await zygote.spawn("mine", b"")
        await _line(process)
        assert await _ask(process, "(__import__('gift').VALUE, __import__('sdk_module').VALUE)") == "(42, 43)"
        assert await _ask(process, "(os.access('/packages', os.W_OK), os.access('/sdk', os.W_OK))") == "(False, False)"
        await _end(process)
    finally:
        await zygote.aclose()


def test_a_policy_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a folder"):
        SandboxPolicy(isolation=Isolation.NONE, bundles=tmp_path / "absent", site=tmp_path, entry="a:b")
    with pytest.raises(ConfigError, match="module:function"):
        SandboxPolicy(isolation=Isolation.NONE, bundles=tmp_path, site=tmp_path, entry="a.b")
    with pytest.raises(ConfigError, match="above 0"):
        ResourceLimits(memory_bytes_max=0)
