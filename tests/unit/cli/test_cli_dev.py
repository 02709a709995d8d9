"""`tenantry dev`: deploy all, say where, reload, stop; against the real control plane and no host."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tenantry.cli import dev, main
from tenantry.cli.machine import check_port, data_folder
from tenantry.cli.watch import affected
from tenantry.config.platform import PlatformSettings, load_platform
from tenantry.errors import ConfigError, IsolationError

Project = Callable[..., Path]

TOML = """
[gateway]
worker = "dispatcher"
[[worker]]
path = "dispatcher"
[[worker]]
path = "customer-worker-1"
namespace = "bindings"
customer = "user1"
"""


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


class Running:
    """`compose.running` with the test's server as the host."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.settings: PlatformSettings | None = None
        self.stopped = False

    @asynccontextmanager
    async def __call__(self, settings: PlatformSettings) -> AsyncIterator[Any]:
        self.settings = settings
        try:
            yield self.server
        finally:
            self.stopped = True


@pytest.fixture
def folder(project: Project) -> Path:
    dispatcher = project("dispatcher", dispatch_namespaces=[{"binding": "D", "namespace": "bindings"}])
    project(
        "customer-worker-1",
        kv_namespaces=[{"binding": "KV"}],
        r2_buckets=[{"binding": "R2", "bucket_name": "files"}],
        d1_databases=[{"binding": "DB", "database_name": "db"}],
    )
    (dispatcher.parent / "tenantry.toml").write_text(TOML)
    return dispatcher.parent


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


async def wait_until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def started(folder: Path, data: Path, running: Running) -> AsyncIterator[None]:
    """A platform that said that it is ready; stopped and waited for at the end."""
    stop = asyncio.Event()
    settings = PlatformSettings(data=data, gateway_worker="dispatcher")
    task = asyncio.create_task(dev.run_platform(load_platform(folder), settings, running, stop))
    await wait_until(lambda: task.done() or (data / "dev.json").exists())
    if task.done():
        task.result()
    yield
    stop.set()
    await task


