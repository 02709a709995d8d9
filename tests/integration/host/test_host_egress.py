"""fetch() of real Workers to real sockets on loopback, which the operator opened by range; nothing else is reached."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_asyncio

from tenantry.config.egress import EgressPolicies, EgressPolicy

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES: dict[str, list[list[str]]] = {}
"""What the resolver says of a name: the first list at first, then the next; the last for ever."""


async def lookup(name: str) -> list[str]:
    answers = NAMES.get(name)
    if answers is None:
        raise OSError(f"{name} is not known")
    return answers.pop(0) if len(answers) > 1 else answers[0]


LOOPBACK = EgressPolicy(networks=(ip_network("127.0.0.1/32"),))
HOST_OPTIONS = {
    "egress": EgressPolicies(
        default=LOOPBACK,
        workers={
            (None, "closed-worker"): EgressPolicy(),
            (None, "denied-worker"): EgressPolicy(mode="deny"),
            (None, "listed-worker"): EgressPolicy(
                mode="allow", names=frozenset({"api.example.com"}), networks=(ip_network("127.0.0.1/32"),)
            ),
        },
    ),
    "lookup": lookup,
}

PROXY = """
    from workers import Response, WorkerEntrypoint, fetch

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            url = request.headers["x-url"]
            try:
                response = await fetch(url, redirect=request.headers.get("x-redirect") or "follow")
                return Response(await response.text(), status=response.status)
            except Exception as error:
                return Response(f"{type(error).__mro__[0].__name__}|{isinstance(error, OSError)}|{error}", status=599)
