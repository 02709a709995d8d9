"""Workers that call Workers: RPC through a dispatch namespace, with everything that may be passed."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tenantry.errors import WorkerThrew

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMESPACE = "rpc"

CALLEE = """
    import asyncio, os
    from workers import Response, WorkerEntrypoint

    lingering = []

    class Counter:
        def __init__(self):
            self.value = 0
        def increment(self, by):
            self.value += by
            return self.value

    class NotFoundError(Exception):
        pass

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            return Response(f"callee got {request.method} {request.url}")
        def set_data(self, value):
            return ["set_data", value]
        def getData(self, value):
            return ["getData", value]
        def echo(self, value):
            return value
        async def call(self, function, *args):
            return await function(*args)
        def make_adder(self, base):
            return lambda value: base + value
        async def read(self, stream):
            return len(await stream.read_all()) if hasattr(stream, "read_all") else len(await stream.bytes())
        def respond(self):
            return Response("from rpc", status=201, headers={"x-a": "b"})
        def fail(self):
            raise NotFoundError("no such row")
        async def linger(self):
            lingering.append("began")
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                lingering.append("told")
                return lambda: "nobody waits for this"
        def lingering(self):
            return lingering
        def crash(self):
            os._exit(3)
        def _private(self):
            return "never"
        @staticmethod
        def static():
            return "never"
        async def again(self, depth):
            return await self.env.NS.get("callee").again(depth + 1)
"""


def caller(body: str) -> str:
    lines = "\n".join("                " + line for line in body.strip().split("\n"))
    return f"""
        import asyncio, datetime
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                callee = self.env.NS.get("callee")
{lines}
    """


@pytest_asyncio.fixture(loop_scope="module")
async def run(platform: Any, unique: str) -> Any:
    bindings = {"NS": ("dispatch_namespace", {"namespace": NAMESPACE})}
    platform.deploy("callee", CALLEE, namespace=NAMESPACE, bindings=bindings)

    async def run(body: str) -> str:
        platform.deploy(unique, caller(body), bindings=bindings)
        return str(await platform.text(unique))

    return run


async def test_both_spellings_reach_the_same_method(run: Any) -> None:
    assert (
        await run(
            """
return Response.from_json([
    await callee.set_data(1), await callee.setData(2), await callee.getData(3), await callee.get_data(4)
])
"""
        )
        == '[["set_data", 1], ["set_data", 2], ["getData", 3], ["getData", 4]]'
    )


@pytest.mark.parametrize(
    "value",
    [
        "None",
        "True",
        "0",
        "-5",
        "1.5",
        "'é\\u4f60'",
        "''",
        "[]",
        "{}",
        "[1, [2, {'a': None}]]",
        "{'a': {'b': [1]}}",
        "{1, 2}",
        "2 ** 70",
        "'x' * 3_000_000",
    ],
)
async def test_a_value_comes_back_as_it_went(run: Any, value: str) -> None:
    assert await run(f"value = {value}\nreturn Response(str(await callee.echo(value) == value))") == "True"


async def test_bytes_and_dates(run: Any) -> None:
    assert (
        await run(
            """
date = datetime.datetime(2026, 1, 2, 3, 4, 5)
return Response.from_json([
    bytes(await callee.echo(b"abc")).decode(), str(await callee.echo(date)), type(await callee.echo(b"")).__name__
])
"""
        )
        == '["abc", "2026-01-02 03:04:05", "memoryview"]'
    )


@pytest.mark.parametrize("value", ["(1, 2)", "bytearray(b'x')", "object()", "complex(1, 2)", "range(3)"])
async def test_what_cannot_cross_is_refused_where_it_is_sent(run: Any, value: str) -> None:
    body = f"""
try:
    await callee.echo({value})
except TypeError as error:
    return Response("refused: " + str(error))
return Response("accepted")
"""
    assert (await run(body)).startswith("refused: ")


async def test_a_function_is_called_back(run: Any) -> None:
    assert (
        await run(
            """
seen = []
async def remember(*args):
    seen.append(list(args))
    return len(seen)
