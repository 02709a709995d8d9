"""Uploads by somebody who means harm, row by row of the threats to a control plane that are not told of elsewhere here:
`test_api_deploy` has those to the form, `test_metadata` and `test_names` those to what is in it."""

from __future__ import annotations

import asyncio
import gzip
import secrets
from typing import Any

import pytest

from tenantry.control.names import module_name_untrusted
from tenantry.control.schema import accounts


async def test_a_compressed_upload_is_refused_and_not_unpacked(control: Any) -> None:
    """A bomb has nobody who opens it: nothing of an upload is ever decompressed."""
    bomb = gzip.compress(b"\0" * 10_000_000)
    for headers in (
        {"Content-Type": "multipart/form-data; boundary=x", "Content-Encoding": "gzip"},
        {"Content-Type": "application/zip"},
        {"Content-Type": "application/gzip"},
    ):
        response = await control.call("PUT", "/workers/scripts/w", content=bomb, headers=headers)
        assert (response.status_code, response.json()["errors"][0]["code"]) == (400, 10021), headers
    stored = await control.deploy("w", files={"entry.py": b"", "data/bomb.gz": bomb})
    assert stored.status_code == 200
    assert (control.bundles.folder(stored.json()["result"]["etag"]) / "data/bomb.gz").stat().st_size == len(bomb)


@pytest.mark.parametrize(
    "name",
    [
        "python_modules/numpy/core/_multiarray.cpython-313-wasm32-emscripten.so",
        "python_modules/numpy-2.3-cp313-cp313-pyodide_2025_0_wasm32.whl",
    ],
)
async def test_what_is_built_for_webassembly_is_named_with_what_to_do(control: Any, name: str) -> None:
    response = await control.deploy("w", files={"entry.py": b"", name: b"\0asm"})

    message = response.json()["errors"][0]["message"]
    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, 10021)
    assert name in message
    assert "pip install --target python_modules" in message
    assert control.deployments.calls == []


async def test_javascript_is_told_which_runtime_it_needs(control: Any) -> None:
    for metadata in ({"main_module": "index.js"}, {"main_module": "worker"}, {"main_module": None, "body_part": "s"}):
        response = await control.deploy("w", files={"index.js": b"export default {}"}, **metadata)
        assert response.status_code == 400
        assert "workerd runtime" in response.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("table", "binding"),
    [
        ("kv", {"type": "kv_namespace", "namespace_id": "ID"}),
        ("r2", {"type": "r2_bucket", "bucket_name": "ID"}),
        ("d1", {"type": "d1", "database_id": "ID"}),
        ("namespace", {"type": "dispatch_namespace", "namespace": "ID"}),
    ],
)
async def test_what_is_another_accounts_cannot_be_bound(control: Any, table: str, binding: dict[str, str]) -> None:
    other = secrets.token_hex(16)
    with control.store._database.write() as connection:
        connection.execute(accounts.insert().values(id=other, name="other", created_on="2026-01-01T00:00:00Z"))
    resources = control.store.resources
    made = {
        "kv": lambda: resources.create_kv_namespace(other, "foreign").id,
        "r2": lambda: resources.create_bucket(other, "foreign").name,
        "d1": lambda: resources.create_database(other, "foreign").id,
        "namespace": lambda: resources.create_dispatch_namespace(other, "foreign").name,
    }[table]()
    named = {"name": "B", **{key: made if value == "ID" else value for key, value in binding.items()}}

    theirs = await control.deploy("w", bindings=[named])
    missing = await control.deploy(
        "w", bindings=[{**named, **{key: value.replace("ID", "0" * 32) for key, value in binding.items()}}]
    )

    assert theirs.status_code == missing.status_code == 400
    assert theirs.json()["errors"][0]["code"] == missing.json()["errors"][0]["code"], "there or not: it looks the same"
    assert control.deployments.calls == []


async def test_deploys_and_deletions_at_once_end_in_one_state(control: Any) -> None:
    sources = [f"x = {number}".encode() for number in range(10)]

    await asyncio.gather(
        *(control.deploy(files={"entry.py": source}) for source in sources),
        *(control.call("DELETE", "/workers/scripts/w") for _ in range(10)),
    )

    stored = {version.version_id for version in control.store.all_deployed()}
    running = {version.version_id for version in control.deployments.workers.values()}
    assert stored == running
    await control.call("DELETE", "/workers/scripts/w")
    assert control.deployments.workers == {}
    assert list(control.store.all_deployed()) == []


def test_names_of_links_and_devices_are_names_of_files() -> None:
    """A form has no links, no devices and no modes: a part is bytes with a name."""
    for name in ("a -> /etc/passwd", "con", "dev/null"):
        assert module_name_untrusted(name) == name
