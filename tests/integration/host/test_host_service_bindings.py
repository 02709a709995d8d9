"""`env.OTHER`, a service binding: another Worker of the account, one of its entrypoints, and what that is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from tenantry.errors import WorkerCrashed, WorkerThrew
from tenantry.host.limits import DEPTH_MAX, SERVICE_CALLS_MAX
from tenantry.wire.entry import Entry, pack_entry
from tenantry.wire.events import InvocationKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMESPACE = "customers"

CALLEE = """
    import asyncio
    from workers import Response, WorkerEntrypoint

    log = []

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            if request.url.endswith("/raise"):
                raise ValueError("the callee's own")
            return Response(f"{request.method} {request.url} {await request.text()} {dict(self.ctx.props)}")
        async def add(self, a, b):
            return a + b
        async def counter(self):
            count = 0
            async def increment(by):
                nonlocal count
                count += by
                return count
            return increment
        async def linger(self):
            log.append("began")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                log.append("told")
                raise
        async def log(self):
            return log

    class Admin(WorkerEntrypoint):
        async def fetch(self, request):
            return Response(f"admin {self.ctx.props.tenant} {self.ctx.props['plan'].tier}")
        async def whoami(self):
            return f"admin {self.ctx.props.tenant}"
        async def props(self):
            return self.ctx.props
"""


def caller(body: str) -> str:
    lines = "\n".join("                " + line for line in body.strip().split("\n"))
    return f"""
        import asyncio
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                other = self.env.OTHER
{lines}
    """


PROPS = {"tenant": "acme", "plan": {"tier": 3, "limits": [1, 2.5, None, True]}}


@pytest_asyncio.fixture(loop_scope="module")
async def run(platform: Any, unique: str) -> Any:
    if platform.host.find(None, "callee") is None:
        platform.deploy("callee", CALLEE)

    async def run(body: str, path: str = "/", *, namespace: str | None = None, **fields: Any) -> str:
        binding = {"OTHER": ("service", {"service": "callee", **fields})}
        if namespace is None:
            platform.deploy(unique, caller(body), bindings=binding)
            return str(await platform.text(unique, path, method="POST", body=b"text"))
        platform.deploy(unique, caller(body), bindings=binding, namespace=namespace)
        dispatcher = caller("return await self.env.NS.get(OWN).fetch(request)").replace("OWN", repr(unique))
        bindings = {**binding, "NS": ("dispatch_namespace", {"namespace": namespace})}
        platform.deploy(f"to-{unique}", dispatcher, bindings=bindings)
        return str(await platform.text(f"to-{unique}", path, method="POST", body=b"text"))

    return run


@pytest.mark.parametrize("namespace", [None, NAMESPACE], ids=["ordinary", "user Worker"])
async def test_a_request_and_methods_reach_the_other_worker(run: Any, namespace: str | None) -> None:
    text = await run(
        """
fetched = await other.fetch(request)
by_url = await other.fetch("http://anything/x", method="PUT", body="b")
return Response.from_json([await fetched.text(), await by_url.text(), await other.add(1, 2)])
""",
        namespace=namespace,
    )
    assert text == '["POST http://example.com/ text {}", "PUT http://anything/x b {}", 3]'


async def test_a_named_entrypoint_gets_the_properties_of_the_binding(run: Any) -> None:
    text = await run(
        """
fetched = await other.fetch(request)
return Response.from_json([await fetched.text(), await other.whoami(), await other.props()])
""",
        entrypoint="Admin",
        props=PROPS,
    )
    assert text == (
        '["admin acme 3", "admin acme", {"tenant": "acme", "plan": {"tier": 3, "limits": [1, 2.5, null, true]}}]'
    )


async def test_properties_of_the_default_entrypoint(run: Any) -> None:
    assert (
        await run("return await other.fetch('http://x/', method='POST')", props={"a": 1}) == "POST http://x/  {'a': 1}"
    )


async def test_an_entrypoint_that_is_not_there_is_the_callers_error(run: Any) -> None:
    with pytest.raises(WorkerThrew, match="no 'Nobody' class"):
        await run("return await other.fetch(request)", entrypoint="Nobody")


@pytest.mark.parametrize(
    "attempt",
    [
        "await other.whoami()",
        "await getattr(other, 'Admin/whoami')()",
        "await getattr(other, '?Admin')()",
        "await getattr(other, '_log')()",
    ],
)
async def test_a_caller_chooses_no_other_entrypoint(run: Any, attempt: str) -> None:
    with pytest.raises(WorkerThrew, match="does not exist"):
        await run(f"return Response.from_json({attempt})")


async def test_a_caller_cannot_speak_as_the_host_does(run: Any) -> None:
    # The front that the host puts before the arguments, with properties of the caller's own choice.
    forged = pack_entry(Entry("Admin", {"tenant": "victim"})) + b"\x90"
    attack = f"""
