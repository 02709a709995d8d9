"""Which layers of the sandbox this machine has, tried and not guessed, and the level of isolation they allow.

Each layer is tried in a child that may break what it tries (`python -m tenantry.doctor.machine`, a process without
threads that forks once a layer). What decides about the level is the zygote's own start, which tries all of them
together, in their order.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tenantry.doctor import limits
from tenantry.errors import ConfigError, IsolationError, TenantryError
from tenantry.host.runtime import python_policy
from tenantry.sandbox import Zygote, cgroups, credentials, landlock, libc, mounts, namespaces, seccomp
from tenantry.sandbox.syscalls import this_machine

__all__ = ["LayerView", "MachineView", "examine"]

_KERNEL_MIN: Final = (5, 13)


class LayerView(msgspec.Struct, frozen=True):
    """One layer: whether it is there (None: not needed for any level), what was found, and how to get it."""

    layer: str
    present: bool
    needed_for: str
    detail: str
    advice: str = ""


class MachineView(msgspec.Struct, frozen=True):
    """`tenantry doctor --json`. `level` is the highest that a zygote could be started at; `reason` why not `strict`."""

    level: str
    reason: str
    layers: list[LayerView]


# The probes: each returns what it found, and raises OSError or IsolationError. Run in a fork of their own. ----------


def _kernel() -> str:
    release = os.uname().release
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None or (int(found[1]), int(found[2])) < _KERNEL_MIN:
        raise OSError(0, f"Linux {release}")
    return f"Linux {release}, {os.uname().machine}"


def _landlock() -> str:
    version = landlock.abi()
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    landlock.Ruleset().enforce()
    try:
        os.open("/", os.O_RDONLY)
    except PermissionError:
        return f"ABI {version}"
    raise OSError(0, "a ruleset is accepted and does nothing")


def _seccomp() -> str:
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(seccomp.build(this_machine(), os.getpid()))
    try:
        os.mkfifo("/tmp/x")  # noqa: S108 - it is refused
    except PermissionError:
        return "filters are obeyed"
    raise OSError(0, "a filter is accepted and does nothing")


def _become_powerful() -> None:
    """What it takes to make the other namespaces: root has it, an ordinary user gets it with a user namespace."""
    if not credentials.is_privileged():
        _user_namespace()


def _user_namespace() -> str:
    user, group = os.geteuid(), os.getegid()
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    namespaces.unshare(namespaces.CLONE_NEWUSER)
    namespaces.map_user(proc, 0, user, group)
    return "made by root" if user == 0 else "made by an ordinary user"


def _namespace(flag: int) -> Callable[[], str]:
    def probe() -> str:
        _become_powerful()
        namespaces.unshare(flag)
        return "can be made"

    return probe


def _root() -> str:
    _become_powerful()
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.make_private()
    mounts.mount_tmpfs("/tmp", mode=0o755, bytes_max=1 << 20, files_max=64)  # noqa: S108 - in our own namespace
    os.mkdir("/tmp/bound")  # noqa: S108
    mounts.bind_read_only("/dev", "/tmp/bound", devices=True)  # noqa: S108
    mounts.enter_root("/tmp")  # noqa: S108
    if os.listdir("/") != ["bound"]:
        raise OSError(0, "pivot_root did not change the root")
    return "mount, mount_setattr and pivot_root work"


def _rlimits() -> str:
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 26, 1 << 26))
    try:
        bytearray(1 << 28)
    except MemoryError:
        return "RLIMIT_DATA is obeyed"
    raise OSError(0, "RLIMIT_DATA is not obeyed")


def _interpreter() -> str:
    executable = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    if os.geteuid() != 0:
        return executable
    path = Path(executable)
    for place in (path, *path.parents):
        if not place.stat().st_mode & 0o001:
            raise OSError(0, f"workers of root's are other users, and {place} is closed to them")
    return executable


_USERNS_ADVICE: Final = (
    "start as root, or: sysctl user.max_user_namespaces=10000; kernel.unprivileged_userns_clone=1 (Debian); "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); in a container, a seccomp profile that allows unshare, "
    "mount and pivot_root"
)
_CONTAINER: Final = "container"
_STRICT: Final = "strict"

_PROBES: Final[dict[str, tuple[Callable[[], str], str, str]]] = {
    "kernel": (_kernel, _CONTAINER, "Linux 5.13 or newer"),
    "landlock": (
        _landlock,
        _CONTAINER,
        "a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in lsm= of its command line",
    ),
    "seccomp": (_seccomp, _CONTAINER, "a kernel with CONFIG_SECCOMP_FILTER"),
    "limits": (_rlimits, _CONTAINER, "a kernel that obeys rlimits: emulators often do not"),
    "user namespace": (_user_namespace, _STRICT, _USERNS_ADVICE),
    "pid namespace": (_namespace(namespaces.CLONE_NEWPID), _STRICT, _USERNS_ADVICE),
    "mount namespace": (_namespace(namespaces.CLONE_NEWNS), _STRICT, _USERNS_ADVICE),
    "network namespace": (_namespace(namespaces.CLONE_NEWNET), _STRICT, _USERNS_ADVICE),
    "ipc namespace": (_namespace(namespaces.CLONE_NEWIPC), _STRICT, _USERNS_ADVICE),
    "uts namespace": (_namespace(namespaces.CLONE_NEWUTS), _STRICT, _USERNS_ADVICE),
    "cgroup namespace": (_namespace(namespaces.CLONE_NEWCGROUP), _STRICT, _USERNS_ADVICE),
    "pivoted root": (_root, _STRICT, _USERNS_ADVICE),
    "interpreter": (
        _interpreter,
        "container as root",
        "install Python where every user may read it, not in root's home; or start as an ordinary user",
    ),
}


def examine() -> MachineView:
    """Try every layer, then every level."""
    layers = [*_probe_layers(), _cgroup()]
    level, reason = "none", ""
    with tempfile.TemporaryDirectory(prefix="tenantry-doctor-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - workers of root's are other users
        (Path(folder) / "bundles").mkdir(mode=0o755)
        for candidate in (_STRICT, _CONTAINER):
            try:
                asyncio.run(_start(Path(folder), candidate))
            except (IsolationError, TenantryError) as error:
                reason = reason or str(error)
            else:
                level = candidate
                break
    return MachineView(level, "" if level == _STRICT else reason, layers)


def _cgroup() -> LayerView:
    """Looked at from this very process: whether others are in its cgroup is part of the answer."""
    try:
        folder = cgroups.find_delegated()
    except OSError as error:
        advice = (
            "a delegated cgroup with nobody else in it: systemd-run --scope -p Delegate=yes tenantry …, or "
            "Delegate=yes in its unit; without it limits are rlimits and the host's own watch"
        )
        return LayerView("cgroup v2", False, "no level", error.strerror or str(error), advice)
    controllers = (folder / "cgroup.controllers").read_text().strip()
    return LayerView("cgroup v2", True, "no level", f"{folder}: {controllers}")


async def _start(data: Path, isolation: str) -> None:
    """A zygote tries every layer in a child of its own before it is one."""
    zygote = await Zygote.start(python_policy(data, isolation))
    await zygote.aclose()


def _probe_layers() -> list[LayerView]:
    # A process of its own: to fork one with threads, or an event loop, is to ask for trouble.
    run = subprocess.run(
        [sys.executable, "-m", "tenantry.doctor.machine"],
        capture_output=True,
        timeout=limits.PROBE_SECONDS_MAX,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    if run.returncode != 0:
        raise ConfigError(f"the layers could not be tried: {run.stderr.decode(errors='replace').strip()[-300:]}")
    found: dict[str, tuple[bool, str]] = json.loads(run.stdout)
    return [
        LayerView(name, present, needed, detail, "" if present else advice)
        for name, (_, needed, advice) in _PROBES.items()
        for present, detail in [found[name]]
    ]


def _try(probe: Callable[[], str]) -> tuple[bool, str]:
    """Run a probe in a fork, which may end in a sandbox that it does not get out of."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = (True, probe())
        except IsolationError as error:
            answer = (False, error.reason.partition(". ")[0])
        except OSError as error:
            answer = (False, error.strerror or str(error))
        except BaseException:  # noqa: BLE001 - the parent waits for an answer
            answer = (False, traceback.format_exc(limit=1).strip().splitlines()[-1])
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        text = file.read()
    os.waitpid(child, 0)
    present, detail = json.loads(text) if text else (False, "the probe was killed")
    return bool(present), str(detail)


if __name__ == "__main__":
    print(json.dumps({name: _try(probe) for name, (probe, _, _) in _PROBES.items()}))
