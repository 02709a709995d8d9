from urllib.parse import urlsplit

from workers import WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        customer = urlsplit(request.url).path.split("/")[1]
        return await self.env.DISPATCHER.get(customer).fetch(request)
