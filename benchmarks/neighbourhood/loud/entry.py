"""A bad neighbour: each of its names is something that a tenant must be able to do without being felt next door."""

import asyncio
import os
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


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await globals()[self.env.HABIT](request)
