from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    """What one customer runs: a count of visits in a database of its own."""

    async def fetch(self, request):
        await self.env.DB.exec("CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY, at TEXT)")
        await self.env.DB.prepare("INSERT INTO visits (at) VALUES (datetime('now'))").run()
        count = await self.env.DB.prepare("SELECT count(*) AS count FROM visits").first("count")
        return Response.json({"hello": request.headers.get("X-User-ID"), "visits": count})
