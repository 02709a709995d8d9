"""What every customer runs. Each answer has all that this Worker can see, so that what is not its own shows."""

import logging
import os
from urllib.parse import parse_qs, urlsplit

from workers import Response, WorkerEntrypoint

SEEN = []  # what earlier requests left in this process


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        url = urlsplit(request.url)
        what = url.path.split("/")[2]
        key = parse_qs(url.query).get("key", ["none"])[0]
        headers = {"x-token": self.env.TOKEN, "x-theirs": request.headers["x-token"] or ""}
        SEEN[:] = [*SEEN[-20:], headers["x-theirs"]]
        body = await getattr(self, f"do_{what}")(key, request)
        return Response(body, headers=headers)

    async def do_echo(self, key, request):
        return request.body

    async def do_text(self, key, request):
        return await request.text()

    async def do_put_kv(self, key, request):
        await self.env.KV.put(key, request.body, metadata={"token": self.env.TOKEN})
        return self.env.TOKEN

    async def do_get_kv(self, key, request):
        names = await self.env.KV.list()
        value = await self.env.KV.getWithMetadata(key)
        return f"{names.keys} {value.metadata} {value.value}"

    async def do_put_r2(self, key, request):
        await self.env.BUCKET.put(key, request.body, customMetadata={"token": self.env.TOKEN})
        return self.env.TOKEN

    async def do_get_r2(self, key, request):
        found = await self.env.BUCKET.get(key)
        return self.env.TOKEN if found is None else found.body

    async def do_d1(self, key, request):
        text = await request.text()
        await self.env.DB.exec("CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, text TEXT)")
        await self.env.DB.prepare("INSERT OR REPLACE INTO notes VALUES (?, ?)").bind(key, text).run()
        rows = await self.env.DB.prepare("SELECT * FROM notes LIMIT 10").all()
        return str(rows.results)

    async def do_log(self, key, request):
        text = await request.text()
        print(self.env.TOKEN, "printed", text[:100])
        logging.getLogger("canary").warning("%s logged %s", self.env.TOKEN, text[:100])
        return self.env.TOKEN

    async def do_seen(self, key, request):
        return f"{SEEN} {dict(os.environ)}"

    async def do_throw(self, key, request):
        raise ValueError(f"{self.env.TOKEN} {await request.text()}")

    async def do_crash(self, key, request):
        print(self.env.TOKEN, "is about to crash")
        os._exit(1)

    async def collect(self, ask, given):
        return f"{self.env.TOKEN} {await ask()} {given}"
