"""The client commands, noun by noun, against a platform that runs: what an operator types instead of curl."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenantry.cli import main

Run = Callable[..., str]

ENTRY = """
from workers import Response, WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("VERSION")
"""


@pytest.fixture
def run(
    platform: Any, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> Run:
    """A command's standard output. It has to succeed."""
    monkeypatch.setenv("TENANTRY_URL", platform.about["control"])
    monkeypatch.setenv("TENANTRY_TOKEN", platform.about["admin_token"])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def call(*words: object) -> str:
        capsysbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        captured = capsysbinary.readouterr()
        assert ended.value.code in (0, None), captured.err.decode()
        return captured.out.decode()

    return call


@pytest.fixture
def fails(run: Run, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """A command's words when it does not succeed."""

    def call(*words: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        assert ended.value.code == 1
        return capsysbinary.readouterr().err.decode()

    return call


def test_kv(run: Run, fails: Run, unique_name: str, tmp_path: Path) -> None:
    title = f"{unique_name}-kv"
    identifier = run("kv", "create", title).strip()
    assert f"{identifier}\t{title}\n" in run("kv", "list")
    run("kv", "put", title, "a/b c", "value")
    assert run("kv", "get", title, "a/b c") == "value"
    (tmp_path / "value").write_bytes(bytes(range(256)))
    run("kv", "put", title, "binary", "--file", tmp_path / "value", "--ttl", "3600")
    run("kv", "get", identifier, "binary", "-o", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == bytes(range(256))
    (tmp_path / "pairs.json").write_text(json.dumps([{"key": f"bulk:{n}", "value": str(n)} for n in range(3)]))
    run("kv", "load", title, tmp_path / "pairs.json")
    assert [line.split("\t")[0] for line in run("kv", "keys", title).splitlines()] == [
        "a/b c",
        "binary",
        "bulk:0",
        "bulk:1",
        "bulk:2",
    ]
    assert len(json.loads(run("kv", "keys", title, "--prefix", "bulk:", "--json"))) == 3
    run("kv", "remove", title, "binary")
    assert "not found" in fails("kv", "get", title, "binary")
    run("kv", "rename", title, f"{title}-2")
    run("kv", "delete", f"{title}-2", "--yes")
    assert identifier not in run("kv", "list")


def test_r2(run: Run, fails: Run, unique_name: str, tmp_path: Path) -> None:
    bucket = f"{unique_name}-r2"
    run("r2", "create", bucket)
    assert f"{bucket}\t" in run("r2", "list")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG" * 1000)
    run("r2", "put", bucket, "2026/a picture.png", tmp_path / "picture.png")
    [listed] = json.loads(run("r2", "objects", bucket, "--prefix", "2026/", "--json"))
    assert (listed["key"], listed["size"], listed["http_metadata"]["contentType"]) == (
        "2026/a picture.png",
        4000,
        "image/png",
    )
    run("r2", "get", bucket, "2026/a picture.png", "-o", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"\x89PNG" * 1000
    assert "not empty" in fails("r2", "delete", bucket)
    run("r2", "remove", bucket, "2026/a picture.png")
    run("r2", "delete", bucket)
    assert f"{bucket}\t" not in run("r2", "list")


def test_d1(run: Run, fails: Run, unique_name: str, tmp_path: Path) -> None:
    name = f"{unique_name}-d1"
    identifier = run("d1", "create", name).strip()
    assert f"{identifier}\t{name}\t" in run("d1", "list")
    run(
        "d1",
        "query",
        name,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT); INSERT INTO orders VALUES (7, 'a')",
    )
    assert run("d1", "query", name, "SELECT * FROM orders WHERE id = ?", "--param", "7") == "7\ta\n"
    assert "no such table" in fails("d1", "query", name, "SELECT * FROM absent")
    run("d1", "export", name, tmp_path / "orders.sql")
    assert "INSERT INTO" in (tmp_path / "orders.sql").read_text()
    other = f"{name}-2"
    run("d1", "create", other)
    run("d1", "import", other, tmp_path / "orders.sql")
    assert run("d1", "query", other, "SELECT what FROM orders") == "a\n"
    for each in (name, other):
        run("d1", "delete", each, "--yes")
    assert identifier not in run("d1", "list")


def test_a_workers_life(run: Run, fails: Run, unique_name: str, tmp_path: Path) -> None:
    namespace, worker = f"{unique_name}-ns", f"{unique_name}-worker"
    run("namespaces", "create", namespace)
    folder = tmp_path / worker
    (folder / "src").mkdir(parents=True)
    config = {
        "name": worker,
        "main": "src/entry.py",
        "compatibility_date": "2026-09-01",
        "compatibility_flags": ["python_workers"],
    }
    (folder / "wrangler.json").write_text(json.dumps(config))
    versions: list[str] = []
    place = ("--dispatch-namespace", namespace)
    for number in ("one", "two"):
        (folder / "src" / "entry.py").write_text(ENTRY.replace("VERSION", number))
        versions.append(run("deploy", folder, *place).split()[-1])
    assert [line.split("\t")[0] for line in run("versions", "list", worker, *place).splitlines()] == versions[::-1]
    run("rollback", worker, *place, "--message", "the new one is worse")
    assert [line.split("\t")[3] for line in run("versions", "list", worker, *place).splitlines()] == ["0%", "100%"]
    run("versions", "deploy", worker, f"{versions[0]}@90", f"{versions[1]}@10", *place)
    assert [line.split("\t")[3] for line in run("versions", "list", worker, *place).splitlines()] == ["10%", "90%"]
    run("versions", "deploy", worker, versions[1], *place)
    assert f"{worker}\t" in run("namespaces", "workers", namespace)
    assert f"{namespace}\t1\t" in run("namespaces", "list")
    run("delete", worker, "--yes", *place)
    assert "not" in fails("versions", "list", worker, *place)
    run("namespaces", "rename", namespace, f"{namespace}-2")
    run("namespaces", "delete", f"{namespace}-2")
    actions = [entry["action"]["type"] for entry in json.loads(run("audit", "--count", "3", "--json"))]
    assert actions[0] == "DELETE"


def test_secrets(run: Run, fails: Run, unique_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = f"{unique_name}-secret"
    folder = tmp_path / worker
    folder.mkdir()
    config = {
        "name": worker,
        "main": "entry.py",
        "compatibility_date": "2026-09-01",
        "compatibility_flags": ["python_workers"],
    }
    (folder / "wrangler.json").write_text(json.dumps(config))
    (folder / "entry.py").write_text(ENTRY)
    run("deploy", folder)
    with (tmp_path / "value").open("w+") as value:
        value.write("canary\n")
        value.seek(0)
        monkeypatch.setattr("sys.stdin", value)
        run("secrets", "put", worker, "API_KEY")
    listed = run("secrets", "list", worker, "--json")
    assert json.loads(listed)[0]["name"] == "API_KEY"
    assert "canary" not in listed
    assert "--force" in fails("rollback", worker)
    run("rollback", worker, "--force")
    run("rollback", worker, "--force")  # to the newest again, which alone can be changed
    run("secrets", "delete", worker, "API_KEY")
    assert json.loads(run("secrets", "list", worker, "--json")) == []
    run("delete", worker, "--yes")
