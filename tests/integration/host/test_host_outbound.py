"""What `env.DISPATCHER.get(name, args, {...})` lays down for a call: tighter limits, parameters for fetches."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_asyncio

from tenantry.config.egress import EgressPolicies, EgressPolicy

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMESPACE = "customers"
HOST_OPTIONS = {
    "egress": EgressPolicies(
        default=EgressPolicy(mode="deny"),
        workers={(None, "outbound"): EgressPolicy(networks=(ip_network("127.0.0.1/32"),))},
    )
}

OUTBOUND = """
    import workers
    from workers import Response, WorkerEntrypoint, fetch

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            if "/inner" in request.url:
                return Response(f"refused: {request.url}", status=403)
            customer = self.env.customer
            assert workers.env.customer == customer
            if not request.url.startswith("http://127.0.0.1"):
                return Response(
                    f"{customer} {dict(self.env.plan or {})} {'secret' in self.env} {self.env.VAR} "
                    f"{request.method} {request.url} {await request.text()}"
                )
            return await fetch(request)

    class Named(WorkerEntrypoint):
        async def fetch(self, request):
            return Response(f"named {self.env.customer}")
"""

USER = """
    import asyncio
    from workers import Response, WorkerEntrypoint, fetch

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            url = request.headers["x-url"]
            if "x-body" in request.headers:
                response = await fetch(url, method="POST", body=request.headers["x-body"])
            else:
                response = await fetch(url)
            return Response(await response.text(), status=response.status)
        def make(self):
            async def call(url):
                return await (await fetch(url)).text()
            return call
        async def spin(self):
            while True:
                pass
        async def many(self, count):
            for _ in range(count):
                await self.env.KV.get("key")
            return count
        async def whose(self):
            return "customer" in self.env
"""

KV = {"KV": ("kv_namespace", {"namespace_id": "0" * 32})}


def dispatcher(body: str) -> str:
    lines = "\n".join("                " + line for line in body.strip().split("\n"))
    return f"""
        import asyncio
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                get = self.env.DISPATCHER.get
{lines}
    """


@pytest_asyncio.fixture(loop_scope="module")
async def run(platform: Any, unique: str) -> Any:
    user = f"user-{unique}"
    platform.deploy(user, USER, namespace=NAMESPACE, bindings=KV)
    if platform.host.find(None, "outbound") is None:
        platform.deploy("outbound", OUTBOUND, bindings={"VAR": ("plain_text", {"text": "var"})})

    async def run(body: str, entrypoint: str | None = None, service: str | None = "outbound") -> str:
        worker = {"service": service, **({"entrypoint": entrypoint} if entrypoint else {})}
        fields: dict[str, Any] = {"namespace": NAMESPACE}
        if service is not None:
            fields["outbound"] = {"worker": worker, "params": [{"name": "customer"}, {"name": "plan"}]}
        body = body.replace("USER", repr(user))
        platform.deploy(unique, dispatcher(body), bindings={"DISPATCHER": ("dispatch_namespace", fields)})
        return str(await platform.text(unique))

    return run


# Outbound Workers ----------------------------------------------------------------------------------------------------


async def test_every_fetch_goes_to_the_outbound_worker_with_its_params(run: Any) -> None:
    text = await run("""
user = get(USER, {}, {"outbound": {"customer": "acme", "plan": {"tier": 1}, "secret": "undeclared", "VAR": "forged"}})
return await user.fetch("http://x/", headers={"x-url": "https://api.example.com/a?b", "x-body": "payload"})
""")
    assert text == "acme {'tier': 1} False var POST https://api.example.com/a?b payload"


async def test_the_outbound_workers_own_fetch_goes_out_under_its_own_policy(run: Any) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        location = b"" if b"/start" not in head else b"location: /inner\r\n"
        status = b"302 Found" if location else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 2\r\n" + location + b"\r\nup")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        fetched = await run(f"""
