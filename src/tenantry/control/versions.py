"""Versions of a Worker and deployments of versions: uploaded, listed, revised, put in charge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import Connection, func, select

from tenantry.config.deployment import SECRET_TYPES, BindingSpec, DeployedWorker
from tenantry.control import limits
from tenantry.control.bindings import name_resources, pin_resources
from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.records import (
    Deployment,
    Origin,
    Script,
    ScriptRef,
    Share,
    Version,
    VersionMetadata,
    deploy_versions,
    deployment_of,
    insert_version,
    latest_version,
    need_script,
    read_version,
    version_query,
    write_settings,
)
from tenantry.control.resources import Page
from tenantry.control.schema import deployments, versions
from tenantry.control.scripts import (
    Change,
    changed_settings,
    check_assets,
    heard_settings,
    previewed,
    running,
    shown_version,
    stored_metadata,
    upload_metadata,
)
from tenantry.control.upload import Files, Upload

__all__ = ["Versions"]

_PERCENTAGE_ERROR = 1e-6


class Versions:
    """The versions of the Workers of all accounts, and which of them are deployed. Blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def upload(
        self, ref: ScriptRef, upload: Upload, origin: Origin, *, strict_inherit: bool, startup_ms: int = 0
    ) -> Change[Version]:
        """Make a version that gets no requests yet. Raises NotFound for the Worker, Invalid for bindings."""
        with self._database.write() as connection:
            moment = now()
            script = need_script(connection, ref)
            metadata = upload_metadata(connection, ref, script, upload, strict_inherit=strict_inherit)
            settings = changed_settings(script.settings, upload)
            if settings != script.settings:
                write_settings(connection, script.id, settings, moment)
            stored = stored_metadata(connection, script.id, metadata, moment)
            origin = origin.triggered_by("upload")
            made = insert_version(
                connection, script.id, stored, upload.bundle, upload.modules, origin, startup_ms, moment
            )
            return Change(shown_version(connection, made), heard_settings(connection, script, settings))

    def get(self, ref: ScriptRef, version_id: str) -> Version:
        """By its id, or the word `latest`. Raises NotFound."""
        with self._database.read() as connection:
            script = need_script(connection, ref)
            if version_id == "latest":
                return shown_version(connection, latest_version(connection, script.id))
            return shown_version(connection, _need_version(connection, script.id, version_id))

    def page(self, ref: ScriptRef, page: Page) -> tuple[list[Version], int]:
        """One page, the newest first, and how many there are in all. Raises NotFound for the Worker."""
        with self._database.read() as connection:
            script = need_script(connection, ref)
            rows = connection.execute(version_query(script.id).limit(page.size).offset(page.offset)).all()
            count = select(func.count()).where(versions.c.script_id == script.id)
            total = connection.execute(count).scalar_one()
            return [shown_version(connection, read_version(row)) for row in rows], total

    def revise(
        self,
        ref: ScriptRef,
        origin: Origin,
        change: Callable[[VersionMetadata], VersionMetadata],
        files: Files | None = None,
    ) -> Change[Script]:
        """A version like the latest but for `change` (and other `files`), deployed at once.

        A revision that changes nothing makes no version. Raises NotFound, what `change` raises, and Invalid (10215)
        when the latest version is not the one that is deployed: the change would put more in charge than itself.
        """
        with self._database.write() as connection:
            script = need_script(connection, ref)
            latest = latest_version(connection, script.id)
            if [share.version_id for share in _current(connection, script).shares] != [latest.id]:
                raise Invalid(
                    10215,
                    "The latest version of this Worker is not the one that is deployed. Deploy it first, or upload a "
                    "new version with the change.",
                )
            moment = now()
            changed = _revised(connection, ref, latest, change)
            metadata = stored_metadata(connection, script.id, changed, moment)
            bundle = latest.bundle if files is None else files.bundle
            modules = latest.modules if files is None else files.modules
            if (bundle, modules, metadata.document()) != (latest.bundle, latest.modules, latest.metadata.document()):
                version = insert_version(
                    connection, script.id, metadata, bundle, modules, origin, latest.startup_ms, moment
                )
                deploy_versions(connection, script.id, [Share(version.id, 100)], origin, moment)
                script = need_script(connection, ref)
                return Change(_with_shown(connection, script), (running(connection, script),))
            return Change(_with_shown(connection, script))

    def amend(self, ref: ScriptRef, origin: Origin, change: Callable[[VersionMetadata], VersionMetadata]) -> Version:
        """A version like the latest but for `change`, which gets no requests yet. Raises NotFound, and as `change`."""
        with self._database.write() as connection:
            script = need_script(connection, ref)
            latest = latest_version(connection, script.id)
            moment = now()
            metadata = stored_metadata(connection, script.id, _revised(connection, ref, latest, change), moment)
            made = insert_version(
                connection, script.id, metadata, latest.bundle, latest.modules, origin, latest.startup_ms, moment
            )
            return shown_version(connection, made)

    def preview(
        self, ref: ScriptRef, change: Callable[[VersionMetadata], VersionMetadata], files: Files
    ) -> DeployedWorker:
        """What `revise` would put in charge; nothing is written. Raises as it does."""
        with self._database.read() as connection:
            latest = latest_version(connection, need_script(connection, ref).id)
            return previewed(connection, ref, files.bundle, _revised(connection, ref, latest, change))

    # Deployments

    def deploy(self, ref: ScriptRef, shares: Sequence[Share], origin: Origin, *, force: bool) -> Change[Deployment]:
        """Split the requests between one or two versions.

        Raises NotFound, Invalid (10021) for shares that cannot be, and Invalid (10220) for a return to a version whose
        secrets are not today's, unless forced.
        """
        _check_shares(shares)
        with self._database.write() as connection:
            script = need_script(connection, ref)
            wanted = [_need_version(connection, script.id, share.version_id) for share in shares]
            current = _current(connection, script)
            known = {share.version_id for share in current.shares}
            returns = len(wanted) == 1 and wanted[0].id not in known and wanted[0].number < script.version.number
            if returns and not force:
                _check_secrets(wanted[0], script.version)
            if returns:
                origin = origin.triggered_by("rollback")
            made = deploy_versions(connection, script.id, shares, origin, now())
            return Change(made, (running(connection, need_script(connection, ref)),))

    def deployments(self, ref: ScriptRef, page: Page) -> tuple[list[Deployment], int]:
        """One page, the newest (which is the current one) first, and how many there are in all."""
        with self._database.read() as connection:
            script = need_script(connection, ref)
            query = select(deployments).where(deployments.c.script_id == script.id)
            rows = connection.execute(
                query.order_by(deployments.c.number.desc()).limit(page.size).offset(page.offset)
            ).all()
            total = connection.execute(select(func.count()).where(deployments.c.script_id == script.id)).scalar_one()
            return [deployment_of(connection, row) for row in rows], total

    def deployment(self, ref: ScriptRef, deployment_id: str) -> Deployment:
        """Raises NotFound."""
        with self._database.read() as connection:
            script = need_script(connection, ref)
            query = select(deployments).where(deployments.c.script_id == script.id, deployments.c.id == deployment_id)
            row = connection.execute(query).first()
            if row is None:
                raise NotFound(10007, "This deployment does not exist.")
            return deployment_of(connection, row)


