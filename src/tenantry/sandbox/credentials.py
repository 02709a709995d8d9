"""User ids: real root becomes somebody who owns nothing."""

from __future__ import annotations

import os

from tenantry.sandbox import capabilities, libc
from tenantry.sandbox.layers import Layer, needed_for

_ROOT_NEEDS = 1 << capabilities.CAP_SYS_ADMIN | 1 << 6 | 1 << 7  # CAP_SETGID, CAP_SETUID


def is_privileged() -> bool:
    """Real root, with what it takes to make namespaces and to become others; a container's root often lacks it."""
    return os.geteuid() == 0 and capabilities.effective() & _ROOT_NEEDS == _ROOT_NEEDS


def become(user: int, *, keep_namespaces: bool) -> None:
    """Be `user` and the group of the same number, in no other group.

    With `keep_namespaces`, CAP_SYS_ADMIN outlives the change, for the one unshare that follows: some distributions let
    only the privileged make user namespaces. That unshare takes it away, as it does every capability over the host.
    """
    with needed_for(
        Layer.CREDENTIALS, "Root needs CAP_SETUID and CAP_SETGID to start workers as an unprivileged user."
    ):
        libc.prctl(libc.PR_SET_KEEPCAPS, int(keep_namespaces))
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        if keep_namespaces:
            capabilities.set_capabilities(1 << capabilities.CAP_SYS_ADMIN)
            libc.prctl(libc.PR_SET_KEEPCAPS, 0)
        # The change of user made our entries in /proc root's; the maps of the user namespace are written through them.
        libc.prctl(libc.PR_SET_DUMPABLE, 1)
