"""`tenantry versions`, `rollback` and `delete`: what becomes of a Worker after its deploy."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import quote

import typer

from tenantry.cli import output
from tenantry.cli.connection import AsJson, Connection, connected
from tenantry.errors import ConfigError

__all__ = ["delete", "rollback", "versions", "worker_path"]

versions = typer.Typer(no_args_is_help=True, help="Versions of a Worker, and who gets which.", rich_markup_mode="rich")

Worker = Annotated[str, typer.Argument(help="The Worker.")]
Namespace = Annotated[
    str | None, typer.Option("--dispatch-namespace", metavar="NS", help="The dispatch namespace that it is in, if any.")
]
Message = Annotated[str | None, typer.Option(help="Why; deployments are listed with it.")]
Force = Annotated[
    bool, typer.Option("--force", help="Also where secrets have changed since: it gets those that it was made with.")
]

_SHARE = re.compile(r"(?P<version>[0-9a-f-]{36})@(?P<percent>\d{1,3}(?:\.\d{1,2})?)%?")


def worker_path(worker: str, namespace: str | None) -> str:
    """The path of a Worker in the API, behind the account."""
    if namespace is None:
        return f"/workers/scripts/{quote(worker, safe='')}"
    return f"/workers/dispatch/namespaces/{quote(namespace, safe='')}/scripts/{quote(worker, safe='')}"


@versions.command("list")
@connected
def list_all(
    connection: Connection,
    worker: Worker,
    dispatch_namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List the versions, the newest first, and the share of requests that each gets.

    [bold]Example[/bold]

      tenantry versions list my-binding-dispatcher
    """
    path = worker_path(worker, dispatch_namespace)
    with connection.open() as client:
        found = client.call("GET", f"{path}/versions")["items"]
        deployments = client.call("GET", f"{path}/deployments")["deployments"]
    shares = {each["version_id"]: each["percentage"] for each in (deployments or [{"versions": []}])[0]["versions"]}
    rows = [
        (each["id"], each["number"], each["metadata"]["created_on"], f"{shares.get(each['id'], 0):g}%")
        for each in found
    ]
    output.listing(found, ("version", "number", "made", "requests"), rows, as_json=as_json)


@versions.command()
@connected
def deploy(
    connection: Connection,
    worker: Worker,
    shares: Annotated[
        list[str], typer.Argument(metavar="VERSION@PERCENT…", help="One version, or two whose shares add up to 100.")
    ],
    message: Message = None,
    force: Force = False,
    dispatch_namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Have requests go to a version, or split them between two.

    [bold]Example[/bold]

      tenantry versions deploy front 1b9b5f2c-7e0a-4f0e-9d35-0b7f2f1d2c11@90 5a3d2e1f-0c4b-4d8a-8f61-2d9e7c6b5a40@10
    """
    wanted = [_share(each) for each in shares]
    with connection.open() as client:
        made = _deploy(client, worker_path(worker, dispatch_namespace), wanted, message, force=force)
    if as_json:
        output.document(made)
        return
    output.say(", ".join(f"{version} gets {percent:g}%" for version, percent in wanted))


@connected
def rollback(
    connection: Connection,
    worker: Worker,
    version: Annotated[
        str | None, typer.Argument(help="The version to go back to. Default: that of the deployment before.")
    ] = None,
    message: Message = None,
    force: Force = False,
    dispatch_namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Have all requests go to an older version again. Data stays as it is.

    [bold]Example[/bold]

      tenantry rollback my-binding-dispatcher --message "the new one loses sessions"
    """
    path = worker_path(worker, dispatch_namespace)
    with connection.open() as client:
        if version is None:
            version = _before(client.call("GET", f"{path}/deployments")["deployments"], worker)
        made = _deploy(client, path, [(version, 100.0)], message, force=force)
    if as_json:
        output.document(made)
        return
    output.say(f"{worker}: all requests go to {version}")


@connected
def delete(
    connection: Connection,
    worker: Worker,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dispatch_namespace: Namespace = None,
) -> None:
    """Delete a Worker, with its versions and secrets. Its data stays.

    [bold]Example[/bold]

      tenantry delete customer-worker-1 --dispatch-namespace bindings
    """
    if not yes:
        typer.confirm(f"Delete the Worker {worker}?", abort=True, err=True)
    with connection.open() as client:
        client.call("DELETE", worker_path(worker, dispatch_namespace))
    output.say(f"Deleted {worker}")


def _deploy(
    client: Any, path: str, shares: list[tuple[str, float]], message: str | None, *, force: bool
) -> Any:  # Any: JSON
    body: dict[str, Any] = {
        "strategy": "percentage",
        "versions": [{"version_id": version, "percentage": percent} for version, percent in shares],
    }
    if message is not None:
        body["annotations"] = {"workers/message": message}
    params = {"force": "true"} if force else {}
    return client.call("POST", f"{path}/deployments", json=body, params=params)


def _share(text: str) -> tuple[str, float]:
    match = _SHARE.fullmatch(text if "@" in text else f"{text}@100")
    if match is None:
        raise ConfigError(f"{text!r} is not VERSION@PERCENT, such as 1b9b5f2c-7e0a-4f0e-9d35-0b7f2f1d2c11@90")
    return match["version"], float(match["percent"])


def _before(deployments: list[Any], worker: str) -> str:
    """The version with the largest share of the deployment before the current one."""
    if len(deployments) < 2:
        raise ConfigError(f"{worker} has had one deployment only: there is nothing to go back to")
    largest = max(deployments[1]["versions"], key=lambda each: each["percentage"])
    return str(largest["version_id"])
