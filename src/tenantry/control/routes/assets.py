"""Static assets: an upload is begun for a Worker, and its files come in by the token that this gives.

The files come without an API token, since that is how Cloudflare's clients send them: see `edge`.
"""

from __future__ import annotations

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control import limits
from tenantry.control.asset_upload import AssetBody, AssetForm, AssetReceiver
from tenantry.control.body import ApiRequest, read_json_untrusted, receive_chunks_untrusted
from tenantry.control.edge import asking_of
from tenantry.control.envelope import Envelope
from tenantry.control.errors import Invalid
from tenantry.control.names import script_name_untrusted
from tenantry.control.records import ScriptRef
from tenantry.control.routes.account import check_account
from tenantry.control.routes.scripts import Uploads
from tenantry.control.routes.worker import REF, both
from tenantry.control.upload import multipart_boundary_untrusted
from tenantry.services.assets import Entry

__all__ = ["asset_routes"]

_UPLOAD = "/accounts/{account_id:str}/workers/assets/upload"


class _NewSession(msgspec.Struct, frozen=True):
    manifest: dict[str, Entry]


class SessionView(msgspec.Struct, frozen=True):
    """`buckets`: the hashes to upload, each inner list with one request. None left: `jwt` is the completion token."""

    jwt: str
    buckets: list[list[str]]


class ReceivedView(msgspec.Struct, frozen=True):
    """`jwt` is the completion token, once all files are there."""

    jwt: str | None = None


def asset_routes(uploads: Uploads) -> list[HTTPRouteHandler]:
    sessions, assets, threads = uploads.store.asset_sessions, uploads.assets, uploads.threads

    @post(both("/assets-upload-session"), name="create_assets_upload_session", status_code=200, dependencies=REF)
    async def create_session(request: ApiRequest, ref: NamedDependency[ScriptRef]) -> Envelope[SessionView]:
        script_name_untrusted(ref.name)
        body = await read_json_untrusted(request, _NewSession, 10021, limits.ASSET_MANIFEST_BODY_BYTES_MAX)
        begun = await threads.run(sessions.begin, ref, body.manifest, assets)
        return Envelope(SessionView(begun.token, begun.buckets))

    @post(_UPLOAD, name="upload_assets", status_code=201)
    async def upload_assets(
        request: ApiRequest, account_id: FromPath[str], base64: FromQuery[bool] = False
    ) -> Envelope[ReceivedView]:
        account_id = check_account(request, account_id)
        session_id = _session_of(request)
        boundary = multipart_boundary_untrusted(request.headers.get("content-type", ""))
        if boundary is None:
            raise Invalid(10021, "the body has to be a multipart form with a file for each hash")
        wanted = await threads.run(sessions.wanted, session_id)
        receiver = AssetReceiver(assets.of(account_id), wanted, is_base64=base64)
        limit = limits.ASSET_UPLOAD_BODY_BYTES_MAX
        files = await receive_chunks_untrusted(
            request, threads, lambda: AssetForm(receiver, boundary), AssetForm.finish, limit
        )
        return Envelope(ReceivedView(await threads.run(sessions.receive, session_id, files)))

    @post(_UPLOAD + "/{hash:str}", name="upload_asset", status_code=201)
    async def upload_asset(
        request: ApiRequest,
        account_id: FromPath[str],
        hash: FromPath[str],  # noqa: A002 - what Cloudflare calls it
    ) -> Envelope[ReceivedView]:
        account_id = check_account(request, account_id)
        session_id = _session_of(request)
        wanted = await threads.run(sessions.wanted, session_id)
        receiver = AssetReceiver(assets.of(account_id), wanted, is_base64=False)
        limit = limits.ASSET_UPLOAD_BODY_BYTES_MAX
        files = await receive_chunks_untrusted(
            request, threads, lambda: AssetBody(receiver, hash), AssetBody.finish, limit
        )
        return Envelope(ReceivedView(await threads.run(sessions.receive, session_id, files)))

    return [create_session, upload_assets, upload_asset]


def _session_of(request: ApiRequest) -> str:
    session_id = asking_of(request.scope).session_id
    if session_id is None:
        raise Invalid(
            10021,
            "files of assets come with the JWT of an upload session in place of an API token: begin one with "
            "POST .../assets-upload-session",
        )
    return session_id
