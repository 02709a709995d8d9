"""Workers ("scripts" in Cloudflare's API): deployed, listed, described, deleted.

Every change is one transaction. What it returns says what the data plane has to hear of it, see `Change`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, insert, select

from tenantry.config.deployment import SECRET_TYPES, AssetsConfig, BindingSpec, DeployedAssets, DeployedWorker
from tenantry.control import limits
from tenantry.control.asset_sessions import drop_sessions, need_session
from tenantry.control.bindings import name_resources, pin_resources, resolve_bindings
from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.errors import Invalid
from tenantry.control.records import (
    Origin,
    Script,
    ScriptRef,
    ScriptSettings,
    Share,
    Version,
    VersionMetadata,
    deploy_versions,
    find_script,
    insert_version,
    latest_version,
    namespace_id_of,
    need_script,
    place_of,
    read_script,
    read_version,
    script_query,
    write_settings,
)
from tenantry.control.schema import deployment_versions, dispatch_namespaces, scripts, versions
from tenantry.control.secret_values import keep_values, with_values
from tenantry.control.upload import Upload

__all__ = [
    "Change",
    "Scripts",
    "TagFilter",
    "changed_settings",
    "check_assets",
    "check_tags",
    "previewed",
    "running",
    "running_where",
    "shown_version",
    "stored_metadata",
    "upload_metadata",
]

T = TypeVar("T")

_TAG = re.compile(r"[^,&\s]{1,100}")


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What a call returned, and what the data plane has to hear: for each Worker the versions that get its requests
    from now on, and the Workers, by namespace and name, that are gone."""

    result: T
    deployed: tuple[tuple[DeployedWorker, ...], ...] = ()
    removed: tuple[tuple[str | None, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TagFilter:
    """`wanted`: tag → whether a Worker must have it, or must not."""

    wanted: dict[str, bool]

    @classmethod
    def parse_untrusted(cls, text: str) -> TagFilter:
        """`a:yes,b:no`; a comma is "and". Raises Invalid (10021)."""
        wanted: dict[str, bool] = {}
        for item in filter(None, text.split(",")):
            tag, colon, word = item.rpartition(":")
            if not colon or word not in ("yes", "no") or not tag:
                raise Invalid(10021, f"tags: {item[:100]!a} is not <tag>:yes or <tag>:no")
            wanted[tag] = word == "yes"
        return cls(wanted)

    def matches(self, tags: Iterable[str]) -> bool:
        has = set(tags)
        return all((tag in has) is wanted for tag, wanted in self.wanted.items())


class Scripts:
    """The Workers of all accounts. Blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def preview(self, ref: ScriptRef, upload: Upload, *, strict_inherit: bool) -> DeployedWorker:
        """What `deploy` would put in charge; nothing is written. Raises as it does."""
        with self._database.read() as connection:
            script = find_script(connection, ref)
            metadata = upload_metadata(connection, ref, script, upload, strict_inherit=strict_inherit)
            return previewed(connection, ref, upload.bundle, metadata)

    def deploy(
        self, ref: ScriptRef, upload: Upload, origin: Origin, *, strict_inherit: bool, startup_ms: int = 0
    ) -> Change[Script]:
        """Make a version of `upload` and give it all requests, atomically and durably.

        The same upload again changes nothing and is answered with the version it made: clients repeat an upload whose
        answer was lost. Raises NotFound for the namespace, Invalid for bindings.
        """
        with self._database.write() as connection:
            moment = now()
            before = find_script(connection, ref)
            metadata = upload_metadata(connection, ref, before, upload, strict_inherit=strict_inherit)
            script_id = self._insert(connection, ref, moment) if before is None else before.id
            settings = changed_settings(ScriptSettings() if before is None else before.settings, upload)
            stored = stored_metadata(connection, script_id, metadata, moment)
            if before is None or settings != before.settings:
                write_settings(connection, script_id, settings, moment)
            if before is not None and self._is_current(connection, before, stored, upload):
                return Change(need_script(connection, ref))
            origin = origin.triggered_by("upload")
            version = insert_version(
                connection, script_id, stored, upload.bundle, upload.modules, origin, startup_ms, moment
            )
            deploy_versions(connection, script_id, [Share(version.id, 100)], origin, moment)
            script = need_script(connection, ref)
            return Change(script, (running(connection, script),))

    def get(self, ref: ScriptRef) -> Script:
        """Raises NotFound: 10007 for an ordinary Worker or a namespace, 10092 for a user Worker."""
        with self._database.read() as connection:
            return _shown(connection, need_script(connection, ref))

    def page(
        self, account_id: str, namespace: str | None, tags: TagFilter, *, after: str = "", size: int | None
    ) -> list[Script]:
        """At most `size` Workers (None: all) by name, beginning behind `after`. Raises NotFound for the namespace."""
        with self._database.read() as connection:
            return list(self._matching(connection, account_id, namespace, tags, after=after, size=size))

    def delete(self, ref: ScriptRef) -> Change[None]:
        """Remove a Worker with all its versions. Raises NotFound as `get` does."""
        with self._database.write() as connection:
            script = need_script(connection, ref)
            connection.execute(delete(scripts).where(scripts.c.id == script.id))
            drop_sessions(connection, ref)
        return Change(None, removed=((ref.namespace, ref.name),))

    def delete_tagged(self, account_id: str, namespace: str, tags: TagFilter) -> Change[int]:
        """Remove every Worker of a namespace that the filter names, and say how many. Raises Invalid without one."""
        if not tags.wanted:
            raise Invalid(10021, "tags: say which Workers to delete, such as ?tags=customer-1:yes")
        with self._database.write() as connection:
            found = list(self._matching(connection, account_id, namespace, tags))
            for script in found:
                connection.execute(delete(scripts).where(scripts.c.id == script.id))
                drop_sessions(connection, ScriptRef(account_id, namespace, script.name))
        return Change(len(found), removed=tuple((namespace, script.name) for script in found))

    def change_settings(self, ref: ScriptRef, change: Callable[[ScriptSettings], ScriptSettings]) -> Script:
        """Change what belongs to the Worker and to none of its versions. Raises NotFound, and what `change` does."""
        with self._database.write() as connection:
            script = need_script(connection, ref)
            settings = change(script.settings)
            if settings != script.settings:
                write_settings(connection, script.id, settings, now())
            return _shown(connection, need_script(connection, ref))

    def dispatchers_through(self, ref: ScriptRef) -> list[tuple[str, str]]:
        """The Workers that have this one as an outbound Worker: their name, and that of the dispatch namespace."""
        place = (scripts.c.account_id == ref.account_id, versions.c.metadata.contains('"outbound"'))
        with self._database.read() as connection:
            found = running_where(connection, and_(*place))
        return sorted(
            {
                (worker.name, binding.fields["namespace"])
                for worker in found
                for binding in worker.bindings
                if binding.type == "dispatch_namespace"
                and binding.fields.get("outbound", {}).get("worker", {}).get("service") == ref.name
            }
        )

    def all_deployed(self) -> Iterator[DeployedWorker]:
        """Every version that gets requests; those of one Worker one after the other."""
        with self._database.read() as connection:
            for row in connection.execute(_running_query()):
                yield _running(connection, row)

    def bundles(self) -> set[str]:
        """The address of every bundle that a version names."""
        with self._database.read() as connection:
            return set(connection.execute(select(versions.c.bundle).distinct()).scalars())

    @staticmethod
    def _insert(connection: Connection, ref: ScriptRef, moment: str) -> str:
        script_id = secrets.token_hex(16)
        namespace_id = None if ref.namespace is None else namespace_id_of(connection, ref.account_id, ref.namespace)
        connection.execute(
            insert(scripts).values(
                id=script_id,
                account_id=ref.account_id,
                namespace_id=namespace_id,
                name=ref.name,
                settings="{}",
                created_on=moment,
                modified_on=moment,
            )
        )
        return script_id

    @staticmethod
    def _is_current(connection: Connection, before: Script, metadata: VersionMetadata, upload: Upload) -> bool:
        """Whether this very content has all requests, and is the newest there is."""
        shares = select(deployment_versions.c.version_id).where(
            deployment_versions.c.deployment_id == before.deployment_id
        )
        version = before.version
        return (
            len(connection.execute(shares).all()) == 1
            and latest_version(connection, before.id).id == version.id
            and (version.bundle, version.modules, version.metadata.document())
            == (upload.bundle, upload.modules, metadata.document())
        )

    @staticmethod
    def _matching(
        connection: Connection,
        account_id: str,
        namespace: str | None,
        tags: TagFilter,
        *,
        after: str = "",
        size: int | None = None,
    ) -> Iterator[Script]:
        place = place_of(connection, account_id, namespace)
        query = script_query().where(place, scripts.c.name > after)
        found = 0
        for row in connection.execute(query.order_by(scripts.c.name)):
            if size is not None and found >= size:
                return
            script = read_script(row)
            if tags.matches(script.settings.tags):
                found += 1
                yield script


def upload_metadata(
    connection: Connection, ref: ScriptRef, script: Script | None, upload: Upload, *, strict_inherit: bool
) -> VersionMetadata:
    """The metadata of the version that an upload makes; new secrets still with their values. Raises Invalid."""
    previous: tuple[BindingSpec, ...] = ()
    assets_before: DeployedAssets | None = None
    if script is not None:
        latest = latest_version(connection, script.id).metadata
        previous, assets_before = name_resources(connection, latest.bindings), latest.assets
    bindings = resolve_bindings(upload.metadata, previous, strict=strict_inherit)
    metadata = VersionMetadata(
        upload.metadata.main_module,
        upload.metadata.compatibility_date,
        upload.metadata.compatibility_flags,
        pin_resources(connection, ref.account_id, bindings),
        upload.metadata.limits,
        _assets(connection, upload, assets_before),
    )
    check_assets(metadata)
    return metadata


def _assets(connection: Connection, upload: Upload, before: DeployedAssets | None) -> DeployedAssets | None:
    """The assets of the version that an upload makes; `before` are those of the latest. Raises Invalid."""
    given = upload.metadata.assets
    config = None if given is None else given.config
    if upload.assets is not None:
        need_session(connection, upload.assets.session_id)
        return DeployedAssets(upload.assets.manifest, config or AssetsConfig())
    if upload.metadata.keep_assets:
        return None if before is None else replace(before, config=config or before.config)
    if given is not None:
        raise Invalid(
            10021,
            "metadata: assets has no jwt: begin an upload with POST .../assets-upload-session and send the token that "
            "it ends with, or say keep_assets to have those of the version before",
        )
    return None


def check_assets(metadata: VersionMetadata) -> None:
    """That nothing of a version is about assets that it has not. Raises Invalid (10021)."""
    if metadata.assets is not None:
        return
    if not metadata.main_module:
        raise Invalid(10021, "metadata: main_module is missing, and there are no assets of a version before to keep")
    for binding in metadata.bindings:
        if binding.type == "assets":
            raise Invalid(10021, f"binding {binding.name} of type assets: the Worker has no assets")


def previewed(connection: Connection, ref: ScriptRef, bundle: str, metadata: VersionMetadata) -> DeployedWorker:
    """A version that is not stored yet, as it would run."""
    bindings = name_resources(connection, with_values(connection, metadata.bindings))
    return _worker(ref.namespace, ref.name, "", bundle, metadata, bindings, 100.0)


def running(connection: Connection, script: Script) -> tuple[DeployedWorker, ...]:
    """The versions that get a Worker's requests."""
    return tuple(running_where(connection, scripts.c.id == script.id))


def running_where(connection: Connection, condition: ColumnElement[bool]) -> list[DeployedWorker]:
    """The versions that get requests, of the scripts or versions that meet a condition; a Worker's together."""
    return [_running(connection, row) for row in connection.execute(_running_query().where(condition)).all()]


def changed_settings(settings: ScriptSettings, upload: Upload) -> ScriptSettings:
    """What an upload says beside its version, over what was there. Raises Invalid for tags."""
    given = upload.metadata.settings
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if "tags" in changes:
        check_tags(changes["tags"])
    return msgspec.structs.replace(settings, **changes)


def check_tags(tags: Iterable[str]) -> None:
    """Raises Invalid (10021)."""
    known = list(tags)
    if len(known) > limits.TAGS_MAX:
        raise Invalid(10021, f"tags: more than {limits.TAGS_MAX}")
    for tag in known:
        if not _TAG.fullmatch(tag) or not tag.isprintable():
            raise Invalid(10021, f"tags: {tag[:100]!a} is not a tag: 1 to 100 characters, no comma, '&' or space")


def stored_metadata(connection: Connection, script_id: str, metadata: VersionMetadata, moment: str) -> VersionMetadata:
    return replace(metadata, bindings=keep_values(connection, script_id, metadata.bindings, moment))


def _shown(connection: Connection, script: Script) -> Script:
    return replace(script, version=shown_version(connection, script.version))


def shown_version(connection: Connection, version: Version) -> Version:
    """As it is shown: resources by today's names, and nothing of secrets but that they are there."""
    old = version.metadata
    bindings = tuple(
        BindingSpec(binding.name, binding.type, {}) if binding.type in SECRET_TYPES else binding
        for binding in name_resources(connection, old.bindings)
    )
    return replace(version, metadata=replace(old, bindings=bindings))


# Any: see records.
def _running_query() -> Select[Any]:
    return (
        select(
            scripts.c.name,
            dispatch_namespaces.c.name.label("namespace"),
            deployment_versions.c.percentage,
            versions,
        )
        .select_from(scripts)
        .join(deployment_versions, deployment_versions.c.deployment_id == scripts.c.deployment_id)
        .join(versions, versions.c.id == deployment_versions.c.version_id)
        .outerjoin(dispatch_namespaces, dispatch_namespaces.c.id == scripts.c.namespace_id)
        .order_by(scripts.c.id, deployment_versions.c.percentage.desc(), versions.c.id)
    )


def _running(connection: Connection, row: Row[Any]) -> DeployedWorker:
    version = read_version(row)
    bindings = name_resources(connection, with_values(connection, version.metadata.bindings))
    return _worker(row.namespace, row.name, version.id, version.bundle, version.metadata, bindings, row.percentage)


def _worker(
    namespace: str | None,
    name: str,
    version_id: str,
    bundle: str,
    metadata: VersionMetadata,
    bindings: tuple[BindingSpec, ...],
    percentage: float,
) -> DeployedWorker:
    return DeployedWorker(
        namespace=namespace,
        name=name,
        version_id=version_id,
        bundle=bundle,
        main_module=metadata.main_module,
        compatibility_date=metadata.compatibility_date,
        compatibility_flags=metadata.compatibility_flags,
        bindings=bindings,
        limits=metadata.limits,
        percentage=percentage,
        assets=metadata.assets,
    )
