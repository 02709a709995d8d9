from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        value = await self.env.KV.get("greeting")
        if value is None:
            value = "hello"
            await self.env.KV.put("greeting", value)
        return Response(value)
