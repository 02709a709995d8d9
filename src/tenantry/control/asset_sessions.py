"""Uploads of static assets: what a client wants a version to have, and how much of it is there.

    begin      a manifest comes in; the hashes that are not there go out, in buckets
    receive    files come in, each held to the manifest; with the last a completion token goes out
    settle     a deploy brings that token; the version's manifest is written, of what is there

A session belongs to one Worker, which need not exist yet. What counts as there is what this Worker has, in versions of
it or in other sessions: whether another Worker has a file, of another customer perhaps, nobody can find out here. On
disk each content of an account lies once all the same.

A session ends with its token, with its Worker, or when its Worker has begun several newer ones. A file that only ended
sessions name is removed at the next start.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select

from tenantry.control import limits
from tenantry.control.asset_tokens import AssetTokens
from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.errors import Invalid, TooLarge
from tenantry.control.records import ScriptRef, VersionMetadata, find_script, latest_version, namespace_id_of
from tenantry.control.schema import (
    asset_session_files,
    asset_sessions,
    deployment_versions,
    dispatch_namespaces,
    scripts,
    versions,
)
from tenantry.control.scopes import Scope
from tenantry.control.tokens import Token
from tenantry.services.assets import (
    AccountAssets,
    Asset,
    AssetStore,
    BadManifest,
    Entry,
    ManifestTooLarge,
    check_manifest_untrusted,
    extension_of,
)

__all__ = ["AssetSessions", "Begun", "SettledAssets", "Wanted", "drop_sessions", "need_session"]

_log = structlog.get_logger(__name__)

Manifest = dict[str, Entry]
_decode_manifest: Final = msgspec.json.Decoder(Manifest).decode


@dataclass(frozen=True, slots=True)
class Begun:
    """`token` opens the upload of the hashes in `buckets`; where there are none it is the completion token."""

    token: str
    buckets: list[list[str]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A content that a session waits for. `extensions` are those of the paths that it is for."""

    size_bytes: int
    extensions: frozenset[str]


@dataclass(frozen=True, slots=True)
class SettledAssets:
    """The files of a version that is about to be made: the address of their manifest, and the session they came by."""

    manifest: str
    session_id: str


