"""Cloudflare's Python SDK, unmodified, through what this platform offers. A program, for two versions of the SDK do not
fit into one process: `sdk_tour.py URL ACCOUNT TOKEN`. It ends with an AssertionError, or prints the SDK's version.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

import cloudflare

NEW = int(cloudflare.__version__.split(".")[0]) >= 5
SOURCE = (
    b"from workers import WorkerEntrypoint, Response\n"
    b"from lib import NAME\n"
    b"class Default(WorkerEntrypoint):\n"
    b"    async def fetch(self, request):\n"
    b"        return Response(NAME)\n"
)


def metadata(**more: Any) -> dict[str, Any]:
    return {
        "main_module": "entry.py",
        "compatibility_date": "2026-01-15",
        "compatibility_flags": ["python_workers"],
        **more,
    }


def files(name: str = "sdk") -> Any:
    """The two modules of a Worker, as each version wants them."""
    modules = {"entry.py": SOURCE, "lib.py": f"NAME = {name!r}".encode()}
    parts = {key: (key, content, "text/x-python") for key, content in modules.items()}
    return list(parts.values()) if NEW else parts


def result_of(raw: Any) -> Any:
    return json.loads(raw.text() if callable(raw.text) else raw.text)["result"]


def error_of(kind: type[Exception], call: Callable[[], Any]) -> Any:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def accounts(client: Any, account: str) -> None:
    assert client.user.tokens.verify().status == "active"
    assert client.user.get() is not None
    assert [each.id for each in client.accounts.list()] == [account], "its pages end"
    assert client.accounts.get(account_id=account).id == account
    assert [each.account.id for each in client.memberships.list()] == [account]


def user_workers(client: Any, account: str, name: str) -> None:
    namespaces = client.workers_for_platforms.dispatch.namespaces
    made = namespaces.create(account_id=account, name=name)
    where = {"account_id": account, "dispatch_namespace": name}
    assert made.namespace_name == name
    assert name in [each.namespace_name for each in namespaces.list(account_id=account)]
    uploaded = namespaces.scripts.update(
        "w",
        **where,
        metadata=metadata(
            bindings=[
                {"name": "V", "type": "plain_text", "text": "1"},
                {"name": "S", "type": "secret_text", "text": "x"},
            ],
            tags=["plan:pro"],
        ),
        files=files(),
    )
    assert uploaded.id == "w"
    assert isinstance(uploaded.startup_time_ms, int)
    assert namespaces.get(name, account_id=account).script_count == 1
    assert namespaces.scripts.get("w", **where).dispatch_namespace == name
    assert b"NAME" in namespaces.scripts.content.get("w", **where).read()
    assert {each.name for each in namespaces.scripts.bindings.get("w", **where)} == {"V", "S"}
    assert namespaces.scripts.settings.get("w", **where).compatibility_date == "2026-01-15"

    secrets = namespaces.scripts.secrets
    assert secrets.update("w", **where, name="T", text="y", type="secret_text").name == "T"
    assert {each.name for each in secrets.list("w", **where)} == {"S", "T"}
    assert secrets.get("T", script_name="w", **where).type == "secret_text"
    secrets.delete("T", script_name="w", **where)
    assert {each.name for each in secrets.list("w", **where)} == {"S"}

    tags = namespaces.scripts.tags
    assert list(tags.list("w", **where)) == ["plan:pro"]
    assert list(tags.update("w", **where, body=["a", "b"])) == ["a", "b"]
    tags.delete("a", script_name="w", **where)
    assert list(tags.list("w", **where)) == ["b"]
    if NEW:
        secrets.bulk_update("w", **where, secrets={"U": {"name": "U", "text": "z", "type": "secret_text"}, "S": None})
        assert {each.name for each in secrets.list("w", **where)} == {"U"}
        namespaces.scripts.settings.edit("w", **where, settings={"compatibility_date": "2026-03-03"})
        assert namespaces.scripts.settings.get("w", **where).compatibility_date == "2026-03-03"
        namespaces.scripts.content.update("w", **where, metadata={"main_module": "entry.py"}, files=files("again"))
        assert b"again" in namespaces.scripts.content.get("w", **where).read()
    namespaces.scripts.delete("w", **where)
    absent = error_of(cloudflare.NotFoundError, lambda: namespaces.scripts.get("w", **where))
    assert absent.errors[0].code == 10092
    namespaces.delete(name, account_id=account)


def workers(client: Any, account: str, name: str) -> None:
    scripts = client.workers.scripts
    scripts.update(name, account_id=account, metadata=metadata(), files=files())
    first = scripts.deployments.list(name, account_id=account) if NEW else None
    assert name in [each.id for each in scripts.list(account_id=account)]
    assert b"NAME" in scripts.get(name, account_id=account).encode()
    versions = list(scripts.versions.list(name, account_id=account))
    assert len(versions) == 1, "its pages end"
    # Raw: of one version the SDK has a model that pydantic cannot make a schema of.
    raw = scripts.versions.with_raw_response
    shown = result_of(raw.get(versions[0].id, account_id=account, script_name=name))
    assert shown["id"] == versions[0].id
    if NEW:
        assert first is not None
        created = raw.create(name, account_id=account, metadata=metadata(), files=files("second"))
        made = result_of(created)["id"]
        shares = [{"version_id": versions[0].id, "percentage": 90}, {"version_id": made, "percentage": 10}]
        deployment = scripts.deployments.create(name, account_id=account, strategy="percentage", versions=shares)
        assert [share.percentage for share in deployment.versions] == [90, 10]
        again = scripts.deployments.get(deployment.id, account_id=account, script_name=name)
        assert again.id == deployment.id
        scripts.deployments.create(
            name, account_id=account, strategy="percentage", versions=[{"version_id": made, "percentage": 100}]
        )
    settings = scripts.script_and_version_settings.get(name, account_id=account)
    assert settings.compatibility_date == "2026-01-15"
    assert scripts.settings.edit(name, account_id=account, logpush=True).logpush is True
    assert scripts.schedules.update(name, account_id=account, body=[{"cron": "*/5 * * * *"}]).schedules
    assert scripts.schedules.get(name, account_id=account).schedules[0].cron == "*/5 * * * *"
    assert scripts.subdomain.create(name, account_id=account, enabled=True).enabled is True
    assert client.workers.subdomains.get(account_id=account).subdomain
    scripts.secrets.update(name, account_id=account, name="S", text="x", type="secret_text")
    assert [each.name for each in scripts.secrets.list(name, account_id=account)] == ["S"]
    scripts.delete(name, account_id=account)


def assets(client: Any, account: str, name: str) -> None:
    """The files of a Worker without code, and those of a user Worker."""
    content = b"<h1>hello</h1>"
    digest = hashlib.sha256(content).hexdigest()[:32]
    manifest = {"/index.html": {"hash": digest, "size": len(content)}}
    client.workers_for_platforms.dispatch.namespaces.create(account_id=account, name=name)
    user = client.workers_for_platforms.dispatch.namespaces.scripts.asset_upload
    for begun in (
        client.workers.scripts.assets.upload.create(name, account_id=account, manifest=manifest),
        user.create("w", account_id=account, dispatch_namespace=name, manifest=manifest),
    ):
        assert begun.buckets == [[digest]]
        done = client.workers.assets.upload.create(
            account_id=account,
            base64=True,
            body={digest: base64.b64encode(content).decode()},
            extra_headers={"Authorization": f"Bearer {begun.jwt}"},
        )
        assert done.jwt
    where = {"account_id": account, "dispatch_namespace": name}
    scripts = client.workers_for_platforms.dispatch.namespaces.scripts
    scripts.update("w", **where, metadata=metadata(assets={"jwt": done.jwt}), files=files())
    assert scripts.get("w", **where).script.has_assets is True
    scripts.delete("w", **where)
    client.workers_for_platforms.dispatch.namespaces.delete(name, account_id=account)


def resources(client: Any, account: str, name: str) -> None:
    for number in range(3):
        client.kv.namespaces.create(account_id=account, title=f"{name}-{number}")
        client.d1.database.create(account_id=account, name=f"{name}-{number}")
        client.r2.buckets.create(account_id=account, name=f"{name}-{number}")
    titles = [each.title for each in client.kv.namespaces.list(account_id=account, per_page=2)]
    assert len([title for title in titles if title.startswith(name)]) == 3, "its pages end"
    databases = [each.name for each in client.d1.database.list(account_id=account, per_page=2)]
    assert len([each for each in databases if each.startswith(name)]) == 3
    buckets = client.r2.buckets.list(account_id=account, name_contains=name).buckets
    assert len(buckets) == 3


def kv(client: Any, account: str, name: str) -> None:
    namespaces = client.kv.namespaces
    namespace = namespaces.create(account_id=account, title=f"{name}-values").id
    pairs = [{"key": f"a/{number}", "value": str(number)} for number in range(12)]
    namespaces.bulk_update(namespace, account_id=account, body=pairs)
    keys = [each.name for each in namespaces.keys.list(namespace, account_id=account, limit=10)]
    assert len(keys) == 12, "its pages end"
    assert namespaces.values.get("a/7", account_id=account, namespace_id=namespace).read() == b"7"
    if NEW:
        namespaces.values.update(
            "b c", account_id=account, namespace_id=namespace, value=b"raw", metadata={"m": 1}, expiration_ttl=3600
        )
        assert namespaces.values.get("b c", account_id=account, namespace_id=namespace).read() == b"raw"
        assert namespaces.metadata.get("b c", account_id=account, namespace_id=namespace) == {"m": 1}
    namespaces.values.delete("a/7", account_id=account, namespace_id=namespace)
    namespaces.bulk_delete(namespace, account_id=account, body=[pair["key"] for pair in pairs])
    left = [each.name for each in namespaces.keys.list(namespace, account_id=account)]
    assert left == (["b c"] if NEW else [])
    assert namespaces.update(namespace, account_id=account, title=f"{name}-renamed") is not None
    namespaces.delete(namespace, account_id=account)


async def asynchronous(client: Any, account: str, name: str) -> None:
    scripts = client.workers.scripts
    await scripts.update(name, account_id=account, metadata=metadata(), files=files())
    versions = [each.id async for each in scripts.versions.list(name, account_id=account)]
    titles = [each.title async for each in client.kv.namespaces.list(account_id=account, per_page=2)]
    assert len(versions) == 1
    assert titles
    content = await (await client.workers.scripts.content.get(name, account_id=account)).read()
    assert b"NAME" in content
    await scripts.delete(name, account_id=account)


def main() -> None:
    url, account, token = sys.argv[1:]
    name = f"sdk{cloudflare.__version__.replace('.', '')}"
    client = cloudflare.Cloudflare(base_url=url, api_token=token, max_retries=0)
    accounts(client, account)
    user_workers(client, account, f"{name}-ns")
    workers(client, account, name)
    assets(client, account, f"{name}-assets")
    resources(client, account, name)
    kv(client, account, name)
    other = cloudflare.AsyncCloudflare(base_url=url, api_token=token, max_retries=0)
    asyncio.run(asynchronous(other, account, f"{name}-async"))
    refused = cloudflare.Cloudflare(base_url=url, api_token=token, api_email="a@example.com", max_retries=0)
    error = error_of(cloudflare.AuthenticationError, lambda: refused.accounts.get(account_id=account))
    assert "CLOUDFLARE_EMAIL" in str(error)
    print(json.dumps(cloudflare.__version__))


if __name__ == "__main__":
    main()
