"""Workers by wrangler: deployed, split, rolled back, deleted, in and outside of dispatch namespaces; secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

SOURCE = """
from workers import WorkerEntrypoint, Response

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("VERSION" + str(getattr(self.env, "TOKEN", "")))
"""


def answer(platform: Any, name: str, **headers: str) -> str:
    """What a user Worker says, through the dispatcher."""
    response = platform.get(f"/customers/{name}", **headers)
    assert response.status_code == 200, response.text
    return str(response.text)


def deployed(platform: Any, name: str) -> list[tuple[str, float]]:
    """The current deployment of an ordinary Worker, as the API says."""
    with platform.api() as api:
        current = api.get(f"/workers/scripts/{name}/deployments").json()["result"]["deployments"][0]
    return [(share["version_id"], share["percentage"]) for share in current["versions"]]


def version_of(record: list[dict[str, Any]]) -> str:
    return str(next(entry["version_id"] for entry in record if "version_id" in entry))


def test_the_life_of_a_worker(wrangler: Any, platform: Any, tmp_path: Path) -> None:
    project = platform.write_project(tmp_path, {"name": "app", "vars": {"GREETING": "hi", "LIST": [1]}}, SOURCE)
    entry = project / "src" / "entry.py"

    first = version_of(wrangler("deploy", cwd=project).record)
    entry.write_text(SOURCE.replace("VERSION", "second"))
    second = version_of(wrangler("deploy", "--message", "better", cwd=project).record)
    assert deployed(platform, "app") == [(second, 100)]

    entry.write_text(SOURCE.replace("VERSION", "third"))
    third = version_of(wrangler("versions", "upload", "--tag", "t3", cwd=project).record)
    assert deployed(platform, "app") == [(second, 100)], "an upload puts nothing in charge"

    wrangler("versions", "deploy", f"{second}@90", f"{third}@10", "-y", cwd=project)
    assert deployed(platform, "app") == [(second, 90), (third, 10)]
    if wrangler.is_newest:
        status = str(wrangler("deployments", "status", cwd=project))
        assert f"(90%) {second}" in status
        assert f"(10%) {third}" in status

    wrangler("rollback", first, "--message", "it broke", "-y", cwd=project)
    assert deployed(platform, "app") == [(first, 100)]
    if wrangler.is_newest:
        listed = str(wrangler("deployments", "list", cwd=project))
        assert listed.index(second) < listed.rindex(first)
        assert "it broke" in listed
        assert "Rollback" in listed
        versions = str(wrangler("versions", "list", cwd=project))
        assert all(version in versions for version in (first, second, third))
        assert "t3" in versions

    wrangler("delete", "--force", cwd=project)
    with platform.api() as api:
        assert api.get("/workers/scripts/app/settings").status_code == 404


def test_a_user_worker_with_everything_that_can_be_bound(wrangler: Any, platform: Any, tmp_path: Path) -> None:
    source = """
from workers import WorkerEntrypoint, Response
from greeting import greet
import vendored

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        env = self.env
        await env.STORE.put("k", "kv")
        await env.FILES.put("f", "r2")
        await env.DB.exec("CREATE TABLE IF NOT EXISTS t (a TEXT)")
        rows = (await env.DB.prepare("SELECT 'd1' AS a").first()).a
        found = [await env.STORE.get("k"), await (await env.FILES.get("f")).text(), rows, env.GREETING, env.SETTINGS.a,
                 env.TOKEN, greet(), vendored.NAME]
        return Response(" ".join(str(item) for item in found))