async def test_everything_is_deployed_then_said(
    server: Any, folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Running(server)
    async with started(folder, data, running):
        document = json.loads((data / "dev.json").read_text())
        mode = stat.S_IMODE((data / "dev.json").stat().st_mode)

    (credential,) = server.store.s3_credentials.all(server.account_id)
    bound = {binding.type: binding.fields for binding in server.workers[("bindings", "customer-worker-1")].bindings}
    assert document == {
        "gateway": server.gateway_url,
        "control": server.control_url,
        "s3": server.s3_url,
        "account_id": server.account_id,
        "admin_token": server.admin_token,
        "customers": {
            "user1": {
                "worker": "customer-worker-1",
                "kv": bound["kv_namespace"]["namespace_id"],
                "r2": "files",
                "d1": bound["d1"]["id"],
                "s3": {
                    "access_key_id": credential.access_key_id,
                    "secret_access_key": credential.secret_access_key,
                    "bucket": "files",
                },
            }
        },
    }
    assert (credential.permission, credential.bucket) == ("object-read-write", "files")
    assert mode == 0o600
    assert (None, "dispatcher") in server.workers
    shown = capsys.readouterr().out
    assert server.gateway_url in shown
    assert shown.count("curl ") == 3
    assert "X-User-ID: user1" in shown
    assert server.admin_token not in shown


async def test_a_second_start_makes_new_access_keys_in_place_of_the_old(server: Any, folder: Path, data: Path) -> None:
    async with started(folder, data, Running(server)):
        (first,) = server.store.s3_credentials.all(server.account_id)
    async with started(folder, data, Running(server)):
        (second,) = server.store.s3_credentials.all(server.account_id)

    assert first.name == second.name
    assert first.access_key_id != second.access_key_id


async def test_after_the_stop_nothing_claims_that_it_runs(server: Any, folder: Path, data: Path) -> None:
    running = Running(server)
    async with started(folder, data, running):
        pass

    assert running.stopped
    assert not (data / "dev.json").exists()


async def test_a_changed_source_is_deployed_anew_and_a_broken_one_is_not(
    server: Any, folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ("bindings", "customer-worker-1")
    async with started(folder, data, Running(server)):
        first = server.workers[key].version_id
        other = server.workers[(None, "dispatcher")].version_id
        errors = ""
        # Written until it is seen: the watcher may not be looking yet.
        source, number = folder / "customer-worker-1/src/entry.py", 0

        def reloaded() -> bool:
            nonlocal number
            number += 1
            if number % 20 == 1:
                source.write_text(f"x = {number}\n")
            return bool(server.workers[key].version_id != first)

        await wait_until(reloaded)
        config = folder / "customer-worker-1/wrangler.jsonc"
        good = config.read_text()
        config.write_text("{")

        def told() -> bool:
            nonlocal errors
            errors += capsys.readouterr().err
            return "the version before goes on running" in errors

        await wait_until(told)
        config.write_text(good)
        assert server.workers[(None, "dispatcher")].version_id == other
    assert "error: customer-worker-1: " in errors


async def test_a_worker_that_is_refused_at_the_start_ends_it(server: Any, project: Project, data: Path) -> None:
    folder = project("dispatcher", services=[{"binding": "A", "service": "a"}])
    running = Running(server)

    with pytest.raises(Exception, match="Target script 'a' not found"):
        async with started(folder, data, running):
            pass

    assert running.stopped
    assert not (data / "dev.json").exists()


async def test_a_stop_during_the_start_is_obeyed(server: Any, folder: Path, data: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    running = Running(server)
    settings = PlatformSettings(data=data, gateway_worker="dispatcher")

    await dev.run_platform(load_platform(folder), settings, running, stop)

    assert running.stopped
    assert not (data / "dev.json").exists()


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    code = raised.value.code
    return code if isinstance(code, int) else 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_with_status_0(
    server: Any, folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    running = Running(server)
    real = dev.write_devfile

    def write_then_signal(*arguments: Any, **named: Any) -> None:
        real(*arguments, **named)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(dev, "write_devfile", write_then_signal)
    monkeypatch.setattr("tenantry.cli.compose.running", running)

    code = run(
        "dev",
        str(folder),
        "--data",
        str(data),
        "--port",
        "0",
        "--control-port",
        "0",
        "--s3-port",
        "0",
        "--isolation",
        "none",
    )

    assert code == 0
    assert running.stopped
    assert running.settings is not None
    assert running.settings.isolation == "none"
    assert running.settings.gateway_worker == "dispatcher"
    assert not (data / "dev.json").exists()


def test_a_port_in_use_is_one_line_that_says_how_to_choose_another(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "dev.json").write_text("stale")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        code = run(
            "dev", str(folder), "--data", str(data), "--port", str(port), "--control-port", "0", "--s3-port", "0"
        )

    assert code == 1
    assert capsys.readouterr().err.startswith(
        f"error: port {port} on 127.0.0.1 is in use: choose another with --port, for example"
    )
    assert not (data / "dev.json").exists(), "an older run's file must not look like a running platform"


def test_a_folder_that_is_no_platform_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dev", str(tmp_path / "absent"), "--data", str(tmp_path / "data")) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'absent'}: no such folder\n"
    assert not (tmp_path / "data").exists()


def test_a_missing_sandbox_layer_is_one_line(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def refuse(_: PlatformSettings) -> AsyncIterator[Any]:
        raise IsolationError("landlock", "not in this kernel")
        yield

    monkeypatch.setattr("tenantry.cli.compose.running", refuse)

    assert run("dev", str(folder), "--data", str(data), "--port", "0", "--control-port", "0", "--s3-port", "0") == 1
    assert capsys.readouterr().err == "error: landlock: not in this kernel\n"


def test_a_data_folder_has_one_platform(tmp_path: Path) -> None:
    with data_folder(tmp_path / "d") as held:
        assert held.is_dir()
        with pytest.raises(ConfigError, match="running on this data folder already"), data_folder(tmp_path / "d"):
            pass
    with data_folder(tmp_path / "d"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--data"), data_folder(tmp_path / "file"):
        pass


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="not an address of this machine"):
        check_port("192.0.2.1", 9009, "--port")


def test_a_shared_source_concerns_every_worker_that_uses_it(project: Project) -> None:
    shared = project("user-worker")
    for name in ("one", "two"):
        project(name, main="../user-worker/src/entry.py")
    project("dispatcher")
    folder = shared.parent
    listed = "".join(f'[[worker]]\npath = "{name}"\n' for name in ("dispatcher", "one", "two"))
    (folder / "tenantry.toml").write_text(f'[gateway]\nworker = "dispatcher"\n{listed}')
    platform = load_platform(folder)

    def names(path: str) -> list[str]:
        return [worker.project.name for worker in affected(platform, [folder / path])]

    assert names("user-worker/src/more.py") == ["one", "two"]
    assert names("two/wrangler.jsonc") == ["two"]
    assert names("dispatcher/src/entry.py") == ["dispatcher"]
    assert names("tenantry.toml") == []
