"""`tenantry deploy`: what goes over the wire, what is made, what users read when it goes wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenantry.cli import main
from tenantry.cli.client import ApiError, Client
from tenantry.cli.deploy import deploy_project
from tenantry.config.deployment import AssetsConfig
from tenantry.config.wrangler import load_project
from tenantry.errors import ConfigError

Project = Callable[..., Path]

EVERYTHING: dict[str, Any] = {
    "vars": {"GREETING": "hi", "LEVELS": [1, None]},
    "kv_namespaces": [{"binding": "USER_KV"}],
    "r2_buckets": [{"binding": "USER_R2", "bucket_name": "files"}, {"binding": "OTHER_R2"}],
    "d1_databases": [{"binding": "USER_DB", "database_name": "db"}],
    "dispatch_namespaces": [{"binding": "DISPATCHER", "namespace": "bindings"}],
    "limits": {"cpu_ms": 40},
}


@pytest.fixture
def client(server: Any) -> Any:
    with Client(server.control_url, server.admin_token) as opened:
        yield opened


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    code = raised.value.code
    return code if isinstance(code, int) else 0


def test_a_first_deploy_makes_what_is_not_there(server: Any, client: Client, project: Project) -> None:
    folder = project("w", **EVERYTHING)
    (folder / "python_modules").mkdir()
    (folder / "python_modules/lib.py").write_text("x")

    deployed = deploy_project(client, load_project(folder), None)

    worker = server.workers[(None, "w")]
    assert deployed.version_id == worker.version_id
    fields = {binding.name: dict(binding.fields) for binding in worker.bindings}
    assert fields["GREETING"] == {"text": "hi"}
    assert fields["LEVELS"] == {"json": [1, None]}
    assert fields["USER_KV"] == {"namespace_id": deployed.resources.kv[0]}
    assert fields["USER_R2"] == {"bucket_name": "files"}
    assert fields["OTHER_R2"] == {"bucket_name": "w-other-r2"}
    assert fields["USER_DB"]["id"] == deployed.resources.d1[0]
    assert fields["DISPATCHER"] == {"namespace": "bindings"}
    assert worker.limits.cpu_ms == 40
    assert sorted(deployed.resources.made) == [
        "D1 database db",
        "KV namespace w-user-kv",
        "R2 bucket files",
        "R2 bucket w-other-r2",
        "dispatch namespace bindings",
    ]
    assert (server.bundles.folder(worker.bundle) / "python_modules/lib.py").read_text() == "x"


def test_assets_go_up_once_and_with_their_rules(server: Any, client: Client, project: Project) -> None:
    config = {"directory": "public", "binding": "ASSETS", "run_worker_first": ["/api/*"]}
    folder = project("w", assets=config)
    public = folder / "public"
    public.mkdir()
    files = {"index.html": "home", "_headers": "/*\n  A: b\n", ".assetsignore": "*.map", "x.map": "no"}
    for name, text in files.items():
        (public / name).write_text(text)
    sent: list[int] = []
    upload = client.upload_assets
    client.upload_assets = lambda token, files: (sent.append(len(files)), upload(token, files))[1]  # type: ignore[method-assign]

    first = deploy_project(client, load_project(folder), None)
    assert deploy_project(client, load_project(folder), None).version_id == first.version_id
    (public / "more.txt").write_text("more")
    deploy_project(client, load_project(folder), None)

    worker = server.workers[(None, "w")]
    assert sent == [1, 1], "what is there is not sent again"
    assert worker.assets.config == AssetsConfig(run_worker_first=("/api/*",), headers=files["_headers"])
    assert ("ASSETS", "assets") in {(binding.name, binding.type) for binding in worker.bindings}
    (folder / "wrangler.jsonc").write_text(
        '{"name": "w", "compatibility_date": "2026-01-15", "assets": {"directory": "public"}}'
    )
    deploy_project(client, load_project(folder), None)
    assert server.workers[(None, "w")].main_module == ""


def test_an_outbound_worker_of_a_file_is_one_of_the_api(server: Any, client: Client, project: Project) -> None:
    outbound = {"service": "out", "parameters": ["customer", "plan"]}
    binding = {"binding": "DISPATCHER", "namespace": "bindings", "outbound": outbound}

    deploy_project(client, load_project(project("w", dispatch_namespaces=[binding])), None)

    (kept,) = server.workers[(None, "w")].bindings
    params = [{"name": "customer"}, {"name": "plan"}]
    assert kept.fields == {"namespace": "bindings", "outbound": {"worker": {"service": "out"}, "params": params}}


def test_a_second_deploy_finds_it_all_and_is_the_same_version(client: Client, project: Project) -> None:
    loaded = load_project(project("w", **EVERYTHING))
    first = deploy_project(client, loaded, None)

    second = deploy_project(client, loaded, None)

    assert second.version_id == first.version_id
    assert second.resources.made == []
    assert (second.resources.kv, second.resources.d1) == (first.resources.kv, first.resources.d1)


def test_a_resource_with_an_id_is_not_looked_up(server: Any, client: Client, project: Project) -> None:
    kv = client.create_kv_namespace("elsewhere")
    server.requests.clear()

    deploy_project(client, load_project(project("w", kv_namespaces=[{"binding": "KV", "id": kv}])), None)

    assert [line for line in server.requests if "storage" in line] == []


def test_a_resource_made_by_somebody_else_meanwhile_is_taken(
    client: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_project(project("w", **EVERYTHING))
    first = deploy_project(client, loaded, None)
    looks = {"kv": 0, "d1": 0}
    find_kv, find_d1 = client.kv_namespace, client.database

    def late(kind: str, find: Callable[[str], str | None]) -> Callable[[str], str | None]:
        def look(name: str) -> str | None:
            looks[kind] += 1
            return None if looks[kind] == 1 else find(name)

        return look

    monkeypatch.setattr(client, "kv_namespace", late("kv", find_kv))
    monkeypatch.setattr(client, "database", late("d1", find_d1))
    monkeypatch.setattr(client, "has_bucket", lambda name: False)

    second = deploy_project(client, loaded, None)

    assert (second.resources.kv, second.resources.d1) == (first.resources.kv, first.resources.d1)
    assert second.resources.made == []


def test_a_service_has_to_be_there(server: Any, client: Client, project: Project) -> None:
    service = {"service": "auth", "entrypoint": "Admin", "props": {"tenant": "acme"}}
    loaded = load_project(
        project(
            "w", services=[{"binding": "AUTH", **service}], observability={"enabled": True, "head_sampling_rate": 0.5}
        )
    )
    with pytest.raises(ApiError, match=r"binding AUTH: .*'auth' not found"):
        deploy_project(client, loaded, None)

    deploy_project(client, load_project(project("auth")), None)
    deploy_project(client, loaded, None)

    worker = server.workers[(None, "w")]
    assert [(binding.type, binding.fields) for binding in worker.bindings] == [("service", service)]
    assert worker.kept_rate == 0.5


def test_the_command_prints_the_version_alone_on_stdout(
    server: Any, project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANTRY_URL", server.control_url)
    monkeypatch.setenv("TENANTRY_TOKEN", server.admin_token)
    folder = project("w", kv_namespaces=[{"binding": "KV"}], routes=["x"])

    assert run("deploy", str(folder)) == 0

    captured = capsys.readouterr()
    assert captured.out == f"Current Version ID: {server.workers[(None, 'w')].version_id}\n"
    assert "Made KV namespace w-kv" in captured.err
    assert '"routes" has no effect here yet' in captured.err

    assert run("deploy", str(folder), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "w",
        "namespace": None,
        "version_id": server.workers[(None, "w")].version_id,
        "made": [],
    }


def test_deploying_into_a_namespace(server: Any, client: Client, project: Project) -> None:
    client.create_dispatch_namespace("bindings")
    arguments = ["--url", server.control_url + "/client/v4/", "--token", server.admin_token]

    assert run("deploy", str(project()), "--dispatch-namespace", "bindings", *arguments) == 0

    assert ("bindings", "w") in server.workers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--token", ""], "no API token"),
        (["--token", "wrong"], "Authentication error [code: 10000]"),
        (["--url", "not a url"], "is not the address of a control plane"),
        (["--url", "http://127.0.0.1:{unheard}"], "does not answer"),
        (["--account", "f" * 32], "[code: 7003]"),
        (["--dispatch-namespace", "absent"], "Deploy the Worker that binds the namespace first"),
    ],
)
def test_mistakes_are_one_line_on_stderr(
    server: Any, project: Project, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # which nobody else can listen on now
        port = unheard.getsockname()[1]
        given = [argument.replace("{unheard}", str(port)) for argument in arguments]

        code = run("deploy", str(project()), "--url", server.control_url, "--token", server.admin_token, *given)

    captured = capsys.readouterr()
    assert code == 1
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err


def test_a_bad_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("deploy", str(tmp_path), "--token", "x") == 1
    assert "holds no wrangler configuration" in capsys.readouterr().err


def test_what_a_server_says_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from tenantry.cli import output

    output.fail("\x1b[2J[red]gone\r\n\u202e")

    assert capsys.readouterr().err == "error:  [2J[red]gone   \n"


def test_an_address_that_is_no_control_plane_is_told(tmp_path: Path) -> None:
    import httpx

    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>"))
    with (
        Client("http://web.example", "t", transport=transport) as client,
        pytest.raises(ApiError, match="not a control"),
    ):
        assert client.account_id


def test_a_token_for_several_accounts_needs_a_choice() -> None:
    import httpx

    answer = {"success": True, "errors": [], "messages": [], "result": [{"id": "a"}, {"id": "b"}]}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    with Client("http://x", "t", transport=transport) as client, pytest.raises(ConfigError, match="--account"):
        assert client.account_id


@pytest.mark.parametrize("command", [[], ["dev"], ["deploy"]])
def test_help_shows_how(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--help") == 0
    shown = capsys.readouterr().out
    assert "tenantry" in shown
    if command:
        assert f"tenantry {command[0]} " in shown.partition("Examples")[2]
