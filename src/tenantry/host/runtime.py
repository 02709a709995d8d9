"""What the pool knows of a runtime: it starts a process for a bundle and hands over its channel."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Final, Protocol

import msgspec
import multipart
import structlog

import tenantry
from tenantry.config.limits import MEMORY_MIB_DEFAULT
from tenantry.errors import TenantryError
from tenantry.sandbox import CgroupTree, Isolation, SandboxPolicy, Zygote
from tenantry.sandbox.limits import MEMORY_BYTES
from tenantry.sandbox.policy import ResourceLimits
from tenantry.wire.limits import MIB

__all__ = ["Process", "PythonRuntime", "Runtime", "python_policy"]

_log = structlog.get_logger()

_PRELOAD: Final = (
    "tenantry.runtime.worker",
    "http.client",
    *(f"workers._bindings.{name}" for name in ("kv", "r2", "d1", "dispatch")),
)
"""Imported once, by the zygote: what nearly every Worker uses must not be part of every cold start."""


_LAST_BREATH_SECONDS: Final = 0.05


class Process(Protocol):
    """A process of a worker, as whoever started it hands it over."""

    @property
    def pid(self) -> int: ...

    @property
    def channel(self) -> socket.socket: ...

    @property
    def listener(self) -> socket.socket | None:
        """Of a process with sockets: where its connections arrive. All of them, for it can connect nowhere else."""

    def kill(self) -> None:
        """SIGKILL, to that very process. Idempotent."""

    def cpu_seconds(self) -> float:
        """Its CPU clock, read from outside; the last reading once it is gone."""

    def memory_bytes(self) -> int:
        """Its private memory, resident and swapped, read from outside; 0 once it is gone."""

    def is_waiting(self) -> bool:
        """Whether its first thread waits for something that is not a processor. One that is gone does."""

    def limit_memory(self, bytes_max: int) -> None:
        """Let the kernel end it beyond this, where the kernel keeps count; the host looks itself, everywhere."""

    def was_out_of_memory(self) -> bool:
        """Whether that is what has ended it."""

    def set_background(self, background: bool) -> bool:
        """Whether others go first when processors are short. False when it could not be changed."""

    def interrupt(self) -> None:
        """Ask it to give up importing its Worker, or, after that, to log where it is. It may not listen."""


class Runtime(Protocol):
    """Starts worker processes of one language."""

    async def start(self, bundle: str, assignment: bytes, *, sockets: bool = False) -> Process:
        """A process that has become what `assignment` says, with `bundle` as its only files."""

    async def aclose(self) -> None:
        """End every process."""


def python_policy(
    data: Path,
    isolation: str,
    worker_site: Path | None = None,
    *,
    sockets: bool = False,
    memory_mib_max: int = MEMORY_MIB_DEFAULT,
) -> SandboxPolicy:
    """The sandbox of Python Workers whose bundles lie in the data folder. `sockets`: some of them may have some.

    `memory_mib_max` is the most that a plan gives. The sandbox's own bound is the same for all, twice that: it counts
    what is mapped and not what is used, and is there for what grows faster than the host looks.
    """
    package = Path(tenantry.__file__).parent
    return SandboxPolicy(
        isolation=Isolation(isolation),
        bundles=data / "bundles",
        site=package / "runtime" / "site",
        worker_site=worker_site,
        entry="tenantry.runtime.worker:main",
        make="tenantry.runtime.worker:make",
        prepare="tenantry.runtime.worker:prepare",
        rehearse="tenantry.runtime.rehearsal:rehearse",
        preload=_PRELOAD,
        hidden=("msgspec", "multipart"),
        sockets=sockets,
        limits=ResourceLimits(memory_bytes_max=max(MEMORY_BYTES, 2 * memory_mib_max * MIB)),
        preload_path=tuple({Path(msgspec.__file__).parents[1], Path(multipart.__file__).parent}),
    )


class PythonRuntime:
    """CPython in the sandbox, forked from a zygote; a zygote that died is replaced."""

    def __init__(self, policy: SandboxPolicy, cgroups: CgroupTree | None = None) -> None:
        """`cgroups` stay the caller's to close, after the runtime. None: limits are rlimits and the host's watch."""
        self._policy = policy
        self._cgroups = cgroups
        self._zygote: Zygote | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        """Start the zygote. Raises IsolationError when the machine lacks a layer that the policy asks for."""
        await self._living_zygote()

    async def start(self, bundle: str, assignment: bytes, *, sockets: bool = False) -> Process:
        zygote = await self._living_zygote()
        try:
            return await zygote.spawn(bundle, assignment, sockets=sockets)
        except TenantryError:
            # Its processes die with it, and may be seen to do so a moment before it is.
            await asyncio.wait([zygote.closed], timeout=_LAST_BREATH_SECONDS)
            if not zygote.closed.done():
                raise
        # It died meanwhile, which is no fault of this bundle's: once more, from a fresh one.
        return await (await self._living_zygote()).spawn(bundle, assignment, sockets=sockets)

    async def aclose(self) -> None:
        self._closed = True
        async with self._starting:
            if self._zygote is not None:
                await self._zygote.aclose()

    async def _living_zygote(self) -> Zygote:
        zygote = self._zygote
        if zygote is not None and not zygote.closed.done():
            return zygote
        async with self._starting:
            if self._closed:
                raise TenantryError("the runtime is closed")
            if self._zygote is None or self._zygote.closed.done():
                if self._zygote is not None:
                    _log.warning("the zygote died and is started again")
                    await self._zygote.aclose()
                self._zygote = await Zygote.start(self._policy, self._cgroups)
            return self._zygote
