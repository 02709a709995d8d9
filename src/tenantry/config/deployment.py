"""What the data plane must know of a Worker to run it: the control plane's message to the host.

It stands below both, so that neither has to know the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["SECRET_TYPES", "AssetsConfig", "BindingSpec", "DeployedAssets", "DeployedWorker", "WorkerLimits"]

SECRET_TYPES: Final = frozenset({"secret_text", "secret_key"})
"""Of bindings whose value nobody is shown."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Limits that the Worker's author asked for. None: the platform's default."""

    cpu_ms: int | None = None
    subrequests: int | None = None


@dataclass(frozen=True, slots=True)
class BindingSpec:
    """One binding. `type` is Cloudflare's word for it, `fields` what that type carries in upload metadata.

    `{"namespace_id": …}` (kv_namespace), `{"bucket_name": …}` (r2_bucket), `{"id": …, "database_id": …}` (d1, both the
    same), `{"namespace": …}` (dispatch_namespace), `{"text": …}` (plain_text, secret_text), `{"json": …}` (json), none
    (assets).
    A dispatch_namespace may have an `"outbound": {"worker": {"service": …, "entrypoint": …}, "params": [{"name": …}]}`.
    """

    name: str
    type: str
    # The values are JSON; a secret may be among them, so they stay out of what gets printed.
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class AssetsConfig:
    """By what rules static assets are served, in Cloudflare's words. `redirects` and `headers` are the texts of
    `_redirects` and `_headers`."""

    html_handling: str = "auto-trailing-slash"
    not_found_handling: str = "none"
    run_worker_first: bool | tuple[str, ...] = False
    redirects: str = field(default="", repr=False)
    headers: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DeployedAssets:
    """The static assets of a version. `manifest` is the content address of the list of its files."""

    manifest: str
    config: AssetsConfig = AssetsConfig()


@dataclass(frozen=True, slots=True)
class DeployedWorker:
    """A version of a Worker that requests go to. `namespace` is None for a Worker outside dispatch namespaces.

    `percentage` is its share of them; a Worker's shares add up to 100. `bundle` is the content address of its files
    (`BundleStore.folder`), `main_module` a name inside it; both are empty for a Worker that has assets and no code.
    """

    namespace: str | None
    name: str
    version_id: str
    bundle: str
    main_module: str
    compatibility_date: str
    compatibility_flags: tuple[str, ...] = ()
    bindings: tuple[BindingSpec, ...] = ()
    limits: WorkerLimits = WorkerLimits()
    percentage: float = 100.0
    assets: DeployedAssets | None = None