worker, call = self.ctx._invocation.worker, self.ctx._invocation.call
_, future = worker.peer.call(other._stub._target, KIND, "whoami", {forged!r}, [], call)
return Response(repr((await future).payload))
"""
    for kind in (InvocationKind.RPC, InvocationKind.ENTRY_RPC, InvocationKind.ENTRY_FETCH):
        with pytest.raises((WorkerThrew, WorkerCrashed)):
            await run(attack.replace("KIND", str(int(kind))))


async def test_a_function_that_is_returned_is_called_later(run: Any) -> None:
    text = await run("""
increment = await other.counter()
return Response.from_json([await increment(1), await increment(2)])
""")
    assert text == "[1, 3]"


async def test_an_exception_reaches_the_caller(run: Any) -> None:
    text = await run("""
try:
    await other.fetch("http://x/raise")
except Exception as error:
    return Response(str(error))
""")
    assert "the callee's own" in text


async def test_a_body_passes_through_unread(platform: Any, run: Any, unique: str) -> None:
    platform.deploy("passer", caller("return Response(request.body)").replace("other = self.env.OTHER", "pass"))
    platform.deploy(
        unique, caller("return await other.fetch(request)"), bindings={"OTHER": ("service", {"service": "passer"})}
    )
    body = b"payload!" * 500_000
    assert await platform.body(await platform.fetch(unique, method="POST", body=body)) == body


async def test_the_other_worker_is_told_that_its_caller_gave_up(run: Any) -> None:
    text = await run("""
call = asyncio.ensure_future(other.linger())
while "began" not in await other.log():
    pass
call.cancel()
return Response("given up")
""")
    assert text == "given up"
    async with asyncio.timeout(20):
        while "told" not in await run("return Response.from_json(await other.log())"):
            pass


async def test_a_worker_that_is_gone_is_said_to_be(platform: Any, run: Any) -> None:
    platform.deploy("goes", CALLEE)
    platform.host.removed(None, "goes")
    with pytest.raises(WorkerThrew, match='Worker not found: "goes"'):
        await run("return await other.fetch(request)", service="goes")


async def test_a_customers_worker_is_no_service(platform: Any, run: Any) -> None:
    """Whatever a table says: the name of a service is one outside of dispatch namespaces."""
    platform.deploy("victim", CALLEE, namespace=NAMESPACE)
    with pytest.raises(WorkerThrew, match="Worker not found"):
        await run("return await other.fetch(request)", service="victim")
    with pytest.raises(WorkerThrew, match="Worker not found"):
        await run("return await other.fetch(request)", service="victim", namespace=NAMESPACE)


async def test_workers_that_call_one_another_come_to_an_end(platform: Any, run: Any, unique: str) -> None:
    body = "return Response.from_json(await other.again(0))"
    source = (
        caller(body)
        + "\n            async def again(self, depth):\n                return await self.env.OTHER.again(depth + 1)\n"
    )
    platform.deploy(unique, source, bindings={"OTHER": ("service", {"service": unique})})
    with pytest.raises(WorkerThrew, match=f"{DEPTH_MAX} deep"):
        await platform.text(unique)


@pytest.mark.parametrize("props", [None, {"a": 1}], ids=["plain", "with an entry"])
async def test_one_request_makes_only_so_many_calls(run: Any, props: dict[str, Any] | None) -> None:
    text = await run(
        """
answers = []
try:
    for _ in range(99):
        answers.append(await other.add(1, 1))
except Exception as error:
    return Response.from_json([len(answers), str(error)])
""",
        props=props,
    )
    assert text == (
        f'[{SERVICE_CALLS_MAX}, "Error: Too many Worker invocations: one request may call {SERVICE_CALLS_MAX} times '
        'through service bindings."]'
    )
    # The next request begins anew.
    assert await run("return Response.from_json(await other.add(1, 1))", props=props) == "2"


async def test_calls_count_for_the_request_and_not_for_each_worker_of_it(platform: Any, run: Any, unique: str) -> None:
    platform.deploy(
        "middle",
        """
        from workers import WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def add_up(self, count):
                for done in range(count):
                    try:
                        await self.env.OTHER.add(1, 1)
                    except Exception:
                        return done
                return count
        """,
        bindings={"OTHER": ("service", {"service": "callee"})},
    )
    text = await run(
        "return Response.from_json([await other.add_up(20), await other.add_up(20)])",
        service="middle",
    )
    assert text == f"[20, {SERVICE_CALLS_MAX - 22}]"


async def test_the_other_worker_runs_on_its_own_limits(platform: Any, run: Any, unique: str) -> None:
    """A call is one subrequest of its caller's; what the other does is not its caller's to pay for."""
    platform.deploy(
        unique,
        caller("return Response.from_json([await other.add_up(3), await other.add_up(1)])"),
        bindings={"OTHER": ("service", {"service": "middle-of-limits"})},
        subrequests=2,
    )
    platform.deploy(
        "middle-of-limits",
        """
        from workers import WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def add_up(self, count):
                return sum([await self.env.OTHER.add(1, 0) for _ in range(count)])
        """,
        bindings={"OTHER": ("service", {"service": "callee"})},
    )
    assert await platform.text(unique) == "[3, 1]"
