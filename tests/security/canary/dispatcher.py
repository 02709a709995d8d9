"""The vendor's Worker: it sees every customer's requests, and passes each on by the path's first part."""

from urllib.parse import urlsplit

from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        _, customer, what, *_ = urlsplit(request.url).path.split("/")
        stub = self.env.DISPATCHER.get(customer)
        if what != "rpc":
            return await stub.fetch(request)
        token = await request.text()

        async def ask():
            return token

        try:
            return Response(await stub.collect(ask, {"token": token, "tokens": [token]}))
        except Exception as error:
            return Response(f"{type(error).__name__}: {error}", status=500)
