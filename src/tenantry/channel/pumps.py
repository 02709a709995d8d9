"""The streams that one end of a channel sends, each as fast as its reader gives credit for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tenantry.errors import TenantryError
from tenantry.streams import ByteStream
from tenantry.wire.events import StreamExport
from tenantry.wire.limits import DATA_BYTES_MAX

if TYPE_CHECKING:
    from tenantry.channel.peer import Handler, Peer

__all__ = ["Pumps"]

_WRITE_AT_ONCE_BYTES: Final = 16 * 1024
"""A chunk of this size does not wait for company, so that what waits to be written is known at any time."""


class Pumps:
    """A task for each stream that has credit. `handler` is told how streams end."""

    def __init__(self, peer: Peer, handler: Handler) -> None:
        self._peer = peer
        self._handler = handler
        self._pumps: dict[int, asyncio.Task[None]] = {}
        self._chores: set[asyncio.Task[None]] = set()

    def credited(self, export: StreamExport) -> None:
        if export.identifier not in self._pumps and not export.ended:
            self._pumps[export.identifier] = self._peer.loop.create_task(self._pump(export))

    def stop(self, export: StreamExport) -> None:
        """Send no more of it. Its source stays open."""
        pump = self._pumps.pop(export.identifier, None)
        if pump is not None:
            pump.cancel()

    def stop_all(self) -> None:
        pumps, self._pumps = self._pumps, {}
        for pump in pumps.values():
            pump.cancel()

    def close_source_soon(self, export: StreamExport) -> None:
        task = self._peer.loop.create_task(self._close_source(export))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def wait_closed(self) -> None:
        """Until the sources that are being closed have given back what they hold."""
        while self._chores:
            await asyncio.wait(self._chores)

    async def _pump(self, export: StreamExport) -> None:
        """Send what the reader gave credit for. Ends when the credit is used up, or with the stream."""
        peer = self._peer
        source: ByteStream = export.source
        try:
            while export.credit and not export.ended:
                if peer.outlet.is_full:
                    await peer.outlet.drain()
                    continue
                chunk = await source.read(min(export.credit, DATA_BYTES_MAX))
                if chunk:
                    peer.session.data(export, chunk)
                else:
                    peer.session.end(export)
                if len(chunk) >= _WRITE_AT_ONCE_BYTES:
                    peer.flush()
                else:
                    peer.flush_soon()
        except BaseException as error:  # noqa: BLE001
            if not self._is_pump(export):
                return  # it was stopped: the stream has another reader, or none
            # Whatever ended the source, a CancelledError of its own included, the reader must learn that it did.
            if isinstance(error, TenantryError):
                peer.session.abort(export, str(error))
            else:
                self._handler.stream_failed(export, error)
                peer.session.abort(export, "the stream broke off")
            peer.flush_soon()
        if not self._is_pump(export):
            return
        del self._pumps[export.identifier]
        if export.ended:
            await self._close_source(export)
            self._handler.export_over(export)
        elif export.credit:
            self.credited(export)  # more credit came between the last look and here

    def _is_pump(self, export: StreamExport) -> bool:
        """Whether the current task is still the one that feeds the stream."""
        return self._pumps.get(export.identifier) is asyncio.current_task()

    async def _close_source(self, export: StreamExport) -> None:
        try:
            await export.source.aclose()
        except Exception as error:  # noqa: BLE001 - a source may be anybody's code
            self._handler.stream_failed(export, error)
