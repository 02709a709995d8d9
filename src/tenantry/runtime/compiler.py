"""Bytecode for a bundle: its modules compiled ahead, in a sandbox of their own, so that no cold start has to.

The process runs nothing of the bundle: what it answers is what CPython's compiler made of the sources, whoever wrote
them. That is why the answer may serve every Worker that has the same bundle.
"""

from __future__ import annotations

import asyncio
import importlib.util
import marshal
import os
import socket
from typing import Final

from tenantry.channel import Peer
from tenantry.wire.assignment import Compilation
from tenantry.wire.events import CallReceived, LogLost, LogReceived, StreamExport, StubExport
from tenantry.wire.values import encode

__all__ = ["Compiler"]

_UNCHECKED_HASH: Final = (0b01).to_bytes(4, "little")
"""PEP 552: valid by the hash of the source, which nobody has to compare, since a bundle never changes."""


class Compiler:
    """The handler of a channel on which the host makes one call."""

    def __init__(self, channel: socket.socket, compilation: Compilation, loop: asyncio.AbstractEventLoop) -> None:
        self._compilation = compilation
        self._peer = Peer(channel, self, loop)
        self._peer.session.export(StubExport(self))

    def call_received(self, event: CallReceived) -> None:
        self._peer.result(event.call, encode(_compile_folder(os.getcwd(), self._compilation.source_bytes_max)))

    def call_canceled(self, call: int) -> None:
        """The host ends the process instead."""

    def call_closed(self, call: int) -> None:
        """This side makes no calls."""

    def export_over(self, export: StubExport | StreamExport) -> None:
        """Nothing is to be given back."""

    def stream_failed(self, export: StreamExport, error: BaseException) -> None:
        """This side has no streams."""

    def log_received(self, event: LogReceived) -> None:
        """The host logs nothing here."""

    def logs_lost(self, event: LogLost) -> None:
        """Nor loses any of it."""

    def closed(self, error: Exception | None) -> None:
        os._exit(0)


def _compile_folder(folder: str, source_bytes_max: int) -> dict[str, bytes]:
    """What belongs into each `__pycache__`, by its path in the bundle. A module that does not compile is left out."""
    compiled: dict[str, bytes] = {}
    room = source_bytes_max
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(root, name)
            if not name.endswith(".py"):
                continue
            with open(path, "rb") as file:
                source = file.read(room + 1)
            room -= len(source)
            if room < 0:
                return compiled
            try:
                code = compile(source, path, "exec", dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # the Worker's own import will say what is wrong with it
            header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source)
            cached = os.path.relpath(importlib.util.cache_from_source(path), folder)
            compiled[cached] = header + marshal.dumps(code)
    return compiled