def _revised(
    connection: Connection, ref: ScriptRef, latest: Version, change: Callable[[VersionMetadata], VersionMetadata]
) -> VersionMetadata:
    """The latest version's metadata, changed. Only bindings that are new have to name what is there."""
    named = name_resources(connection, latest.metadata.bindings)
    changed = change(replace(latest.metadata, bindings=named))
    check_assets(changed)
    stored = {binding.name: binding for binding in latest.metadata.bindings}
    bindings = [
        stored[binding.name] if binding in named else pin_resources(connection, ref, [binding])[0]
        for binding in changed.bindings
    ]
    return replace(changed, bindings=tuple(bindings))


def _current(connection: Connection, script: Script) -> Deployment:
    query = select(deployments).where(deployments.c.id == script.deployment_id)
    return deployment_of(connection, connection.execute(query).one())


def _with_shown(connection: Connection, script: Script) -> Script:
    return replace(script, version=shown_version(connection, script.version))


def _need_version(connection: Connection, script_id: str, version_id: str) -> Version:
    query = select(versions).where(versions.c.script_id == script_id, versions.c.id == version_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(10007, f"This Worker has no version {version_id[:80]!a}.")
    return read_version(row)


def _check_shares(shares: Sequence[Share]) -> None:
    if not 1 <= len(shares) <= limits.DEPLOYMENT_VERSIONS_MAX:
        raise Invalid(10021, f"versions: a deployment has 1 to {limits.DEPLOYMENT_VERSIONS_MAX} versions")
    if len({share.version_id for share in shares}) != len(shares):
        raise Invalid(10021, "versions: the same version twice")
    for share in shares:
        if not (math.isfinite(share.percentage) and 0 <= share.percentage <= 100):
            raise Invalid(10021, "versions: a percentage must be between 0 and 100")
    if abs(sum(share.percentage for share in shares) - 100) > _PERCENTAGE_ERROR:
        raise Invalid(10021, "versions: the percentages must add up to 100")


def _check_secrets(wanted: Version, current: Version) -> None:
    def secret_ids(version: Version) -> dict[str, object]:
        found: list[BindingSpec] = [each for each in version.metadata.bindings if each.type in SECRET_TYPES]
        return {binding.name: binding.fields["secret"] for binding in found}

    then, today = secret_ids(wanted), secret_ids(current)
    changed = sorted(name for name in {*then, *today} if then.get(name) != today.get(name))
    if changed:
        raise Invalid(
            10220,
            f"The following secrets have changed: {', '.join(changed)}. The version has the values that it was made "
            "with; repeat the request with ?force=true (tenantry: --force) to deploy it all the same.",
        )
