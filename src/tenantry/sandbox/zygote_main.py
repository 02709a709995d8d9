"""The zygote: a small single-threaded program that has imported the worker runtime and forks children that hold it.

It is a fresh exec, so that nothing of the host (descriptors, environment, memory, secrets) is in it, and it never
talks to a tenant: each child is handed its end of a socketpair at birth, and the host writes the bundle's name into
the other end.

At the level `strict` there are two processes: the one that the host started makes a PID namespace and waits; the zygote
is PID 1 in there. When it dies the kernel kills all that is left in the namespace, so no tenant outlives it, and it
dies with its parent, which dies with the host.

The host starts it by `BOOTSTRAP`, whose last line calls what `main` returns. `main` returns in children only: a
tenant who walks up the stack from its own frame finds that line and nothing of the zygote.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import importlib
import importlib.util
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from tenantry.errors import IsolationError
from tenantry.sandbox import (
    control,
    credentials,
    handshake,
    heap,
    libc,
    limits,
    namespaces,
    priority,
    rehearsal,
    rlimits,
    roots,
    runtime_files,
    seccomp,
    syscalls,
)
from tenantry.sandbox.layers import Layer, needed_for
from tenantry.sandbox.policy import Isolation, ZygotePolicy
from tenantry.sandbox.recipe import Recipe, self_test

# Stand-ins for the two packages, so that their `__init__` (the host's side, asyncio and all) is not imported. The
# path comes by the socket on descriptor 0, and not in the command line, which a tenant can read in `sys.orig_argv`.
BOOTSTRAP = """
import json, os, socket, sys, types
control = socket.socket(fileno=os.dup(0))
start = json.loads(control.recv(65536) or "null") or sys.exit()
for name in ("tenantry", "tenantry.sandbox"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [os.path.join(start["packages"], *name.split("."))]
from tenantry.sandbox.zygote_main import main
todo = [main, control, start]
del json, os, socket, types, control, start, name, main
todo.pop(0)(todo.pop(0), todo.pop(0))()
"""

# After exec these are the only variables; a tenant sees the same ones.
ENVIRONMENT = {"TZ": "UTC", "LANG": "C.UTF-8", "HOME": "/tmp"}  # noqa: S108 - the tenant's own tmpfs

Entry = Callable[..., Any]  # found by name at run time

# What a child does first, by names of this module: to find a name in another one for the first time is to write to
# five pages. And below `signal.signal`, which makes names of numbers: half a hundred pages for one call.
_set_handler: Callable[[int, int], object] = importlib.import_module("_signal").signal
_SIGCHLD, _SIGINT, _SIG_DFL = int(signal.SIGCHLD), int(signal.SIGINT), int(signal.SIG_DFL)
_set_wakeup_fd, _dup2, _enable_collector = signal.set_wakeup_fd, os.dup2, gc.enable
_close_descriptors_from = libc.close_descriptors_from

_CHILD_PROC = 3
_CHILD_CHANNEL = 4
_DESCRIPTORS_OWN = 8
"""From here on the zygote's own descriptors have their numbers."""
_REHEARSALS = 12
"""CPython 3.11 looks at a function anew after its eighth run, and at each of its instructions in the next one."""
_NOT_THERE = "no_module_has_this_name"
_EXIT_CRASHED = 70  # EX_SOFTWARE: the entry raised


def main(host: socket.socket, start: control.Packet) -> Callable[[], NoReturn]:
    """Run the zygote. Returns in each of its children, with what the child has to do."""
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)  # where the control socket was
    os.dup2(null, 1)
    os.close(null)
    host = _out_of_the_way(host)
    priority.become_nicer()
    _die_with(start["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the operator's terminal is the host's to handle
    sys.argv[:] = [""]
    sys.orig_argv[:] = []
    sys.executable = ""
    # An object made while importing is garbage never: looking for it only makes shared pages private.
    gc.disable()
    try:
        zygote = _Zygote(host, ZygotePolicy.decode(start["policy"]), start["packages"])
        start.clear()  # paths of the host
    except IsolationError as error:
        control.send(host, {"op": "failed", "layer": error.layer, "reason": error.reason})
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - of any kind: the host waits for an answer
        traceback.print_exc()  # to the host's own stderr
        control.send(host, {"op": "failed", "layer": Layer.PREPARATION, "reason": repr(error)})
        os._exit(1)
    control.send(host, {"op": "ready"})
    # A child leaves these frames, and would free what they hold: more to write to. And a socket that is freed closes a
    # number that is somebody else's by then.
    heap.keep((zygote, host, start, main, sys._getframe().f_code))
    return zygote.serve()


class _Zygote:
    def __init__(self, host: socket.socket, policy: ZygotePolicy, packages: str) -> None:
        with needed_for(Layer.LIMITS, "setrlimit refused it."):
            rlimits.raise_open_files()
        self._host = host
        self._proc = _open_proc()
        self._channel = _channel_to_be()
        self._children: dict[int, int] = {}  # process id as we see it → the number by which the host knows it
        self._forks_owed = 0
        self._serial = 0
        self._pid_namespace: namespaces.PidNamespace | None = None
        self._users = _tenant_users(self._proc) if credentials.is_privileged() else None
        self._wake_up, self._wakes = socket.socketpair()
        strict = policy.isolation is Isolation.STRICT
        machine = syscalls.this_machine()
        files = runtime_files.find(certificates=policy.sockets)
        standard = [path for path in sys.path if os.path.exists(path)]
        preload_path = [packages, *policy.preload_path]
        readable: tuple[str, ...] = ()
        if strict:
            _enter_pid_namespace(self._proc, privileged=self._users is not None)
            self._pid_namespace = namespaces.PidNamespace(self._proc)
            namespaces.unshare(namespaces.CLONE_NEWNS)
            preload_path = roots.build(policy, files, preload_path)
            site = [roots.SITE, *([roots.WORKER_SITE] if policy.worker_site else [])]
        else:
            site = [policy.site, *([policy.worker_site] if policy.worker_site else [])]
            readable = (*files.folders, *files.files, *site)
        self._entry, self._prepare = _preload(policy, [*site, *preload_path, *standard])
        for name in [name for name in sys.modules if name.partition(".")[0] in policy.hidden]:
            del sys.modules[name]
        sys.path[:] = [*site, *standard]
        sys.path_importer_cache.clear()
        # The finders that children have, with their lists of what is there: a child's first import would make them.
        importlib.util.find_spec(_NOT_THERE)
        if strict:
            roots.forget_preload(preload_path)
        _check_single_thread(self._proc)
        libc.set_process_name("tenantry-zygote")
        self._recipe = Recipe(
            isolation=policy.isolation,
            limits=policy.limits,
            proc=self._proc,
            parent=os.getpid(),
            # Alone in its PID namespace a child is number 1, and one program serves all.
            seccomp_program=seccomp.build(machine, 1) if strict else b"",
            seccomp_program_sockets=seccomp.build(machine, 1, sockets=True) if policy.sockets else b"",
            readable=readable,
            bundles="" if strict else policy.bundles,
        )
        self._settle_heap(policy)

    def _settle_heap(self, policy: ZygotePolicy) -> None:
        """Have what children use together, and used already."""
        rehearsals: list[Callable[[int], object]] = [functools.partial(rehearsal.rehearse, self._recipe, self._user())]
        if policy.rehearse is not None:
            rehearsals.append(_find(policy.rehearse))
        if policy.make is not None:
            _find(policy.make)()
        used = [code for rehearse in rehearsals for code in heap.called_by(functools.partial(rehearse, 1))]
        heap.fill_gaps()
        heap.move_together([*used, *heap.code_of((__name__, "tenantry.sandbox"))])
        # Anew, since it is other code now.
        for rehearse in rehearsals:
            rehearse(_REHEARSALS)

    def serve(self) -> Callable[[], NoReturn]:
        """Fork when asked, report who died, until the host goes away. Returns in children."""
        for end in (self._wake_up, self._wakes):
            end.setblocking(False)
        # That there is a handler makes Python write to the descriptor.
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        poll = select.poll()
        heap.keep(poll)
        poll.register(self._host, select.POLLIN)
        poll.register(self._wake_up, select.POLLIN)
        gc.collect()
        heap.fill_gaps()
        gc.freeze()
        while True:
            for descriptor, _ in poll.poll(0 if self._forks_owed else None):
                if descriptor == self._wake_up.fileno():
                    with contextlib.suppress(BlockingIOError):
                        self._wake_up.recv(4096)
                    self._reap()
                elif (received := control.receive(self._host)) is None:
                    self._end()
                else:
                    self._forks_owed += received[0]["count"]
            # One at a time: a storm of forks must not keep us from reaping, nor from noticing that the host is gone.
            if self._forks_owed:
                self._forks_owed -= 1
                if (child := self._fork()) is not None:
                    return child

    def _fork(self) -> Callable[[], NoReturn] | None:
        """One more blank worker, reported to the host. In the child: what it has to do."""
        self._serial += 1
        host_end, child_end = (end.detach() for end in socket.socketpair())
        os.dup2(child_end, _CHILD_CHANNEL, inheritable=False)
        os.close(child_end)
        life = functools.partial(_live, self._recipe, self._user(), self._prepare, self._entry, self._channel)
        try:
            process = self._fork_process()
        except (OSError, IsolationError) as error:
            os.close(host_end)
            self._tell({"op": "fork_failed", "reason": str(error)})
            return None
        if process == 0:
            _let_go()
            return life
        os.dup2(0, _CHILD_CHANNEL, inheritable=False)  # the end is the child's alone, and closed when it is gone
        self._children[process] = self._serial
        handle = os.pidfd_open(process)
        self._tell({"op": "forked", "id": self._serial}, host_end, handle)
        os.close(handle)
        os.close(host_end)
        return None

    def _fork_process(self) -> int:
        if self._pid_namespace is None:
            return libc.fork()
        self._pid_namespace.leave()
        process = -1
        try:
            process = libc.fork()
        finally:
            if process != 0:
                self._pid_namespace.come_back()
        return process

    def _user(self) -> int | None:
        """Whom the child becomes that is made now."""
        return None if self._users is None else self._users(self._serial)

    def _reap(self) -> None:
        while self._children:
            process, status, usage = os.wait4(-1, os.WNOHANG)
            if process == 0:
                return
            packet = {"code": os.waitstatus_to_exitcode(status), "cpu": usage.ru_utime + usage.ru_stime}
            self._tell({"op": "exited", "id": self._children.pop(process), **packet})

    def _tell(self, packet: control.Packet, *descriptors: int) -> None:
        try:
            control.send(self._host, packet, descriptors)
        except (BrokenPipeError, ConnectionResetError):
            self._end()

    def _end(self) -> NoReturn:
        """The host is gone. At `strict` the kernel kills our PID namespace with us; elsewhere we do."""
        for process in self._children:
            os.kill(process, signal.SIGKILL)
        for _ in self._children:
            os.wait()
        os._exit(0)


def _live(recipe: Recipe, user: int | None, prepare: Entry | None, entry: Entry, channel: socket.socket) -> NoReturn:
    """A child's life, from blank to its end."""
    code = _EXIT_CRASHED
    try:
        libc.set_process_name("tenantry-worker")
        try:
            blank = recipe.become_blank(user)
            if prepare is not None:
                prepare()
            os.close(recipe.proc)
            order = handshake.try_receive_order(channel)
            if order is None:
                os._exit(0)
            recipe.seal(blank, order.bundle, sockets=order.sockets)
            if order.self_test:
                self_test(recipe.isolation, sockets=order.sockets)
        except IsolationError as error:
            channel.sendall(handshake.refused(error.layer, error.reason))
            os._exit(1)
        except Exception as error:  # noqa: BLE001 - of any kind: the host waits for an answer
            channel.sendall(handshake.refused(Layer.PREPARATION, repr(error)))
            os._exit(1)
        _hand_over(channel, blank.listener, sockets=order.sockets)
        if not order.self_test:
            del recipe, blank, user, prepare
            entry(channel, order.assignment)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        # Not through the interpreter's own shutdown: the stack below us is the zygote's.
        os._exit(code & 0xFF)


def _hand_over(channel: socket.socket, listener: socket.socket | None, *, sockets: bool) -> None:
    """Tell the host that this process is sealed. Afterwards the listener is the host's alone, or nobody's."""
    if listener is None:
        channel.sendall(handshake.sealed())
        return
    with listener:
        socket.send_fds(channel, [handshake.sealed()], [listener.fileno()] if sockets else [])


def _let_go() -> None:
    """First of all in a child: nothing but /dev/null on 0, 1 and 2, /proc and the channel, and no handler."""
    _set_wakeup_fd(-1)
    _set_handler(_SIGCHLD, _SIG_DFL)
    _set_handler(_SIGINT, _SIG_DFL)
    _dup2(0, 2)
    _close_descriptors_from(_CHILD_CHANNEL + 1)
    _enable_collector()


def _do_nothing(_number: int, _frame: object) -> None:
    """A handler."""


def _out_of_the_way(host: socket.socket) -> socket.socket:
    """The same socket with a number above those that children have their descriptors at."""
    number = fcntl.fcntl(host, fcntl.F_DUPFD_CLOEXEC, _DESCRIPTORS_OWN)
    host.close()
    return socket.socket(fileno=number)


def _channel_to_be() -> socket.socket:
    """An object for the number under which each child has its end of its channel, with nothing behind it so far."""
    some, other = socket.socketpair()
    with some, other:
        number = fcntl.fcntl(some, fcntl.F_DUPFD_CLOEXEC, _DESCRIPTORS_OWN)
    os.dup2(number, _CHILD_CHANNEL, inheritable=False)
    os.close(number)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=_CHILD_CHANNEL)
    os.dup2(0, _CHILD_CHANNEL, inheritable=False)
    return channel


def _open_proc() -> int:
    opened = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if opened != _CHILD_PROC:
        os.dup2(opened, _CHILD_PROC, inheritable=False)
        os.close(opened)
    return _CHILD_PROC


def _die_with(parent: int) -> None:
    """Be killed when `parent`, which started us, is gone."""
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # already gone
        os._exit(1)


def _enter_pid_namespace(proc: int, *, privileged: bool) -> None:
    """Go on in a child that is PID 1 of a new PID namespace; this process stays outside and waits for it."""
    user, group = os.geteuid(), os.getegid()
    if privileged:
        namespaces.unshare(namespaces.CLONE_NEWPID)
    else:
        namespaces.unshare(namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWPID)
        namespaces.map_user(proc, 0, user, group)
    process = os.fork()
    if process != 0:
        libc.set_process_name("tenantry-init")
        libc.close_descriptors_from(0)  # the control socket too: its end is the zygote's to notice
        _, status = os.waitpid(process, 0)
        os._exit(0 if status == 0 else 1)
    _die_with(0)  # the parent is outside of our PID namespace: it has no number in it


def _preload(policy: ZygotePolicy, path: list[str]) -> tuple[Entry, Entry | None]:
    """Import what every child is to have, and find the two functions."""
    sys.path[:] = path
    # Ours are loaded from the host's paths, and stand-ins at that. The preloaded ones shall be found in `path`; and a
    # tenant has no use for the sandbox's.
    for name in [name for name in sys.modules if name.partition(".")[0] == "tenantry"]:
        del sys.modules[name]
    name = ""
    try:
        for name in policy.preload:
            importlib.import_module(name)
        if policy.rehearse is not None:
            name = policy.rehearse
            _find(name)(1)  # for what it imports
        name = policy.entry
        entry = _find(name)
        if policy.prepare is None:
            return entry, None
        name = policy.prepare
        return entry, _find(name)
    except BaseException as error:
        traceback.print_exc()  # to the host's own stderr: only the operator has the means to mend it
        raise IsolationError(Layer.PRELOAD, f"{name} cannot be imported, or run: {error!r}") from error


def _find(name: str) -> Entry:
    module, _, function = name.partition(":")
    found: Entry = getattr(importlib.import_module(module), function)
    return found


def _check_single_thread(proc: int) -> None:
    """A fork copies one thread and the locks that all others hold; and several cannot leave a user namespace."""
    descriptor = os.open("self/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
    try:
        count = len(os.listdir(descriptor))
    finally:
        os.close(descriptor)
    if count != 1:
        raise IsolationError(Layer.PRELOAD, f"the preloaded modules have started {count - 1} threads; they must not")


def _tenant_users(proc: int) -> Callable[[int], int]:
    """Which user the nth child becomes: one of its own where there are enough, nobody where there are not."""
    last = limits.TENANT_USER_FIRST + limits.TENANT_USER_COUNT - 1
    if namespaces.is_user_mapped(proc, limits.TENANT_USER_FIRST) and namespaces.is_user_mapped(proc, last):
        return lambda serial: limits.TENANT_USER_FIRST + serial % limits.TENANT_USER_COUNT
    return lambda _serial: limits.NOBODY
