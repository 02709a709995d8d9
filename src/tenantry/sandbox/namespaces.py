"""Namespaces: what a process can see of users, processes, mounts, networks, IPC, host name and cgroups."""

from __future__ import annotations

import os

from tenantry.errors import IsolationError
from tenantry.sandbox import libc
from tenantry.sandbox.layers import Layer, needed_for

CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

# User first: it is what gives an ordinary user the right to make the others.
_LAYERS = {
    CLONE_NEWUSER: Layer.USER_NAMESPACE,
    CLONE_NEWPID: Layer.PID_NAMESPACE,
    CLONE_NEWNS: Layer.MOUNT_NAMESPACE,
    CLONE_NEWNET: Layer.NETWORK_NAMESPACE,
    CLONE_NEWIPC: Layer.IPC_NAMESPACE,
    CLONE_NEWUTS: Layer.UTS_NAMESPACE,
    CLONE_NEWCGROUP: Layer.CGROUP_NAMESPACE,
}

_ADVICE = (
    "Start as root, or let ordinary users make user namespaces: sysctl user.max_user_namespaces above 0, "
    "kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); inside a "
    "container they need a seccomp profile that allows unshare, mount and pivot_root. Or ask for the isolation level "
    "`container`."
)


def unshare(flags: int) -> None:
    """Leave the host's namespaces of these kinds. Raises IsolationError with the name of the first that is refused."""
    try:
        libc.syscall("unshare", flags)
    except OSError as error:
        # One call for all is the quick way; only a failure is worth finding out which one it was.
        for flag, layer in _LAYERS.items():
            if flags & flag:
                with needed_for(layer, _ADVICE):
                    libc.syscall("unshare", flag)
        raise IsolationError(Layer.USER_NAMESPACE, f"{error.strerror}. {_ADVICE}") from error


def map_user(proc: int, inside: int, outside_user: int, outside_group: int) -> None:
    """Say who we are in the user namespace we have just made: user and group `inside`, and nobody else exists.

    `proc` is a descriptor of /proc. The kernel lets a process write this for itself as long as it maps only its own
    effective ids, and gives up setgroups(2) first (user_namespaces(7)).
    """
    with needed_for(Layer.USER_NAMESPACE, _ADVICE):
        _write(proc, "self/setgroups", b"deny")
        _write(proc, "self/uid_map", f"{inside} {outside_user} 1".encode())
        _write(proc, "self/gid_map", f"{inside} {outside_group} 1".encode())


def is_user_mapped(proc: int, user: int) -> bool:
    """Does this user id exist in the user namespace we are in?"""
    descriptor = os.open("self/uid_map", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    with os.fdopen(descriptor) as file:
        for line in file:
            first, _, count = map(int, line.split())
            if first <= user < first + count:
                return True
    return False


def name_host(name: bytes) -> None:
    """What uname(2) says in our UTS namespace, instead of the name of the operator's machine."""
    with needed_for(Layer.UTS_NAMESPACE, _ADVICE):
        libc.syscall("sethostname", name, len(name))
        libc.syscall("setdomainname", b"", 0)


class PidNamespace:
    """Our own PID namespace, kept so that we can come back to it: every fork in between is PID 1 of a new one.

    unshare(CLONE_NEWPID) moves only future children. A process that has called it cannot call it again until setns(2)
    has put it back, and setns needs CAP_SYS_ADMIN over the namespace it returns to. That is why the zygote of an
    ordinary user lives in a PID namespace made by its own user namespace.
    """

    def __init__(self, proc: int) -> None:
        self._own = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)

    def leave(self) -> None:
        """The next fork is PID 1 of a new namespace."""
        with needed_for(Layer.PID_NAMESPACE, _ADVICE):
            libc.syscall("unshare", CLONE_NEWPID)

    def come_back(self) -> None:
        libc.syscall("setns", self._own, CLONE_NEWPID)


def _write(proc: int, path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
