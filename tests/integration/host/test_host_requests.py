"""A request to a Worker and its response: what crosses, how large it may be, and what becomes of errors."""

from __future__ import annotations

import asyncio
from ast import literal_eval
from typing import Any

import pytest

from tenantry.errors import StreamError, WorkerCrashed, WorkerNotFound, WorkerThrew
from tenantry.streams import read_all

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024

ECHO = """
    from workers import Response, WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            if request.url.endswith("/text"):
                return Response(await request.text(), headers={"x-method": request.method})
            if request.url.endswith("/pass"):
                return Response(request.body)
            if request.url.endswith("/json"):
                seen = {"url": request.url, "a": request.headers.get("a"), "none": await request.text()}
                return Response.from_json(seen)
            if request.url.endswith("/stream"):
                async def chunks():
                    for number in range(1000):
                        yield b"%09d\\n" % number
                return Response(chunks())
            if request.url.endswith("/broken"):
                async def broken():
                    yield b"begin"
                    raise ValueError("secret of the generator")
                return Response(broken())
            if request.url.endswith("/form"):
                form = await request.form_data()
                file = form["file"]
                seen = {"key": form["key"], "name": file.name, "type": file.content_type, "size": file.size}
                return Response.from_json(seen)
            if request.url.endswith("/form-pass"):
                form = await request.form_data()
                return Response(form["file"])
            return Response(None, status=204)
"""


async def test_the_request_arrives_and_the_response_comes_back(platform: Any, unique: str) -> None:
    platform.deploy(unique, ECHO)
    answer = await platform.fetch(unique, "/x/json", method="POST", headers=[("a", "b")], body=b"body")
    assert answer.response.status == 200
    assert ("content-type", "application/json") in answer.response.headers
    assert await platform.body(answer) == b'{"url": "http://example.com/x/json", "a": "b", "none": "body"}'


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 5 * MIB])
@pytest.mark.parametrize("path", ["/text", "/pass"])
async def test_a_body_of_any_size_survives(platform: Any, unique: str, size: int, path: str) -> None:
    platform.deploy(unique, ECHO)
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    answer = await platform.fetch(unique, path, method="POST", body=body)
    assert await platform.body(answer) == body


async def test_a_response_without_a_body(platform: Any, unique: str) -> None:
    platform.deploy(unique, ECHO)
    answer = await platform.fetch(unique, "/nothing")
    assert (answer.response.status, answer.response.body, answer.stream) == (204, None, None)


async def test_a_generator_streams(platform: Any, unique: str) -> None:
    platform.deploy(unique, ECHO)
    answer = await platform.fetch(unique, "/stream")
    assert answer.stream is not None
    assert answer.stream.length is None
    assert await read_all(answer.stream, MIB) == b"".join(b"%09d\n" % number for number in range(1000))


async def test_a_stream_that_breaks_off_is_never_taken_for_whole(platform: Any, unique: str) -> None:
    platform.deploy(unique, ECHO)
    answer = await platform.fetch(unique, "/broken")
    assert answer.stream is not None
    assert await answer.stream.read(100) == b"begin"
    with pytest.raises(StreamError) as caught:
        await answer.stream.read(100)
    assert "secret" not in str(caught.value)
    await answer.stream.aclose()


async def test_a_reader_that_leaves_ends_the_stream(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                async def forever():
                    try:
                        while True:
                            yield b"x" * 65536
                    finally:
                        print("the generator was closed")
                return Response(forever())
        """,
    )
    answer = await platform.fetch(unique)
    await answer.stream.read(1)
    await answer.stream.aclose()
    await platform.wait_log(unique, "the generator was closed")


def _form(size: int) -> tuple[bytes, list[tuple[str, str]]]:
    body = b"".join(
        [
            b'--frontier\r\ncontent-disposition: form-data; name="file"; filename="a b.bin"\r\n',
            b"content-type: application/x-test\r\n\r\n",
            b"z" * size,
            b'\r\n--frontier\r\ncontent-disposition: form-data; name="key"\r\n\r\nthe key\r\n--frontier--\r\n',
        ]
    )
    return body, [("content-type", "multipart/form-data; boundary=frontier")]


@pytest.mark.parametrize("size", [0, 10, 100_000, 3 * MIB])
async def test_a_form_is_taken_apart_wherever_its_bytes_lie(platform: Any, unique: str, size: int) -> None:
    platform.deploy(unique, ECHO)
    body, headers = _form(size)
    text = await platform.text(unique, "/form", method="POST", headers=headers, body=body)
    assert text == f'{{"key": "the key", "name": "a b.bin", "type": "application/x-test", "size": {size}}}'
    answer = await platform.fetch(unique, "/form-pass", method="POST", headers=headers, body=body)
    assert await platform.body(answer) == b"z" * size


@pytest.mark.parametrize("size", [100, 200_000])
async def test_a_form_that_is_none_is_an_exception_in_the_worker(platform: Any, unique: str, size: int) -> None:
    platform.deploy(unique, ECHO)
    headers = [("content-type", "multipart/form-data; boundary=frontier")]
    with pytest.raises(WorkerThrew):
        await platform.fetch(unique, "/form", method="POST", headers=headers, body=b"x" * size)


async def test_an_unknown_worker(platform: Any) -> None:
    with pytest.raises(WorkerNotFound, match="Worker not found"):
        await platform.fetch("nobody")


async def test_an_exception_has_its_type_and_message_and_its_traceback_is_in_the_log(
    platform: Any, unique: str
) -> None:
    platform.deploy(
        unique,
        """
        from workers import WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                raise LookupError("no such thing")
        """,
    )
    with pytest.raises(WorkerThrew, match="no such thing"):
        await platform.fetch(unique)
    await platform.wait_log(unique, "LookupError: no such thing")
    log = platform.logs(unique)
    assert "entry.py" in log
    assert "Traceback" in log
    assert "/tenantry/" not in log
    assert "/sdk/" not in log


@pytest.mark.parametrize(
    "statement", ["import sys; sys.exit(3)", "raise KeyboardInterrupt", "raise BaseException('x')"]
)
async def test_exceptions_that_would_end_a_program_end_only_the_request(
    platform: Any, unique: str, statement: str
) -> None:
    platform.deploy(
        unique,
        f"""
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if request.url.endswith("/bad"):
                    {statement}
                return Response("fine")
        """,
    )
    assert await platform.text(unique) == "fine"
    (pid,) = platform.pids(unique)
    with pytest.raises(WorkerThrew):
        await platform.fetch(unique, "/bad")
    assert await platform.text(unique) == "fine"
    assert platform.pids(unique) == [pid]


@pytest.mark.parametrize("result", ["'text'", "{'a': 1}", "None", "42"])
async def test_a_handler_that_returns_no_response_is_told_so(platform: Any, unique: str, result: str) -> None:
    platform.deploy(
        unique,
        f"""
        from workers import WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return {result}
        """,
    )
    with pytest.raises(WorkerThrew, match=r"Response"):
        await platform.fetch(unique)


async def test_a_module_that_cannot_be_imported_fails_the_request_and_says_why_in_the_log(
    platform: Any, unique: str
) -> None:
    platform.deploy(unique, "import a_module_that_nobody_has\n")
    with pytest.raises(WorkerCrashed) as caught:
        await platform.fetch(unique)
    assert "a_module" not in str(caught.value)
    await platform.wait_log(unique, "No module named 'a_module_that_nobody_has'")
    assert "importlib" not in platform.logs(unique)


async def test_what_the_runtime_imports_is_not_the_tenants(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint

        def missing(name):
            try:
                __import__(name)
            except ModuleNotFoundError:
                return True

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                import helper
                names = ("msgspec", "multipart", "granian", "litestar", "apsw", "tenantry.host")
                return Response.from_json([helper.VALUE, *[name for name in names if not missing(name)]])
        """,
        files={"helper.py": "VALUE = 'mine'\n"},
    )
    assert await platform.text(unique) == '["mine"]'