user = get(USER, None, {{"outbound": {{"customer": "acme"}}}})
first = await user.fetch("http://x/", headers={{"x-url": "{url}/"}})
second = await user.fetch("http://x/", headers={{"x-url": "{url}/start"}})
return Response(f"{{await first.text()}} {{second.status}} {{await second.text()}}")
""")
        # The hop that the server asked for went to the outbound Worker as well.
        assert fetched == f"up 403 refused: {url}/inner"


async def test_what_a_user_worker_gives_away_stays_behind_the_outbound_worker(run: Any) -> None:
    text = await run("""
call = await get(USER, None, {"outbound": {"customer": "acme", "plan": None}}).make()
return Response(await call("https://api.example.com/"))
""")
    assert text.startswith("acme {} False var GET https://api.example.com/")


async def test_params_are_of_one_call_alone(run: Any) -> None:
    text = await run("""
names = [f"customer-{number}" for number in range(50)]
async def ask(name):
    user = get(USER, None, {"outbound": {"customer": name, "plan": None}})
    response = await user.fetch("http://x/", headers={"x-url": "https://api.example.com/"})
    return (await response.text()).split(" ")[0] == name
answers = await asyncio.gather(*map(ask, names))
return Response(f"{all(answers)} {await get(USER).whose()}")
""")
    assert text == "True False"


async def test_an_entrypoint_can_be_named(run: Any) -> None:
    text = await run(
        """
user = get(USER, None, {"outbound": {"customer": "acme"}})
return await user.fetch("http://x/", headers={"x-url": "https://api.example.com/"})
""",
        entrypoint="Named",
    )
    assert text == "named acme"


async def test_without_the_outbound_worker_nothing_goes_out(run: Any) -> None:
    text = await run(
        """
try:
    return await get(USER).fetch("http://x/", headers={"x-url": "http://127.0.0.1:1/"})
except Exception as error:
    return Response(str(error))
""",
        service="not-there",
    )
    assert "Worker not found" in text


async def test_without_one_in_the_binding_the_users_own_policy_holds(run: Any) -> None:
    text = await run(
        """
try:
    return await get(USER, None, {"outbound": {"customer": "x"}}).fetch("http://x/", headers={"x-url": "http://a.b/"})
except Exception as error:
    return Response(str(error))
""",
        service=None,
    )
    assert "not permitted by the egress policy" in text


# Limits of a call ----------------------------------------------------------------------------------------------------


async def test_cpu_of_one_call(run: Any) -> None:
    async with asyncio.timeout(60):
        text = await run("""
try:
    await get(USER, {}, {"limits": {"cpuMs": 50}}).spin()
except Exception as error:
    return Response(f"{error} / {await get(USER).many(1)}")
""")
    assert "exceeded CPU time limit" in text
    assert text.endswith("/ 1")


@pytest.mark.parametrize("key", ["subRequests", "sub_requests"])
async def test_calls_of_one_call(run: Any, key: str) -> None:
    text = await run(f"""
limited = get(USER, {{}}, {{"limits": {{"{key}": 3}}}})
fine = await limited.many(3)
try:
    await limited.many(4)
except Exception as error:
    return Response(f"{{fine}} {{await get(USER).many(4)}} {{error}}")
""")
    assert text.startswith("3 4 ")
    assert "Too many API requests" in text


async def test_limits_never_widen(platform: Any, run: Any, unique: str) -> None:
    platform.deploy(f"user-{unique}", USER, namespace=NAMESPACE, bindings=KV, subrequests=2)
    text = await run("""
try:
    await get(USER, {}, {"limits": {"subRequests": 100, "cpuMs": 10**12}}).many(3)
except Exception as error:
    return Response(str(error))
""")
    assert "Too many API requests" in text


@pytest.mark.parametrize("limits", ["'50'", "{'cpuMs': '50'}", "{'cpuMs': -1}", "{'subRequests': True}", "[1]"])
async def test_limits_that_are_none_are_a_type_error(run: Any, limits: str) -> None:
    text = await run(f"""
try:
    await get(USER, {{}}, {{"limits": {limits}}}).many(0)
except TypeError as error:
    return Response("TypeError")
""")
    assert text == "TypeError"
