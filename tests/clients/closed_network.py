"""Run a command where no network is but a loopback interface: `closed_network.py PORT[,PORT…] COMMAND…`.

127.0.0.1:PORT leads to the same port outside, through a Unix socket: the one thing that crosses network namespaces.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def close_network() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET) != 0:
        # Not root: the network namespace needs a user namespace around it.
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "no network namespace can be made")
        with open("/proc/self/setgroups", "w") as file:
            file.write("deny")
        for name, number in (("uid_map", user), ("gid_map", group)):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(f"{number} {number} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def join(
    ends: tuple[asyncio.StreamReader, asyncio.StreamWriter], others: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    await asyncio.gather(pump(ends[0], others[1]), pump(others[0], ends[1]))


def listeners(folder: str, ports: list[str]) -> dict[str, socket.socket]:
    made = {port: socket.socket(socket.AF_UNIX) for port in ports}
    for port, listener in made.items():
        listener.bind(f"{folder}/{port}")
        listener.listen(100)
    return made


async def outside(made: dict[str, socket.socket]) -> None:
    for port, listener in made.items():

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: str = port) -> None:
            await join((reader, writer), await asyncio.open_connection("127.0.0.1", int(port)))

        await asyncio.start_unix_server(serve, sock=listener)
    await asyncio.Event().wait()


async def inside(folder: str, ports: list[str], ready: threading.Event) -> None:
    for port in ports:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: str = port) -> None:
            await join((reader, writer), await asyncio.open_unix_connection(f"{folder}/{port}"))

        await asyncio.start_server(serve, "127.0.0.1", int(port))
    ready.set()
    await asyncio.Event().wait()


def main() -> int:
    ports = [port for port in sys.argv[1].split(",") if port]
    with tempfile.TemporaryDirectory() as folder:
        made = listeners(folder, ports)
        bridge = os.fork()
        if bridge == 0:
            asyncio.run(outside(made))
        try:
            close_network()
            ready = threading.Event()
            threading.Thread(target=lambda: asyncio.run(inside(folder, ports, ready)), daemon=True).start()
            ready.wait()
            return subprocess.run(sys.argv[2:]).returncode
        finally:
            os.kill(bridge, 9)
            os.waitpid(bridge, 0)


if __name__ == "__main__":
    sys.exit(main())
