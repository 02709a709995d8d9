"""The static assets of a project, uploaded as wrangler would: a manifest, then the files that are not there yet."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tenantry.cli.client import Client
from tenantry.config.assets import collect_assets
from tenantry.config.wrangler import ProjectAssets
from tenantry.errors import ConfigError, TenantryError

__all__ = ["upload_assets"]

_HASH_CHARACTERS = 32


def upload_assets(client: Client, name: str, namespace: str | None, assets: ProjectAssets) -> dict[str, object]:
    """Upload what is new, and give the part `assets` of the metadata of the deploy. Raises ConfigError, ApiError."""
    found = collect_assets(assets.directory)
    by_hash: dict[str, Path] = {}
    manifest: dict[str, dict[str, object]] = {}
    for path, file in found.files.items():
        content = _read(file)
        digest = hashlib.sha256(content).hexdigest()[:_HASH_CHARACTERS]
        manifest[path] = {"hash": digest, "size": len(content)}
        by_hash[digest] = file
    token, buckets = client.begin_assets(name, namespace, manifest)
    completion: str | None = None if buckets else token
    for bucket in buckets:
        completion = client.upload_assets(token, {each: _read(by_hash[each]) for each in bucket}) or completion
    if completion is None:
        raise TenantryError("the platform took all assets and gave no token for them: try again")
    config: dict[str, object] = dict(assets.config)
    if found.redirects:
        config["_redirects"] = found.redirects
    if found.headers:
        config["_headers"] = found.headers
    return {"jwt": completion, "config": config}


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
