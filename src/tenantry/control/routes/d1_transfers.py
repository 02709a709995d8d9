"""Export and import of a D1 database: begun, then asked for until done. `d1_files` has the files."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from litestar import Response, post
from litestar.background_tasks import BackgroundTask
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.d1_files import file_url
from tenantry.control.envelope import Envelope
from tenantry.control.errors import Invalid
from tenantry.control.resources import D1Database, Resources
from tenantry.control.routes.account import check_account
from tenantry.control.routes.d1_queries import d1_failures
from tenantry.control.threads import Threads
from tenantry.services.d1 import D1Service, DumpOptions, Export, Import, Transfer

__all__ = ["d1_transfer_routes"]


class _DumpOptions(msgspec.Struct, frozen=True):
    no_schema: bool = False
    no_data: bool = False
    tables: list[str] = []


class _ExportRequest(msgspec.Struct, frozen=True):
    output_format: Literal["polling"]
    current_bookmark: str | None = None
    dump_options: _DumpOptions = _DumpOptions()


class _ImportRequest(msgspec.Struct, frozen=True):
    action: Literal["init", "ingest", "poll"]
    etag: str | None = None
    filename: str | None = None
    current_bookmark: str | None = None


class UploadView(msgspec.Struct, frozen=True):
    upload_url: str
    filename: str
    success: bool = True
    type: str = "import"
    messages: tuple[str, ...] = ()


class TransferView(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a job is. `messages` is there in every answer."""

    success: bool
    type: str
    status: Literal["active", "complete", "error"]
    messages: list[str]
    at_bookmark: str | None = None
    error: str | None = None
    errors: list[str] | None = None
    result: dict[str, Any] | None = None  # Any: what JSON can say


def d1_transfer_routes(one: str, resources: Resources, service: D1Service, threads: Threads) -> list[HTTPRouteHandler]:
    transfers = service.transfers

    async def poll(
        request: ApiRequest, database: D1Database, bookmark: str, kind: Literal["export", "import"]
    ) -> Response[Envelope[TransferView]]:
        job = await transfers.wait(database.id, bookmark, limits.D1_POLL_SECONDS)
        if job is None:
            view = TransferView(False, kind, "error", [], error=f"There is no such {kind}, or it is too long ago.")
            return Response(Envelope(view))
        # When the answer was given away: a client that left asks for the same import again.
        told = BackgroundTask(transfers.told, job) if isinstance(job, Import) and job.done.is_set() else None
        return Response(Envelope(_view(request, database, job, kind)), background=told)

    @post(f"{one}/export", name="export_database", status_code=200)
    async def export(
        request: ApiRequest, account_id: FromPath[str], database: FromPath[str]
    ) -> Response[Envelope[TransferView]]:
        check_account(request, account_id)
        found = await threads.run(resources.database, account_id, database)
        body = await read_json_untrusted(request, _ExportRequest, 7400)
        bookmark = body.current_bookmark
        if bookmark is None:
            wanted = body.dump_options
            if wanted.no_schema and wanted.no_data:
                raise Invalid(7400, "an export without schema and without data would be empty")
            options = DumpOptions(not wanted.no_schema, not wanted.no_data, frozenset(wanted.tables))
            with d1_failures():
                bookmark = (await transfers.export(found.id, options)).bookmark
        return await poll(request, found, bookmark, "export")

    @post(f"{one}/import", name="import_database", status_code=200)
    async def import_(
        request: ApiRequest, account_id: FromPath[str], database: FromPath[str]
    ) -> Response[Envelope[TransferView]] | Response[Envelope[UploadView]]:
        check_account(request, account_id)
        found = await threads.run(resources.database, account_id, database)
        body = await read_json_untrusted(request, _ImportRequest, 7400)
        with d1_failures():
            if body.action == "init":
                etag = _said(body.etag, "etag")
                untold = await transfers.untold(found.id, etag)
                if untold is None:
                    secret, upload = await transfers.offer_upload(found.id, etag)
                    return Response(Envelope(UploadView(file_url(request, secret), upload.filename)))
                bookmark = untold.bookmark
            elif body.action == "poll":
                bookmark = _said(body.current_bookmark, "current_bookmark")
            else:
                etag, filename = _said(body.etag, "etag"), _said(body.filename, "filename")
                bookmark = (await transfers.ingest(found.id, etag, filename)).bookmark
        return await poll(request, found, bookmark, "import")

    return [export, import_]


def _said(value: str | None, name: str) -> str:
    if value is None:
        raise Invalid(7400, f"the request body must have '{name}' for this action")
    return value


def _view(request: ApiRequest, database: D1Database, job: Transfer, kind: Literal["export", "import"]) -> TransferView:
    if not job.done.is_set():
        return TransferView(True, kind, "active", [], at_bookmark=job.bookmark)
    if job.failure is not None:
        return TransferView(False, kind, "error", [], at_bookmark=job.bookmark, error=job.failure, errors=[job.failure])
    result: dict[str, Any] = {}
    messages = []
    if isinstance(job, Export):
        filename = f"{database.name}-{job.bookmark}.sql"
        result = {"filename": filename, "signed_url": file_url(request, job.secret)}
        messages = ["Generated the export."]
    elif isinstance(job, Import):
        result = {"final_bookmark": job.final_bookmark, "num_queries": job.statements, "meta": job.meta}
        messages = [f"Processed {job.statements} queries."]
    return TransferView(True, kind, "complete", messages, at_bookmark=job.bookmark, result=result)
