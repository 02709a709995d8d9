"""The rehearsal of the recipe, in an interpreter of its own, as the zygote runs it before it forks."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, resource, sys, threading
from tenantry.sandbox import libc, rehearsal, seccomp, syscalls
from tenantry.sandbox.policy import Isolation, ResourceLimits
from tenantry.sandbox.recipe import Recipe

def state():
    return (
        os.getcwd(), os.getpgid(0), os.getresuid(), os.getresgid(), os.getgroups(), os.getpriority(os.PRIO_PROCESS, 0),
        [resource.getrlimit(each) for each in range(resource.RLIM_NLIMITS)] if hasattr(resource, "RLIM_NLIMITS")
        else [resource.getrlimit(each) for each in range(10)],
        sorted(os.listdir("/proc/self/fd")), [os.readlink(f"/proc/self/ns/{each}") for each in ("mnt", "net", "user")],
        [line for line in open("/proc/self/status") if line.startswith(("NoNewPrivs", "Seccomp", "Cap", "Name"))],
        os.stat, os.open, os.write, os.close, os.chdir, libc._syscall, resource.setrlimit,
    )

recipe = Recipe(
    isolation=Isolation(sys.argv[1]), limits=ResourceLimits(), proc=0, parent=0,
    seccomp_program=seccomp.build(syscalls.this_machine(), 1), readable=("/usr",), bundles="/nowhere",
)
before = state()
rehearsal.rehearse(recipe, 12345, 2)
assert state() == before
print("as before")
"""


@pytest.mark.parametrize("isolation", ["strict", "container", "none"])
def test_it_goes_through_every_step_and_leaves_the_process_as_it_was(isolation: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, isolation], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("as before\n", "")
