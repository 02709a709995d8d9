"""Interpreters for hosts that somebody else than the tests' own user runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def public_python() -> str:
    """An interpreter that every user may start; skips where there is none."""
    for candidate in (getattr(sys, "_base_executable", sys.executable), "/usr/local/bin/python3", "/usr/bin/python3"):
        if _is_public(Path(candidate)) and _is_new_enough(candidate):
            return candidate
    pytest.skip("no Python >= 3.11 on this machine that an ordinary user may start")


def _is_public(path: Path) -> bool:
    if not path.exists():
        return False
    path = path.resolve()
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def _is_new_enough(python: str) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-I", "-S", "-c", check], check=False).returncode == 0
