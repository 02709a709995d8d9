"""The SDK inside a real worker process: what it imports late, threads, streams and forms behind the last layer."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


def worker(body: str, *, top: str = "") -> str:
    lines = "\n".join("        " + line for line in body.strip().split("\n"))
    return f"""
from workers import *
{top}
class Default(WorkerEntrypoint):
    async def fetch(self, request):
{lines}
"""


async def test_everything_that_js_has_can_be_imported_late(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        worker(
            """
import asgi, js, pyodide.code, pyodide.ffi, pyodide.http, pyodide.webloop, workers.wsgi, workers.workflows
names = [name for name in dir(js) if getattr(js, name) is None]
return js.Response.json({"missing": names, "parsed": js.JSON.parse('{"a": [1]}').a[0]})
"""
        ),
    )
    assert json.loads(await platform.text(unique)) == {"missing": ["undefined"], "parsed": 1}


async def test_an_asgi_application_streams(platform: Any, unique: str) -> None:
    top = """
import asgi
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"b")]})
    while (message := await receive())["more_body"]:
        await send({"type": "http.response.body", "body": message["body"].upper(), "more_body": True})
    await send({"type": "http.response.body", "body": scope["env"].WORD.encode()})
"""
    platform.deploy(
        unique,
        worker("return await asgi.fetch(app, request.js_object, self.env)", top=top),
        bindings={"WORD": ("plain_text", {"text": "end"})},
    )
    body = b"abc" * 100_000
    answer = await platform.fetch(unique, method="POST", body=body)
    assert answer.response.status == 201
    assert await platform.body(answer) == body.upper() + b"end"


async def test_a_wsgi_application_runs_in_a_thread_and_may_block_on_bindings(platform: Any, unique: str) -> None:
    top = """
from pyodide.ffi import run_sync
from workers import wsgi
def app(environ, start_response):
    env = environ["workers.env"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    run_sync(env.KV.put("k", environ["wsgi.input"].read()))
    yield run_sync(env.KV.get("k")).upper().encode()
    yield b"!"
"""
    platform.deploy(
        unique,
        worker("return await wsgi.fetch(app, request, self.env)", top=top),
        bindings={"KV": ("kv_namespace", {"namespace_id": unique})},
    )
    assert await platform.text(unique, method="POST", body=b"abc") == "ABC!"
    assert await platform.text(unique, method="POST", body=b"x" * 200_000) == "X" * 200_000 + "!"


async def test_a_transform_stream_is_a_response(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        worker(
            """
import js
pipe = js.TransformStream.new()
async def write():
    writer = pipe.writable.getWriter()
    for index in range(20):
        await writer.write("x" * 50_000)
    await writer.close()
wait_until(write())
return Response(pipe.readable)
"""
        ),
    )
    assert len(await platform.text(unique)) == 1_000_000


@pytest.mark.parametrize("size", [10, 500_000])
async def test_a_form_is_parsed_wherever_its_bytes_are(platform: Any, unique: str, size: int) -> None:
    platform.deploy(
        unique,
        worker(
            """
form = await request.form_data()
file = form["file"]
return Response.from_json([form["key"], file.name, file.content_type, file.size, len(await file.bytes())])
"""
        ),
    )
    body = (
        b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nvalue\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.bin"\r\nContent-Type: a/b\r\n\r\n'
        + b"x" * size
        + b"\r\n--b--\r\n"
    )
    headers = [("content-type", "multipart/form-data; boundary=b")]
    answer = await platform.text(unique, method="POST", headers=headers, body=body)
    assert json.loads(answer) == ["value", "f.bin", "a/b", size, size]


async def test_a_request_and_its_clone(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        worker(
            "twin = request.clone()\nreturn Response.from_json([len(await request.text()), len(await twin.text())])"
        ),
    )
    assert json.loads(await platform.text(unique, method="POST", body=b"x" * 300_000)) == [300_000, 300_000]


async def test_fetch_is_refused_as_an_os_error(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        worker(
            """
try:
    await fetch("https://example.com/")
except OSError as error:
    return Response(type(error).__name__)
"""
        ),
    )
    assert await platform.text(unique) == "OSError"


async def test_console_and_exceptions_reach_the_log(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        worker(
            """
import js
js.console.warn("careful", {"a": 1})
return Response("x")
"""
        ),
    )
    await platform.text(unique)
    await platform.wait_log(unique, 'careful {"a": 1}')