"""
    name = f"everything-{Path(wrangler.script).parents[3].name}"
    with platform.api() as api:
        kv = api.post("/storage/kv/namespaces", json={"title": name}).json()["result"]["id"]
        d1 = api.post("/d1/database", json={"name": name}).json()["result"]["uuid"]
        api.post("/r2/buckets", json={"name": name})
    config = {
        "name": name,
        "vars": {"GREETING": "hello", "SETTINGS": {"a": "json"}},
        "kv_namespaces": [{"binding": "STORE", "id": kv}],
        "r2_buckets": [{"binding": "FILES", "bucket_name": name}],
        "d1_databases": [{"binding": "DB", "database_id": d1, "database_name": name}],
    }
    project = platform.write_project(tmp_path, config, source)
    (project / "src" / "greeting.py").write_text("def greet(): return 'module'\n")
    package = project / "python_modules" / "vendored"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from vendored.inner import NAME\n")
    (package / "inner.py").write_text("NAME = 'vendored'\n")
    (project / "python_modules" / ".synced").write_text("x")
    (project / "secrets.json").write_text(json.dumps({"TOKEN": "s3cret"}))
    command = ("deploy", "--dispatch-namespace", "customers")

    wrangler(*command, "--secrets-file", "secrets.json", cwd=project)
    assert answer(platform, name) == "kv r2 d1 hello json s3cret module vendored"

    (project / "src" / "greeting.py").write_text("def greet(): return 'again'\n")
    wrangler(*command, cwd=project)
    assert answer(platform, name) == "kv r2 d1 hello json s3cret again vendored", "the secret stays"


def test_a_user_worker_of_files_only(wrangler: Any, platform: Any, tmp_path: Path) -> None:
    name = f"files-{Path(wrangler.script).parents[3].name}"
    folder = tmp_path / "public" / "customers" / name
    folder.mkdir(parents=True)
    folder.with_suffix(".html").write_text("<h1>a page</h1>")
    (tmp_path / "public" / "_headers").write_text("/*\n  X-Site: yes\n")
    config = {"name": name, "compatibility_date": "2026-01-15", "assets": {"directory": "./public"}}
    (tmp_path / "wrangler.jsonc").write_text(json.dumps(config))

    wrangler("deploy", "--dispatch-namespace", "customers", cwd=tmp_path)

    response = platform.get(f"/customers/{name}")
    assert (response.status_code, response.text, response.headers["x-site"]) == (200, "<h1>a page</h1>", "yes")
    known = platform.get(f"/customers/{name}", **{"if-none-match": response.headers["etag"]})
    assert known.status_code == 304


@pytest.mark.usefixtures("front_afterwards")
def test_a_worker_with_files_and_code(newest: Any, platform: Any, tmp_path: Path) -> None:
    """The Worker that gets the visitors' requests, so that they reach it without a dispatcher."""
    source = (
        (platform.project / "src" / "entry.py")
        .read_text()
        .replace(
            'return Response("front")',
            'return await self.env.ASSETS.fetch(request) if path == "hidden" else Response("front")',
        )
    )
    config = {
        "name": "front",
        "dispatch_namespaces": [{"binding": "DISPATCHER", "namespace": "customers"}],
        "assets": {"directory": "./public", "binding": "ASSETS", "run_worker_first": ["/hidden"]},
    }
    project = platform.write_project(tmp_path, config, source)
    (project / "public").mkdir()
    large = bytes(range(256)) * 4096
    for name, content in (("page.html", b"page"), ("hidden.html", b"hidden"), ("large.bin", large)):
        (project / "public" / name).write_bytes(content)

    newest("deploy", cwd=project)

    assert platform.get("/page").text == "page"
    assert platform.get("/large.bin").content == large
    assert platform.get("/hidden").text == "hidden"
    assert platform.get("/elsewhere").text == "front"


def test_a_dispatcher_is_deployed_twice_and_its_resources_made(newest: Any, platform: Any, tmp_path: Path) -> None:
    """Bindings that name no id are made at the first deploy and inherited at the second."""
    name = "provisioned"
    config = {
        "name": name,
        "kv_namespaces": [{"binding": "STORE"}],
        "r2_buckets": [{"binding": "FILES"}],
        "d1_databases": [{"binding": "DB"}],
        "dispatch_namespaces": [{"binding": "DISPATCHER", "namespace": f"{name}-ns"}],
    }
    project = platform.write_project(tmp_path, config, SOURCE)

    def bound() -> dict[str, Any]:
        with platform.api() as api:
            bindings = api.get(f"/workers/scripts/{name}/settings").json()["result"]["bindings"]
        return {binding["name"]: binding for binding in bindings}

    newest("deploy", cwd=project)
    first = bound()
    (project / "src" / "entry.py").write_text(SOURCE.replace("VERSION", "second"))
    newest("deploy", cwd=project)

    assert set(first) == {"STORE", "FILES", "DB", "DISPATCHER"}
    assert first["DISPATCHER"]["namespace"] == f"{name}-ns"
    assert bound() == first


def test_secrets_and_namespaces(newest: Any, platform: Any, tmp_path: Path) -> None:
    project = platform.write_project(tmp_path, {"name": "kept"}, SOURCE)
    newest("deploy", cwd=project)

    newest("secret", "put", "TOKEN", cwd=project, stdin="c4n4ry-one")
    (project / "bulk.json").write_text(json.dumps({"A": "c4n4ry-two", "B": "c4n4ry-three"}))
    newest("secret", "bulk", "bulk.json", cwd=project)
    newest("secret", "delete", "A", cwd=project)
    listed = newest("secret", "list", cwd=project).text

    assert [secret["name"] for secret in json.loads(listed[listed.index("[") :])] == ["TOKEN", "B"]
    with platform.api() as api:
        settings = api.get("/workers/scripts/kept/settings").text
    assert "c4n4ry" not in settings + listed

    newest("dispatch-namespace", "create", "one")
    newest("dispatch-namespace", "rename", "one", "two")
    assert "two" in newest("dispatch-namespace", "list").text
    assert "two" in newest("dispatch-namespace", "get", "two").text
    newest("dispatch-namespace", "delete", "two")
    assert "10007" in newest("dispatch-namespace", "get", "two", fails=True).text


def limited(platform: Any, group: str, *resources: str) -> str:
    """A token of a permission group for these resources."""
    with platform.api() as api:
        groups = {each["name"]: each["id"] for each in api.get("/tokens/permission_groups").json()["result"]}
        policy = {"permission_groups": [{"id": groups[group]}], "resources": dict.fromkeys(resources, "*")}
        made = api.post("/tokens", json={"name": "ci", "policies": [policy]}).json()
    return str(made["result"]["value"])


