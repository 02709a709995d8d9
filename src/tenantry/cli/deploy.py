"""`tenantry deploy`: a project's files and bindings, uploaded as wrangler would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tenantry.cli import output
from tenantry.cli.assets import upload_assets
from tenantry.cli.client import ApiError, Client
from tenantry.cli.connection import Account, Token, Url, connect
from tenantry.cli.provision import Provisioned, provision
from tenantry.config.wrangler import WorkerProject, load_project
from tenantry.errors import ConfigError

__all__ = ["Deployed", "deploy", "deploy_project"]

_NAMESPACE_ABSENT = 10007


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deploy that was done: the version that now gets the requests, and what it is bound to."""

    name: str
    namespace: str | None
    version_id: str
    resources: Provisioned


def deploy_project(client: Client, project: WorkerProject, namespace: str | None) -> Deployed:
    """Blocks. Raises ConfigError for files that cannot be read, ApiError for what the platform refuses."""
    files = [(module.name, (module.name, _read(module.path), module.content_type)) for module in project.modules()]
    resources = provision(client, project)
    metadata: dict[str, object] = {
        "compatibility_date": project.compatibility_date,
        "compatibility_flags": list(project.compatibility_flags),
    }
    if project.main_module is not None:
        metadata |= {"main_module": project.main_module, "bindings": resources.bindings}
    if project.assets is not None:
        metadata["assets"] = upload_assets(client, project.name, namespace, project.assets)
    limits = {"cpu_ms": project.limits.cpu_ms, "subrequests": project.limits.subrequests}
    if any(value is not None for value in limits.values()):
        metadata["limits"] = {key: value for key, value in limits.items() if value is not None}
    version_id = client.put_script(project.name, namespace, metadata, files)
    return Deployed(project.name, namespace, version_id, resources)


def deploy(
    path: Annotated[Path, typer.Argument(help="The Worker's folder, or its wrangler configuration file.")],
    dispatch_namespace: Annotated[
        str | None, typer.Option(metavar="NS", help="Deploy as a user Worker into this dispatch namespace.")
    ] = None,
    url: Url = None,
    token: Token = None,
    account: Account = None,
) -> None:
    """Deploy a Worker: upload its files, make what it is bound to, put it in charge of new requests.

    [bold]Examples[/bold]

      tenantry deploy my-binding-dispatcher

      tenantry deploy customer-worker-1 --dispatch-namespace bindings --url http://platform:8788
    """
    project = load_project(path)
    for warning in project.warnings:
        output.warn(warning)
    with connect(url, token, account) as client:
        try:
            deployed = deploy_project(client, project, dispatch_namespace)
        except ApiError as error:
            if dispatch_namespace is not None and error.code == _NAMESPACE_ABSENT:
                raise ConfigError(
                    f"{error}. Deploy the Worker that binds the namespace first: that makes it."
                ) from error
            raise
    for made in deployed.resources.made:
        output.say(f"Made {made}")
    where = f" in {dispatch_namespace}" if dispatch_namespace else ""
    output.say(f"Deployed {deployed.name}{where}")
    output.result(f"Current Version ID: {deployed.version_id}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