"""

Handler = Callable[["Connection"], Awaitable[None]]


class Connection:
    """The server's end of one connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    async def read_head(self) -> bytes:
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        return self.head

    async def read_body(self) -> bytes:
        """A body with a length, or in chunks."""
        lines = self.head.lower().split(b"\r\n")
        for line in lines:
            if line.startswith(b"content-length:"):
                return await self.reader.readexactly(int(line.split(b":")[1]))
        body = b""
        if b"transfer-encoding: chunked" in lines:
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        return body

    async def send(self, *parts: bytes | str) -> None:
        for part in parts:
            self.writer.write(part.encode() if isinstance(part, str) else part)
        await self.writer.drain()

    async def answer(self, body: bytes | str = b"", status: str = "200 OK", headers: str = "") -> None:
        data = body.encode() if isinstance(body, str) else body
        await self.send(f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\n{headers}\r\n", data)


class Upstream:
    """A server on loopback. `closed` is set when a client has gone away from a handler that waits for that."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.connections = 0
        self.open = 0
        self.requests: list[bytes] = []
        self.closed = asyncio.Event()


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Upstream]:
    """Every request of every connection is given to `handler`, its head read."""
    upstream: Upstream
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        upstream.connections += 1
        upstream.open += 1
        connection = Connection(reader, writer)
        try:
            while True:
                upstream.requests.append(await connection.read_head())
                await handler(connection)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            upstream.open -= 1
            upstream.closed.set()
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, host, port, limit=2**20)
    upstream = Upstream(server.sockets[0].getsockname()[1])
    try:
        yield upstream
    finally:
        server.close()
        pending = list(tasks)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        await asyncio.sleep(0)


@pytest.fixture
def unheard() -> Iterator[int]:
    """A port of 127.0.0.1 where nobody listens, another program neither: it is taken, and that is all."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def hello(connection: Connection) -> None:
    await connection.read_body()
    await connection.answer("hello")


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(platform: Any, unique: str) -> Callable[..., Awaitable[tuple[int, str]]]:
    platform.deploy(unique, PROXY)

    async def ask(url: str, redirect: str = "", worker: str = unique) -> tuple[int, str]:
        answer = await platform.fetch(worker, headers=[("x-url", url), ("x-redirect", redirect)])
        return answer.response.status, (await platform.body(answer)).decode()

    return ask


# What comes and goes -------------------------------------------------------------------------------------------------


async def test_a_get_arrives_as_the_worker_made_it(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint, fetch

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                response = await fetch(request.headers["x-url"], headers=[
                    ["X-One", "1"], ["Host", "evil.example"], ["Content-Length", "99"],
                    ["Transfer-Encoding", "chunked"], ["Connection", "x-secret"], ["X-Secret", "1"],
                    ["Expect", "100-continue"], ["Upgrade", "h2c"],
                ])
                pairs = "|".join(f"{name}={value}" for name, value in response.js_object.headers)
                head = f"{response.status} {response.status_text} {response.url}"
                return Response(f"{head} {pairs} {await response.text()}")
        """,
    )

    async def handler(connection: Connection) -> None:
        await connection.answer("body", "203 Odd But Fine", "set-cookie: a=1\r\nset-cookie: b=2\r\nkeep-alive: x\r\n")

    async with serving(handler) as upstream:
        text = await platform.text(unique, headers=[("x-url", f"{upstream.url}/a%20b?c=%2F&d")])
    head = upstream.requests[0].decode()
    assert head.splitlines()[0] == "GET /a%20b?c=%2F&d HTTP/1.1"
    assert sorted(head.lower().splitlines()[1:-1]) == [f"host: 127.0.0.1:{upstream.port}", "x-one: 1"]
    assert text.startswith(f"203 Odd But Fine {upstream.url}/a%20b?c=%2F&d ")
    assert "set-cookie=a=1|set-cookie=b=2" in text
    assert "keep-alive" not in text
    assert text.endswith(" body")


async def test_bodies_stream_both_ways_and_are_never_inflated(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint, fetch

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return await fetch(request.headers["x-url"], method="POST", body=request.body)
        """,
    )
    body = bytes(range(256)) * 4096 * 4

    async def handler(connection: Connection) -> None:
        received = await connection.read_body()
        await connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n")
        for start in range(0, len(received), 100_000):
            chunk = received[start : start + 100_000]
            await connection.send(f"{len(chunk):x}\r\n", chunk, b"\r\n")
        await connection.send(b"0\r\n\r\n")

    async with serving(handler) as upstream:
        answer = await platform.fetch(unique, method="POST", headers=[("x-url", upstream.url)], body=body)
        assert ("content-encoding", "gzip") in answer.response.headers
        assert await platform.body(answer) == body
    assert f"content-length: {len(body)}" in upstream.requests[0].decode().lower()


async def test_a_body_that_the_worker_makes_goes_on_after_the_answer_began(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint, fetch

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                async def chunks():
                    for number in range(200):
                        yield bytes([number]) * 10_000
                response = await fetch(request.headers["x-url"], method="PUT", body=chunks())
                data = await response.bytes()
                return Response(f"{len(data)} {data == b''.join(bytes([number]) * 10_000 for number in range(200))}")
        """,
    )

    async def handler(connection: Connection) -> None:
        # An echo that answers with the first bytes it gets.
        await connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while size := int(await connection.reader.readline(), 16):
            chunk = (await connection.reader.readexactly(size + 2))[:-2]
            await connection.send(f"{len(chunk):x}\r\n", chunk, b"\r\n")
        await connection.reader.readline()
        await connection.send(b"0\r\n\r\n")

    async with serving(handler) as upstream, asyncio.timeout(20):
        assert await platform.text(unique, headers=[("x-url", upstream.url)]) == "2000000 True"


async def test_a_body_that_nobody_reads_stays_with_the_server(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint, fetch

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                response = await fetch(request.headers["x-url"])
                return Response(str(response.status))
        """,
    )
    sent = 0

    async def handler(connection: Connection) -> None:
        nonlocal sent
        await connection.send("HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await connection.send(b"x" * 65536)
            sent += 65536

    async with serving(handler) as upstream, asyncio.timeout(20):
        assert await platform.text(unique, headers=[("x-url", upstream.url)]) == "200"
        await upstream.closed.wait()  # the invocation is over, and with it its connection
    assert sent < 32 * 1024 * 1024


async def test_connections_are_kept_for_the_next_request(proxy: Any) -> None:
    async with serving(hello) as upstream:
        for _ in range(3):
            assert await proxy(upstream.url) == (200, "hello")
        assert upstream.connections == 1


# Policy --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:{port}/",
        "http://[::1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://127.2:{port}/",
        "http://2130706434:{port}/",
        "http://0x7f.2:{port}/",
        "http://017700000002:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://10.0.0.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:25/",
        "http://127.0.0.1:465/",
        "https://127.0.0.1:587/",
        "http://localhost:{port}/",
    ],
)
async def test_what_is_not_open_is_refused(proxy: Any, url: str) -> None:
    async with serving(hello) as upstream:
        status, text = await proxy(url.format(port=upstream.port))
        assert upstream.connections == 0
    assert status == 599
    assert text.split("|")[1] == "True"
    assert "egress policy" in text


