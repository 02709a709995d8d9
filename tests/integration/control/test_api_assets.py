"""Static assets over the REST API: uploaded as Cloudflare's clients do it, kept by versions, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import blake3
import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from tenantry.config.deployment import AssetsConfig
from tenantry.control import limits
from tenantry.control.asset_tokens import AssetTokens
from tenantry.control.schema import accounts
from tenantry.services.assets import Asset

FILES = {"/index.html": b"<h1>home</h1>", "/app.js": b"let a = 1", "/empty.txt": b""}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def wranglers_digest(path: str, content: bytes) -> str:
    return blake3.blake3(base64.b64encode(content) + path.rpartition(".")[2].encode()).hexdigest()[:32]


def manifest_of(files: Mapping[str, bytes]) -> dict[str, Any]:
    return {path: {"hash": digest(content), "size": len(content)} for path, content in files.items()}


class Uploader:
    """A client that uploads assets for one Worker."""

    def __init__(self, control: Any, name: str = "w", namespace: str | None = None) -> None:
        self.control = control
        self.name = name
        self.namespace = namespace
        place = "" if namespace is None else f"/dispatch/namespaces/{namespace}"
        self.path = f"/workers{place}/scripts/{name}"

    async def begin(self, manifest: Any) -> httpx.Response:
        response: httpx.Response = await self.control.call(
            "POST", f"{self.path}/assets-upload-session", json={"manifest": manifest}
        )
        return response

    async def send(self, token: str, parts: Any, *, account: str | None = None, query: str = "?base64=true") -> Any:
        """`parts` are pairs of a hash and what is sent for it."""
        return await self.control.http.post(
            f"/client/v4/accounts/{account or self.control.account}/workers/assets/upload{query}",
            headers={"Authorization": f"Bearer {token}"},
            files=[(name, (name, content, "application/null")) for name, content in parts],
        )

    async def upload(self, files: Mapping[str, bytes]) -> str:
        """All of it, to the completion token."""
        begun = (await self.begin(manifest_of(files))).json()["result"]
        contents = {digest(content): base64.b64encode(content) for content in files.values()}
        token = str(begun["jwt"])
        for bucket in begun["buckets"]:
            response = await self.send(begun["jwt"], [(name, contents[name]) for name in bucket])
            assert response.status_code == 201, response.text
            token = response.json()["result"]["jwt"] or token
        return token

    async def deploy(self, token: str | None = None, *, code: bool = True, **metadata: Any) -> httpx.Response:
        if token is not None:
            metadata["assets"] = {"jwt": token, **metadata.get("assets", {})}
        if code:
            response: httpx.Response = await self.control.deploy(self.name, self.namespace, **metadata)
            return response
        document = {"compatibility_date": "2026-01-15", **metadata}
        return await self.control.call("PUT", self.path, files={"metadata": (None, json.dumps(document))})  # type: ignore[no-any-return]

    @property
    def deployed(self) -> Any:
        return self.control.deployments.workers[(self.namespace, self.name)]

    def files(self) -> dict[str, bytes]:
        """What the data plane would serve."""
        assets = self.control.assets.of(self.control.account)
        found = assets.read_manifest(self.deployed.assets.manifest)
        return {path: assets.blob(asset.blob).read_bytes() for path, asset in found.items()}


def refusal(response: httpx.Response) -> tuple[int, int, str]:
    error = response.json()["errors"][0]
    return response.status_code, error["code"], error["message"]


@pytest.fixture
def uploader(control: Any) -> Uploader:
    return Uploader(control)


def on_disk(control: Any) -> set[str]:
    return {path.name for path in (control.data / "assets").rglob("*") if path.is_file()}


def sweep(control: Any) -> None:
    """As a start of the platform does it."""
    control.assets.of(control.account).remove_unreferenced(*control.store.asset_sessions.referenced(control.account))


async def test_files_are_uploaded_once_and_deployed_with_code(control: Any, uploader: Uploader) -> None:
    config = {"html_handling": "none", "run_worker_first": ["/api/*"], "_headers": "/*\n  A: b", "_redirects": "/a /b"}
    token = await uploader.upload(FILES)
    binding = {"name": "ASSETS", "type": "assets"}
    response = await uploader.deploy(token, assets={"config": config}, bindings=[binding])

    shown = response.json()["result"]
    assert (response.status_code, shown["has_assets"], shown["has_modules"]) == (200, True, True)
    assert uploader.files() == FILES
    assert uploader.deployed.assets.config == AssetsConfig("none", "none", ("/api/*",), "/a /b", "/*\n  A: b")
    settings = (await control.call("GET", "/workers/scripts/w/settings")).json()["result"]
    assert settings["bindings"] == [binding]

    changed = {**FILES, "/app.js": b"let a = 2"}
    begun = (await uploader.begin(manifest_of(changed))).json()["result"]
    assert begun["buckets"] == [[digest(b"let a = 2")]]
    again = (await uploader.begin(manifest_of(FILES))).json()["result"]
    assert again["buckets"] == []
    assert (await uploader.deploy(again["jwt"], assets={"config": config}, bindings=[binding])).status_code == 200
    assert len((await control.call("GET", "/workers/scripts/w/versions")).json()["result"]["items"]) == 1


async def test_a_worker_may_have_assets_only_in_a_namespace_too(control: Any) -> None:
    await control.call("POST", "/workers/dispatch/namespaces", json={"name": "customers"})
    for uploader in (Uploader(control, "plain"), Uploader(control, "user", "customers")):
        response = await uploader.deploy(await uploader.upload(FILES), code=False)
        assert response.status_code == 200, response.text
        shown = response.json()["result"]
        assert (shown["has_assets"], shown["has_modules"], shown["startup_time_ms"]) == (True, False, 0)
        assert (uploader.deployed.main_module, uploader.deployed.bundle) == ("", "")
        assert uploader.files() == FILES
        assert refusal(await control.call("GET", uploader.path + "/content"))[:2] == (404, 10007)
        form = json.dumps({"metadata": {"assets": {"jwt": await uploader.upload({**FILES, "/more": b"x"})}}})
        assert (await control.call("PUT", uploader.path, content=form)).status_code == 200
        assert uploader.files()["/more"] == b"x"


async def test_assets_are_kept_where_the_upload_says_so_and_gone_where_it_does_not(uploader: Uploader) -> None:
    await uploader.deploy(await uploader.upload(FILES), assets={"config": {"not_found_handling": "404-page"}})
    await uploader.deploy(keep_assets=True, files={"entry.py": b"changed"})
    assert uploader.files() == FILES
    assert uploader.deployed.assets.config.not_found_handling == "404-page"
    await uploader.deploy(keep_assets=True, assets={"config": {"html_handling": "none"}})
    assert uploader.deployed.assets.config == AssetsConfig(html_handling="none")

    bound = [{"name": "ASSETS", "type": "assets"}]
    assert (await uploader.deploy(bindings=bound)).status_code == 400
    await uploader.deploy()
    assert uploader.deployed.assets is None
    assert refusal(await uploader.deploy(keep_assets=True, code=False))[:2] == (400, 10021)


async def test_a_rollback_brings_the_files_of_its_version(control: Any, uploader: Uploader) -> None:
    await uploader.deploy(await uploader.upload(FILES))
    first = uploader.deployed.version_id
    await uploader.deploy(await uploader.upload({"/other.txt": b"other"}))
    second = uploader.deployed.version_id
    assert uploader.files() == {"/other.txt": b"other"}
    sweep(control)

    shares = [{"version_id": first, "percentage": 100}]
    await control.call("POST", "/workers/scripts/w/deployments", json={"strategy": "percentage", "versions": shares})
    assert uploader.files() == FILES
    split = [{"version_id": first, "percentage": 90}, {"version_id": second, "percentage": 10}]
    await control.call("POST", "/workers/scripts/w/deployments", json={"strategy": "percentage", "versions": split})
    manifests = {worker.assets.manifest for worker in control.deployments.splits[(None, "w")]}
    assert len(manifests) == 2


async def test_wranglers_hashes_and_plain_bodies_are_taken(control: Any, uploader: Uploader) -> None:
    content = b"<p>wrangler</p>"
    name, plain = wranglers_digest("/a.html", content), digest(content)
    manifest = {"/a.html": {"hash": name, "size": len(content)}, "/b.html": {"hash": plain, "size": len(content)}}
    begun = (await uploader.begin(manifest)).json()["result"]
    assert begun["buckets"] == [[name, plain]]

    half = await uploader.send(begun["jwt"], [(name, content)], query="")
    assert (half.status_code, half.json()["result"]) == (201, {"jwt": None})
    last = await control.http.post(
        f"{control.path}/workers/assets/upload/{plain}",
        headers={"Authorization": f"Bearer {begun['jwt']}", "Content-Type": "text/html"},
        content=content,
    )
    assert last.status_code == 201
    await uploader.deploy(last.json()["result"]["jwt"])
    assert uploader.files() == {"/a.html": content, "/b.html": content}
    assert len([name for name in on_disk(control) if name == hashlib.sha256(content).hexdigest()]) == 1


async def test_many_files_come_in_several_buckets(uploader: Uploader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ASSET_BUCKET_FILES_MAX", 2)
    monkeypatch.setattr(limits, "ASSET_BUCKET_BYTES_MAX", 10)
    files = {f"/{number}": bytes([number]) * size for number, size in enumerate((1, 2, 3, 8, 4, 50))}
    buckets = (await uploader.begin(manifest_of(files))).json()["result"]["buckets"]
    names = [digest(content) for content in files.values()]
    assert buckets == [names[:2], [names[2]], [names[3]], [names[4]], [names[5]]]
    await uploader.deploy(await uploader.upload(files))
    assert uploader.files() == files


# What a stranger might try -----------------------------------------------------------------------------------------


async def test_the_table_of_refused_manifests(uploader: Uploader) -> None:
    table: list[tuple[Any, int, str]] = [
        ({"/../etc/passwd": {"hash": "a" * 32, "size": 1}}, 400, "none that is . or .."),
        ({"/a\0": {"hash": "a" * 32, "size": 1}}, 400, "no control characters"),
        ({"a": {"hash": "a" * 32, "size": 1}}, 400, "begins with a slash"),
        ({"/a": {"hash": "../../x", "size": 1}}, 400, "32 lower-case hexadecimal digits"),
        ({"/a": {"hash": "a" * 32, "size": 25 * 1024 * 1024 + 1}}, 413, "Keep larger ones in R2"),
        ({"/a": {"hash": "a" * 32, "size": 1.5}}, 400, "Expected `int`"),
        ({"/a": {"hash": "a" * 32}}, 400, "missing required field `size`"),
        ([], 400, "Expected `object`"),
    ]
    for manifest, status, words in table:
        found, code, message = refusal(await uploader.begin(manifest))
        assert (found, code, words in message) == (status, 10027 if status == 413 else 10021, True), (manifest, message)


async def test_files_are_held_to_the_manifest_and_leave_nothing_behind(control: Any, uploader: Uploader) -> None:
    content = b"0123456789"
    name = digest(content)
    token = (await uploader.begin({"/a": {"hash": name, "size": 10}})).json()["result"]["jwt"]
    encoded = base64.b64encode(content)
    table: list[tuple[list[tuple[str, bytes]], int, str]] = [
        ([(name, base64.b64encode(b"9876543210"))], 400, "is not the hash of the file"),
        ([(name, base64.b64encode(content + b"0"))], 413, "larger than the 10 bytes announced"),
        ([(name, base64.b64encode(content[:-1]))], 400, "has 9 bytes, not the 10 announced"),
        ([(name, encoded + encoded)], 400, "is not base64"),
        ([(name, b"!" * 12)], 400, "is not base64"),
        ([(name, encoded[:-1])], 400, "breaks off"),
        ([("f" * 32, encoded)], 400, "is the hash of no file"),
        ([("../../../etc/passwd", encoded)], 400, "is the hash of no file"),
        ([(name, encoded), (name, encoded)], 400, "two files with the hash"),
        ([(name, encoded), ("f" * 32, encoded)], 400, "is the hash of no file"),
    ]
    for parts, status, words in table:
        found, _, message = refusal(await uploader.send(token, parts))
        assert (found, words in message) == (status, True), (parts, message)
    gone = await control.http.post(
        f"{control.path}/workers/assets/upload",
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Encoding": "gzip",
            "Content-Type": "multipart/form-data; boundary=x",
        },
        content=b"",
    )
    assert refusal(gone)[0] == 400
    async with asyncio.timeout(60):
        while on_disk(control):  # what came of a refused request is removed in a thread, after its answer
            await control.call("GET", "/workers/scripts")


async def test_what_is_not_complete_cannot_be_deployed(control: Any, uploader: Uploader) -> None:
    begun = (await uploader.begin(manifest_of(FILES))).json()["result"]
    some = digest(FILES["/app.js"])
    response = await uploader.send(begun["jwt"], [(some, base64.b64encode(FILES["/app.js"]))])
    assert response.json()["result"]["jwt"] is None
    for token in (begun["jwt"], "", "a.b.c"):
        assert refusal(await uploader.deploy(token))[:2] == (400, 10021)
    assert refusal(await uploader.deploy(assets={"config": {}}))[:2] == (400, 10021)
    assert control.deployments.calls == []
    left = (await uploader.begin(manifest_of(FILES))).json()["result"]["buckets"]
    assert left == [[digest(FILES["/index.html"]), digest(b"")]], "the upload goes on where it was"


async def test_a_token_is_for_one_worker_of_one_account_and_one_purpose(control: Any, uploader: Uploader) -> None:
    completion = await uploader.upload(FILES)
    begun = (await uploader.begin(manifest_of({"/new": b"new"}))).json()["result"]
    await control.call("POST", "/workers/dispatch/namespaces", json={"name": "customers"})
    for other in (Uploader(control, "other"), Uploader(control, "w", "customers")):
        status, _, message = refusal(await other.deploy(completion))
        assert (status, "for another Worker" in message) == (400, True)
    # For uploads only those of sessions are good, and those for nothing else.
    part = [(digest(b"new"), base64.b64encode(b"new"))]
    assert (await uploader.send(completion, part)).status_code == 401
    headers = {"Authorization": f"Bearer {begun['jwt']}"}
    assert (await control.http.get(f"{control.path}/workers/scripts", headers=headers)).status_code == 401
    assert refusal(await uploader.send(control.token, part))[:2] == (400, 10021)
    with control.store._database.write() as connection:
        connection.execute(accounts.insert().values(id="f" * 32, name="another", created_on="2026-01-01T00:00:00Z"))
    assert (await uploader.send(begun["jwt"], part, account="f" * 32)).status_code in (403, 404)
    assert (await uploader.send(begun["jwt"], part)).status_code == 201


async def test_a_token_that_is_forged_changed_or_old_opens_nothing(control: Any, uploader: Uploader) -> None:
    begun = (await uploader.begin(manifest_of(FILES))).json()["result"]
    header, payload, signature = begun["jwt"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert isinstance(claims["exp"], int)
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    later = base64.urlsafe_b64encode(json.dumps({**claims, "exp": claims["exp"] + 1}).encode()).rstrip(b"=").decode()
    forged = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(b"k" * 32))
    old = AssetTokens(control.store.sealing._vault).issue("assets-session", claims["sub"], 1)
    for token in (
        f"{none}.{payload}.",
        f"{header}.{later}.{signature}",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        forged,
        old,
        "x" * 10_000,
    ):
        assert (await uploader.send(token, [(digest(b""), b"")])).status_code == 401, token
    assert (await uploader.send(begun["jwt"], [(digest(b""), b"")])).status_code == 201


async def test_nobody_learns_which_files_others_have(control: Any) -> None:
    await control.call("POST", "/workers/dispatch/namespaces", json={"name": "customers"})
    first = Uploader(control, "first", "customers")
    await first.deploy(await first.upload(FILES))
    for other in (Uploader(control, "second", "customers"), Uploader(control, "first")):
        buckets = (await other.begin(manifest_of(FILES))).json()["result"]["buckets"]
        assert [name for bucket in buckets for name in bucket] == [digest(content) for content in FILES.values()]
    await control.call("DELETE", first.path)
    buckets = (await first.begin(manifest_of(FILES))).json()["result"]["buckets"]
    assert sum(len(bucket) for bucket in buckets) == len(FILES), "nor who comes after them under their name"


# What is left ------------------------------------------------------------------------------------------------------


async def test_an_upload_that_is_never_deployed_goes_when_its_time_is_over(
    control: Any, uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Uploader(control, "kept")
    await kept.deploy(await kept.upload({"/a": b"kept"}))
    token = await uploader.upload(FILES)

    sweep(control)  # killed and started again between the upload and the deploy
    assert (await uploader.deploy(token)).status_code == 200
    assert uploader.files() == FILES

    await control.call("DELETE", "/workers/scripts/w")
    abandoned = Uploader(control, "abandoned")
    await abandoned.upload({"/b": b"abandoned"})
    monkeypatch.setattr(control.store.asset_sessions, "_clock", lambda: 2**40)
    sweep(control)
    assert on_disk(control) == {hashlib.sha256(b"kept").hexdigest(), kept.deployed.assets.manifest}


async def test_a_worker_has_few_uploads_under_way(control: Any, uploader: Uploader) -> None:
    tokens = [
        await uploader.upload({"/a": bytes([number])}) for number in range(limits.ASSET_SESSIONS_PER_WORKER_MAX + 1)
    ]
    status, _, message = refusal(await uploader.deploy(tokens[0]))
    assert (status, "Begin it anew" in message) == (400, True)
    assert (await uploader.deploy(tokens[1])).status_code == 200


async def test_a_rotation_of_the_keys_leaves_uploads_under_way_alone(control: Any, uploader: Uploader) -> None:
    token = await uploader.upload(FILES)
    control.store.sealing.rotate()
    assert (await uploader.deploy(token)).status_code == 200


async def test_a_file_that_a_version_names_is_an_asset(control: Any, uploader: Uploader) -> None:
    """The manifest on disk is what `services.assets` documents."""
    await uploader.deploy(await uploader.upload({"/a": b"x"}))
    blob = hashlib.sha256(b"x").hexdigest()
    found = control.assets.of(control.account).read_manifest(uploader.deployed.assets.manifest)
    assert found == {"/a": Asset(blob[:32], blob, 1)}
