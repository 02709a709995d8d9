"""Ordinary HTTP clients in real Workers: unchanged, through the proxy of their process, under the policy of fetch()."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tenantry.config.egress import EgressPolicies, EgressPolicy

pytestmark = pytest.mark.asyncio(loop_scope="module")

_LOOPBACK = EgressPolicy(networks=(ip_network("127.0.0.1/32"),), sockets=True)
HOST_OPTIONS = {
    "egress": EgressPolicies(
        default=_LOOPBACK,
        workers={
            (None, "without-sockets"): EgressPolicy(networks=_LOOPBACK.networks),
            (None, "denied-with-sockets"): EgressPolicy(mode="deny", sockets=True),
        },
    )
}

# What httpx and aiohttp import; and requests, where it is installed.
_PACKAGES = """
    httpx httpcore h11 anyio certifi idna sniffio typing_extensions
    aiohttp aiosignal frozenlist multidict yarl propcache attr attrs aiohappyeyeballs
    requests urllib3 charset_normalizer
""".split()  # noqa: SIM905 - grouped by who needs them


def make_worker_site(folder: Path) -> None:
    """The tests' own packages, copied: the environment that they run in need not be readable to Workers."""
    folder.mkdir()
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        if spec.submodule_search_locations:
            shutil.copytree(origin.parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(origin, folder / origin.name)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


@dataclass
class Server:
    """An HTTP server on loopback that answers with the head of the request."""

    port: int
    scheme: str
    heads: list[bytes] = field(default_factory=list)
    open: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@asynccontextmanager
async def _serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                server.heads.append(head)
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
                text = head.split(b"\r\n")[0] + b"|" + body
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            server.open -= 1
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    server = Server(listening.sockets[0].getsockname()[1], "https" if context else "http")
    try:
        yield server
    finally:
        listening.close()
        await _until(lambda: server.open == 0)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, and its key beside it."""
    folder = tmp_path_factory.mktemp("authority")
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command, which makes the certificate, is not installed")
    arguments = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    arguments += ["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    arguments += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(arguments, check=True, capture_output=True, timeout=30)
    return folder / "cert.pem"


def _worker(body: str, imports: str = "") -> str:
    """A Worker whose answer is `result`, or the exception. `url` is the server's."""
    lines = "\n".join(f"            {line}" for line in body.strip().splitlines())
    return f"""
import asyncio, os, socket, urllib.error, urllib.request
from workers import Response, WorkerEntrypoint
{imports}

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        url = request.headers["x-url"]
        result = None
        try:
{lines}
        except Exception as error:
            result = f"{{type(error).__name__}}: {{error}}"
        return Response(str(result))
"""


async def _ask(platform: Any, name: str, source: str, url: str, files: dict[str, str] | None = None) -> str:
    platform.deploy(name, source, files=files)
    text: str = await platform.text(name, headers=[("x-url", url)])
    return text


_CLIENTS = [
    # client, imports, what it does
    ("httpx", "import httpx", "result = (await httpx.AsyncClient().post(url + '/a', content=b'body')).text"),
    ("httpx, sync", "import httpx", "result = httpx.post(url + '/a', content=b'body').text"),
    ("httpx", "import httpx", "result = (await asyncio.to_thread(httpx.post, url + '/a', content=b'body')).text"),
    (
        "aiohttp",
        "import aiohttp",
        """
async with aiohttp.ClientSession(trust_env=True) as session, session.post(url + '/a', data=b'body') as response:
    result = await response.text()
""",
    ),
    ("urllib", "", "result = urllib.request.urlopen(url + '/a', b'body').read().decode()"),
    (
        "urllib, in a thread",
        "",
        "result = (await asyncio.to_thread(urllib.request.urlopen, url + '/a', b'body')).read().decode()",
    ),
    ("requests", "import requests", "result = requests.post(url + '/a', data=b'body').text"),
]


def _needs(client: str) -> None:
    package = client.partition(",")[0]
    if package != "urllib" and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize(("client", "imports", "body"), _CLIENTS)
async def test_an_ordinary_client_works_unchanged(
    platform: Any, unique: str, client: str, imports: str, body: str
) -> None:
    _needs(client)
    async with _serving() as server:
        assert await _ask(platform, unique, _worker(body, imports), server.url) == "POST /a HTTP/1.1|body"
    assert b"\r\nproxy-" not in server.heads[0].lower()


_TLS_CLIENTS = [
    (
        "httpx",
        "import httpx, ssl",
        """
async with httpx.AsyncClient(verify=ssl.create_default_context(cafile='authority.pem')) as client:
    result = (await client.get(url + '/a')).text + (await client.get(url + '/b')).text
""",
    ),
    (
        "urllib",
        "import ssl",
        """
context = ssl.create_default_context(cafile='authority.pem')
texts = [urllib.request.urlopen(url + path, context=context).read().decode() for path in ('/a', '/b')]
result = ''.join(texts)
""",
    ),
    (
        "aiohttp",
        "import aiohttp, ssl",
        """
context = ssl.create_default_context(cafile='authority.pem')
result = ''
async with aiohttp.ClientSession(trust_env=True) as session:
    for path in ('/a', '/b'):
        async with session.get(url + path, ssl=context) as response:
            result += await response.text()
""",
    ),
    (
        "requests",
        "import requests",
        "result = ''.join(requests.get(url + path, verify='authority.pem').text for path in ('/a', '/b'))",
    ),
]


@pytest.mark.parametrize(("client", "imports", "body"), _TLS_CLIENTS)
async def test_tls_is_between_the_client_and_the_server(
    platform: Any, unique: str, authority: Path, client: str, imports: str, body: str
) -> None:
    _needs(client)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, authority.with_name("key.pem"))
    files = {"authority.pem": authority.read_text()}
    async with _serving(context) as server:
        answer = await _ask(platform, unique, _worker(body, imports), server.url, files)
    assert answer == "GET /a HTTP/1.1|GET /b HTTP/1.1|"