@pytest.mark.parametrize("url", ["http://127.1:{port}/", "http://0x7f000001:{port}/", "http://[::ffff:7f00:1]:{port}/"])
async def test_an_open_address_is_open_in_every_spelling(proxy: Any, url: str) -> None:
    async with serving(hello) as upstream:
        assert await proxy(url.format(port=upstream.port)) == (200, "hello")
        assert f"host: 127.0.0.1:{upstream.port}" in upstream.requests[0].decode().lower()


async def test_the_default_policy_and_deny_reach_no_loopback(platform: Any, proxy: Any) -> None:
    async with serving(hello) as upstream:
        for worker in ("closed-worker", "denied-worker"):
            platform.deploy(worker, PROXY)
            status, text = await proxy(upstream.url, worker=worker)
            assert (status, "not permitted by the egress policy" in text) == (599, True)
        assert upstream.connections == 0


async def test_a_name_is_judged_by_its_addresses_and_connected_to_those(proxy: Any) -> None:
    NAMES["mixed.example"] = [["10.1.2.3", "127.0.0.2", "127.0.0.1", "fe80::1%eth0", "nonsense"]]
    async with serving(hello) as upstream:
        assert await proxy(f"http://mixed.example:{upstream.port}/") == (200, "hello")
        assert b"mixed.example" in upstream.requests[0]


async def test_a_name_that_changes_its_mind_gains_nothing(proxy: Any) -> None:
    NAMES["rebind.example"] = [["127.0.0.2"], ["127.0.0.1"]]
    async with serving(hello, "127.0.0.2") as inner, serving(hello) as upstream:
        status, text = await proxy(f"http://rebind.example:{inner.port}/")
        assert (status, "egress policy" in text) == (599, True)
        assert await proxy(f"http://rebind.example:{upstream.port}/") == (200, "hello")
        NAMES["rebind.example"] = [["127.0.0.2"]]
        assert (await proxy(f"http://rebind.example:{inner.port}/"))[0] == 599
        assert inner.connections == 0


@pytest.mark.parametrize("way", ["directly", "redirected"])
async def test_a_name_that_changes_its_mind_between_look_and_connection_gains_nothing(
    proxy: Any, unheard: int, way: str
) -> None:
    """DNS rebinding: permitted when it is judged, inside when it is connected to. What was judged is connected to."""
    name = f"flip-{way}.example"
    NAMES[name] = [["127.0.0.1"], ["127.0.0.2"]]
    async with serving(hello, "127.0.0.2", unheard) as inner:
        url = f"http://{name}:{inner.port}/"

        async def redirect(connection: Connection) -> None:
            await connection.answer("", "302 Found", f"location: {url}\r\n")

        async with serving(redirect) as upstream:
            status, text = await proxy(url if way == "directly" else upstream.url)
            assert upstream.connections == (way == "redirected")
        assert (status, text.split("|")[1]) == (599, "True")  # on that address nobody listens
        assert NAMES[name] == [["127.0.0.2"]]
        assert inner.connections == 0


async def test_inner_names_and_absent_ones_look_the_same(proxy: Any) -> None:
    NAMES["inner.example"] = [["10.0.0.7"]]
    inner = await proxy("http://inner.example/")
    absent = await proxy("http://absent.example/")
    assert inner[1].replace("inner", "absent") == absent[1]


