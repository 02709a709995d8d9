"""What a client sends is what the Worker gets, and what the Worker answers is what the client gets."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")

ECHO = """
    from workers import Response, WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            path = "/" + request.url.split("/", 3)[3].partition("?")[0]
            if path == "/size":
                size = 0
                async for chunk in request.body:
                    size += len(chunk)
                return Response(str(size))
            if path == "/slow-size":
                import asyncio
                await asyncio.sleep(0.2)
                return Response(str(len(await request.bytes())))
            if path == "/many":
                headers = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-latin", "caf\\u00e9")]
                return Response("two cookies", headers=headers)
            if path == "/none":
                return Response(None, status=204)
            if path == "/unchanged":
                return Response(None, status=304, headers={"etag": '"e"'})
            if path == "/range":
                part = request.headers.get("range")
                headers = {"content-range": "bytes 2-3/6", "x-asked": part}
                return Response("cd", status=206, headers=headers)
            if path == "/stream":
                async def chunks():
                    for _ in range(300):
                        yield b"0123456789" * 100
                return Response(chunks(), headers={"content-length": "300000"})
            if path == "/break":
                async def broken():
                    yield b"begin" * 1000
                    raise ValueError("secret of the generator")
                return Response(broken())
            if path == "/raise":
                raise ValueError("secret of the handler")
            if path.startswith("/header/"):
                bad = {"crlf": "a\\r\\nset-cookie: stolen=1", "nul": "a\\0b", "large": "x" * 40_000}
                name = path.removeprefix("/header/")
                # A tenant can do what it likes to its own SDK.
                import workers._web.headers
                workers._web.headers._is_bad_value = lambda text: None
                return Response("never", headers={"x-bad": bad[name]})
            seen = {
                "method": request.method, "url": request.url, "body": await request.text(),
                "a": request.headers.get("a"), "names": sorted(key for key, _ in request.headers.items()),
            }
            return Response.from_json(seen)
