"""Chapter 5: the channel. Whatever a worker writes, only its own requests suffer."""

# ruff: noqa: E501 - a table, one attack a line

from __future__ import annotations

from typing import Final

from tenantry.doctor.attacks.model import Attack, attack
from tenantry.doctor.drives import body_of_frames, descriptors_kept, error_texts, flood, many_ends

__all__ = ["CHANNEL"]

_CRASHED: Final = "! WorkerCrashed"

_TAKE: Final = """
import asyncio, os, socket, struct
def frame(kind, identifier, body=b''):
    return struct.pack('<IBI', len(body) + 5, kind, identifier) + body
sock = peer._socket
sock.setblocking(True)
"""

_BREACHES: Final = [
    ("P1", "a frame of 4 GiB", "sock.sendall(b'\\xff\\xff\\xff\\xff')"),
    ("P1", "a frame of no length", "sock.sendall(b'\\x00\\x00\\x00\\x00\\x00')"),
    ("P1", "a frame just above the limit", "sock.sendall(struct.pack('<I', (1 << 20) + 1))"),
    ("P3", "an unknown kind", "sock.sendall(frame(200, 1))"),
    ("P3", "noise", "sock.sendall(os.urandom(1_200_000))"),
    ("P3", "a second greeting", "sock.sendall(frame(1, 1))"),
    ("P3", "another version", "sock.sendall(frame(1, 99))"),
    ("P3", "an answer to nobody", "sock.sendall(frame(4, 999, b'\\x94\\xa0\\xa0\\x00\\xa0'))"),
    ("P3", "credit for what was never exported", "sock.sendall(frame(11, 4_000_000, b'\\x01'))"),
    ("P3", "the end of another's invocation", "sock.sendall(frame(6, 77))"),
    ("P3", "a payload that is not msgpack", "sock.sendall(frame(2, 1_000_000, b'\\xc1'))"),
    ("P3", "data of a stream that never was", "sock.sendall(frame(8, 4_000_000, b'x' * 1000))"),
    ("P10", "half a frame, then the end", "sock.sendall(b'\\x10\\x00'); os._exit(0)"),
    ("P10", "the channel shut", "sock.shutdown(socket.SHUT_RDWR)"),
    ("P10", "half of the channel shut", "sock.shutdown(socket.SHUT_WR)"),
    ("P10", "the channel closed", "os.close(sock.fileno()); os._exit(0)"),
    ("P9", "a pickle", "import pickle; sock.sendall(pickle.dumps({'a': print}))"),
    (
        "P13",
        "two threads that write between each other's frames",
        "import threading; go = threading.Barrier(2)\ndef write():\n    go.wait()\n    for _ in range(200):\n        f = frame(12, 0, b'x' * 50)\n        sock.send(f[:7]); sock.send(f[7:])\nthreads = [threading.Thread(target=write) for _ in range(2)]; [t.start() for t in threads]; [t.join() for t in threads]",
    ),
]

_STUB: Final = """
from tenantry.runtime.stub import Stub
from tenantry.wire.events import InvocationKind
async def call(target, method, args, kind=InvocationKind.RPC):
    return await Stub(ctx._invocation.worker, target).call(kind, method, args)
"""

_SENSELESS: Final = (
    _STUB
    + """
texts = []
for target in (3, 4, 5, 6):
    for method in ('get', 'put', 'list', 'delete', 'nothing', '__class__', 'query', 'run', 'bystander/_private', '../x/y', 'x' * 250):
        for args in ([], [None], ['a'] * 9, [{'a': [{}]}], [print], ['../' * 300], [b'\\xff' * 600], [{'sql': "attach '/etc/passwd' as x"}]):
            try: await call(target, method, args)
            except Exception as error: texts.append(str(error))
response = Response('\\n'.join(texts))
"""
)

