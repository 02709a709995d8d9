"""A bad neighbour: each of its names is something that a tenant must be able to do without being felt next door."""

import asyncio
import os
import threading
from contextlib import suppress

from workers import Response, WorkerEntrypoint


async def fork(request):
    while True:
        with suppress(OSError):
            os.fork()


async def allocate(request):
    held = []
    while True:
        held.append(b"x" * 1_000_000)


async def spin_python(request):
    while True:
        pass


async def spin_c(request):
    sum(range(10**15))


async def log(request):
    for _ in range(10_000):
        print("x" * 40)
    return Response("done")


async def never_read(request):
    await asyncio.sleep(3600)


async def stream(request):
    async def chunks():
        chunk = b"x" * 65_536
        while True:
            yield chunk

    return Response(chunks())


async def crash(request):
    os._exit(1)


def _spin():
    while True:
        pass


async def threads(request):
    for _ in range(60):
        threading.Thread(target=_spin, daemon=True).start()
    await asyncio.sleep(3600)


async def _ask(env):
    for _ in range(40):
        await env.KV.get("key")


async def calls(request, env):
    await asyncio.gather(*(_ask(env) for _ in range(20)))
    return Response("done")


async def disk(request, env):
    for number in range(100):
        await env.BUCKET.put(f"key{number % 10}", b"x" * 1_000_000)
    return Response("done")


async def connect(request):
    return Response("done")


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        habit = self.env.HABIT
        if habit in ("calls", "disk"):
            return await globals()[habit](request, self.env)
        return await globals()[habit](request)
