from __future__ import annotations

import socket

import pytest

from tenantry.errors import ProtocolError
from tenantry.sandbox import handshake
from tenantry.sandbox.handshake import Order


def _deliver(data: bytes, *, piecewise: bool = False) -> Order | None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(5)
        if piecewise:
            for index in range(len(data)):
                ours.send(data[index : index + 1])
        else:
            ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        return handshake.try_receive_order(theirs)


def test_the_worked_example() -> None:
    assert Order("abc", b"hi").encode() == bytes.fromhex("00 0003 00000002") + b"abchi"


@pytest.mark.parametrize(
    "order",
    [
        Order("abc", b"hi"),
        Order("b", b""),
        Order("", b"", self_test=True),
        Order("b", b"x", sockets=True),
        Order("", b"", self_test=True, sockets=True),
    ],
)
@pytest.mark.parametrize("piecewise", [False, True])
def test_an_order_arrives_as_it_was_sent(order: Order, piecewise: bool) -> None:
    assert _deliver(order.encode(), piecewise=piecewise) == order


def test_bytes_after_an_order_stay_for_the_next_protocol() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(Order("abc", b"hi").encode() + b"next")
        assert handshake.try_receive_order(theirs) == Order("abc", b"hi")
        assert theirs.recv(10) == b"next"


@pytest.mark.parametrize("length", range(12))
def test_a_host_that_goes_away_is_no_order(length: int) -> None:
    assert _deliver(Order("abc", b"hi").encode()[:length]) is None


def test_an_order_beyond_its_limits_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError):
        _deliver(bytes.fromhex("00 0003 00010001"))
    with pytest.raises(ProtocolError):
        _deliver(bytes.fromhex("00 0081 00000001"))


def test_a_refusal_keeps_its_layer_and_reason() -> None:
    answer = handshake.refused("landlock", "not in this kernel\nat all")
    size = handshake.refusal_bytes_untrusted(answer[:3])
    error = handshake.refusal_untrusted(answer[3:])
    assert size == len(answer) - 3
    assert (error.layer, error.reason) == ("landlock", "not in this kernel\nat all")


def test_sealed_has_nothing_to_follow() -> None:
    assert handshake.refusal_bytes_untrusted(handshake.sealed()) == 0


@pytest.mark.parametrize("header", ["00 0001", "01 0000", "02 0000", "01 1001", "ff ffff"])
def test_anything_else_is_a_protocol_error(header: str) -> None:
    with pytest.raises(ProtocolError):
        handshake.refusal_bytes_untrusted(bytes.fromhex(header))
