"""A small disk that only the processes of a test see: a tmpfs in a mount namespace of their own."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["small_disk", "why_not"]

_SCRIPT = 'mount -t tmpfs -o "size=$1,mode=700" tmpfs "$2" && shift 2 && exec "$@"'


def _unshare() -> tuple[str, ...]:
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", *user, "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "sh")


def small_disk(folder: Path, size: str) -> tuple[str, ...]:
    """What to put before a command, so that `folder` is a disk of that size for it."""
    return (*_unshare(), size, str(folder))


@cache
def why_not() -> str | None:
    """Why this machine cannot, or None."""
    try:
        tried = subprocess.run([*_unshare(), "64k", "/mnt", "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no unshare(1) (util-linux)"
    return None if tried.returncode == 0 else f"no mount namespace here: {tried.stderr.strip()}"
