"""The names of the sandbox's layers, and the error that says which one this machine lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import StrEnum

from tenantry.errors import IsolationError


class Layer(StrEnum):
    """As errors name them, and `tenantry doctor` where it says what is wrong."""

    DESCRIPTORS = "descriptors"
    CREDENTIALS = "credentials"
    USER_NAMESPACE = "user namespace"
    PID_NAMESPACE = "pid namespace"
    MOUNT_NAMESPACE = "mount namespace"
    NETWORK_NAMESPACE = "network namespace"
    IPC_NAMESPACE = "ipc namespace"
    UTS_NAMESPACE = "uts namespace"
    CGROUP_NAMESPACE = "cgroup namespace"
    ROOT = "pivoted root"
    BUNDLE = "bundle"
    LIMITS = "limits"
    CAPABILITIES = "capabilities"
    NO_NEW_PRIVILEGES = "no new privileges"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"
    PRELOAD = "preload"
    PREPARATION = "preparation"
    SELF_TEST = "self-test"


@contextlib.contextmanager
def needed_for(layer: Layer, advice: str) -> Iterator[None]:
    """An OSError inside means that the layer is missing. `advice` says how to get it.

    The message keeps the kernel's words and our advice; no path is in it, because a tenant may come to read it.
    """
    try:
        yield
    except OSError as error:
        raise IsolationError(layer, f"{error.strerror or error}. {advice}") from error