async def test_the_metadata_name_is_refused(proxy: Any) -> None:
    NAMES["metadata.google.internal"] = [["169.254.169.254"]]
    assert (await proxy("http://metadata.google.internal/computeMetadata/v1/"))[0] == 599


async def test_an_allow_list_closes_everything_else(platform: Any, proxy: Any) -> None:
    platform.deploy("listed-worker", PROXY)
    NAMES["api.example.com"] = [["127.0.0.1"]]
    NAMES["other.example.com"] = [["93.184.216.34"]]
    async with serving(hello) as upstream:
        assert await proxy(f"http://api.example.com:{upstream.port}/", worker="listed-worker") == (200, "hello")
        for url in ("http://other.example.com/", "http://93.184.216.34/"):
            assert (await proxy(url, worker="listed-worker"))[0] == 599


# Redirects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "http://169.254.169.254/latest/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "unix:///run/docker.sock",
        "//10.0.0.1/",
        "http://inside.example/",
    ],
)
async def test_a_redirect_inside_is_refused(proxy: Any, location: str) -> None:
    NAMES["inside.example"] = [["192.168.1.1"]]

    async def handler(connection: Connection) -> None:
        await connection.answer("", "302 Found", f"location: {location.format(port=upstream.port)}\r\n")

    async with serving(handler) as upstream:
        status, text = await proxy(upstream.url)
        assert status == 599
        assert text.split("|")[1] == "True"
        assert upstream.connections == 1


async def test_redirects_are_followed_so_far_and_credentials_stay_with_their_site(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint, fetch

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                response = await fetch(request.headers["x-url"], method="POST", body="form", headers={
                    "Authorization": "Bearer x", "Cookie": "a=b", "X-Kept": "1"})
                return Response(f"{response.status} {response.redirected} {response.url} {await response.text()}")
        """,
    )

    async def second(connection: Connection) -> None:
        await connection.answer("arrived")

    async def first(connection: Connection) -> None:
        await connection.read_body()
        target = "/next" if b"/start" in connection.head else f"{other.url}/end"
        await connection.answer(
            "x" * 100_000, "307 Temporary" if "/next" in target else "302 Found", f"location: {target}\r\n"
        )

    async with serving(second) as other, serving(first) as upstream:
        text = await platform.text(unique, headers=[("x-url", f"{upstream.url}/start")])
        assert text == f"200 True {other.url}/end arrived"
    assert [request.split(b" ")[0] for request in upstream.requests] == [b"POST", b"POST"]
    assert b"bearer x" in upstream.requests[1].lower()
    last = other.requests[0].lower()
    assert last.startswith(b"get /end ")
    assert b"x-kept: 1" in last
    assert b"authorization" not in last
    assert b"cookie" not in last


async def test_redirects_end(proxy: Any) -> None:
    async def handler(connection: Connection) -> None:
        await connection.answer("", "301 Moved", "location: /again\r\n")

    async with serving(handler) as upstream:
        status, text = await proxy(upstream.url)
        assert (status, "Too many redirects" in text) == (599, True)
        assert len(upstream.requests) == 21
        assert (await proxy(upstream.url, "manual"))[0] == 301


# Servers that misbehave ----------------------------------------------------------------------------------------------


async def closes(connection: Connection) -> None:
    raise ConnectionError


async def answers_nonsense(connection: Connection) -> None:
    await connection.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


async def answers_with_a_giant_header(connection: Connection) -> None:
    await connection.send("HTTP/1.1 200 OK\r\nx: ", b"x" * 200_000, b"\r\n\r\n")


async def answers_with_many_cookies(connection: Connection) -> None:
    await connection.send("HTTP/1.1 200 OK\r\n", b"set-cookie: a=b\r\n" * 10_000, b"\r\n")


async def switches_protocols(connection: Connection) -> None:
    await connection.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")


async def breaks_off(connection: Connection) -> None:
    await connection.send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"x" * 5000)
    raise ConnectionError


@pytest.mark.parametrize(
    "handler",
    [closes, answers_nonsense, answers_with_a_giant_header, answers_with_many_cookies, switches_protocols, breaks_off],
)
async def test_a_bad_server_is_an_oserror_and_harms_no_other_request(proxy: Any, handler: Handler) -> None:
    async with serving(handler) as bad, serving(hello) as upstream, asyncio.timeout(20):
        status, text = await proxy(bad.url)
        assert (status, text.split("|")[1]) == (599, "True")
        assert "Traceback" not in text
        assert "aiohttp" not in text
        assert await proxy(upstream.url) == (200, "hello")


async def test_a_port_where_nobody_listens(proxy: Any, unheard: int) -> None:
    status, text = await proxy(f"http://127.0.0.1:{unheard}/")
    assert (status, text.split("|", 2)[2]) == (599, f"The connection to 127.0.0.1:{unheard} failed.")


async def test_a_call_that_is_given_up_closes_its_connection(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import asyncio
        from workers import Response, WorkerEntrypoint, fetch

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                try:
                    async with asyncio.timeout(2):
                        await fetch(request.headers["x-url"])
                except TimeoutError:
                    await fetch(request.headers["x-other"])
                    return Response("gave up")
        """,
    )

    async def handler(connection: Connection) -> None:
        await connection.reader.read()  # until the client leaves
        raise ConnectionError

    async def other(connection: Connection) -> None:
        await slow.closed.wait()
        await connection.answer("ok")

    async with serving(handler) as slow, serving(other) as upstream, asyncio.timeout(20):
        text = await platform.text(unique, headers=[("x-url", slow.url), ("x-other", upstream.url)])
        assert text == "gave up"


