"""rlimits: the kernel's own ceilings on one process.

RLIMIT_AS is not among them: it breaks whatever reserves address space without using it. RLIMIT_DATA counts private
writable mappings, used or not. What it does not count (shared anonymous memory, growing stacks) seccomp refuses to
make.
"""

from __future__ import annotations

import resource
import threading

from tenantry.sandbox import limits
from tenantry.sandbox.policy import ResourceLimits

# Not in the `resource` module of Python 3.11 on every machine; the numbers are Linux's (asm-generic/resource.h).
_RLIMIT_SIGPENDING = 11
_RLIMIT_MSGQUEUE = 12
_RLIMIT_NICE = 13
_RLIMIT_RTPRIO = 14


def apply(policy: ResourceLimits) -> None:
    """Set soft and hard limits alike, so that the tenant cannot raise them."""
    threading.stack_size(policy.thread_stack_bytes)
    _lower(resource.RLIMIT_DATA, policy.memory_bytes_max)
    _lower(resource.RLIMIT_NPROC, policy.threads_max)
    _lower(resource.RLIMIT_NOFILE, policy.open_files_max)
    _lower(resource.RLIMIT_FSIZE, policy.file_bytes_max)
    _lower(resource.RLIMIT_STACK, policy.stack_bytes_max)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_MEMLOCK, 0)
    _lower(_RLIMIT_SIGPENDING, limits.PENDING_SIGNALS)
    for nothing in (_RLIMIT_MSGQUEUE, _RLIMIT_NICE, _RLIMIT_RTPRIO):
        _lower(nothing, 0)


def raise_open_files() -> None:
    """All the descriptors that our hard limit allows; the zygote needs a few for each fork, the host two a process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))
