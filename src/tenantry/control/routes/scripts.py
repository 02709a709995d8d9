"""Workers: deployed, listed, shown, deleted; ordinary ones and those of a dispatch namespace by the same code."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import msgspec
from litestar import delete, get, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response import Stream
from multipart import content_disposition_quote

from tenantry.control.body import ApiRequest, receive_files_untrusted, receive_upload_untrusted
from tenantry.control.bundles import BundleStore
from tenantry.control.deployer import Deployer
from tenantry.control.envelope import Envelope, ResultInfo
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.names import script_name_untrusted
from tenantry.control.records import Script, ScriptRef, VersionMetadata
from tenantry.control.routes.account import check_account, page_untrusted
from tenantry.control.routes.worker import ORDINARY, REF, USER, ScriptView, both, origin_of, script_view
from tenantry.control.scripts import TagFilter
from tenantry.control.startup import Starter, check_start
from tenantry.control.store import Store
from tenantry.control.threads import Threads
from tenantry.control.upload import Upload
from tenantry.services.assets import AssetStore

__all__ = ["Uploads", "receive", "script_routes"]

_CHUNK_BYTES = 256 * 1024
_SCRIPTS_PER_PAGE_DEFAULT = 1000


class UserScriptView(msgspec.Struct, frozen=True):
    dispatch_namespace: str
    created_on: str
    modified_on: str
    script: ScriptView


class DeletedView(msgspec.Struct, frozen=True):
    deleted: int


@dataclass(frozen=True, slots=True)
class Uploads:
    """What a route that takes an upload needs. `starter`: None checks nothing."""

    store: Store
    bundles: BundleStore
    assets: AssetStore
    deployer: Deployer
    threads: Threads
    starter: Starter | None


async def receive(uploads: Uploads, request: ApiRequest, ref: ScriptRef) -> Upload:
    """An upload with all that it is made of, durable. Raises Invalid and TooLarge."""
    upload = await receive_upload_untrusted(request, uploads.bundles, uploads.threads)
    given = upload.metadata.assets
    if given is None or given.token is None:
        return upload
    settled = await uploads.threads.run(uploads.store.asset_sessions.settle, ref, given.token, uploads.assets)
    return replace(upload, assets=settled)


def script_routes(uploads: Uploads) -> list[HTTPRouteHandler]:
    store, bundles, deployer, threads = uploads.store, uploads.bundles, uploads.deployer, uploads.threads

    @put([ORDINARY, USER], name="put_script", dependencies=REF)
    async def put_script(
        request: ApiRequest, ref: NamedDependency[ScriptRef], bindings_inherit: FromQuery[str] = ""
    ) -> Envelope[ScriptView]:
        script_name_untrusted(ref.name)
        if ref.namespace is not None:
            # Before the upload is read: it would be in vain.
            await threads.run(store.resources.dispatch_namespace, ref.account_id, ref.namespace)
        upload = await receive(uploads, request, ref)
        strict = bindings_inherit == "strict"
        preview = await threads.run(store.scripts.preview, ref, upload, strict_inherit=strict)
        startup_ms = await check_start(uploads.starter, preview)
        origin = origin_of(request, upload.metadata.annotations)
        script = await deployer.apply(
            store.scripts.deploy, ref, upload, origin, strict_inherit=strict, startup_ms=startup_ms
        )
        return Envelope(script_view(script))

    @delete([ORDINARY, USER], name="delete_script", status_code=200, dependencies=REF)
    async def delete_script(ref: NamedDependency[ScriptRef]) -> Envelope[None]:
        await deployer.apply(store.scripts.delete, ref)
        return Envelope(None)

    @get([ORDINARY, *both("/content"), ORDINARY + "/content/v2"], name="get_content", dependencies=REF)
    async def get_content(ref: NamedDependency[ScriptRef]) -> Stream:
        script = await threads.run(store.scripts.get, ref)
        if not script.version.bundle:
            raise NotFound(10007, "This Worker has no code: it has static assets only.")
        return _content(script, bundles.folder(script.version.bundle), threads)

    @put(both("/content"), name="put_content", dependencies=REF)
    async def put_content(request: ApiRequest, ref: NamedDependency[ScriptRef]) -> Envelope[ScriptView]:
        script = await threads.run(store.scripts.get, ref)
        main, files = await receive_files_untrusted(request, bundles, threads)

        def change(metadata: VersionMetadata) -> VersionMetadata:
            return replace(metadata, main_module=main)

        preview = await threads.run(store.versions.preview, ref, change, files)
        await check_start(uploads.starter, preview)
        script = await deployer.apply(
            store.versions.revise, ref, origin_of(request).triggered_by("upload"), change, files
        )
        return Envelope(script_view(script))

    @get("/accounts/{account_id:str}/workers/scripts", name="list_scripts")
    async def list_scripts(
        request: ApiRequest, account_id: FromPath[str], tags: FromQuery[str] = ""
    ) -> Envelope[list[ScriptView]]:
        check_account(request, account_id)
        wanted = TagFilter.parse_untrusted(tags)
        found = await threads.run(store.scripts.page, account_id, None, wanted, size=None)
        return Envelope([script_view(script) for script in found])

    @get(USER, name="get_user_script", dependencies=REF)
    async def get_user_script(ref: NamedDependency[ScriptRef]) -> Envelope[UserScriptView]:
        return Envelope(_user_view(await threads.run(store.scripts.get, ref)))

    namespaced = "/accounts/{account_id:str}/workers/dispatch/namespaces/{namespace:str}/scripts"

    @get(namespaced, name="list_user_scripts")
    async def list_user_scripts(
        request: ApiRequest,
        account_id: FromPath[str],
        namespace: FromPath[str],
        tags: FromQuery[str] = "",
        limit: FromQuery[int] = _SCRIPTS_PER_PAGE_DEFAULT,
        cursor: FromQuery[str] = "",
    ) -> Envelope[list[UserScriptView]]:
        check_account(request, account_id)
        size = page_untrusted(1, limit).size
        wanted = TagFilter.parse_untrusted(tags)
        # One more than asked for says whether there is a next page.
        found = await threads.run(
            store.scripts.page, account_id, namespace, wanted, after=_cursor_name(cursor), size=size + 1
        )
        following = _cursor(found[size - 1].name) if len(found) > size else None
        views = [_user_view(script) for script in found[:size]]
        return Envelope(views, result_info=ResultInfo(per_page=size, count=len(views), cursor=following))

    @delete(namespaced, name="delete_user_scripts", status_code=200)
    async def delete_user_scripts(
        request: ApiRequest, account_id: FromPath[str], namespace: FromPath[str], tags: FromQuery[str] = ""
    ) -> Envelope[DeletedView]:
        check_account(request, account_id)
        wanted = TagFilter.parse_untrusted(tags)
        deleted = await deployer.apply(store.scripts.delete_tagged, account_id, namespace, wanted)
        return Envelope(DeletedView(deleted))

    return [
        put_script,
        delete_script,
        get_content,
        put_content,
        list_scripts,
        get_user_script,
        list_user_scripts,
        delete_user_scripts,
    ]


def _user_view(script: Script) -> UserScriptView:
    assert script.namespace is not None, "a Worker of a dispatch namespace"
    return UserScriptView(script.namespace, script.created_on, script.modified_on, script_view(script))


def _cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _cursor_name(cursor: str) -> str:
    try:
        return base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise Invalid(10001, "the cursor is not one that a listing returned") from error


def _content(script: Script, folder: Path, threads: Threads) -> Stream:
    """The code as it was uploaded: one module plain, several as a form, as Cloudflare answers."""
    version = script.version
    main = version.metadata.main_module
    headers = {"cf-entrypoint": quote(main), "etag": f'"{version.bundle}"'}
    if set(version.modules) == {main}:
        return Stream(_file(folder / main, threads), media_type=version.modules[main], headers=headers)
    boundary = secrets.token_hex(16)
    media_type = f"multipart/form-data; boundary={boundary}"
    return Stream(_form(version.modules, folder, boundary, threads), media_type=media_type, headers=headers)


async def _form(modules: dict[str, str], folder: Path, boundary: str, threads: Threads) -> AsyncIterator[bytes]:
    for name, content_type in modules.items():
        quoted = content_disposition_quote(name)
        yield (
            f"--{boundary}\r\nContent-Disposition: form-data; name={quoted}; filename={quoted}\r\n"
            f"Content-Type: {content_type}\r\n\r\n"
        ).encode()
        async for chunk in _file(folder / name, threads):
            yield chunk
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


async def _file(path: Path, threads: Threads) -> AsyncIterator[bytes]:
    handle: BinaryIO = await threads.run(path.open, "rb")
    try:
        while chunk := await threads.run(handle.read, _CHUNK_BYTES):
            yield chunk
    finally:
        threads.start(handle.close)
