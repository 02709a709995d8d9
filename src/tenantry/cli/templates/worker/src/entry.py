from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    """Greets whoever asks, and counts. Two at once may count as one: KV is no counter. A D1 database is."""

    async def fetch(self, request):
        count = int(await self.env.VISITS.get("count") or 0) + 1
        await self.env.VISITS.put("count", str(count))
        return Response.json({"hello": "world", "visits": count})
