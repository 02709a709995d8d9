"""A machine that lacks a layer: the start fails and names it, and asking for no isolation by name still works."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_MISSING = [
    # At `strict`: the call that the machine refuses, its errno, the layer that the operator has to hear of.
    ("strict", "unshare", errno.EPERM, "pid namespace", "user namespace"),
    ("strict", "mount", errno.EACCES, "pivoted root", "pivoted root"),
    ("strict", "mount_setattr", errno.ENOSYS, "pivoted root", "pivoted root"),
    ("strict", "pivot_root", errno.EPERM, "pivoted root", "pivoted root"),
    ("strict", "landlock_create_ruleset", errno.ENOSYS, "landlock", "landlock"),
    ("strict", "landlock_create_ruleset", errno.EOPNOTSUPP, "landlock", "landlock"),
    ("strict", "landlock_restrict_self", errno.EPERM, "landlock", "landlock"),
    ("strict", "seccomp", errno.EINVAL, "seccomp", "seccomp"),
    ("strict", "capset", errno.EPERM, "credentials", "capabilities"),
    ("strict", "prlimit64", errno.EPERM, "limits", "limits"),
    ("strict+sockets", "listen", errno.EPERM, "network namespace", "network namespace"),
    ("strict+sockets", "setsockopt", errno.EPERM, "nothing was missed", "nothing was missed"),
    ("container", "landlock_create_ruleset", errno.ENOSYS, "landlock", "landlock"),
    ("container", "seccomp", errno.EINVAL, "seccomp", "seccomp"),
    ("container", "unshare", errno.EPERM, "nothing was missed", "nothing was missed"),
    ("none", "landlock_create_ruleset", errno.ENOSYS, "nothing was missed", "nothing was missed"),
    ("none", "seccomp", errno.EINVAL, "nothing was missed", "nothing was missed"),
]


@pytest.mark.parametrize(("level", "call", "number", "layer_for_root", "layer_for_user"), _MISSING)
def test_the_start_names_the_missing_layer(
    arena: Path, public_python: str, level: str, call: str, number: int, layer_for_root: str, layer_for_user: str
) -> None:
    arguments = [public_python, str(arena / "scripts" / "crippled.py"), str(arena), level, call, str(number)]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == (layer_for_root if os.geteuid() == 0 else layer_for_user)


def test_an_ordinary_user_hears_of_missing_user_namespaces(arena: Path, public_python: str) -> None:
    ordinary: Any = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    arguments = [public_python, str(arena / "scripts" / "crippled.py"), str(arena), "strict", "unshare", "1"]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, **ordinary)
    assert run.stdout.strip() == "user namespace", run.stderr


def test_workers_that_cannot_reach_the_interpreter_are_not_started(arena: Path) -> None:
    if os.geteuid() != 0 or os.stat("/root").st_mode & 0o001 or not sys._base_executable.startswith("/root"):
        pytest.skip("needs root, with an interpreter in a home that is closed")
    arguments = [sys.executable, str(arena / "scripts" / "crippled.py"), str(arena), "container", "bpf", "1"]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.strip() == "credentials", run.stderr
