"""A host whose bundle has a writable file system mounted inside: read-only has to mean that one too.

python submount.py ARENA    prints the outcome of writing into the inner mount
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import drive

from tenantry.sandbox import mounts, namespaces


async def main(arena: Path) -> None:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.make_private()
    inner = arena / "bundles" / "mine" / "inner"
    inner.mkdir()
    try:
        mounts.mount_tmpfs(str(inner), mode=0o777, bytes_max=1 << 20, files_max=16)
        zygote = await drive.Zygote.start(drive.make_policy(arena, "strict"))
        print(await drive.attack(zygote, arena, "open('inner/x', 'w')"))
        await zygote.aclose()
        mounts.detach(str(inner))
    finally:
        inner.rmdir()


asyncio.run(main(Path(sys.argv[1])))
