"""The recipe, gone through in the zygote before it forks, with a kernel that says yes to everything and does nothing.

Python writes to its code when it runs for the first times: it counts, looks up, and specialises the bytecode. Each
child would do so for itself, in pages of its own. After a rehearsal that is done, once for all of them.

Nothing here keeps anybody from anything: that the layers hold is tried on children, which the kernel has sealed
(`recipe.self_test`).
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any, Final

from tenantry.sandbox import handshake, libc
from tenantry.sandbox.recipe import Recipe

__all__ = ["rehearse"]

_EFFECTS: Final[tuple[tuple[ModuleType, str], ...]] = (
    (libc, "_syscall"),
    (resource, "setrlimit"),
    *((os, name) for name in ("setpgid", "setgroups", "setresgid", "setresuid", "open", "write", "close", "chdir")),
)
"""All by which the recipe changes anything. What it only asks is asked in earnest."""


def rehearse(recipe: Recipe, user: int | None, times: int) -> None:
    """`user` as for `Recipe.become_blank`. The process is what it was, afterwards."""
    # A listener would be a real one; and our parent is the host, not the zygote.
    played = replace(recipe, seccomp_program_sockets=b"", parent=os.getppid())
    order = handshake.Order("bundle", bytes(256)).encode()
    near, far = socket.socketpair()
    with near, far, _nothing_happens():
        for _ in range(times):
            libc.close_descriptors_from(0)
            libc.set_process_name("")
            blank = played.become_blank(user)
            near.sendall(order)
            received = handshake.try_receive_order(far)
            assert received is not None
            played.seal(blank, received.bundle, sockets=received.sockets)
            far.sendall(handshake.sealed())
            near.recv(handshake.ANSWER_HEADER_BYTES)


@contextmanager
def _nothing_happens() -> Iterator[None]:
    folder = os.stat("/")
    kept: list[tuple[ModuleType, str, Any]] = [(os, "stat", os.stat)]
    kept += [(module, name, getattr(module, name)) for module, name in _EFFECTS]
    try:
        for module, name, _ in kept:
            setattr(module, name, _answering(folder if name == "stat" else 0))
        yield
    finally:
        for module, name, real in kept:
            setattr(module, name, real)


def _answering(answer: object) -> Callable[..., object]:
    return lambda *_arguments, **_named: answer
