"""A network of one's own: a loopback interface with one listener on it, which is the host's.

A network namespace is born with a loopback interface that is down, and nothing else: no route leads anywhere. Where
a policy wants `sockets`, a blank child brings it up and listens on one port of it; the listening socket is handed to
the host and closed here. A socket belongs to the namespace it was made in, whoever holds it, so the host accepts what
the tenant connects, and nobody outside of the namespace can connect at all.

What lies in the buffers of sockets is memory that RLIMIT_DATA does not count. How large they may grow is a setting of
the namespace, which is why it is made small before anybody can make a socket in there.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct

from tenantry.sandbox import limits
from tenantry.sandbox.layers import Layer, needed_for

PROXY_ADDRESS = ("127.0.0.1", limits.PROXY_PORT)

_SET_FLAGS = 0x8914  # SIOCSIFFLAGS
_UP = 0x1  # IFF_UP
_REQUEST = struct.Struct("16sh22x")  # struct ifreq: a name, and the one member of its union that is meant
_BUFFERS = {
    "sys/net/ipv4/tcp_wmem": limits.SOCKET_SEND_BYTES_MAX,
    "sys/net/ipv4/tcp_rmem": limits.SOCKET_RECEIVE_BYTES_MAX,
}
_ADVICE = (
    "Sockets in a Worker need a writable /proc/sys/net, which is often mounted read-only inside a container. "
    "Or do without them: sockets = false."
)


def listen(proc: int) -> socket.socket:
    """In a fresh network namespace that is ours: make it usable, and listen where the proxy is to be found.

    `proc` is a descriptor of /proc. Needs CAP_NET_ADMIN over the namespace.
    """
    with needed_for(Layer.NETWORK_NAMESPACE, _ADVICE):
        for path, bytes_max in _BUFFERS.items():
            _write(proc, path, b"4096 16384 %d" % bytes_max)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SET_FLAGS, _REQUEST.pack(b"lo", _UP))
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(PROXY_ADDRESS)
        listener.listen(limits.PROXY_BACKLOG)
        return listener


def _write(proc: int, path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