class AssetSessions:
    """The sessions of all accounts. Blocks: call it from a thread."""

    def __init__(self, database: Database, tokens: AssetTokens, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._tokens = tokens
        self._clock = clock

    def begin(self, ref: ScriptRef, manifest: Manifest, store: AssetStore) -> Begun:
        """Raises Invalid (10021) and TooLarge (10027) for the manifest, NotFound for the namespace."""
        try:
            check_manifest_untrusted(manifest)
        except ManifestTooLarge as error:
            raise TooLarge(10027, f"manifest: {error}") from error
        except BadManifest as error:
            raise Invalid(10021, f"manifest: {error}") from error
        sizes = {entry.hash: entry.size for entry in manifest.values()}
        session_id = secrets.token_hex(16)
        expires_at = int(self._clock()) + limits.ASSET_SESSION_SECONDS
        with self._database.write() as connection:
            owner = _owner(connection, ref)
            self._drop_ended(connection, owner)
            known = {
                name: asset
                for name, asset in _known(connection, ref, owner, store.of(ref.account_id)).items()
                if sizes.get(name) == asset.size_bytes
            }
            namespace_id = None if ref.namespace is None else namespace_id_of(connection, ref.account_id, ref.namespace)
            connection.execute(
                insert(asset_sessions).values(
                    id=session_id,
                    account_id=ref.account_id,
                    namespace_id=namespace_id,
                    script_name=ref.name,
                    manifest=msgspec.json.encode(manifest).decode(),
                    hash_count=len(sizes),
                    expires_at=expires_at,
                    created_on=now(),
                )
            )
            _keep_files(connection, session_id, known.values())
        missing = [name for name in sizes if name not in known]
        token = self._tokens.issue("assets-session" if missing else "assets-completion", session_id, expires_at)
        return Begun(token, _buckets(missing, sizes))

    def asking_untrusted(self, token: str) -> Token | None:
        """Who asks with the token of a session, in the form that API tokens have; None for one that opens nothing."""
        session_id = self._tokens.session_of_untrusted("assets-session", token)
        if session_id is None:
            return None
        query = (
            select(asset_sessions, dispatch_namespaces.c.name.label("namespace"))
            .outerjoin(dispatch_namespaces, dispatch_namespaces.c.id == asset_sessions.c.namespace_id)
            .where(asset_sessions.c.id == session_id)
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        worker = row.script_name if row.namespace is None else f"{row.namespace}/{row.script_name}"
        name = f"assets of {worker}"
        return Token(session_id, row.account_id, name, Scope.WORKER, worker, row.created_on, row.created_on, None)

    def wanted(self, session_id: str) -> dict[str, Wanted]:
        """The contents of a session by their hashes, those that are there too: clients repeat what they sent.

        Raises Invalid (10021) for one that ended.
        """
        with self._database.read() as connection:
            manifest = _decode_manifest(_session(connection, session_id).manifest)
        extensions: dict[str, set[str]] = {}
        for path, entry in manifest.items():
            extensions.setdefault(entry.hash, set()).add(extension_of(path))
        sizes = {entry.hash: entry.size for entry in manifest.values()}
        return {name: Wanted(sizes[name], frozenset(found)) for name, found in extensions.items()}

    def receive(self, session_id: str, files: Iterable[Asset]) -> str | None:
        """Files of a session are on disk. Gives the completion token once they are all. Raises as `wanted` does."""
        with self._database.write() as connection:
            session = _session(connection, session_id)
            _keep_files(connection, session_id, files)
            count = select(func.count()).where(asset_session_files.c.session_id == session_id)
            if connection.execute(count).scalar_one() < session.hash_count:
                return None
            return self._tokens.issue("assets-completion", session_id, session.expires_at)

    def settle(self, ref: ScriptRef, token: str, store: AssetStore) -> SettledAssets:
        """The files that a completion token stands for, as a manifest that is on disk. Raises Invalid (10021)."""
        session_id = self._tokens.session_of_untrusted("assets-completion", token)
        if session_id is None:
            raise Invalid(
                10021,
                "metadata: assets.jwt is not the completion token of an upload, or is older than an hour. Upload the "
                "assets again: POST .../assets-upload-session.",
            )
        with self._database.read() as connection:
            session = _session(connection, session_id, _owner(connection, ref))
            manifest = _decode_manifest(session.manifest)
            query = select(asset_session_files).where(asset_session_files.c.session_id == session_id)
            found = {row.hash: Asset(row.hash, row.blob, row.size_bytes) for row in connection.execute(query)}
        files = {path: found[entry.hash] for path, entry in manifest.items()}
        return SettledAssets(store.of(ref.account_id).write_manifest(files), session_id)

    def referenced(self, account_id: str) -> tuple[set[str], set[str]]:
        """The manifests that versions of an account name, and the contents that its sessions do. Ends those whose time
        is over."""
        with self._database.write() as connection:
            connection.execute(delete(asset_sessions).where(asset_sessions.c.expires_at <= int(self._clock())))
            query = (
                select(versions.c.metadata)
                .join(scripts, scripts.c.id == versions.c.script_id)
                .where(scripts.c.account_id == account_id, versions.c.metadata.contains('"assets":{'))
            )
            found = (VersionMetadata.read(document).assets for document in connection.execute(query).scalars())
            blobs = (
                select(asset_session_files.c.blob)
                .join(asset_sessions, asset_sessions.c.id == asset_session_files.c.session_id)
                .where(asset_sessions.c.account_id == account_id)
            )
            return (
                {assets.manifest for assets in found if assets is not None},
                set(connection.execute(blobs).scalars()),
            )

    def _drop_ended(self, connection: Connection, owner: ColumnElement[bool]) -> None:
        """Those whose time is over, of all Workers, and of this one the oldest beyond those that it may have."""
        connection.execute(delete(asset_sessions).where(asset_sessions.c.expires_at <= int(self._clock())))
        newest = (
            select(asset_sessions.c.id)
            .where(owner)
            .order_by(asset_sessions.c.created_on.desc(), asset_sessions.c.id)
            .limit(limits.ASSET_SESSIONS_PER_WORKER_MAX - 1)
        )
        connection.execute(delete(asset_sessions).where(owner, asset_sessions.c.id.not_in(newest)))


def drop_sessions(connection: Connection, ref: ScriptRef) -> None:
    """End the sessions of a Worker that is removed: what comes after it under its name knows nothing of it."""
    connection.execute(delete(asset_sessions).where(_owner(connection, ref)))


def need_session(connection: Connection, session_id: str) -> None:
    """Raises Invalid (10021) when a session has ended since it was settled: its files may be on their way out."""
    _session(connection, session_id)


def _owner(connection: Connection, ref: ScriptRef) -> ColumnElement[bool]:
    """The condition for the sessions of a Worker. Raises NotFound for the namespace."""
    table = asset_sessions.c
    place: ColumnElement[bool] = table.namespace_id.is_(None)
    if ref.namespace is not None:
        place = table.namespace_id == namespace_id_of(connection, ref.account_id, ref.namespace)
    return and_(table.account_id == ref.account_id, place, table.script_name == ref.name)


# Any: the row of a table, whose columns are read by name.
def _session(connection: Connection, session_id: str, owner: ColumnElement[bool] | None = None) -> Any:
    query = select(asset_sessions).where(asset_sessions.c.id == session_id)
    if owner is not None:
        query = query.where(owner)
    row = connection.execute(query).first()
    if row is None:
        whose = "is over" if owner is None else "is over, or was for another Worker"
        raise Invalid(10021, f"This upload of assets {whose}. Begin it anew: POST .../assets-upload-session.")
    return row


def _keep_files(connection: Connection, session_id: str, files: Iterable[Asset]) -> None:
    there = select(asset_session_files.c.hash).where(asset_session_files.c.session_id == session_id)
    known = set(connection.execute(there).scalars())
    rows = [
        {"session_id": session_id, "hash": asset.hash, "blob": asset.blob, "size_bytes": asset.size_bytes}
        for asset in files
        if asset.hash not in known
    ]
    if rows:
        connection.execute(insert(asset_session_files), rows)


def _known(
    connection: Connection, ref: ScriptRef, owner: ColumnElement[bool], assets: AccountAssets
) -> dict[str, Asset]:
    """What a Worker has by hash: the files of its sessions, of its latest version and of those that are deployed."""
    sessions = (
        select(asset_session_files)
        .join(asset_sessions, asset_sessions.c.id == asset_session_files.c.session_id)
        .where(owner)
    )
    known = {row.hash: Asset(row.hash, row.blob, row.size_bytes) for row in connection.execute(sessions)}
    script = find_script(connection, ref)
    if script is None:
        return known
    deployed = (
        select(versions.c.metadata)
        .join(deployment_versions, deployment_versions.c.version_id == versions.c.id)
        .where(deployment_versions.c.deployment_id == script.deployment_id)
    )
    found = [VersionMetadata.read(document) for document in connection.execute(deployed).scalars()]
    for metadata in (latest_version(connection, script.id).metadata, *found):
        if metadata.assets is None:
            continue
        try:
            files = assets.read_manifest(metadata.assets.manifest)
        except (OSError, ValueError) as error:
            # Then they are uploaded anew, which mends it.
            _log.error("a manifest of assets cannot be read", worker=ref.name, reason=str(error))
        else:
            known.update({asset.hash: asset for asset in files.values()})
    return known


def _buckets(missing: list[str], sizes: Mapping[str, int]) -> list[list[str]]:
    buckets: list[list[str]] = []
    room_bytes = room_files = 0
    for name in missing:
        if not buckets or sizes[name] > room_bytes or not room_files:
            buckets.append([])
            room_bytes, room_files = limits.ASSET_BUCKET_BYTES_MAX, limits.ASSET_BUCKET_FILES_MAX
        buckets[-1].append(name)
        room_bytes -= sizes[name]
        room_files -= 1
    return buckets
