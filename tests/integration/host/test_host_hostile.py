"""Workers that turn on the channel: whatever they write, only their own requests suffer."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

import pytest

from tenantry.errors import WorkerCrashed, WorkerThrew
from tenantry.sandbox.limits import BLANK_COUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = """
    import os, socket, struct
    from workers import Response, WorkerEntrypoint

    def frame(kind, identifier, body=b""):
        return struct.pack("<IBI", len(body) + 5, kind, identifier) + body

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            if request.url.endswith("/fine"):
                return Response("fine")
            # Everything in its own process is within a tenant's reach, the channel too.
            the_peer = self.ctx._invocation.worker.peer
            sock = the_peer._socket
            sock.setblocking(True)
            ATTACK
            return Response("still here")
"""

ATTACKS = {
    "a frame of 4 GiB": "sock.sendall(b'\\xff\\xff\\xff\\xff')",
    "a frame of no length": "sock.sendall(b'\\x00\\x00\\x00\\x00\\x00')",
    "an unknown kind": "sock.sendall(frame(200, 1))",
    # More than a frame may have, lest the first bytes be a length, and the rest be waited for.
    "noise": "sock.sendall(os.urandom(1_200_000))",
    "a second greeting": "sock.sendall(frame(1, 1))",
    "an answer to nobody": "sock.sendall(frame(4, 999, b'\\x94\\xa0\\xa0\\x00\\xa0'))",
    "credit for what was never exported": "sock.sendall(frame(11, 4_000_000, b'\\x01'))",
    "the end of another's invocation": "sock.sendall(frame(6, 77))",
    "a payload that is not msgpack": "sock.sendall(frame(2, 1_000_000, b'\\xc1'))",
    "half a frame, then silence": "sock.sendall(b'\\x10\\x00'); os._exit(0)",
    "the channel shut": "sock.shutdown(socket.SHUT_RDWR)",
    "a pickle": "__import__('pickle') and sock.sendall(__import__('pickle').dumps({'a': print}))",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_breach_of_the_protocol_ends_that_one_process(platform: Any, unique: str, attack: str) -> None:
    platform.deploy(unique, HOSTILE.replace("ATTACK", attack))
    platform.deploy("bystander", HOSTILE.replace("ATTACK", "pass"))
    assert await platform.text(unique, "/fine") == "fine"
    bystander = platform.pids("bystander")
    with pytest.raises(WorkerCrashed):
        await platform.text(unique, "/attack")
    assert await platform.text(unique, "/fine") == "fine"
    assert await platform.text("bystander", "/fine") == "fine"
    assert platform.pids("bystander")[: len(bystander)] == bystander


CALLS = {
    "an export that nobody gave it": "the_peer.session.call(5000, 1, 'get', b'\\x90')",
    "another tenant's binding by number": "the_peer.session.call(9, 1, 'get', b'\\x91\\xa1k')",
    "a kind that only the host starts": "the_peer.session.call(3, 2, 'get', b'\\x91\\xa1k', (), inv)",
    "an entrypoint of its own choice": "the_peer.session.call(3, 7, 'get', b'\\x91\\xa1k', (), inv)",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_capability_that_was_not_granted_cannot_be_named(platform: Any, unique: str, call: str) -> None:
    source = HOSTILE.replace(
        "ATTACK", f"inv = self.ctx._invocation.call; {call}; the_peer.flush_soon(); sock.setblocking(False)"
    ).replace('return Response("still here")', "import asyncio; await asyncio.sleep(30)")
    platform.deploy(unique, source, bindings={"KV": ("kv_namespace", {"namespace_id": "own"})})
    with pytest.raises((WorkerCrashed, WorkerThrew)):
        async with asyncio.timeout(20):
            await platform.text(unique, "/attack")
    assert await platform.text(unique, "/fine") == "fine"


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("get", "[]"),
        ("get", "[1, 2, 3, 4, 5, 6]"),
        ("put", "[None]"),
        ("nothing", "[]"),
        ("__class__", "[]"),
        ("list", "['x', 'y', 'z']"),
        ("get", "[{'a': [{}]}]"),
        ("get", "[print]"),
    ],
)
async def test_arguments_that_make_no_sense_are_an_error_in_the_worker(
    platform: Any, unique: str, method: str, args: str
) -> None:
    bindings = {
        "KV": ("kv_namespace", {"namespace_id": "senseless"}),
        "R2": ("r2_bucket", {"bucket_name": "senseless"}),
        "D1": ("d1", {"id": "0e7a0c3e-52f9-4a4e-8f6b-3d6f9c2f1a10"}),
    }
    platform.deploy(
        unique,
        f"""
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                texts = []
                for target in (3, 4, 5):
                    from tenantry.runtime.stub import Stub
                    from tenantry.wire.events import InvocationKind
                    stub = Stub(self.ctx._invocation.worker, target)
                    try:
                        await stub.call(InvocationKind.RPC, {method!r}, {args})
                        texts.append("accepted")
                    except Exception as error:
                        texts.append(str(error))
                return Response.from_json(texts)
        """,
        bindings=bindings,
    )
    text = await platform.text(unique)
    assert "internal error" not in text
    assert "/" + "data" not in text
    assert str(platform.data) not in text


async def test_nothing_is_left_behind_by_rounds_of_starts_and_kills(platform: Any, unique: str) -> None:
    platform.deploy(unique, HOSTILE.replace("ATTACK", "os._exit(0)"))
    await platform.text(unique, "/fine")

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

    async def rest() -> None:
        """Until the stock is full: each blank process has descriptors too."""
        zygote = platform.host._runtime._zygote
        async with asyncio.timeout(20):
            while len(zygote._blanks) < BLANK_COUNT:
                await asyncio.sleep(0.01)

    before: tuple[int, int] | None = None
    for number in range(30):
        platform.deploy(unique, HOSTILE.replace("ATTACK", "os._exit(0)"))
        assert await platform.text(unique, "/fine") == "fine"
        with pytest.raises(WorkerCrashed):
            await platform.text(unique, "/attack")
        if number == 9:
            await rest()
            before = held()
    await rest()
    assert before is not None
    with suppress(TimeoutError):
        async with asyncio.timeout(10):  # what has just ended may not be let go of yet
            while any(abs(now - then) > 4 for now, then in zip(held(), before, strict=True)):
                await asyncio.sleep(0.01)
    after = held()
    assert abs(after[0] - before[0]) <= 4
    assert abs(after[1] - before[1]) <= 4
