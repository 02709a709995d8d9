"""The host's side of a zygote: keeps a stock of blank workers and turns one into a worker of a bundle on demand.

    spawn ── takes a blank ──► order ──► [child: mounts its bundle, seals itself] ──► answer ──► SandboxedProcess
                 │                                                                        │
                 └── none left: waits for the next fork                                   └── asks for a new blank

The order goes straight into the channel of the blank worker, whose other end the host has had since its birth: the
zygote, which may be busy forking, has no part in a cold start. The stock is filled up after an answer, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path

from tenantry.errors import IsolationError, ProtocolError, TenantryError
from tenantry.sandbox import control, handshake, limits
from tenantry.sandbox.cgroups import Cgroup, CgroupTree
from tenantry.sandbox.policy import SandboxPolicy, check_bundle_name
from tenantry.sandbox.process import SandboxedProcess, pid_of_handle
from tenantry.sandbox.zygote_main import BOOTSTRAP, ENVIRONMENT

_PACKAGES = Path(__file__).resolve().parents[2]  # the folder that holds the package `tenantry`


class Zygote:
    """A running zygote. Made by `start`; used from one event loop; `closed` resolves when it is gone, for whatever
    reason.

    After that every `spawn` fails, and every process it made is dead or about to be: its `exited` says when.
    """

    def __init__(self, policy: SandboxPolicy, cgroups: CgroupTree | None = None) -> None:
        """Use `start`."""
        self._policy = policy
        self._cgroups = cgroups
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._processes: dict[int, SandboxedProcess] = {}
        self._blanks: deque[SandboxedProcess] = deque()
        self._waiting: deque[asyncio.Future[SandboxedProcess]] = deque()
        self._forks_in_flight = 0
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._child = _execute(theirs)
        self._child_handle = os.pidfd_open(self._child.pid)
        self._control.setblocking(False)

    @classmethod
    async def start(cls, policy: SandboxPolicy, cgroups: CgroupTree | None = None) -> Zygote:
        """Start a zygote and try every layer of the policy in a child.

        With `cgroups`, which stay the caller's to close, each worker is in a cgroup of its own before it is anybody's.
        Raises IsolationError that names the first layer that is missing. The host's thread that calls this has to
        outlive the zygote: the kernel ends the zygote with it.
        """
        self = cls(policy, cgroups)
        self._loop.add_reader(self._control, self._read_control)
        self._loop.add_reader(self._child_handle, self._lose, "it died")
        try:
            async with asyncio.timeout(limits.START_SECONDS_MAX):
                packet = {"policy": json.loads(policy.encode()), "packages": str(_PACKAGES), "parent": os.getpid()}
                control.send(self._control, {"op": "start", **packet})
                await self._started
                for sockets in (False, True) if policy.sockets else (False,):
                    probe = await self._order(handshake.Order("", b"", self_test=True, sockets=sockets))
                    probe.channel.close()
                    if probe.listener is not None:
                        probe.listener.close()
                self._fill()
        except TimeoutError as error:
            await self.aclose()
            raise TenantryError("the zygote did not start in time") from error
        except BaseException:
            await self.aclose()
            raise
        return self

    async def spawn(self, bundle: str, assignment: bytes, *, sockets: bool = False) -> SandboxedProcess:
        """A process that runs the policy's entry on this bundle, sealed.

        `bundle` is the name of a folder below `policy.bundles`. With `sockets`, which the policy has to have, the
        process can connect to its `listener`. Raises TenantryError when the zygote is gone or too many callers wait
        already, IsolationError when the process could not be sealed. A cancelled call leaves no process.
        """
        check_bundle_name(bundle)
        if sockets and not self._policy.sockets:
            raise TenantryError("sockets, of a zygote whose policy has none")
        if len(assignment) > limits.ASSIGNMENT_BYTES_MAX:
            raise TenantryError(f"an assignment of {len(assignment)} bytes: {limits.ASSIGNMENT_BYTES_MAX} are the most")
        try:
            async with asyncio.timeout(limits.SPAWN_SECONDS_MAX):
                return await self._order(handshake.Order(bundle, assignment, sockets=sockets))
        except TimeoutError as error:
            raise TenantryError("no worker process could be started in time") from error
        finally:
            self._fill()

    async def aclose(self) -> None:
        """End the zygote and all that it has forked. Every child is gone afterwards, and every `exited` is resolved."""
        self._lose("it was closed")
        await asyncio.shield(self._gone)

    async def _order(self, order: handshake.Order) -> SandboxedProcess:
        """Give a blank worker its order and wait until it is sealed."""
        process = await self._take_blank()
        try:
            # A blank worker that could not even prepare itself has left its refusal and gone.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await self._loop.sock_sendall(process.channel, order.encode())
            header, process.listener = await self._receive_answer(process.channel)
            if refusal_bytes := handshake.refusal_bytes_untrusted(header):
                raise handshake.refusal_untrusted(await self._receive(process.channel, refusal_bytes))
            if order.sockets and process.listener is None:
                raise ProtocolError("a worker with sockets and no listener")
        except BaseException as error:
            process.kill()
            process.channel.close()
            if process.listener is not None:
                process.listener.close()
            if isinstance(error, (OSError, EOFError, ProtocolError)):
                raise TenantryError("a worker process died before it was sealed") from error
            raise
        return process

    async def _take_blank(self) -> SandboxedProcess:
        if self.closed.done():
            raise TenantryError("the zygote is gone")
        while self._blanks:
            process = self._blanks.popleft()
            if not process.exited.done():
                return process
            process.channel.close()
        if len(self._waiting) >= limits.SPAWNS_WAITING_MAX:
            raise TenantryError("too many worker processes are being started")
        waiter: asyncio.Future[SandboxedProcess] = self._loop.create_future()
        self._waiting.append(waiter)
        self._fill()
        try:
            return await waiter
        except asyncio.CancelledError:
            # A blank may have been handed over in the same turn: it is as good as new.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._stock(waiter.result())
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise

    def _fill(self) -> None:
        """Ask for as many forks as the stock and the waiting callers lack."""
        if self.closed.done():
            return
        wanted = self._policy.blank_count + len(self._waiting) - len(self._blanks)
        count = min(wanted, limits.FORKS_IN_FLIGHT_MAX) - self._forks_in_flight
        if count > 0:
            self._forks_in_flight += count
            try:
                control.send(self._control, {"op": "fork", "count": count})
            except OSError as error:
                self._lose(f"it could not be asked for a fork: {error.strerror}")

    def _stock(self, process: SandboxedProcess) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(process)
                return
        self._blanks.append(process)

    async def _receive_answer(self, channel: socket.socket) -> tuple[bytes, socket.socket | None]:
        """The header of an answer, and the descriptor that comes with its first byte, if one does."""
        while True:
            try:
                header, descriptors, _, _ = socket.recv_fds(channel, handshake.ANSWER_HEADER_BYTES, 1)
                break
            except (BlockingIOError, InterruptedError):
                await self._wait_readable(channel)
        listener = socket.socket(fileno=descriptors[0]) if descriptors else None
        if not header:
            raise EOFError
        try:
            if listener is not None:
                listener.setblocking(False)
                listener.set_inheritable(False)
            if len(header) < handshake.ANSWER_HEADER_BYTES:
                header += await self._receive(channel, handshake.ANSWER_HEADER_BYTES - len(header))
        except BaseException:
            if listener is not None:
                listener.close()
            raise
        return header, listener

    async def _wait_readable(self, channel: socket.socket) -> None:
        readable: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(channel, _resolve, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(channel)

    async def _receive(self, channel: socket.socket, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            chunk = await self._loop.sock_recv(channel, size - len(received))
            if not chunk:
                raise EOFError
            received += chunk
        return bytes(received)

    def _read_control(self) -> None:
        """All packets that have come."""
        while True:
            try:
                received = control.receive(self._control, descriptors_max=2)
            except (BlockingIOError, InterruptedError):
                return
            if received is None:
                self._lose("it closed its control socket")
                return
            self._handle(*received)

    def _handle(self, packet: control.Packet, descriptors: list[int]) -> None:
        match packet["op"]:
            case "ready":
                self._started.set_result(None)
            case "failed":
                self._started.set_exception(IsolationError(packet["layer"], packet["reason"]))
            case "forked":
                channel, handle = descriptors
                os.set_blocking(channel, False)
                process = SandboxedProcess(
                    pid=pid_of_handle(handle),
                    channel=socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=channel),
                    exited=self._loop.create_future(),
                    _handle=handle,
                )
                self._processes[packet["id"]] = process
                if self._cgroups is None:
                    self._born(process)
                else:
                    resources = self._policy.limits
                    adopted = asyncio.wrap_future(
                        self._cgroups.adopt(
                            process.pid,
                            resources.threads_max,
                            resources.memory_bytes_max + limits.MEMORY_KERNEL_BYTES,
                        )
                    )
                    adopted.add_done_callback(functools.partial(self._adopted, self._cgroups, process))
            case "fork_failed":
                self._stillborn(packet["reason"])
            case "exited":
                self._processes.pop(packet["id"]).ended(packet["code"], packet["cpu"])

    def _born(self, process: SandboxedProcess) -> None:
        self._forks_in_flight -= 1
        self._stock(process)
        self._fill()

    def _adopted(self, cgroups: CgroupTree, process: SandboxedProcess, adopted: asyncio.Future[Cgroup]) -> None:
        """It is in a cgroup of its own, or could not be moved there."""
        error = adopted.exception()
        if error is None:
            process.belongs_to(cgroups, adopted.result())
        if self.closed.done():
            process.channel.close()
        elif error is None:
            self._born(process)
        else:
            process.kill()
            process.channel.close()
            self._stillborn(f"cgroup: {error}")

    def _stillborn(self, reason: str) -> None:
        self._forks_in_flight -= 1
        # One caller learns of it; it asks again or not. No retry of our own: the machine is at a limit.
        if self._waiting and not (waiter := self._waiting.popleft()).done():
            waiter.set_exception(TenantryError(f"no worker process can be started: {reason}"))

    def _lose(self, reason: str) -> None:
        """The zygote is gone or shall go: fail who waits, and see to it that everything below it ends. Idempotent."""
        if self.closed.done():
            return
        self.closed.set_result(reason)
        self._loop.remove_reader(self._control)
        self._control.close()  # which a living zygote takes as its order to end
        error = TenantryError(f"the zygote is gone: {reason}")
        if not self._started.done():
            self._started.set_exception(error)
            self._started.exception()  # seen: nobody may be waiting for the start any more
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting.clear()
        for blank in self._blanks:
            blank.channel.close()
        self._blanks.clear()
        # Nobody reports deaths any more; the handles do.
        for number, process in self._processes.items():
            process.kill()
            self._loop.add_reader(process.handle, self._see_process_end, number)
        self._loop.add_reader(self._child_handle, self._see_zygote_end)
        self._killing = self._loop.call_later(limits.CLOSE_SECONDS_MAX, self._child.kill)

    def _see_process_end(self, number: int) -> None:
        process = self._processes.pop(number)
        self._loop.remove_reader(process.handle)
        process.ended(-signal.SIGKILL)
        self._resolve_gone()

    def _see_zygote_end(self) -> None:
        self._loop.remove_reader(self._child_handle)
        os.close(self._child_handle)
        self._child_handle = -1
        self._child.wait()  # a zombie by now
        self._killing.cancel()
        self._resolve_gone()

    def _resolve_gone(self) -> None:
        if self._child_handle < 0 and not self._processes:
            self._gone.set_result(None)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _execute(control_end: socket.socket) -> subprocess.Popen[bytes]:
    """The interpreter itself, not the virtual environment's link to it: isolated, with no site-packages."""
    executable: str = getattr(sys, "_base_executable", None) or sys.executable
    arguments = [executable, "-I", "-S", "-X", "utf8", "-c", BOOTSTRAP]
    return subprocess.Popen(  # noqa: S603 - our own program
        arguments,
        stdin=control_end.fileno(),
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )
