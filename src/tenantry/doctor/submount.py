"""A host whose bundle has a writable file system mounted inside: read-only has to mean that one too.

python -m tenantry.doctor.submount ISOLATION CODE    prints the outcome of CODE; exit status 3: nothing can be mounted

A process of its own, because it leaves the mount namespace that it was started in. An ordinary user makes the mount
in a user namespace, where he stays who he is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenantry.doctor.arena import open_arena
from tenantry.doctor.attacks.model import Attack
from tenantry.errors import IsolationError
from tenantry.sandbox import mounts, namespaces

_CANNOT_MOUNT = 3


async def _main(isolation: str, code: str) -> int:
    try:
        if os.geteuid() == 0:
            namespaces.unshare(namespaces.CLONE_NEWNS)
        else:
            user, group = os.geteuid(), os.getegid()
            namespaces.unshare(namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWNS)
            proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            namespaces.map_user(proc, user, user, group)
        mounts.make_private()
    except (IsolationError, OSError):
        return _CANNOT_MOUNT
    async with open_arena(isolation, _mounted) as arena:
        print(await arena.outcome(arena.deploy(Attack(id="", name="submount")), code))
    return 0


@contextmanager
def _mounted(bundle: Path) -> Iterator[None]:
    inner = bundle / "inner"
    inner.mkdir()
    mounts.mount_tmpfs(str(inner), mode=0o777, bytes_max=1 << 20, files_max=16)
    try:
        yield
    finally:
        mounts.detach(str(inner))


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(sys.argv[1], sys.argv[2])))