async def test_wait_until_goes_on_after_the_response(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import asyncio
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                async def later():
                    await asyncio.sleep(0.01)
                    await self.env.KV.put("done", "yes")
                    print("later is done")
                async def fails():
                    raise ValueError("later failed")
                self.ctx.waitUntil(later())
                self.ctx.wait_until(fails())
                return Response("first")
        """,
        bindings={"KV": ("kv_namespace", {"namespace_id": "waituntil"})},
    )
    assert await platform.text(unique) == "first"
    await platform.wait_log(unique, "later is done")
    await platform.wait_log(unique, "ValueError: later failed")


async def test_a_client_that_leaves_cancels_its_invocation_down_the_tree(platform: Any, unique: str) -> None:
    platform.deploy(
        "callee",
        """
        import asyncio
        from workers import WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def wait(self):
                print("waiting")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    print("the callee was canceled")
                    raise
        """,
        namespace=unique,
    )
    platform.deploy(
        unique,
        """
        from workers import WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                await self.env.NS.get("callee").wait()
        """,
        bindings={"NS": ("dispatch_namespace", {"namespace": unique})},
    )
    request = asyncio.create_task(platform.fetch(unique))
    await platform.wait_log("callee", "waiting")
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await platform.wait_log("callee", "the callee was canceled")


async def test_a_deploy_lets_what_runs_finish_on_the_version_before(platform: Any, unique: str) -> None:
    source = """
        import asyncio
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if request.url.endswith("/slow"):
                    print("begun")
                    while await self.env.KV.get("go") is None:
                        await asyncio.sleep(0.005)
                return Response("VERSION")
        """
    bindings = {"KV": ("kv_namespace", {"namespace_id": f"deploy-{unique}"})}
    platform.deploy(unique, source.replace("VERSION", "one"), bindings=bindings)
    slow = asyncio.create_task(platform.text(unique, "/slow"))
    await platform.wait_log(unique, "begun")
    old = platform.pids(unique)
    platform.deploy(unique, source.replace("VERSION", "two"), bindings=bindings)
    assert await platform.text(unique) == "two"
    platform.deploy(
        "setter",
        """
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                await self.env.KV.put("go", "now")
                return Response("set")
        """,
        bindings=bindings,
    )
    await platform.text("setter")
    assert await slow == "one"
    assert await platform.text(unique) == "two"
    async with asyncio.timeout(10):
        while set(old) & set(platform.pids(unique)):
            await asyncio.sleep(0)


async def test_a_traceback_is_the_same_each_time_and_as_python_writes_it(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import traceback
        from workers import Response, WorkerEntrypoint

        def fall(depth):
            return 1 / depth if depth == 0 else fall(depth - 1)

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                depth = int(request.url.rpartition("/")[2])
                try:
                    fall(depth)
                except ZeroDivisionError as error:
                    print(repr("".join(traceback.format_exception(error)).rstrip()))
                    raise
        """,
    )
    for path in ("/1", "/1", "/3", "/100", "/1"):
        with pytest.raises(WorkerThrew):
            await platform.text(unique, path)
    said = [message for worker, message in platform.said if worker == unique]
    assert [literal_eval(printed) for printed in said[::2]] == said[1::2]
    assert said[1].count("in fall") == 2
    assert "Previous line repeated" in said[7]
