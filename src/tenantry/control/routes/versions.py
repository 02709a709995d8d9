"""Versions of a Worker, and deployments of versions."""

from __future__ import annotations

from typing import Literal

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope
from tenantry.control.metadata import annotations_untrusted
from tenantry.control.records import Deployment, ScriptRef, Share, Version
from tenantry.control.routes.account import page_info, page_untrusted
from tenantry.control.routes.scripts import Uploads, receive
from tenantry.control.routes.worker import REF, BindingView, binding_views, both, etag_of, origin_of
from tenantry.control.startup import check_start

__all__ = ["version_routes"]


class _VersionMetadataView(msgspec.Struct, frozen=True):
    created_on: str
    modified_on: str
    source: str
    author_id: str = ""
    author_email: str = ""
    has_preview: bool = False
    hasPreview: bool = False  # noqa: N815 - the SDK's spelling of the same


class _ScriptView(msgspec.Struct, frozen=True):
    etag: str
    last_deployed_from: str
    handlers: tuple[str, ...] = ("fetch",)
    named_handlers: tuple[str, ...] = ()


class _RuntimeView(msgspec.Struct, frozen=True):
    compatibility_date: str
    compatibility_flags: tuple[str, ...]
    limits: dict[str, int]
    usage_model: str = "standard"


class _ResourcesView(msgspec.Struct, frozen=True):
    bindings: list[BindingView]
    script: _ScriptView
    script_runtime: _RuntimeView


class VersionView(msgspec.Struct, frozen=True):
    id: str
    number: int
    metadata: _VersionMetadataView
    annotations: dict[str, str]
    resources: _ResourcesView
    startup_time_ms: int


class VersionsView(msgspec.Struct, frozen=True):
    items: list[VersionView]


class ShareView(msgspec.Struct, frozen=True):
    version_id: str
    percentage: float


class DeploymentView(msgspec.Struct, frozen=True):
    id: str
    source: str
    annotations: dict[str, str]
    created_on: str
    versions: tuple[ShareView, ...]
    strategy: str = "percentage"
    author_email: str = ""


class DeploymentsView(msgspec.Struct, frozen=True):
    """wrangler takes the first for the current one."""

    deployments: list[DeploymentView]


class _NewDeployment(msgspec.Struct, frozen=True):
    versions: list[ShareView]
    strategy: Literal["percentage"] = "percentage"
    annotations: dict[str, str | None] | None = None


def limits_view(version: Version) -> dict[str, int]:
    given = version.metadata.limits
    found = {"cpu_ms": given.cpu_ms, "subrequests": given.subrequests}
    return {name: value for name, value in found.items() if value is not None}


def version_view(version: Version) -> VersionView:
    metadata = version.metadata
    return VersionView(
        id=version.id,
        number=version.number,
        metadata=_VersionMetadataView(version.created_on, version.created_on, version.source),
        annotations=version.annotations,
        resources=_ResourcesView(
            binding_views(metadata.bindings),
            _ScriptView(etag_of(version), version.source),
            _RuntimeView(metadata.compatibility_date, metadata.compatibility_flags, limits_view(version)),
        ),
        startup_time_ms=version.startup_ms,
    )


def _deployment_view(deployment: Deployment) -> DeploymentView:
    return DeploymentView(
        deployment.id,
        deployment.source,
        deployment.annotations,
        deployment.created_on,
        tuple(ShareView(share.version_id, share.percentage) for share in deployment.shares),
    )


def version_routes(uploads: Uploads) -> list[HTTPRouteHandler]:
    store, deployer, threads = uploads.store, uploads.deployer, uploads.threads

    @post(both("/versions"), name="create_version", status_code=200, dependencies=REF)
    async def create_version(
        request: ApiRequest, ref: NamedDependency[ScriptRef], bindings_inherit: FromQuery[str] = ""
    ) -> Envelope[VersionView]:
        await threads.run(store.scripts.get, ref)  # before the upload is read: it would be in vain
        upload = await receive(uploads, request, ref)
        strict = bindings_inherit == "strict"
        preview = await threads.run(store.scripts.preview, ref, upload, strict_inherit=strict)
        startup_ms = await check_start(uploads.starter, preview)
        origin = origin_of(request, upload.metadata.annotations)
        version = await threads.run(
            store.versions.upload, ref, upload, origin, strict_inherit=strict, startup_ms=startup_ms
        )
        return Envelope(version_view(version))

    @get(both("/versions"), name="list_versions", dependencies=REF)
    async def list_versions(
        ref: NamedDependency[ScriptRef],
        page: FromQuery[int] = 1,
        per_page: FromQuery[int] = limits.VERSIONS_PER_PAGE_DEFAULT,
    ) -> Envelope[VersionsView]:
        part = page_untrusted(page, per_page)
        found, total = await threads.run(store.versions.page, ref, part)
        return Envelope(
            VersionsView([version_view(version) for version in found]), result_info=page_info(part, len(found), total)
        )

    @get(both("/versions/{version_id:str}"), name="get_version", dependencies=REF)
    async def get_version(ref: NamedDependency[ScriptRef], version_id: FromPath[str]) -> Envelope[VersionView]:
        return Envelope(version_view(await threads.run(store.versions.get, ref, version_id)))

    @post(both("/deployments"), name="create_deployment", status_code=200, dependencies=REF)
    async def create_deployment(
        request: ApiRequest, ref: NamedDependency[ScriptRef], force: FromQuery[bool] = False
    ) -> Envelope[DeploymentView]:
        body = await read_json_untrusted(request, _NewDeployment, 10021)
        origin = origin_of(request, annotations_untrusted(body.annotations or {}))
        shares = [Share(share.version_id, share.percentage) for share in body.versions]
        made = await deployer.apply(store.versions.deploy, ref, shares, origin, force=force)
        return Envelope(_deployment_view(made))

    @get(both("/deployments"), name="list_deployments", dependencies=REF)
    async def list_deployments(
        ref: NamedDependency[ScriptRef],
        page: FromQuery[int] = 1,
        per_page: FromQuery[int] = limits.VERSIONS_PER_PAGE_DEFAULT,
    ) -> Envelope[DeploymentsView]:
        part = page_untrusted(page, per_page)
        found, total = await threads.run(store.versions.deployments, ref, part)
        views = [_deployment_view(deployment) for deployment in found]
        return Envelope(DeploymentsView(views), result_info=page_info(part, len(found), total))

    @get(both("/deployments/{deployment_id:str}"), name="get_deployment", dependencies=REF)
    async def get_deployment(ref: NamedDependency[ScriptRef], deployment_id: FromPath[str]) -> Envelope[DeploymentView]:
        return Envelope(_deployment_view(await threads.run(store.versions.deployment, ref, deployment_id)))

    return [create_version, list_versions, get_version, create_deployment, list_deployments, get_deployment]
