"""What a sandbox is to be: the one value that the host makes, and that the zygote gets as its first message."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tenantry.errors import ConfigError, TenantryError
from tenantry.sandbox import limits


class Isolation(StrEnum):
    """How much stands between a tenant and the machine."""

    STRICT = "strict"  # every layer
    CONTAINER = "container"  # Landlock, seccomp and limits: what works inside an unprivileged container
    NONE = "none"  # a process. Development only: whoever starts it so has to say so loudly


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """rlimits and sizes of one worker process. None of them counts shared or file-backed memory: that is the
    cgroup's.
    """

    memory_bytes_max: int = limits.MEMORY_BYTES
    threads_max: int = limits.THREADS
    open_files_max: int = limits.OPEN_FILES
    file_bytes_max: int = limits.FILE_BYTES
    stack_bytes_max: int = limits.STACK_BYTES
    thread_stack_bytes: int = limits.THREAD_STACK_BYTES
    tmp_bytes_max: int = limits.TMP_BYTES
    tmp_files_max: int = limits.TMP_FILES

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise ConfigError(f"sandbox limit {name} is {value}: it has to be above 0")


@dataclass(frozen=True, slots=True)
class SandboxPolicy:
    """One zygote's policy.

    `bundles` holds every bundle, each a folder named by its content address. Started as root, the children run as users
    who own nothing, so `bundles` itself has to let others pass (`a+x`) and what is in it has to be readable to all
    (`a+rX`); the folders above `bundles` may be closed. No symbolic link in place of a bundle's folder is followed.

    `site` and `worker_site` are on the child's `sys.path`, before the standard library; the bundle is the child's
    current folder and not on `sys.path`: the entry puts it where it wants it.

    `preload` are the modules that the zygote imports before it forks, found in `site`, `worker_site`, the folder that
    holds the package `tenantry`, and `preload_path`; the last two are gone from `sys.path` and from the file system
    afterwards, so a preloaded module may not import lazily from them. They must not start threads.

    `hidden` are the preloaded packages that the entry's code does not find afterwards, though those that imported them
    have them: it may bring its own under the same names.

    `rehearse`, `make`, `prepare` and `entry` are "module:function". The first two run in the zygote before it forks:
    what they leave in memory all children share. They may leave no thread. `rehearse(times)` leaves nothing, and runs
    more than once; `make()` runs once, and the descriptors that it leaves are closed in each child. What
    `os.register_at_fork` was given is not called. `prepare()` runs in each child while
    it is still blank and may do what the seal forbids later: it is the place to make an event loop, which needs a
    socketpair. Its descriptors stay open. `entry(channel, assignment)` runs sealed; the process ends when it returns.

    `sockets` is whether `Zygote.spawn` may be asked for a process that can make TCP connections: to one listener in
    its own network namespace, which the host gets, and to nothing else. Without it, no process can make any socket.
    """

    isolation: Isolation
    bundles: Path
    site: Path
    entry: str
    worker_site: Path | None = None
    preload: tuple[str, ...] = ()
    preload_path: tuple[Path, ...] = ()
    hidden: tuple[str, ...] = ()
    prepare: str | None = None
    rehearse: str | None = None
    make: str | None = None
    sockets: bool = False
    blank_count: int = limits.BLANK_COUNT
    limits: ResourceLimits = field(default_factory=ResourceLimits)

    def __post_init__(self) -> None:
        for name in ("entry", "prepare", "rehearse", "make"):
            value = getattr(self, name)
            if value is not None and not re.fullmatch(r"[\w.]+:\w+", value):
                raise ConfigError(f"sandbox policy: {name} is {value!r}: it has to be module:function")
        for folder in (self.bundles, self.site, self.worker_site, *self.preload_path):
            if folder is not None and not folder.is_dir():
                raise ConfigError(f"sandbox policy: {folder} is not a folder")
        if self.sockets and self.isolation is not Isolation.STRICT:
            raise ConfigError(
                f"sandbox policy: sockets need a network namespace for each worker, which isolation level "
                f"{self.isolation} does not have: only {Isolation.STRICT} does"
            )
        if self.blank_count < 1:
            raise ConfigError(f"sandbox policy: blank_count is {self.blank_count}: at least 1 blank worker is needed")

    def encode(self) -> bytes:
        """As JSON, its paths absolute and without symbolic links: the zygote's view of the file system changes."""
        document = asdict(self)
        for name in ("bundles", "site", "worker_site"):
            document[name] = None if document[name] is None else str(document[name].resolve())
        document["preload_path"] = [str(path.resolve()) for path in self.preload_path]
        return json.dumps(document).encode()


@dataclass(frozen=True, slots=True)
class ZygotePolicy:
    """The same as the zygote has it, without looking at any path again."""

    isolation: Isolation
    bundles: str
    site: str
    worker_site: str | None
    entry: str
    prepare: str | None
    rehearse: str | None
    make: str | None
    sockets: bool
    preload: tuple[str, ...]
    preload_path: tuple[str, ...]
    hidden: tuple[str, ...]
    limits: ResourceLimits

    @classmethod
    def decode(cls, document: dict[str, Any]) -> ZygotePolicy:  # Any: it is JSON, made by `encode` above
        return cls(
            isolation=Isolation(document["isolation"]),
            bundles=document["bundles"],
            site=document["site"],
            worker_site=document["worker_site"],
            entry=document["entry"],
            prepare=document["prepare"],
            rehearse=document["rehearse"],
            make=document["make"],
            sockets=document["sockets"],
            preload=tuple(document["preload"]),
            preload_path=tuple(document["preload_path"]),
            hidden=tuple(document["hidden"]),
            limits=ResourceLimits(**document["limits"]),
        )


_BUNDLE_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{limits.BUNDLE_NAME_BYTES_MAX - 1}}}")


def check_bundle_name(name: str) -> str:
    """The name, if it can only mean a folder directly below `bundles`. Raises TenantryError otherwise."""
    if not _BUNDLE_NAME.fullmatch(name):
        raise TenantryError(f"{name[:80]!r} is not a bundle's name: one to 128 letters, digits, '.', '_' and '-'")
    return name
