"""Secrets of a Worker: set, named, deleted. A value that came in never goes out again.

Each change is a new version. It is deployed at once, but for those of `wrangler versions secret`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec
from litestar import delete, get, patch, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tenantry.config.deployment import SECRET_TYPES, BindingSpec
from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.deployer import Deployer
from tenantry.control.envelope import Envelope
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.metadata import annotations_untrusted, secret_untrusted
from tenantry.control.records import Script, ScriptRef, VersionMetadata
from tenantry.control.routes.versions import VersionView, version_view
from tenantry.control.routes.worker import REF, both, origin_of
from tenantry.control.store import Store
from tenantry.control.threads import Threads

__all__ = ["secret_routes"]


class SecretView(msgspec.Struct, frozen=True):
    name: str
    type: str


class _Secret(msgspec.Struct, frozen=True):
    name: str
    text: str = ""
    type: str = "secret_text"

    def binding(self) -> BindingSpec:
        return secret_untrusted(self.name, self.type, self.text)


class _BulkSecret(msgspec.Struct, frozen=True):
    text: str = ""
    name: str | None = None
    type: str = "secret_text"


class _Bulk(msgspec.Struct, frozen=True):
    """A merge patch: null deletes."""

    secrets: dict[str, _BulkSecret | None]


class _Environment(msgspec.Struct, frozen=True):
    """A merge patch of a version: null deletes."""

    env: dict[str, _BulkSecret | None]
    annotations: dict[str, str | None] | None = None


def secret_routes(store: Store, deployer: Deployer, threads: Threads) -> list[HTTPRouteHandler]:
    async def names(ref: ScriptRef) -> list[SecretView]:
        return _secrets(await threads.run(store.scripts.get, ref))

    async def revise(
        request: ApiRequest, ref: ScriptRef, function: Callable[[VersionMetadata], VersionMetadata]
    ) -> Script:
        origin = origin_of(request).triggered_by("secret")
        return await deployer.apply(store.versions.revise, ref, origin, function)

    @get(both("/secrets"), name="list_secrets", dependencies=REF)
    async def list_secrets(ref: NamedDependency[ScriptRef]) -> Envelope[list[SecretView]]:
        return Envelope(await names(ref))

    @put(both("/secrets"), name="put_secret", dependencies=REF)
    async def put_secret(request: ApiRequest, ref: NamedDependency[ScriptRef]) -> Envelope[SecretView]:
        secret = await read_json_untrusted(request, _Secret, 10021)
        binding = secret.binding()
        await revise(request, ref, _change({secret.name: binding}))
        return Envelope(SecretView(binding.name, binding.type))

    @get(both("/secrets/{secret_name:str}"), name="get_secret", dependencies=REF)
    async def get_secret(ref: NamedDependency[ScriptRef], secret_name: FromPath[str]) -> Envelope[SecretView]:
        for secret in await names(ref):
            if secret.name == secret_name:
                return Envelope(secret)
        raise _absent(secret_name)

    @delete(both("/secrets/{secret_name:str}"), name="delete_secret", status_code=200, dependencies=REF)
    async def delete_secret(
        request: ApiRequest, ref: NamedDependency[ScriptRef], secret_name: FromPath[str]
    ) -> Envelope[None]:
        await revise(request, ref, _change({secret_name: None}, must_exist=True))
        return Envelope(None)

    @patch(both("/secrets-bulk"), name="edit_secrets", dependencies=REF)
    async def edit_secrets(request: ApiRequest, ref: NamedDependency[ScriptRef]) -> Envelope[dict[str, SecretView]]:
        body = await read_json_untrusted(request, _Bulk, 10021, limits.METADATA_BYTES_MAX)
        script = await revise(request, ref, _change(_wanted_untrusted(body.secrets)))
        return Envelope({secret.name: secret for secret in _secrets(script)})

    @patch(
        "/accounts/{account_id:str}/workers/workers/{script_name:str}/versions/latest",
        name="edit_latest_version",
        dependencies=REF,
    )
    async def edit_latest_version(request: ApiRequest, ref: NamedDependency[ScriptRef]) -> Envelope[VersionView]:
        body = await read_json_untrusted(request, _Environment, 10021, limits.METADATA_BYTES_MAX)
        change = _change(_wanted_untrusted(body.env))
        origin = origin_of(request, annotations_untrusted(body.annotations or {})).triggered_by("secret")
        return Envelope(version_view(await threads.run(store.versions.amend, ref, origin, change)))

    return [list_secrets, put_secret, get_secret, delete_secret, edit_secrets, edit_latest_version]


def _wanted_untrusted(secrets: Mapping[str, _BulkSecret | None]) -> dict[str, BindingSpec | None]:
    """Raises Invalid (10021)."""
    if len(secrets) > limits.SECRETS_BULK_MAX:
        raise Invalid(10021, f"secrets: more than {limits.SECRETS_BULK_MAX}")
    wanted = {
        name: None if secret is None else secret_untrusted(secret.name or name, secret.type, secret.text)
        for name, secret in secrets.items()
    }
    for name, binding in wanted.items():
        if binding is not None and binding.name != name:
            raise Invalid(10021, f"secrets: {name[:80]!a} has another name inside")
    return wanted


def _secrets(script: Script) -> list[SecretView]:
    return [
        SecretView(binding.name, binding.type)
        for binding in script.version.metadata.bindings
        if binding.type in SECRET_TYPES
    ]


def _change(
    wanted: Mapping[str, BindingSpec | None], *, must_exist: bool = False
) -> Callable[[VersionMetadata], VersionMetadata]:
    """Sets secrets by name, and takes away those that are None."""

    def change(metadata: VersionMetadata) -> VersionMetadata:
        bindings = {binding.name: binding for binding in metadata.bindings}
        for name, binding in wanted.items():
            before = bindings.get(name)
            if before is not None and before.type not in SECRET_TYPES:
                raise Invalid(10053, f"Binding name '{name}' already in use. It is a {before.type} binding.")
            if binding is not None:
                bindings[name] = binding
            elif before is not None:
                del bindings[name]
            elif must_exist:
                raise _absent(name)
        return replace(metadata, bindings=tuple(bindings.values()))

    return change


def _absent(name: str) -> NotFound:
    return NotFound(10056, f"This Worker has no secret {name[:80]!a}.")