first = await callee.call(remember, 1, "a")
second = await callee.call(remember, [2])
return Response.from_json([first, second, seen])
"""
        )
        == '[1, 2, [[1, "a"], [[2]]]]'
    )


async def test_a_function_that_was_returned_is_called_later(run: Any) -> None:
    assert (
        await run("add = await callee.make_adder(40)\nreturn Response.from_json([await add(2), await add(3)])")
        == "[42, 43]"
    )


async def test_a_worker_is_told_that_its_caller_gave_up(run: Any) -> None:
    # What it answers then comes too late, a function at that: it goes back, and the next calls are answered.
    assert (
        await run(
            """
call = asyncio.ensure_future(callee.linger())
while "began" not in await callee.lingering():
    pass
call.cancel()
while "told" not in await callee.lingering():
    pass
return Response.from_json(await callee.echo("fine"))
"""
        )
        == '"fine"'
    )


async def test_a_caller_reads_that_the_process_of_the_other_worker_ended(run: Any) -> None:
    assert (
        await run(
            """
try:
    await callee.crash()
except Exception as error:
    return Response.from_json([str(error), await callee.echo("again")])
"""
        )
        == '["Error: The Worker\'s process ended before it answered.", "again"]'
    )


async def test_a_stub_is_passed_on_to_whoever_exported_it(run: Any) -> None:
    assert (
        await run(
            """
add = await callee.make_adder(1)
return Response.from_json(await callee.call(add, 2))
"""
        )
        == "3"
    )


async def test_a_response_crosses(run: Any) -> None:
    assert (
        await run(
            """
response = await callee.respond()
return Response.from_json([response.status, response.headers["x-a"], await response.text()])
"""
        )
        == '[201, "b", "from rpc"]'
    )


async def test_fetch_of_a_worker_in_the_namespace(run: Any) -> None:
    assert (
        await run('response = await callee.fetch("https://any.host/path", method="PUT")\nreturn response')
        == "callee got PUT https://any.host/path"
    )


async def test_an_exception_keeps_its_message_and_names_its_type(run: Any) -> None:
    text = await run(
        """
try:
    await callee.fail()
except Exception as error:
    return Response(str(error))
"""
    )
    assert "NotFoundError" in text
    assert "no such row" in text
    assert "entry.py" not in text


@pytest.mark.parametrize("method", ["_private", "static", "env", "ctx", "nothing", "__init__", "dup", "constructor"])
async def test_only_public_methods_are_reached(run: Any, method: str) -> None:
    body = f"""
try:
    return Response("reached: " + str(await getattr(callee, {method!r})()))
except Exception as error:
    return Response("refused")
"""
    assert await run(body) == "refused"


async def test_a_worker_that_is_not_there_is_reported_when_it_is_used(run: Any) -> None:
    assert (
        await run(
            """
nobody = self.env.NS.get("nobody")
try:
    await nobody.fetch("http://x/")
except Exception as error:
    message = getattr(error, "message", str(error))
    return Response(str(message.startswith("Worker not found")))
"""
        )
        == "True"
    )


@pytest.mark.parametrize("name", ["../callee", "callee/echo", "", "a" * 300, "caf\\u00e9"])
async def test_a_name_that_no_worker_can_have(run: Any, name: str) -> None:
    text = await run(
        f"""
try:
    await self.env.NS.get("{name}").echo(1)
except Exception as error:
    return Response(str(error))
"""
    )
    assert "rpc" not in text


async def test_recursion_ends(run: Any) -> None:
    with pytest.raises(WorkerThrew, match="16 deep"):
        await run("return Response.from_json(await callee.again(0))")


async def test_a_body_passes_through_two_workers_unread(platform: Any, unique: str) -> None:
    bindings = {"NS": ("dispatch_namespace", {"namespace": NAMESPACE})}
    platform.deploy(
        "passer",
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return Response(request.body)
        """,
        namespace=NAMESPACE,
    )
    platform.deploy(unique, caller('return await self.env.NS.get("passer").fetch(request)'), bindings=bindings)
    body = b"payload!" * 500_000
    answer = await platform.fetch(unique, "/", method="POST", body=body)
    assert await platform.body(answer) == body


async def test_many_calls_at_once_do_not_mix(run: Any) -> None:
    assert (
        await run(
            """
values = await asyncio.gather(*[callee.echo(number) for number in range(300)])
return Response(str(values == list(range(300))))
"""
        )
        == "True"
    )
