"""Workers: deployed, shown, deleted; ordinary ones and those of a dispatch namespace by the same code."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import msgspec
from litestar import delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response import Stream
from multipart import content_disposition_quote

from tenantry.control.body import ApiRequest, receive_upload_untrusted
from tenantry.control.bundles import BundleStore
from tenantry.control.deployer import Deployer
from tenantry.control.envelope import Envelope
from tenantry.control.names import script_name_untrusted
from tenantry.control.routes.account import check_account
from tenantry.control.scripts import Script
from tenantry.control.store import Store
from tenantry.control.threads import Threads

__all__ = ["script_routes"]

_CHUNK_BYTES = 256 * 1024

_ORDINARY = "/accounts/{account_id:str}/workers/scripts/{script_name:str}"
_USER = "/accounts/{account_id:str}/workers/dispatch/namespaces/{namespace:str}/scripts/{script_name:str}"


class ScriptView(msgspec.Struct, frozen=True):
    """What both kinds of clients read of a script; `deployment_id` is what wrangler calls the version's id."""

    id: str
    etag: str
    tag: str
    created_on: str
    modified_on: str
    deployment_id: str
    entry_point: str
    compatibility_date: str
    compatibility_flags: tuple[str, ...]
    startup_time_ms: int = 0
    handlers: tuple[str, ...] = ("fetch",)
    has_assets: bool = False
    has_modules: bool = True
    logpush: bool = False
    placement: dict[str, str] = {}
    placement_mode: str | None = None
    tail_consumers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    usage_model: str = "standard"
    last_deployed_from: str = "api"


class UserScriptView(msgspec.Struct, frozen=True):
    dispatch_namespace: str
    created_on: str
    modified_on: str
    script: ScriptView


def _view(script: Script) -> ScriptView:
    worker = script.worker
    return ScriptView(
        id=worker.name,
        etag=worker.bundle,
        tag=script.id,
        created_on=script.created_on,
        modified_on=script.modified_on,
        deployment_id=worker.version_id,
        entry_point=worker.main_module,
        compatibility_date=worker.compatibility_date,
        compatibility_flags=worker.compatibility_flags,
    )


def script_routes(store: Store, bundles: BundleStore, deployer: Deployer, threads: Threads) -> list[HTTPRouteHandler]:
    async def deploy(
        request: ApiRequest, account_id: str, namespace: str | None, name: str, *, strict: bool
    ) -> Envelope[ScriptView]:
        check_account(request, account_id)
        script_name_untrusted(name)
        if namespace is not None:
            # Before the upload is read: it would be in vain.
            await threads.run(store.resources.dispatch_namespace, account_id, namespace)
        upload = await receive_upload_untrusted(request, bundles, threads)
        outcome = await deployer.deploy(account_id, namespace, name, upload, strict_inherit=strict)
        return Envelope(_view(outcome.script))

    @put(_ORDINARY, name="put_script")
    async def put_script(
        request: ApiRequest,
        account_id: FromPath[str],
        script_name: FromPath[str],
        bindings_inherit: FromQuery[str] = "",
    ) -> Envelope[ScriptView]:
        return await deploy(request, account_id, None, script_name, strict=bindings_inherit == "strict")

    @get(_ORDINARY, name="get_script")
    async def get_script(request: ApiRequest, account_id: FromPath[str], script_name: FromPath[str]) -> Stream:
        check_account(request, account_id)
        script = await threads.run(store.scripts.get, account_id, None, script_name)
        return _content(script, bundles.folder(script.worker.bundle), threads)

    @delete(_ORDINARY, name="delete_script", status_code=200)
    async def delete_script(
        request: ApiRequest, account_id: FromPath[str], script_name: FromPath[str]
    ) -> Envelope[None]:
        check_account(request, account_id)
        await deployer.delete(account_id, None, script_name)
        return Envelope(None)

    @put(_USER, name="put_user_script")
    async def put_user_script(
        request: ApiRequest,
        account_id: FromPath[str],
        namespace: FromPath[str],
        script_name: FromPath[str],
        bindings_inherit: FromQuery[str] = "",
    ) -> Envelope[ScriptView]:
        return await deploy(request, account_id, namespace, script_name, strict=bindings_inherit == "strict")

    @get(_USER, name="get_user_script")
    async def get_user_script(
        request: ApiRequest, account_id: FromPath[str], namespace: FromPath[str], script_name: FromPath[str]
    ) -> Envelope[UserScriptView]:
        check_account(request, account_id)
        script = await threads.run(store.scripts.get, account_id, namespace, script_name)
        return Envelope(UserScriptView(namespace, script.created_on, script.modified_on, _view(script)))

    @delete(_USER, name="delete_user_script", status_code=200)
    async def delete_user_script(
        request: ApiRequest, account_id: FromPath[str], namespace: FromPath[str], script_name: FromPath[str]
    ) -> Envelope[None]:
        check_account(request, account_id)
        await deployer.delete(account_id, namespace, script_name)
        return Envelope(None)

    return [put_script, get_script, delete_script, put_user_script, get_user_script, delete_user_script]


def _content(script: Script, folder: Path, threads: Threads) -> Stream:
    """The code as it was uploaded: one module plain, several as a form, as Cloudflare answers."""
    main = script.worker.main_module
    headers = {"cf-entrypoint": quote(main), "etag": f'"{script.worker.bundle}"'}
    if set(script.modules) == {main}:
        return Stream(_file(folder / main, threads), media_type=script.modules[main], headers=headers)
    boundary = secrets.token_hex(16)
    media_type = f"multipart/form-data; boundary={boundary}"
    return Stream(_form(script, folder, boundary, threads), media_type=media_type, headers=headers)


async def _form(script: Script, folder: Path, boundary: str, threads: Threads) -> AsyncIterator[bytes]:
    for name, content_type in script.modules.items():
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
