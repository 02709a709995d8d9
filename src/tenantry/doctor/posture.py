"""A look at a living worker process from outside: what /proc says of it, against what it may have.

Everything is an allow-list: a namespace that is shared, a descriptor that no rule names, a mount that is not expected
or not read-only is a deviation, whatever it is good for. Nothing is asked of the process itself.

    descriptors   0, 1, 2 are /dev/null; epolls, eventfds and pipes; files that were opened through its own mounts
    sockets       the channel, and the pair by which its event loop wakes itself; nothing bound, nothing of IP; where a
                  Worker may have sockets, TCP to the one listener of its network namespace, which is the host's
    namespaces    none but `time` is the host's
    privileges    no capability in any set, seccomp's filter, no new privileges, a user that is not root
    mounts        the runtime and one bundle, read-only, nosuid, nodev; /tmp, which is nobody else's
    environment   three names
    limits        no higher than the policy's
    dumpable      not: so that nobody of the same user may look into it

The kernel lets an ordinary user look at little of a process that is not dumpable, be it his own: what could not be
looked at is in `Posture.unseen`.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tenantry.errors import ConfigError
from tenantry.sandbox import Isolation, ResourceLimits
from tenantry.sandbox import limits as sandbox_limits

__all__ = ["ASPECTS", "Deviation", "Posture", "deviations", "inspect_process"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """`aspect` is one of ASPECTS."""

    pid: int
    aspect: str
    detail: str

    def __str__(self) -> str:
        return f"process {self.pid}: {self.aspect}: {self.detail}"


@dataclass(slots=True)
class Posture:
    pid: int
    deviations: list[Deviation] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    """Aspects that this user may not look at."""


_ENVIRONMENT: Final = {"HOME", "LANG", "TZ"}
_NAMESPACES: Final = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup")
_FILTERED: Final = "2"  # SECCOMP_MODE_FILTER
_NULL: Final = os.makedev(1, 3)
_ANONYMOUS: Final = {"anon_inode:[eventpoll]", "anon_inode:[eventfd]"}
_SOCKETS_MAX: Final = 3
_DEVICES: Final = {"/dev/null", "/dev/urandom"}
_OWN: Final = {"/", "/app", "/sdk", "/packages", *_DEVICES}
_SCRATCH: Final = "/tmp"  # noqa: S108 - the process's own
_LIBRARY: Final = re.compile(r".*/[^/]+\.so(\.[0-9]+)*")
_MASK: Final = re.compile(r".*/(site|dist)-packages")
_AUTHORITIES: Final = ssl.get_default_verify_paths().openssl_cafile  # for TLS, where there are sockets
_TIME_ZONES: Final = "/usr/share/zoneinfo"
_PROXY: Final = f"0100007F:{sandbox_limits.PROXY_PORT:04X}"  # 127.0.0.1, as /proc/net/tcp writes it
_IP: Final = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6", "packet")


def deviations(
    pid: int,
    isolation: str = "strict",
    limits: ResourceLimits | None = None,
    *,
    proc: Path = Path("/proc"),
) -> list[Deviation]:
    """What of a worker process is not as it must be. Raises ConfigError when there is no such process."""
    return inspect_process(pid, isolation, limits, proc=proc).deviations


def inspect_process(
    pid: int,
    isolation: str = "strict",
    limits: ResourceLimits | None = None,
    *,
    proc: Path = Path("/proc"),
) -> Posture:
    """Look at a process, aspect by aspect. Raises ConfigError when there is no such process."""
    if not (proc / str(pid)).is_dir():
        raise ConfigError(f"there is no process {pid}")
    posture = Posture(pid)
    look = _Look(pid, proc, proc / str(pid), Isolation(isolation), limits or ResourceLimits())
    for aspect, check in ASPECTS.items():
        try:
            posture.deviations += [Deviation(pid, aspect, detail) for detail in check(look)]
        except PermissionError:
            posture.unseen.append(aspect)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise ConfigError(f"process {pid} ended while it was looked at") from error
    return posture


@dataclass(frozen=True, slots=True)
class _Look:
    pid: int
    proc: Path
    folder: Path
    isolation: Isolation
    limits: ResourceLimits

    @property
    def strict(self) -> bool:
        return self.isolation is Isolation.STRICT

    def status(self) -> dict[str, str]:
        lines = (self.folder / "status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _descriptors(look: _Look) -> Iterator[str]:
    own = _mount_ids(look)
    for entry in (look.folder / "fd").iterdir():
        try:
            target, about = os.readlink(entry), (look.folder / "fdinfo" / entry.name).read_text()
            mode = entry.stat()
        except FileNotFoundError:
            continue  # closed meanwhile
        number = int(entry.name)
        if number <= 2:
            if not (stat.S_ISCHR(mode.st_mode) and mode.st_rdev == _NULL):
                yield f"descriptor {number} is {target}, not /dev/null"
        elif target.startswith(("socket:", "pipe:")) or target in _ANONYMOUS:
            continue
        elif target.startswith("/") and (not look.strict or _field(about, "mnt_id") in own):
            if not look.strict and stat.S_ISDIR(mode.st_mode):
                yield f"descriptor {number} is the folder {target}"
        else:
            yield f"descriptor {number} is {target}, which did not come from its own mounts"


def _sockets(look: _Look) -> Iterator[str]:
    held = set()
    for entry in (look.folder / "fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            held.add(target[8:-1])
    held -= _to_the_proxy(look)
    if len(held) > _SOCKETS_MAX:
        yield f"it holds {len(held)} sockets: the channel and two of its event loop are all it may have"
    unix: dict[str, list[str]] = {}
    for folder in (look.proc / "self", look.folder):
        for line in (folder / "net" / "unix").read_text().splitlines()[1:]:
            cells = line.split()
            unix[cells[6]] = cells
    for inode in sorted(held):
        if inode not in unix:
            yield f"socket {inode} is not a Unix socket of its own or the host's"
            continue
        cells = unix[inode]
        if len(cells) > 7:
            yield f"socket {inode} has an address: {cells[7]}"
        elif cells[5] not in ("03", "01"):
            yield f"socket {inode} is not a connected pair"
    if look.strict:
        for kind in _IP:
            path = look.folder / "net" / kind
            if not path.exists():
                continue  # a kernel without it
            # A listener of the host's may be there, whether this Worker may reach it or not.
            rows = path.read_text().splitlines()[1:]
            others = [line for line in rows if not any(cell.endswith(_PROXY) for cell in line.split()[1:3])]
            if others:
                yield f"there are {kind} sockets in its network namespace: {others[0].strip()[:60]}"
        interfaces = [line.partition(":")[0].strip() for line in (look.folder / "net/dev").read_text().splitlines()[2:]]
        if set(interfaces) - {"lo"} and not _only_down(interfaces):
            yield f"there are network interfaces: {', '.join(sorted(interfaces))}"


def _to_the_proxy(look: _Look) -> set[str]:
    """The TCP sockets that lead to the one listener of its network namespace, by inode."""
    found: set[str] = set()
    for path in (look.folder / "net" / "tcp", look.folder / "net" / "tcp6"):
        if path.exists():
            rows = [line.split() for line in path.read_text().splitlines()[1:]]
            found |= {cells[9] for cells in rows if cells[2].endswith(_PROXY)}
    return found


def _only_down(interfaces: Iterable[str]) -> bool:
    """Some kernels put tunnels of their own (sit0, tunl0, gre0 …) into every new network namespace, down."""
    return {re.sub(r"[0-9]+$", "", name) for name in interfaces} <= {
        "lo", "sit", "tunl", "ip6tnl", "gre", "gretap", "erspan", "ip6gre", "ip_vti", "ip6_vti", "teql", "dummy",
    }  # fmt: skip


def _namespaces(look: _Look) -> Iterator[str]:
    if not look.strict:
        return
    try:
        for kind in _NAMESPACES:
            if os.readlink(look.folder / "ns" / kind) == os.readlink(look.proc / "self" / "ns" / kind):
                yield f"its {kind} namespace is the host's"
    except PermissionError:
        # What they show of themselves. The other three cannot be told apart by who is not root.
        for kind, name in (("user", "uid_map"), ("mnt", "mountinfo"), ("net", "net/dev")):
            if (look.folder / name).read_text() == (look.proc / "self" / name).read_text():
                yield f"its {kind} namespace looks like the host's"
        if len(look.status()["NSpid"].split()) < 2:
            yield "its pid namespace is the host's"


def _privileges(look: _Look) -> Iterator[str]:
    if look.isolation is Isolation.NONE:
        return
    status = look.status()
    # Without CAP_SETPCAP, at the level `container`, the bounding set stays as it is; no-new-privileges makes it idle.
    for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", *(["CapBnd"] if look.strict else [])):
        if int(status[name], 16):
            yield f"{name} is {status[name]}"
    if status["Seccomp"] != _FILTERED:
        yield f"Seccomp is {status['Seccomp']}, not {_FILTERED}"
    if status["NoNewPrivs"] != "1":
        yield "NoNewPrivs is not set"
    for name in ("Uid", "Gid"):
        numbers = set(status[name].split())
        if "0" in numbers or len(numbers) != 1:
            yield f"{name} is {status[name]}"
    if os.geteuid() == 0:
        user = int(status["Uid"].split()[0])
        first, count = sandbox_limits.TENANT_USER_FIRST, sandbox_limits.TENANT_USER_COUNT
        if user != sandbox_limits.NOBODY and not first <= user < first + count:
            yield f"its user {user} is somebody's"
        if status["Groups"]:
            yield f"it is in the groups {status['Groups']}"
    if look.strict and status["NSpid"].split()[-1] != "1":
        yield "it is not alone in its PID namespace"


def _mounts(look: _Look) -> Iterator[str]:
    if not look.strict:
        return
    runtime = _runtime_folders()
    seen = set()
    for cells in _mountinfo(look):
        place, options = cells[4], set(cells[5].split(","))
        seen.add(place)
        known = (
            place in _OWN or place in (_SCRATCH, _AUTHORITIES) or _LIBRARY.fullmatch(place) or _MASK.fullmatch(place)
        )
        if not known and not any(place == folder or place.startswith(folder + "/") for folder in runtime):
            yield f"{place} is mounted"
        wanted = {"nosuid"}
        wanted |= {"nodev", "noexec", "rw"} if place == _SCRATCH else {"ro"}
        if place not in _DEVICES:
            wanted.add("nodev")
        if missing := sorted(wanted - options):
            yield f"{place} is not mounted {', '.join(missing)}"
    for place in ("/", "/app", "/sdk", _SCRATCH):
        if place not in seen:
            yield f"{place} is not a mount of its own"


def _environment(look: _Look) -> Iterator[str]:
    text = (look.folder / "environ").read_bytes().decode(errors="replace")
    names = {entry.partition("=")[0] for entry in text.split("\0") if entry}
    if extra := sorted(names - _ENVIRONMENT):
        yield f"its environment holds {', '.join(extra)}"


def _limits(look: _Look) -> Iterator[str]:
    if look.isolation is Isolation.NONE:
        return
    policy = look.limits
    most = {
        "Max data size": policy.memory_bytes_max,
        "Max processes": policy.threads_max,
        "Max open files": policy.open_files_max,
        "Max file size": policy.file_bytes_max,
        "Max stack size": policy.stack_bytes_max,
        "Max core file size": 0,
        "Max locked memory": 0,
        "Max msgqueue size": 0,
        "Max nice priority": 0,
        "Max realtime priority": 0,
        "Max pending signals": sandbox_limits.PENDING_SIGNALS,
    }
    found = {}
    for line in (look.folder / "limits").read_text().splitlines()[1:]:
        name, soft, hard = re.split(r"\s{2,}", line.strip())[:3]
        found[name] = (soft, hard)
    for name, value in most.items():
        for kind, text in zip(("soft", "hard"), found[name], strict=True):
            if text == "unlimited" or int(text) > value:
                yield f"{name} ({kind}) is {text}: {value} is the policy's"


def _dumpable(look: _Look) -> Iterator[str]:
    if look.isolation is Isolation.NONE:
        return
    # The kernel gives the files of a process that is not dumpable to root, whoever it runs as.
    if (look.folder / "environ").stat().st_uid != 0:
        yield "it is dumpable: its own user may trace it"


_Check = Callable[[_Look], Iterator[str]]

ASPECTS: Final[dict[str, _Check]] = {
    "descriptors": _descriptors,
    "sockets": _sockets,
    "namespaces": _namespaces,
    "privileges": _privileges,
    "mounts": _mounts,
    "environment": _environment,
    "limits": _limits,
    "dumpable": _dumpable,
}


def _mountinfo(look: _Look) -> list[list[str]]:
    lines = (look.folder / "mountinfo").read_text().splitlines()
    # Spaces and the like in paths come as octal escapes.
    return [[re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), cell) for cell in line.split(" ")] for line in lines]


def _mount_ids(look: _Look) -> set[str]:
    return {cells[0] for cells in _mountinfo(look)} if look.strict else set()


def _runtime_folders() -> set[str]:
    """Where the interpreter's own files are: they stand at the same places inside."""
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    # lib/python311.zip, where somebody made one, lies beside.
    return {os.path.normpath(folder) for folder in folders} | {_TIME_ZONES}


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(\S+)$", text, re.MULTILINE)
    return found[1] if found else ""
