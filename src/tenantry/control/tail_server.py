"""The listener that tails are read from: one WebSocket for each session, opened by its URL and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import h11
import structlog

from tenantry.control.limits import TAIL_CONNECTIONS_MAX, TAIL_HANDSHAKE_SECONDS_MAX, TAIL_SEND_SECONDS_MAX
from tenantry.control.tails import Reader, Tail, Tails
from tenantry.control.websocket import CLOSE, PING, PONG, TEXT, FrameReader, accept_key, encode_frame
from tenantry.errors import ProtocolError

__all__ = ["TAIL_PATH", "TailServer"]

_log = structlog.get_logger(__name__)
TAIL_PATH: Final = "/tail/"
_PROTOCOL: Final = "trace-v1"
_READ_BYTES: Final = 4096
_NORMAL: Final = (1000).to_bytes(2, "big")
_BROKEN: Final = (1002).to_bytes(2, "big")


class TailServer:
    """Made and used on one event loop; closed by its owner."""

    def __init__(self, tails: Tails) -> None:
        self._tails = tails
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int) -> int:
        """Listen; gives the port, which is any free one for 0. Raises OSError."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=_READ_BYTES)
        opened: int = self._server.sockets[0].getsockname()[1]
        return opened

    async def aclose(self) -> None:
        self._tails.close()
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= TAIL_CONNECTIONS_MAX:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None, "a connection is a task of the server's"
        self._connections.add(task)
        try:
            async with asyncio.timeout(TAIL_HANDSHAKE_SECONDS_MAX):
                opened = await self._shake_hands(reader, writer)
            if opened is not None:
                tail, ahead = opened
                await self._serve(tail, ahead, reader, writer)
        except (OSError, TimeoutError, ProtocolError, asyncio.CancelledError):
            pass  # the reader is gone, or has to go
        except Exception:  # noqa: BLE001 - a bug of ours ends this connection and no other
            _log.exception("a tail could not be served")
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[Tail, bytes] | None:
        """The session that is asked for, and what came behind the request. None when it was refused."""
        http = h11.Connection(h11.SERVER)
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await reader.read(_READ_BYTES))
        except h11.RemoteProtocolError:
            return None
        if not isinstance(event, h11.Request):
            return None
        headers = {name: value.decode("latin-1") for name, value in event.headers}
        offered = {each.strip() for each in headers.get(b"sec-websocket-protocol", "").split(",")}
        path = event.target.decode("latin-1")
        is_upgrade = headers.get(b"upgrade", "").lower() == "websocket" and b"sec-websocket-key" in headers
        tail: Tail | None = None
        if event.method == b"GET" and is_upgrade and _PROTOCOL in offered and path.startswith(TAIL_PATH):
            tail = self._tails.claim_untrusted(path.removeprefix(TAIL_PATH))
        if tail is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return None
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept_key(headers[b'sec-websocket-key'])}\r\n".encode()
            + f"Sec-WebSocket-Protocol: {_PROTOCOL}\r\n\r\n".encode()
        )
        await writer.drain()
        return tail, http.trailing_data[0]

    async def _serve(
        self, tail: Tail, ahead: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        messages, end = self._tails.read(tail)
        tasks = [
            asyncio.create_task(_send(messages, writer)),
            asyncio.create_task(_listen(ahead, reader, writer)),
            asyncio.create_task(tail.closed.wait()),
        ]
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=self._tails.seconds_left(tail), return_when=asyncio.FIRST_COMPLETED
            )
            broken = any(not task.cancelled() and isinstance(task.exception(), ProtocolError) for task in done)
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(TAIL_SEND_SECONDS_MAX):
                    writer.write(encode_frame(CLOSE, _BROKEN if broken else _NORMAL))
                    await writer.drain()
        finally:
            end()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _send(messages: Reader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(encode_frame(TEXT, await messages.get()))
        async with asyncio.timeout(TAIL_SEND_SECONDS_MAX):
            await writer.drain()


async def _listen(ahead: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer pings until the client leaves. Raises ProtocolError."""
    frames = FrameReader()
    data = ahead
    while True:
        for frame in frames.feed_untrusted(data):
            if frame.opcode == PING:
                writer.write(encode_frame(PONG, frame.payload))
                await writer.drain()
            elif frame.opcode == CLOSE:
                return
        data = await reader.read(_READ_BYTES)
        if not data:
            return
