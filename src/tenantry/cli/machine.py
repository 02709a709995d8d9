"""What `tenantry dev` needs of the machine before it starts: a data folder of its own, and free ports."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tenantry.errors import ConfigError

__all__ = ["allow_open_files", "check_port", "data_folder", "keeping_everything"]

_OPEN_FILES: Final = 65_536
"""More than open resources (six descriptors each, 256 of each kind), connections and worker processes can take."""


def allow_open_files() -> None:
    """Raises this process's limit of descriptors as far as it may: the usual 1,024 are for programs that select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def keeping_everything() -> Iterator[None]:
    """For a start, which makes much and leaves little: the cyclic collector, which would look at all of it time and
    again, is off. It is a fifth of the work of a start."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def data_folder(path: Path) -> Iterator[Path]:
    """The folder, made if absent, and held against a second platform. Raises ConfigError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        path = path.resolve()
        handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be the data folder: {error.strerror}; choose another with --data") from error
    try:
        # The kernel lets go of it however this process ends.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ConfigError(
            f"{path}: a platform is running on this data folder already; stop it, or choose another with --data"
        ) from error
    try:
        yield path
    finally:
        os.close(handle)


def check_port(host: str, port: int, option: str) -> None:
    """Raise ConfigError when nothing can listen on `port`; `option` is what chooses another. 0 is any free one."""
    if port == 0:
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            # Some systems refuse only here what another socket listens on.
            probe.listen(1)
    except socket.gaierror as error:
        raise ConfigError(f"{host!r} is not an address of this machine ({error.strerror}); see --host") from error
    except OSError as error:
        raise ConfigError(_reason(error, host, port, option)) from error


def _reason(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: choose another with {option}, for example {option} {port + 100}"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} is not allowed to this user: choose one above 1023 with {option}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host!r} is not an address of this machine; see --host"
    return f"cannot listen on {host}, port {port}: {error.strerror}"
