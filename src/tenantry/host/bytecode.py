"""Bytecode beside the sources of each bundle, made when it is deployed, so that a cold start only loads it.

The host parses nothing of a tenant's. A sandboxed process, which runs nothing of it either, compiles; the host keeps
the answer in the bundle's `__pycache__` folders, where the import system looks. It is a cache: whatever fails here, the
Worker compiles for itself, as slowly as before.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from pathlib import Path, PurePosixPath
from typing import Any, Final
from uuid import uuid4

import structlog

from tenantry.channel import ChannelClosed, Peer
from tenantry.errors import ProtocolError, TenantryError
from tenantry.host.limits import COMPILE_SECONDS_MAX, COMPILE_SOURCE_BYTES_MAX
from tenantry.host.runtime import Runtime
from tenantry.wire.assignment import WORKER_ROOT, Compilation, encode_assignment
from tenantry.wire.events import CallReceived, InvocationKind, LogLost, LogReceived, StreamExport, StubExport
from tenantry.wire.values import decode_untrusted, encode

__all__ = ["BytecodeCache"]

_log = structlog.get_logger()
_CACHE_FOLDER: Final = "__pycache__"


class BytecodeCache:
    """Compiles one bundle at a time, in the order in which they are wanted. Made and used on one event loop."""

    def __init__(self, bundles: Path, runtime: Runtime) -> None:
        self._bundles = bundles
        self._runtime = runtime
        self._wanted: deque[str] = deque()
        self._seen: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def want(self, bundle: str) -> None:
        """Have the bytecode of a bundle, soon."""
        if bundle in self._seen:
            return
        self._seen.add(bundle)
        self._wanted.append(bundle)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def aclose(self) -> None:
        self._wanted.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        while self._wanted:
            bundle = self._wanted.popleft()
            try:
                folder = self._bundles / bundle
                if await asyncio.to_thread(_lacks_bytecode, folder):
                    files = await self._compile(bundle)
                    await asyncio.to_thread(_keep, folder, files)
            except (TenantryError, OSError, TimeoutError) as error:
                _log.warning("a bundle could not be compiled ahead", bundle=bundle, reason=str(error))

    async def _compile(self, bundle: str) -> dict[str, bytes]:
        assignment = encode_assignment(Compilation(COMPILE_SOURCE_BYTES_MAX))
        process = await self._runtime.start(bundle, assignment)
        peer = Peer(process.channel, _Silent(), asyncio.get_running_loop())
        try:
            _, future = peer.call(WORKER_ROOT, InvocationKind.RPC, "compile", encode([]))
            async with asyncio.timeout(COMPILE_SECONDS_MAX):
                returned = await future
        except ChannelClosed as error:
            raise ProtocolError("the compiling process ended") from error
        finally:
            process.kill()
            await peer.wait_closed()
        return _checked_untrusted(decode_untrusted(returned.payload))


class _Silent:
    """The handler of a channel on which nothing is expected but the answer."""

    def call_received(self, event: CallReceived) -> None:
        raise ProtocolError("a compiling process has nothing to call")

    def call_canceled(self, call: int) -> None: ...

    def call_closed(self, call: int) -> None: ...

    def export_over(self, export: StubExport | StreamExport) -> None: ...

    def stream_failed(self, export: StreamExport, error: BaseException) -> None: ...

    def log_received(self, event: LogReceived) -> None: ...

    def logs_lost(self, event: LogLost) -> None: ...

    def closed(self, error: Exception | None) -> None: ...


def _checked_untrusted(value: Any) -> dict[str, bytes]:
    """Files of `__pycache__` folders by relative path. Raises ProtocolError for anything else."""
    if not isinstance(value, dict):
        raise ProtocolError("bytecode that is not a dict")
    for name, data in value.items():
        if not isinstance(name, str) or not isinstance(data, bytes):
            raise ProtocolError("bytecode that is not bytes by name")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.parent.name != _CACHE_FOLDER or path.suffix != ".pyc":
            raise ProtocolError("bytecode with a name that is none")
    return value


def _lacks_bytecode(folder: Path) -> bool:
    """Whether nothing was compiled for this interpreter, by us or by whoever made the bundle."""
    return not any(folder.rglob(f"{_CACHE_FOLDER}/*.{sys.implementation.cache_tag}.pyc"))


def _keep(folder: Path, files: dict[str, bytes]) -> None:
    """Write each file whole, or not at all: half a file of bytecode would break the Worker's import."""
    for name, data in files.items():
        path = folder / name
        if not (path.parent.parent).is_dir():
            raise ProtocolError("bytecode for a folder that the bundle does not have")
        path.parent.mkdir(mode=0o755, exist_ok=True)
        staged = path.with_name(f".{uuid4().hex}")
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o644)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            staged.rename(path)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
