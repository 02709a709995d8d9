"""What the host and the zygote say to each other: one JSON document a packet, on a SOCK_SEQPACKET pair.

    host → zygote   {"op": "start", "policy": …, "packages": folder, "parent": pid}   the first packet
                    {"op": "fork", "count": n}
    zygote → host   {"op": "ready"} or {"op": "failed", "layer": …, "reason": …}       the answer to start
                    {"op": "forked", "id": n}           with two descriptors: the channel's host end, a pidfd
                    {"op": "fork_failed", "reason": …}
                    {"op": "exited", "id": n, "code": n, "cpu": seconds}

Closing the socket ends the zygote and everything below it. Tenants never hold either end.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from tenantry.sandbox import limits

Packet = dict[str, Any]  # Any: JSON between two ends of our own


def send(control: socket.socket, packet: Packet, descriptors: tuple[int, ...] = ()) -> None:
    data = json.dumps(packet).encode()
    assert len(data) <= limits.CONTROL_BYTES_MAX
    if descriptors:
        socket.send_fds(control, [data], list(descriptors))
    else:
        control.send(data)


def receive(control: socket.socket, descriptors_max: int = 0) -> tuple[Packet, list[int]] | None:
    """The next packet and its descriptors; None when the other side is gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(control, limits.CONTROL_BYTES_MAX, descriptors_max)
    except ConnectionResetError:
        return None
    if not data:
        return None
    packet: Packet = json.loads(data)
    return packet, descriptors