async def test_a_certificate_that_nobody_vouches_for_is_refused_by_the_client(
    platform: Any, unique: str, authority: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, authority.with_name("key.pem"))
    body = "result = urllib.request.urlopen(url).read()"
    with contextlib.suppress(ssl.SSLError):
        async with _serving(context) as server:
            assert "CERTIFICATE_VERIFY_FAILED" in await _ask(platform, unique, _worker(body), server.url)


_REFUSED = [
    "http://10.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://nowhere/",
    "http://127.0.0.2/",
    "https://10.0.0.1/",
    "https://169.254.169.254/",
]


@pytest.mark.parametrize("url", _REFUSED)
async def test_what_the_policy_does_not_permit_is_a_403_that_says_so(platform: Any, unique: str, url: str) -> None:
    body = """
response = await httpx.AsyncClient().get(url)
result = f"{response.status_code} {response.text}"
"""
    answer = await _ask(platform, unique, _worker(body, "import httpx"), url)
    host = url.split("/")[2]
    if url.startswith("https"):
        assert answer == "ProxyError: 403 Forbidden"
    else:
        assert answer == f"403 The egress policy of this platform does not permit {host}:80.\n"
    assert f"does not permit {host}:" in platform.logs(unique)


@pytest.mark.parametrize("name", ["without-sockets", "denied-with-sockets"])
async def test_a_worker_that_was_not_given_sockets_has_none(platform: Any, name: str) -> None:
    body = "result = [key for key in os.environ if 'proxy' in key.lower()]; socket.socket()"
    assert await _ask(platform, name, _worker(body), "") == "PermissionError: [Errno 1] Operation not permitted"
    body = "result = [key for key in os.environ if 'proxy' in key.lower()]"
    assert await _ask(platform, name, _worker(body), "") == "[]"


async def test_a_worker_reaches_the_server_by_its_proxy_only(platform: Any, unique: str) -> None:
    async with _serving() as server:
        body = """
outcomes = []
for address in (('127.0.0.1', int(url.split(':')[-1])), ('127.0.0.1', 8787), ('8.8.8.8', 53)):
    try: socket.create_connection(address, 1)
    except OSError as error: outcomes.append(type(error).__name__)
result = outcomes
"""
        answer = await _ask(platform, unique, _worker(body), server.url)
    assert answer in ("['PermissionError', 'PermissionError', 'PermissionError']", _WITHOUT_LANDLOCK_OF_TCP)
    assert server.heads == []


_WITHOUT_LANDLOCK_OF_TCP = "['ConnectionRefusedError', 'ConnectionRefusedError', 'OSError']"


async def test_a_connection_ends_with_its_process(platform: Any, unique: str) -> None:
    body = """
self_socket = socket.create_connection(('127.0.0.1', 3128))
target = url.removeprefix('http://').encode()
self_socket.sendall(b'CONNECT ' + target + b' HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
result = self_socket.recv(100).decode()
globals()['kept'] = self_socket
"""
    async with _serving() as server:
        assert (await _ask(platform, unique, _worker(body), server.url)).startswith("HTTP/1.1 200 ")
        await _until(lambda: server.open == 1)
        before = len(os.listdir("/proc/self/fd"))
        platform.host.removed(None, unique)
        await _until(lambda: server.open == 0)
        await _until(lambda: len(os.listdir("/proc/self/fd")) < before)


async def test_a_hundred_requests_at_once_are_all_answered(platform: Any, unique: str) -> None:
    body = """
async with httpx.AsyncClient(timeout=30) as client:
    responses = await asyncio.gather(*(client.get(f'{url}/{number}') for number in range(100)))
result = sum(response.status_code == 200 for response in responses)
"""
    async with _serving() as server:
        assert await _ask(platform, unique, _worker(body, "import httpx"), server.url) == "100"


_DISPATCHER = """
from workers import Response, WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        user = self.env.DISPATCHER.get("user-behind-outbound")
        return await user.fetch("http://x/", headers={"x-url": request.headers["x-url"]})
"""


async def test_behind_an_outbound_worker_the_proxy_is_shut(platform: Any) -> None:
    body = """
try: result = urllib.request.urlopen(url).read().decode()
except urllib.error.HTTPError as error: result = f"{error.code} {error.read().decode()}"
"""
    platform.deploy("user-behind-outbound", _worker(body), namespace="proxied")
    plain = ("dispatch_namespace", {"namespace": "proxied"})
    outbound = {"worker": {"service": "some-outbound", "environment": None}, "params": []}
    platform.deploy("plain-dispatcher", _DISPATCHER, bindings={"DISPATCHER": plain})
    platform.deploy(
        "outbound-dispatcher",
        _DISPATCHER,
        bindings={"DISPATCHER": ("dispatch_namespace", {"namespace": "proxied", "outbound": outbound})},
    )
    async with _serving() as server:
        headers = [("x-url", server.url)]
        assert await platform.text("plain-dispatcher", headers=headers) == "GET / HTTP/1.1|"
        refusal = "403 Requests of this Worker go through its outbound Worker: use fetch().\n"
        assert await platform.text("outbound-dispatcher", headers=headers) == refusal
        # The same process, which may remember what it was told behind the outbound Worker.
        assert await platform.text("plain-dispatcher", headers=headers) == refusal
