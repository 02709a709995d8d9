"""A deploy over HTTP: durable, atomic, told to the data plane once it is; hostile uploads change nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from multipart import PushMultipartParser

from tenantry.config.deployment import WorkerLimits
from tenantry.control import limits
from tenantry.control.store import Store
from tenantry.control.vault import Vault

HEAD = "multipart/form-data; boundary=xyz"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def control(emptied_control: Any) -> Any:
    return emptied_control


async def test_a_deploy_is_answered_with_what_both_clients_read(control: Any) -> None:
    response = await control.deploy("w", limits={"cpu_ms": 50})

    result = response.json()["result"]
    worker = control.deployments.workers[(None, "w")]
    assert response.status_code == 200
    assert result["id"] == "w"
    assert result["deployment_id"] == worker.version_id
    assert result["etag"] == worker.bundle
    assert isinstance(result["startup_time_ms"], int)
    assert worker.main_module == "entry.py"
    assert worker.limits == WorkerLimits(50, None)
    assert (control.bundles.folder(worker.bundle) / "lib/a.py").is_file()


@pytest.mark.asyncio(loop_scope="function")
async def test_an_answered_deploy_is_there_after_a_restart(own_control: Any) -> None:
    control = own_control
    await control.deploy("w")
    await control.call("POST", "/workers/dispatch/namespaces", json={"name": "bindings"})
    await control.deploy("w", "bindings", {"entry.py": b"other"})
    control.store.close()

    again = Store(control.data / "control.db", Vault.open(control.data / "secrets.keys"))
    found = {worker.namespace: worker for worker in again.all_deployed()}
    again.close()

    assert found == {
        None: control.deployments.workers[(None, "w")],
        "bindings": control.deployments.workers[("bindings", "w")],
    }


async def test_the_same_deploy_again_is_the_same_version(control: Any) -> None:
    first = (await control.deploy()).json()["result"]
    second = (await control.deploy()).json()["result"]
    assert control.deployments.calls == [("deployed", None, "w")], "it keeps its warm processes"
    third = (await control.deploy(compatibility_date="2026-01-16")).json()["result"]

    assert second == first
    assert third["deployment_id"] != first["deployment_id"]
    assert third["etag"] == first["etag"], "the files are the same"


async def test_bindings_to_what_exists(control: Any) -> None:
    kv = (await control.call("POST", "/storage/kv/namespaces", json={"title": "t"})).json()["result"]["id"]
    d1 = (await control.call("POST", "/d1/database", json={"name": "db"})).json()["result"]["uuid"]
    await control.call("POST", "/r2/buckets", json={"name": "files"})
    await control.call("POST", "/workers/dispatch/namespaces", json={"name": "bindings"})
    bindings = [
        {"name": "KV", "type": "kv_namespace", "namespace_id": kv},
        {"name": "R2", "type": "r2_bucket", "bucket_name": "files"},
        {"name": "DB", "type": "d1", "id": d1},
        {"name": "DISPATCHER", "type": "dispatch_namespace", "namespace": "bindings"},
        {"name": "TEXT", "type": "plain_text", "text": "hi"},
    ]

    response = await control.deploy(bindings=bindings)

    assert response.status_code == 200, response.text
    fields = {binding.name: dict(binding.fields) for binding in control.deployments.workers[(None, "w")].bindings}
    assert fields == {
        "KV": {"namespace_id": kv},
        "R2": {"bucket_name": "files"},
        "DB": {"id": d1, "database_id": d1},
        "DISPATCHER": {"namespace": "bindings"},
        "TEXT": {"text": "hi"},
    }


@pytest.mark.parametrize(
    ("binding", "code"),
    [
        ({"type": "kv_namespace", "namespace_id": "0" * 32}, 10041),
        ({"type": "kv_namespace", "namespace_id": "zzz"}, 10042),
        ({"type": "r2_bucket", "bucket_name": "nope"}, 10085),
        ({"type": "d1", "database_id": "nope"}, 10181),
        ({"type": "dispatch_namespace", "namespace": "nope"}, 10021),
        ({"type": "service", "service": "nope"}, 10143),
        ({"type": "service", "service": "../x"}, 10016),
        ({"type": "service", "service": "w", "environment": "staging"}, 10021),
        ({"type": "service", "service": "w", "entrypoint": "no name"}, 10021),
        ({"type": "service", "service": "w", "props": {"big": "x" * 6000}}, 10021),
        ({"type": "service", "service": "w", "cross_account_grant": "g"}, 10021),
        ({"type": "queue", "queue_name": "q"}, 10021),
    ],
)
async def test_a_binding_that_cannot_be_is_a_400_and_deploys_nothing(control: Any, binding: Any, code: int) -> None:
    response = await control.deploy(bindings=[{"name": "B", **binding}])

    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, code)
    assert control.deployments.calls == []
    assert list(control.store.all_deployed()) == []


async def test_inherit_is_strict_when_asked(control: Any) -> None:
    await control.deploy(bindings=[{"name": "A", "type": "plain_text", "text": "1"}])

    kept = await control.deploy(bindings=[{"name": "A", "type": "inherit"}], query="?bindings_inherit=strict")
    lost = await control.deploy(bindings=[{"name": "X", "type": "inherit"}], query="?bindings_inherit=strict")

    assert kept.status_code == 200
    assert control.deployments.workers[(None, "w")].bindings[0].fields["text"] == "1"
    assert lost.status_code == 400
    assert lost.json()["errors"][0]["code"] == 10057
    assert lost.json()["errors"][0]["message"].startswith("inherit binding 'X' is invalid")


async def test_a_secret_never_comes_back(control: Any) -> None:
    response = await control.deploy(bindings=[{"name": "S", "type": "secret_text", "text": "c4n4ry"}])
    script = await control.call("GET", "/workers/scripts/w")

    assert "c4n4ry" not in response.text + script.text


async def test_the_code_comes_back_as_it_was_uploaded(control: Any) -> None:
    await control.deploy("one", files={"entry.py": b"print(1)"})
    await control.deploy("two", files={"entry.py": b"import lib", 'lib/a"b.py': b"\0\r\n--x"})

    one = await control.call("GET", "/workers/scripts/one")
    two = await control.call("GET", "/workers/scripts/two")

    assert one.content == b"print(1)"
    assert one.headers["content-type"].startswith("text/x-python")
    assert one.headers["cf-entrypoint"] == "entry.py"
    with PushMultipartParser(two.headers["content-type"].partition("boundary=")[2]) as parser:
        events = list(parser.parse(two.content))
    assert [event.name for event in events if hasattr(event, "name")] == ["entry.py", 'lib/a"b.py']
    assert [event for event in events if isinstance(event, bytes)] == [b"import lib", b"\0\r\n--x"]


async def test_a_user_worker_is_shown_and_deleted(control: Any) -> None:
    await control.call("POST", "/workers/dispatch/namespaces", json={"name": "bindings"})
    path = "/workers/dispatch/namespaces/bindings/scripts/w"
    absent = await control.call("GET", path)
    deployed = (await control.deploy("w", "bindings")).json()["result"]

    shown = (await control.call("GET", path)).json()["result"]
    removed = await control.call("DELETE", path)
    again = await control.call("DELETE", path)

    assert (absent.status_code, absent.json()["errors"][0]["code"]) == (404, 10092)
    assert shown["dispatch_namespace"] == "bindings"
    assert shown["script"] == deployed
    assert removed.json() == {"success": True, "errors": [], "messages": [], "result": None}
    assert again.status_code == 404
    assert control.deployments.calls == [("deployed", "bindings", "w"), ("removed", "bindings", "w")]


async def test_the_data_plane_hears_of_changes_in_the_order_of_commits(control: Any) -> None:
    sources = [f"x = {number}".encode() for number in range(12)]

    answers = await asyncio.gather(*(control.deploy(files={"entry.py": source}) for source in sources))

    assert [answer.status_code for answer in answers] == [200] * 12
    (stored,) = control.store.all_deployed()
    assert control.deployments.workers[(None, "w")] == stored


async def test_a_client_that_leaves_does_not_part_store_and_data_plane(
    control: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    committing, finish = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    real = control.store.scripts.deploy

    def slow(*arguments: Any, **named: Any) -> Any:
        loop.call_soon_threadsafe(committing.set)
        asyncio.run_coroutine_threadsafe(finish.wait(), loop).result(10)
        return real(*arguments, **named)

    monkeypatch.setattr(control.store.scripts, "deploy", slow)
    request = asyncio.create_task(control.deploy())
    await committing.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    finish.set()

    while not control.deployments.calls:
        await asyncio.sleep(0)
    assert list(control.store.all_deployed()) == [control.deployments.workers[(None, "w")]]


async def test_a_client_that_leaves_amid_an_upload_leaves_nothing(control: Any) -> None:
    part = b'--xyz\r\nContent-Disposition: form-data; name="entry.py"\r\n\r\n' + b"x" * limits.UPLOAD_CHUNK_BYTES
    events = [{"type": "http.request", "body": part, "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return events.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await control.app(
        {
            "type": "http",
            "method": "PUT",
            "path": f"{control.path}/workers/scripts/w",
            "query_string": b"",
            "headers": [
                (b"content-type", HEAD.encode()),
                (b"authorization", f"Bearer {control.token}".encode()),
            ],
        },
        receive,
        send,
    )

    assert sent[0]["status"] == 400, "nobody reads it, and it is not a fault of ours"
    while any(control.bundles.folder("0" * 64).parent.glob(".staging-*")):
        await asyncio.sleep(0.001)
    assert list(control.store.all_deployed()) == []


@pytest.mark.parametrize(
    ("headers", "body", "status", "code", "words"),
    [
        ({"Content-Type": HEAD}, b"", 400, 10021, "malformed"),
        ({"Content-Type": HEAD}, b"\x1f\x8b" + b"\0" * 500, 400, 10021, "malformed"),
        ({"Content-Type": "multipart/form-data"}, b"--xyz--", 400, 10021, "boundary"),
        ({"Content-Type": HEAD}, b"--xyz--\r\n", 400, 10021, "no part named metadata"),
        ({"Content-Type": HEAD, "Content-Length": "999999999999"}, b"", 413, 10027, "larger"),
        ({"Content-Type": HEAD, "Content-Length": "9" * 5000}, b"", 413, 10027, "larger"),
        ({"Content-Type": "application/zip"}, b"PK\x03\x04", 400, 10021, "neither a multipart form nor JSON"),
        ({"Content-Type": "application/json"}, b"{}", 400, 10021, "neither a multipart form nor JSON"),
        ({"Content-Type": "application/json"}, b'{"metadata": {}}', 400, 10021, "main_module is missing"),
        (
            {"Content-Type": "application/json"},
            json.dumps({"metadata": {"main_module": "a.py", "compatibility_flags": ["python_workers"]}}).encode(),
            400,
            10021,
            "no modules",
        ),
        ({"Content-Type": "application/json"}, b" " * (limits.METADATA_BYTES_MAX + 1), 413, 10027, "larger"),
    ],
)
async def test_the_table_of_hostile_uploads(
    control: Any, headers: dict[str, str], body: bytes, status: int, code: int, words: str
) -> None:
    response = await control.call("PUT", "/workers/scripts/w", content=body, headers=headers)

    error = response.json()["errors"][0]
    assert (response.status_code, error["code"]) == (status, code), response.text
    assert words in error["message"]
    assert control.deployments.calls == []


@pytest.mark.parametrize("name", ["-w", "a.b", "%2e%2e%2e", "a%0Ab", "a" * 256, "%C3%A9"])
async def test_a_worker_name_that_is_none_is_refused(control: Any, name: str) -> None:
    response = await control.deploy(name)

    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, 10016)


async def test_metadata_cannot_name_another_account(control: Any) -> None:
    response = await control.deploy(account_id="f" * 32, role="admin", version_id="x")

    assert response.status_code == 200
    assert list(control.deployments.workers) == [(None, "w")]


async def test_the_largest_upload_passes_in_bounded_memory(control: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    from tenantry.control.upload import UploadParser

    real = UploadParser.feed
    monkeypatch.setattr(UploadParser, "feed", lambda self, chunk: (fed.append(len(chunk)), real(self, chunk))[1])

    async def body() -> AsyncIterator[bytes]:
        metadata = json.dumps({"main_module": "entry.py", "compatibility_flags": ["python_workers"]})
        yield f'--xyz\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{metadata}\r\n'.encode()
        yield b'--xyz\r\nContent-Disposition: form-data; name="entry.py"\r\n\r\n'
        for _ in range(256):
            yield b"#" * 32768
        yield b"\r\n--xyz--\r\n"

    response = await control.call("PUT", "/workers/scripts/w", content=body(), headers={"Content-Type": HEAD})

    assert response.status_code == 200, response.text
    assert max(fed) < limits.UPLOAD_CHUNK_BYTES + 65536
    assert isinstance(response, httpx.Response)
