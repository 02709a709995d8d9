"""A Worker that only answers."""

from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("Hello, world!", headers={"Content-Type": "text/plain;charset=UTF-8"})