CHANNEL: Final[tuple[Attack, ...]] = (
    *(attack(row, name, f"{_TAKE}{code}\nos.read(sock.fileno(), 1) if {name!r} == 'half of the channel shut' else await asyncio.sleep(20)", _CRASHED) for row, name, code in _BREACHES),
    attack("P3", "every frame with a bit turned", _TAKE + "import random\nf = bytearray(frame(2, 5, bytes(200)))\nfor _ in range(2000): f[random.randrange(4, len(f))] ^= 1 << random.randrange(8); sock.sendall(f)\nawait asyncio.sleep(20)", _CRASHED),
    attack("P5", "a small body that looks like frames", "import struct; response = Response(struct.pack('<IBI', 5, 6, 1) * 4000)", "= 36000", drive=body_of_frames),
    attack("P5", "a long body that looks like frames", "import struct; response = Response(struct.pack('<IBI', 5, 6, 1) * 200_000)", "= 1800000", drive=body_of_frames),
    attack("P6", "a flood of tiny calls", "import asyncio\nasync def one():\n    for _ in range(40): await env.KV.get('k')\nawait asyncio.gather(*(one() for _ in range(100)))", ".*", drive=flood, subrequests=5000),
    attack("P6", "a flood of log lines", "for _ in range(20_000): print('x' * 200)", ".*", drive=flood),
    attack("P6", "a flood of frames that mean nothing", _TAKE + "for _ in range(3000): sock.sendall(frame(12, 0, b'\\x93\\xa3log\\xa1x\\x00') * 10)\nawait asyncio.sleep(20)", ".*", drive=flood),
    attack("P7", "a binding by a number that was not given", _STUB + "await call(40, 'get', ['k'])", f"{_CRASHED}|.*Error.*"),
    attack("P7", "a binding by a number far off", _STUB + "await call(60_000, 'get', ['k'])", f"{_CRASHED}|.*Error.*"),
    attack("P7", "an invocation that only the host starts", _STUB + "await call(6, bystander + '/scheduled', [{}], InvocationKind.SCHEDULED)", f"{_CRASHED}|.*Error.*"),
    attack("P7", "another namespace's key", "result = [await env.KV.get(k) for k in ('secret', '../bystander/secret', 'bystander/secret', '/secret', '..\\\\bystander\\\\secret', '%2e%2e/bystander/secret')]", "= [None, None, None, None, None, None]"),
    attack("P7", "another namespace by a stub's route", _STUB + "result = []\nfor m in ('../arena/bystander/fetch', '/bystander', 'bystander/../x', 'BYSTANDER/remember', 'b\\u0443stander/remember'):\n    try: result.append(await call(6, m, []))\n    except Exception: pass", "= []"),
    attack("P9", "a pickle as a value", "import pickle; data = pickle.dumps({'a': os.system}); await env.KV.put('p', data); result = await env.KV.get('p', 'bytes' if False else 'arrayBuffer'); result = bytes(result.to_bytes() if hasattr(result, 'to_bytes') else result) == data", "= True"),
    attack("P10", "the ends of many processes", "os._exit(0)", "= 'nothing is kept'", drive=many_ends, alone=True),
    attack("P10", "another program that keeps the channel", "os.set_inheritable(peer._socket.fileno(), True); os.execv('/bin/sh', ['sh'])", "EPERM"),
    attack("P12", "descriptors sent along", _TAKE + "import array; peer.log(0, 'log', 'x') if False else peer.session.log(0, 'log', 'x'); data = b''.join(o) if isinstance(o := peer.session.take_outbox(), list) else bytes(o); sock.sendmsg([data], [(1, 1, array.array('i', [0] * 100).tobytes())]); sock.setblocking(False)", "= 'none arrived'", drive=descriptors_kept, alone=True),
    attack("P12", "credentials sent along", _TAKE + "sock.sendmsg([b'x'], [(1, 2, struct.pack('iii', 1, 0, 0))])", f"EPERM|EINVAL|{_CRASHED}"),
    attack("P14", "errors that tell of the host", _SENSELESS, "= 'nothing told'", drive=error_texts, subrequests=10_000),
)  # fmt: skip
