"""The recipe: which layer goes on when. Each line is one kernel mechanism; the order is most of the work.

A child is made in two steps. All that does not depend on the tenant happens while it is *blank*, before anyone waits
for it; the rest when it gets its bundle. Between the two it runs our own code only.
"""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass

from tenantry.errors import IsolationError
from tenantry.sandbox import (
    capabilities,
    credentials,
    landlock,
    libc,
    limits,
    namespaces,
    network,
    priority,
    rlimits,
    roots,
    seccomp,
    syscalls,
)
from tenantry.sandbox.layers import Layer, needed_for
from tenantry.sandbox.policy import Isolation, ResourceLimits, check_bundle_name

_CHILD_NAMESPACES = (
    namespaces.CLONE_NEWUSER
    | namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWCGROUP
)
_HOST_NAME = b"worker"
_DEVICES = ("/dev/null", "/dev/urandom")
_REACH_ADVICE = (
    "Started as root, workers run as an unprivileged user, who has to be able to reach the Python runtime: "
    "it must not lie in root's home."
)
_PRIVILEGES_ADVICE = "prctl refused it: a security module is in the way."


@dataclass(frozen=True, slots=True)
class Blank:
    """What a blank child holds until it is sealed. No `ruleset` at the level `none`."""

    ruleset: landlock.Ruleset | None = None
    listener: socket.socket | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a child needs to know to lock itself up. Of the host it holds no path but at the level `container`."""

    isolation: Isolation
    limits: ResourceLimits
    proc: int  # a descriptor of /proc, closed before the child is sealed
    parent: int  # the zygote's process id
    seccomp_program: bytes  # empty where each child needs one for its own process id
    readable: tuple[str, ...]  # the runtime's own paths, at the level `container`
    bundles: str  # where bundles are, at the levels without a root of their own
    seccomp_program_sockets: bytes = b""  # for a worker with sockets; empty where the policy has none

    def become_blank(self, user: int | None) -> Blank:
        """Everything that does not depend on the tenant. `user` is whom real root becomes."""
        priority.lead_group()
        if self.isolation is Isolation.NONE:
            self._die_with_parent()
            return Blank()
        if self.isolation is Isolation.CONTAINER:
            if user is not None:
                capabilities.drop_bounding_set()
                credentials.become(user, keep_namespaces=False)
            with needed_for(Layer.CREDENTIALS, _REACH_ADVICE):
                return Blank(
                    self._close_doors(
                        dict.fromkeys(self.readable, landlock.READ) | dict.fromkeys(_DEVICES, landlock.DEVICE)
                    )
                )
        # Before the user namespace: afterwards nobody but us exists, and there is nobody else to become.
        if user is not None:
            credentials.become(user, keep_namespaces=True)
        namespaces.unshare(_CHILD_NAMESPACES)
        # An ordinary user's zygote is called 0 in a user namespace of its own.
        namespaces.map_user(self.proc, limits.NOBODY, user or 0, user or 0)
        namespaces.name_host(_HOST_NAME)
        # These need the capabilities that the user namespace gave us.
        listener = network.listen(self.proc) if self.seccomp_program_sockets else None
        roots.prepare(self.limits)
        roots.may_see_bundles()
        capabilities.drop_bounding_set()
        # The rules name inodes and stay true after the pivot; opened now, while nobody waits.
        root = roots.template()
        rules = {root: landlock.READ, f"{root}/dev": landlock.DEVICE, roots.scratch(): landlock.WRITE}
        return Blank(self._close_doors(rules), listener)

    def seal(self, blank: Blank, bundle: str, *, sockets: bool) -> None:
        """Make the blank child this bundle's, for ever. Its listener, if it has one, is not touched."""
        if bundle:
            check_bundle_name(bundle)
        ruleset = blank.ruleset
        if ruleset is None:
            os.chdir(f"{self.bundles}/{bundle}")
            return
        if self.isolation is Isolation.CONTAINER:
            path = f"{self.bundles}/{bundle}"
            with needed_for(Layer.BUNDLE, "Everyone has to be able to read a bundle: chmod -R a+rX."):
                if bundle:
                    ruleset.allow(path, landlock.READ)
                os.chdir(path)
        else:
            # Mounting and pivoting need capabilities, and Landlock forbids both: so they come before either goes.
            roots.enter(bundle)
        # Before seccomp, which forbids all of these.
        capabilities.drop_all()
        self._die_with_parent()  # again: the kernel forgets it when credentials change
        # Last of the prctls, because a change of credentials would set it anew: nobody of our user may trace us.
        libc.prctl(libc.PR_SET_DUMPABLE, 0)
        if sockets:
            ruleset.allow_connect(limits.PROXY_PORT)
        ruleset.enforce()
        if sockets:
            assert self.seccomp_program_sockets
            seccomp.install(self.seccomp_program_sockets)
        else:
            seccomp.install(self.seccomp_program or seccomp.build(syscalls.this_machine(), os.getpid()))

    def _close_doors(self, rules: dict[str, int]) -> landlock.Ruleset:
        # After the user namespace: RLIMIT_NPROC as it stands when a user namespace is made becomes that namespace's
        # limit for the sum of all its siblings; set inside, it counts this tenant alone.
        with needed_for(Layer.LIMITS, "setrlimit refused it."):
            rlimits.apply(self.limits)
        with needed_for(Layer.NO_NEW_PRIVILEGES, _PRIVILEGES_ADVICE):
            libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        self._die_with_parent()
        ruleset = landlock.Ruleset()
        for path, rights in rules.items():
            is_folder = os.path.isdir(path)
            ruleset.allow(path, rights if is_folder else rights & landlock.DEVICE)
        return ruleset

    def _die_with_parent(self) -> None:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        # It may have died before we asked. At `strict` its PID namespace takes us with it, and getppid says 0.
        if self.isolation is not Isolation.STRICT and os.getppid() != self.parent:
            os._exit(1)


def self_test(isolation: Isolation, *, sockets: bool) -> None:
    """In a sealed child: do the layers hold? Raises IsolationError for the first that does not."""
    if isolation is Isolation.NONE:
        return
    if capabilities.effective():
        raise IsolationError(Layer.CAPABILITIES, "a sealed process still has some")
    try:
        socket.socket(type=socket.SOCK_DGRAM if sockets else socket.SOCK_STREAM).close()
        raise IsolationError(Layer.SECCOMP, "a sealed process could make a socket")
    except PermissionError:
        pass
    if sockets:
        with needed_for(Layer.NETWORK_NAMESPACE, "A sealed process could not reach the host's listener."):
            socket.create_connection(network.PROXY_ADDRESS, limits.SPAWN_SECONDS_MAX).close()
    try:
        os.listdir("/proc")
        raise IsolationError(Layer.LANDLOCK, "a sealed process could list /proc")
    except (PermissionError, FileNotFoundError):
        pass
    if isolation is Isolation.STRICT and os.path.lexists("/proc"):
        raise IsolationError(Layer.ROOT, "a sealed process sees more than its own root")
    if isolation is Isolation.STRICT and os.getpid() != 1:
        raise IsolationError(Layer.PID_NAMESPACE, "a sealed process is not alone in its PID namespace")