"""


@pytest_asyncio.fixture(loop_scope="module")
async def echo(site: Any) -> Any:
    site.deploy(ECHO)
    return site


@pytest.mark.parametrize("target", ["/a%2Fb/%00/c%20d", "/x?y=%26&y=2&&z", "/..%2f..%2fetc/passwd", "//double//", "/?"])
async def test_the_url_is_not_touched(echo: Any, target: str) -> None:
    reply = await echo.get(target)
    assert reply.json()["url"].removesuffix("?") == ("http://example.com" + target).removesuffix("?")


async def test_method_headers_and_body_arrive(echo: Any) -> None:
    request = (
        b"PATCH /p HTTP/1.1\r\nhost: Example.COM:80\r\na: 1\r\na: 2\r\ncf-worker: x\r\ncontent-length: 4\r\n\r\nbody"
    )
    seen = (await echo.send(request)).json()
    assert (seen["method"], seen["body"], seen["a"]) == ("PATCH", "body", "1, 2")
    assert "cf-worker" not in seen["names"]
    assert "cf-connecting-ip" in seen["names"]


async def test_a_client_cannot_say_who_it_is(echo: Any) -> None:
    seen = (await echo.get("/", "cf-connecting-ip: 1.2.3.4", "x-real-ip: 1.2.3.4")).json()
    assert seen["names"].count("cf-connecting-ip") == 1
    assert "x-real-ip" not in seen["names"]


async def test_a_chunked_upload_arrives_whole(echo: Any) -> None:
    connection = await echo.connect()
    await connection.send(b"POST /size HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(100):
        await connection.send(b"%x\r\n" % 10_000 + bytes(10_000) + b"\r\n")
    await connection.send(b"0\r\n\r\n")
    assert (await connection.reply()).body == b"1000000"


async def test_a_body_that_was_read_ahead_to_its_end_arrives_whole(echo: Any) -> None:
    # Longer than what travels inline, shorter than what is read ahead, and asked for late.
    reply = await echo.send(b"POST /slow-size HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\n" + bytes(100_000))
    assert reply.body == b"100000"


async def test_a_client_that_waits_to_be_told_to_go_on_is_told(echo: Any) -> None:
    connection = await echo.connect()
    await connection.send(b"POST /size HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\nexpect: 100-continue\r\n\r\n")
    status, _ = await connection.head()
    assert status == 100
    await connection.send(bytes(100_000))
    assert (await connection.reply()).body == b"100000"


async def test_a_connection_is_used_again_after_a_body_that_nobody_read(echo: Any) -> None:
    connection = await echo.connect()
    for _ in range(3):
        await connection.send(b"POST /none HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello")
        assert (await connection.reply()).status == 204


async def test_headers_of_one_name_stay_apart(echo: Any) -> None:
    reply = await echo.get("/many")
    assert reply.values("set-cookie") == ["a=1", "b=2"]
    assert reply.values("content-length") == ["11"]


@pytest.mark.parametrize(("path", "status"), [("/none", 204), ("/unchanged", 304)])
async def test_a_status_without_a_body_has_none(echo: Any, path: str, status: int) -> None:
    reply = await echo.get(path)
    assert (reply.status, reply.body) == (status, b"")


@pytest.mark.parametrize("path", ["/", "/stream", "/break"])
async def test_head_has_no_body_and_leaves_the_connection_in_order(echo: Any, path: str) -> None:
    connection = await echo.connect()
    for _ in range(2):
        await connection.send(f"HEAD {path} HTTP/1.1\r\nhost: h\r\n\r\n".encode())
        reply = await connection.reply("HEAD")
        assert reply.status == 200
    if path == "/stream":
        assert reply.values("content-length") == ["300000"]


async def test_a_range_is_the_workers_to_answer(echo: Any) -> None:
    reply = await echo.get("/range", "range: bytes=2-3")
    assert (reply.status, reply.body) == (206, b"cd")
    assert reply.values("x-asked") == ["bytes=2-3"]
    assert reply.values("content-range") == ["bytes 2-3/6"]


async def test_a_stream_arrives_whole(echo: Any) -> None:
    reply = await echo.get("/stream")
    assert reply.whole
    assert reply.body == b"0123456789" * 30_000


async def test_a_stream_that_breaks_off_is_not_taken_for_whole(echo: Any) -> None:
    reply = await echo.get("/break")
    assert not reply.whole
    assert b"secret" not in reply.body
    await echo.wait_log("secret of the generator")


async def test_an_exception_is_a_500_that_says_nothing(echo: Any) -> None:
    reply = await echo.get("/raise")
    assert (reply.status, reply.body) == (500, b"error code: 1101\n")
    assert len(reply.values("x-error-reference")) == 1


REFUSED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    "a host that is none": (b"GET / HTTP/1.1\r\nhost: a/b@c\r\n\r\n", 400),
    "a host with a blank": (b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
    "a url that is too long": (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
    "headers that are too large": (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: " + b"y" * 140_000 + b"\r\n\r\n", 431),
    "another protocol": (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
    "two lengths": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
    "a length that is none": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
}


@pytest.mark.parametrize(("request_bytes", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_request_that_no_worker_gets(echo: Any, request_bytes: bytes, status: int) -> None:
    assert (await echo.send(request_bytes)).status == status


async def test_a_client_of_http_1_0_gets_what_it_can_read(echo: Any) -> None:
    connection = await echo.connect()
    await connection.send(b"GET / HTTP/1.0\r\nhost: h\r\nconnection: keep-alive\r\n\r\n")
    reply = await connection.reply()
    assert reply.values("connection") == ["keep-alive"]
    await connection.send(b"GET /break HTTP/1.0\r\nhost: h\r\n\r\n")
    status, headers = await connection.head()
    assert status == 200
    assert not {"transfer-encoding", "content-length"} & {name.lower() for name, _ in headers}


@pytest.mark.parametrize("which", ["crlf", "nul", "large"])
async def test_a_header_that_cannot_be_sent_is_a_502_and_reaches_no_client(echo: Any, which: str) -> None:
    reply = await echo.get(f"/header/{which}")
    assert reply.status == 502
    assert not reply.values("set-cookie")