CALLER = """
from workers import WorkerEntrypoint, Response

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("VERSION " + await self.env.GREET.greet(self.env.NAME))
"""
GREETER = """
from workers import WorkerEntrypoint, Response

class Named(WorkerEntrypoint):
    async def greet(self, name):
        return f"{self.ctx.props.word} {name}"
"""


def test_a_service_is_bound_and_deployed_again_with_a_token_for_the_namespace(
    wrangler: Any, platform: Any, tmp_path: Path
) -> None:
    name = f"caller-{Path(wrangler.script).parents[3].name}"
    metadata = {"main_module": "e.py", "compatibility_date": "2026-01-15", "compatibility_flags": ["python_workers"]}
    with platform.api() as api:
        files = {"metadata": (None, json.dumps(metadata)), "e.py": ("e.py", GREETER, "text/x-python")}
        assert api.put("/workers/scripts/greeter", files=files).status_code == 200
    service = {"binding": "GREET", "service": "greeter", "entrypoint": "Named", "props": {"word": "hello"}}
    config = {"name": name, "vars": {"NAME": name}, "services": [service]}
    project = platform.write_project(tmp_path, config, CALLER.replace("VERSION", "1"))
    command = ("deploy", "--dispatch-namespace", "customers")

    wrangler(*command, cwd=project)
    assert answer(platform, name) == f"1 hello {name}"

    token = limited(platform, "Dispatch Namespace Deploy", "tenantry.dispatch_namespace.customers")
    (project / "src" / "entry.py").write_text(CALLER.replace("VERSION", "2"))
    replace(wrangler, token=token)(*command, cwd=project)
    assert answer(platform, name) == f"2 hello {name}"


def test_a_token_for_one_worker_and_secrets_of_versions(newest: Any, platform: Any, tmp_path: Path) -> None:
    own = replace(newest, token=limited(platform, "Worker Deploy", "tenantry.worker.one"))
    project = platform.write_project(tmp_path, {"name": "one", "vars": {"A": "1"}}, SOURCE)
    first = version_of(own("deploy", cwd=project).record)

    own("versions", "secret", "put", "TOKEN", cwd=project, stdin="c4n4ry-one")
    (project / "bulk.json").write_text(json.dumps({"B": "c4n4ry-two", "TOKEN": None}))
    own("versions", "secret", "bulk", "bulk.json", cwd=project)
    own("versions", "secret", "delete", "B", cwd=project, stdin="y")

    assert deployed(platform, "one") == [(first, 100)], "nothing of it is deployed"
    with platform.api() as api:
        versions = api.get("/workers/scripts/one/versions").json()["result"]["items"]
        assert api.put("/workers/scripts/two", headers={"Authorization": f"Bearer {own.token}"}).status_code == 403
    names = [[binding["name"] for binding in version["resources"]["bindings"]] for version in reversed(versions)]
    assert names[0] == ["A"]
    assert names[1] == ["A", "TOKEN"]
    assert "TOKEN" not in names[-1]
    assert "B" not in names[-1]
    assert "TOKEN" not in own("versions", "secret", "list", cwd=project).text


def test_who_it_is_and_what_is_refused(newest: Any, platform: Any, tmp_path: Path) -> None:
    assert platform.account in newest("whoami").text

    broken = platform.write_project(tmp_path / "broken", {"name": "broken"}, "import not_there\n")
    refused = newest("deploy", cwd=broken, fails=True).text
    assert "10021" in refused
    assert "No module named 'not_there'" in refused
    assert str(platform.data) not in refused

    script = tmp_path / "script"
    script.mkdir()
    (script / "index.js").write_text("export default { fetch() { return new Response('js') } }")
    (script / "wrangler.jsonc").write_text(
        json.dumps({"name": "script", "main": "index.js", "compatibility_date": "2026-01-15"})
    )
    assert "workerd runtime" in newest("deploy", cwd=script, fails=True).text


def test_nothing_but_the_platform_was_within_reach(newest: Any) -> None:
    """What every other test here relies on: a command runs where no address leads anywhere but the platform's."""
    if not newest.closed:
        pytest.skip("this user may not make a network namespace")
    probe = (
        "import socket, sys\n"
        "reached = []\n"
        "for address in (('1.1.1.1', 443), ('127.0.0.1', 22), ('::1', 443)):\n"
        "    try: socket.create_connection(address, 5); reached.append(address)\n"
        "    except OSError: pass\n"
        "try: socket.getaddrinfo('api.cloudflare.com', 443); reached.append('a name')\n"
        "except OSError: pass\n"
        "platform = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)\n"
        "sys.exit(repr(reached) if reached else 0)\n"
    )
    port = newest.platform.about["control"].rpartition(":")[2]
    command = newest.command()[:3]
    done = subprocess.run([*command, sys.executable, "-c", probe, port], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
