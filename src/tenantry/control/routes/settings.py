"""Settings of a Worker: those that a version carries, those that none does, tags, schedules, its address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
from litestar import delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tenantry.config.deployment import SECRET_TYPES
from tenantry.control import limits
from tenantry.control.bindings import replace_bindings
from tenantry.control.body import ApiRequest, read_json_untrusted, read_settings_untrusted
from tenantry.control.clock import now
from tenantry.control.deployer import Deployer
from tenantry.control.envelope import Envelope
from tenantry.control.errors import Invalid
from tenantry.control.metadata import (
    LimitsDocument,
    bindings_untrusted,
    compatibility_date_untrusted,
    compatibility_flags_untrusted,
    limits_untrusted,
)
from tenantry.control.records import Schedule, Script, ScriptRef, ScriptSettings, VersionMetadata
from tenantry.control.routes.versions import limits_view
from tenantry.control.routes.worker import ORDINARY, REF, BindingView, binding_views, both, origin_of
from tenantry.control.scripts import check_tags
from tenantry.control.store import Store
from tenantry.control.threads import Threads

__all__ = ["setting_routes"]


class SettingsView(msgspec.Struct, frozen=True):
    bindings: list[BindingView]
    compatibility_date: str
    compatibility_flags: tuple[str, ...]
    limits: dict[str, int]
    logpush: bool
    tags: tuple[str, ...]
    tail_consumers: tuple[dict[str, Any], ...]
    observability: dict[str, Any] | None
    annotations: dict[str, str]
    migrations: dict[str, str] = {}
    placement: dict[str, str] = {}
    usage_model: str = "standard"


class ScriptSettingsView(msgspec.Struct, frozen=True):
    logpush: bool
    observability: dict[str, Any] | None
    tags: tuple[str, ...]
    tail_consumers: tuple[dict[str, Any], ...]


class SubdomainView(msgspec.Struct, frozen=True):
    enabled: bool
    previews_enabled: bool


class ScheduleView(msgspec.Struct, frozen=True):
    cron: str
    created_on: str
    modified_on: str


class SchedulesView(msgspec.Struct, frozen=True):
    schedules: list[ScheduleView]


class _ScriptSettings(msgspec.Struct, frozen=True):
    """Absent: as before. Null: as without."""

    tags: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    logpush: bool | msgspec.UnsetType | None = msgspec.UNSET
    observability: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    tail_consumers: list[dict[str, Any]] | msgspec.UnsetType | None = msgspec.UNSET


class _Settings(_ScriptSettings, frozen=True):
    bindings: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    compatibility_date: str | msgspec.UnsetType = msgspec.UNSET
    compatibility_flags: list[str] | msgspec.UnsetType = msgspec.UNSET
    limits: LimitsDocument | msgspec.UnsetType | None = msgspec.UNSET
    migrations: Any = None  # refused


class _Subdomain(msgspec.Struct, frozen=True):
    enabled: bool
    previews_enabled: bool | None = None


class _Schedule(msgspec.Struct, frozen=True):
    cron: str


def setting_routes(store: Store, deployer: Deployer, threads: Threads) -> list[HTTPRouteHandler]:
    async def change(ref: ScriptRef, function: Callable[[ScriptSettings], ScriptSettings]) -> Script:
        return await threads.run(store.scripts.change_settings, ref, function)

    @get(both("/settings"), name="get_settings", dependencies=REF)
    async def get_settings(ref: NamedDependency[ScriptRef]) -> Envelope[SettingsView]:
        return Envelope(_settings_view(await threads.run(store.scripts.get, ref)))

    @patch(both("/settings"), name="edit_settings", dependencies=REF)
    async def edit_settings(request: ApiRequest, ref: NamedDependency[ScriptRef]) -> Envelope[SettingsView]:
        given = await read_settings_untrusted(request, _Settings, 10021)
        if given.migrations:
            raise Invalid(10021, "settings: migrations are not supported yet")
        change_version = _version_change(given)
        await deployer.apply(store.versions.revise, ref, origin_of(request).triggered_by("upload"), change_version)
        return Envelope(_settings_view(await change(ref, _settings_change(given))))

    @get(both("/bindings"), name="get_bindings", dependencies=REF)
    async def get_bindings(ref: NamedDependency[ScriptRef]) -> Envelope[list[BindingView]]:
        script = await threads.run(store.scripts.get, ref)
        return Envelope(binding_views(script.version.metadata.bindings))

    @get(both("/script-settings"), name="get_script_settings", dependencies=REF)
    async def get_script_settings(ref: NamedDependency[ScriptRef]) -> Envelope[ScriptSettingsView]:
        return Envelope(_script_settings_view(await threads.run(store.scripts.get, ref)))

    @patch(both("/script-settings"), name="edit_script_settings", dependencies=REF)
    async def edit_script_settings(
        request: ApiRequest, ref: NamedDependency[ScriptRef]
    ) -> Envelope[ScriptSettingsView]:
        given = await read_settings_untrusted(request, _ScriptSettings, 10021)
        return Envelope(_script_settings_view(await change(ref, _settings_change(given))))

    # Tags

    @get(both("/tags"), name="list_tags", dependencies=REF)
    async def list_tags(ref: NamedDependency[ScriptRef]) -> Envelope[tuple[str, ...]]:
        return Envelope((await threads.run(store.scripts.get, ref)).settings.tags)

    @put(both("/tags"), name="put_tags", dependencies=REF)
    async def put_tags(request: ApiRequest, ref: NamedDependency[ScriptRef]) -> Envelope[tuple[str, ...]]:
        tags = await read_json_untrusted(request, list[str], 10021)
        return Envelope((await change(ref, _settings_change(_ScriptSettings(tags=tags)))).settings.tags)

    @put(both("/tags/{tag:str}"), name="put_tag", dependencies=REF)
    async def put_tag(ref: NamedDependency[ScriptRef], tag: FromPath[str]) -> Envelope[tuple[str, ...]]:
        def add(settings: ScriptSettings) -> ScriptSettings:
            tags = tuple(dict.fromkeys([*settings.tags, tag]))
            check_tags(tags)
            return msgspec.structs.replace(settings, tags=tags)

        return Envelope((await change(ref, add)).settings.tags)

    @delete(both("/tags/{tag:str}"), name="delete_tag", status_code=200, dependencies=REF)
    async def delete_tag(ref: NamedDependency[ScriptRef], tag: FromPath[str]) -> Envelope[None]:
        def remove(settings: ScriptSettings) -> ScriptSettings:
            return msgspec.structs.replace(settings, tags=tuple(each for each in settings.tags if each != tag))

        await change(ref, remove)
        return Envelope(None)

    # Schedules are stored and not run yet.

    @get(both("/schedules"), name="get_schedules", dependencies=REF)
    async def get_schedules(ref: NamedDependency[ScriptRef]) -> Envelope[SchedulesView]:
        return Envelope(_schedules_view(await threads.run(store.scripts.get, ref)))

    @put(both("/schedules"), name="put_schedules", dependencies=REF)
    async def put_schedules(request: ApiRequest, ref: NamedDependency[ScriptRef]) -> Envelope[SchedulesView]:
        wanted = await read_json_untrusted(request, list[_Schedule], 10021)
        crons = [_cron(schedule.cron) for schedule in wanted]
        if len(crons) > limits.SCHEDULES_MAX:
            raise Invalid(10021, f"schedules: more than {limits.SCHEDULES_MAX}")

        def schedule(settings: ScriptSettings) -> ScriptSettings:
            known = {each.cron: each for each in settings.schedules}
            moment = now()
            schedules = tuple(known.get(cron) or Schedule(cron, moment, moment) for cron in dict.fromkeys(crons))
            return msgspec.structs.replace(settings, schedules=schedules)

        return Envelope(_schedules_view(await change(ref, schedule)))

    # The switch of the workers.dev address: stored, for there is one way in, the gateway.

    @get(ORDINARY + "/subdomain", name="get_script_subdomain", dependencies=REF)
    async def get_script_subdomain(ref: NamedDependency[ScriptRef]) -> Envelope[SubdomainView]:
        return Envelope(_subdomain_view(await threads.run(store.scripts.get, ref)))

    @post(ORDINARY + "/subdomain", name="put_script_subdomain", status_code=200, dependencies=REF)
    async def put_script_subdomain(request: ApiRequest, ref: NamedDependency[ScriptRef]) -> Envelope[SubdomainView]:
        body = await read_json_untrusted(request, _Subdomain, 10021)

        def switch(settings: ScriptSettings) -> ScriptSettings:
            previews = settings.previews_enabled if body.previews_enabled is None else body.previews_enabled
            return msgspec.structs.replace(settings, subdomain_enabled=body.enabled, previews_enabled=previews)

        return Envelope(_subdomain_view(await change(ref, switch)))

    @delete(ORDINARY + "/subdomain", name="delete_script_subdomain", status_code=200, dependencies=REF)
    async def delete_script_subdomain(ref: NamedDependency[ScriptRef]) -> Envelope[SubdomainView]:
        def switch_off(settings: ScriptSettings) -> ScriptSettings:
            return msgspec.structs.replace(settings, subdomain_enabled=False, previews_enabled=False)

        return Envelope(_subdomain_view(await change(ref, switch_off)))

    return [
        get_settings,
        edit_settings,
        get_bindings,
        get_script_settings,
        edit_script_settings,
        list_tags,
        put_tags,
        put_tag,
        delete_tag,
        get_schedules,
        put_schedules,
        get_script_subdomain,
        put_script_subdomain,
        delete_script_subdomain,
    ]


def _version_change(given: _Settings) -> Callable[[VersionMetadata], VersionMetadata]:
    """What of the settings makes a new version. Raises Invalid."""
    changes: dict[str, Any] = {}
    if given.compatibility_date is not msgspec.UNSET:
        changes["compatibility_date"] = compatibility_date_untrusted(given.compatibility_date)
    if given.limits is not msgspec.UNSET:
        changes["limits"] = limits_untrusted(given.limits)
    bindings = None if given.bindings is msgspec.UNSET else bindings_untrusted(given.bindings)

    def change(metadata: VersionMetadata) -> VersionMetadata:
        changed = replace(metadata, **changes)
        if given.compatibility_flags is not msgspec.UNSET:
            flags = compatibility_flags_untrusted(given.compatibility_flags, has_code=bool(metadata.main_module))
            changed = replace(changed, compatibility_flags=flags)
        if bindings is None:
            return changed
        return replace(changed, bindings=replace_bindings(bindings, metadata.bindings, kept=SECRET_TYPES, strict=True))

    return change


def _settings_change(given: _ScriptSettings) -> Callable[[ScriptSettings], ScriptSettings]:
    """Raises Invalid for tags."""
    empty = ScriptSettings()
    changes: dict[str, Any] = {}
    for name in ("tags", "logpush", "observability", "tail_consumers"):
        value = getattr(given, name)
        if value is not msgspec.UNSET:
            value = getattr(empty, name) if value is None else value
            changes[name] = tuple(value) if isinstance(value, list) else value
    if "tags" in changes:
        check_tags(changes["tags"])
    return lambda settings: msgspec.structs.replace(settings, **changes)


def _cron(text: str) -> str:
    """A cron expression of five fields. What it means is looked at when schedules are run."""
    if len(text) > 100 or not text.isascii() or not text.isprintable() or len(text.split()) != 5:
        raise Invalid(10021, f"{text[:100]!a} is not a cron expression of five fields")
    return text


def _settings_view(script: Script) -> SettingsView:
    metadata, settings = script.version.metadata, script.settings
    return SettingsView(
        bindings=binding_views(metadata.bindings),
        compatibility_date=metadata.compatibility_date,
        compatibility_flags=metadata.compatibility_flags,
        limits=limits_view(script.version),
        logpush=settings.logpush,
        tags=settings.tags,
        tail_consumers=settings.tail_consumers,
        observability=settings.observability,
        annotations=script.version.annotations,
    )


def _script_settings_view(script: Script) -> ScriptSettingsView:
    settings = script.settings
    return ScriptSettingsView(settings.logpush, settings.observability, settings.tags, settings.tail_consumers)


def _schedules_view(script: Script) -> SchedulesView:
    return SchedulesView(
        [ScheduleView(each.cron, each.created_on, each.modified_on) for each in script.settings.schedules]
    )


def _subdomain_view(script: Script) -> SubdomainView:
    return SubdomainView(script.settings.subdomain_enabled, script.settings.previews_enabled)