async def test_a_client_that_leaves_closes_the_connection(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import WorkerEntrypoint, fetch

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return await fetch(request.headers["x-url"])
        """,
    )

    async def endless(connection: Connection) -> None:
        await connection.send("HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await connection.send(b"x" * 65536)

    async with serving(endless) as upstream, asyncio.timeout(20):
        answer = await platform.fetch(unique, headers=[("x-url", upstream.url)])
        assert await answer.stream.read(1000)
        await answer.stream.aclose()
        await upstream.closed.wait()


async def test_requests_of_a_worker_wait_for_their_turn(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        import asyncio
        from workers import Response, WorkerEntrypoint, fetch

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                url = request.headers["x-url"]
                responses = await asyncio.gather(*(fetch(url) for _ in range(100)))
                return Response(str(sum(response.status == 200 for response in responses)))
        """,
    )
    most = 0

    async def handler(connection: Connection) -> None:
        nonlocal most
        most = max(most, upstream.open)
        await asyncio.sleep(0)
        await connection.answer("ok")

    async with serving(handler) as upstream, asyncio.timeout(20):
        assert await platform.text(unique, headers=[("x-url", upstream.url)]) == "100"
    assert most <= 32


async def test_many_hosts_leave_few_connections(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint, fetch

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                port = request.headers["x-port"]
                for number in range(40):
                    await (await fetch(f"http://host{number}.example:{port}/")).text()
                return Response("ok")
        """,
    )
    NAMES.update({f"host{number}.example": [["127.0.0.1"]] for number in range(40)})
    async with serving(hello) as upstream, asyncio.timeout(20):
        assert await platform.text(unique, headers=[("x-port", str(upstream.port))]) == "ok"
        assert upstream.connections == 40
        assert upstream.open <= 9


async def test_a_body_must_keep_the_length_that_it_promised(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        """
        from workers import Response, WorkerEntrypoint, fetch
        from tenantry.runtime.streams import ReadableStream

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                smuggled = [b"12345", b"POST /admin HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"]
                body = ReadableStream.from_iterable(smuggled, 5)
                try:
                    await fetch(request.headers["x-url"], method="POST", body=body)
                except OSError as error:
                    return Response(str(error))
                return Response("went through")
        """,
    )

    async def handler(connection: Connection) -> None:
        await connection.reader.read()
        raise ConnectionError

    async with serving(handler) as upstream, asyncio.timeout(20):
        text = await platform.text(unique, headers=[("x-url", upstream.url)])
        assert "longer than it said" in text
        assert len(upstream.requests) == 1
