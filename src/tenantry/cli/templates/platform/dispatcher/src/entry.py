from workers import Response, WorkerEntrypoint

# Which Worker serves whom. A larger platform keeps this in KV or D1.
CUSTOMERS = {"user1": "__NAME__-customer"}


class Default(WorkerEntrypoint):
    """Sends each request to the Worker of the customer that it is from."""

    async def fetch(self, request):
        user = request.headers.get("X-User-ID")
        if user not in CUSTOMERS:
            return Response.json({"error": "Say who you are in X-User-ID; there is user1"}, status=404)
        return await self.env.DISPATCHER.get(CUSTOMERS[user]).fetch(request)
