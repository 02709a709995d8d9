"""The part `assets` of an upload's metadata: the token of the files, and the rules that they are served by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tenantry.config.deployment import AssetsConfig
from tenantry.control.errors import Invalid
from tenantry.services.assets import BadRules, check_worker_first_untrusted

__all__ = ["AssetsMetadata", "assets_untrusted"]


class _Config(msgspec.Struct, frozen=True):
    html_handling: Literal["auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"] | None = None
    not_found_handling: Literal["none", "404-page", "single-page-application"] | None = None
    run_worker_first: bool | list[str] | None = None
    serve_directly: bool | None = None  # an older word for the contrary of the one above
    redirects: str | None = msgspec.field(default=None, name="_redirects")
    headers: str | None = msgspec.field(default=None, name="_headers")


class _Assets(msgspec.Struct, frozen=True):
    jwt: str | None = None
    config: _Config | None = None


@dataclass(frozen=True, slots=True)
class AssetsMetadata:
    """`token` None: no new files. `config` None: nothing was said of the rules."""

    token: str | None
    config: AssetsConfig | None


def assets_untrusted(given: Any) -> AssetsMetadata | None:  # Any: JSON, decoded here
    """Raises Invalid (10021)."""
    if given is None:
        return None
    try:
        assets = msgspec.convert(given, _Assets)
    except msgspec.ValidationError as error:
        raise Invalid(10021, f"metadata: assets: {error}") from error
    return AssetsMetadata(assets.jwt, None if assets.config is None else _config(assets.config))


def _config(given: _Config) -> AssetsConfig:
    default = AssetsConfig()
    first = given.run_worker_first
    if first is None:
        first = given.serve_directly is False
    if isinstance(first, list):
        try:
            check_worker_first_untrusted(first)
        except BadRules as error:
            raise Invalid(10021, str(error)) from error
    return AssetsConfig(
        given.html_handling or default.html_handling,
        given.not_found_handling or default.not_found_handling,
        first if isinstance(first, bool) else tuple(first),
        given.redirects or "",
        given.headers or "",
    )
