"""What the routes of Workers share: how a path names one, who asks, and how versions and bindings are shown.

Ordinary Workers and those of a dispatch namespace have the same calls below two paths; one handler serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar.di import Provide
from litestar.params import FromPath

from tenantry.config.deployment import BindingSpec
from tenantry.control.body import ApiRequest
from tenantry.control.records import Origin, Script, ScriptRef, Version
from tenantry.control.routes.account import check_account

__all__ = ["ORDINARY", "REF", "USER", "ScriptView", "binding_views", "both", "etag_of", "origin_of", "script_view"]

ORDINARY = "/accounts/{account_id:str}/workers/scripts/{script_name:str}"
USER = "/accounts/{account_id:str}/workers/dispatch/namespaces/{namespace:str}/scripts/{script_name:str}"

# A binding as the API has it: name, type, and what that type carries.
BindingView = dict[str, Any]


def both(path: str) -> list[str]:
    """A route of ordinary Workers and of user Workers."""
    return [ORDINARY + path, USER + path]


async def _worker_ref(
    request: ApiRequest,
    account_id: FromPath[str],
    script_name: FromPath[str],
    namespace: FromPath[str | None] = None,
) -> ScriptRef:
    return ScriptRef(check_account(request, account_id), namespace, script_name)


REF = {"ref": Provide(_worker_ref)}
"""The Worker of the path, in an account that the token is for. Whether there is one is not asked yet."""


def origin_of(request: ApiRequest, annotations: Mapping[str, str] | None = None) -> Origin:
    """Cloudflare's word for the client. Only wrangler's matters: it asks before it writes over what another made."""
    wrangler = request.headers.get("user-agent", "").startswith("wrangler/")
    return Origin("wrangler" if wrangler else "api", dict(annotations or {}))


def binding_views(bindings: tuple[BindingSpec, ...]) -> list[BindingView]:
    return [{"name": binding.name, "type": binding.type, **binding.fields} for binding in bindings]


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
    last_deployed_from: str
    tags: tuple[str, ...]
    logpush: bool
    tail_consumers: tuple[dict[str, Any], ...]
    observability: dict[str, Any] | None
    startup_time_ms: int
    has_assets: bool
    has_modules: bool
    handlers: tuple[str, ...] = ("fetch",)
    named_handlers: tuple[str, ...] = ()
    placement: dict[str, str] = {}
    placement_mode: str | None = None
    migration_tag: str | None = None
    usage_model: str = "standard"


def etag_of(version: Version) -> str:
    """What changes with the content of a version."""
    if version.metadata.assets is not None and not version.bundle:
        return version.metadata.assets.manifest
    return version.bundle


def script_view(script: Script) -> ScriptView:
    version = script.version
    return ScriptView(
        id=script.name,
        etag=etag_of(version),
        tag=script.id,
        created_on=script.created_on,
        modified_on=script.modified_on,
        deployment_id=version.id,
        entry_point=version.metadata.main_module,
        compatibility_date=version.metadata.compatibility_date,
        compatibility_flags=version.metadata.compatibility_flags,
        last_deployed_from=version.source,
        tags=script.settings.tags,
        logpush=script.settings.logpush,
        tail_consumers=script.settings.tail_consumers,
        observability=script.settings.observability,
        startup_time_ms=version.startup_ms,
        has_assets=version.metadata.assets is not None,
        has_modules=bool(version.modules),
    )
