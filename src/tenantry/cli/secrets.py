"""`tenantry secrets`: what a Worker reads in `env` and nobody else reads back."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import quote

import typer

from tenantry.cli import output
from tenantry.cli.connection import AsJson, Connection, connected, connected_to_platform
from tenantry.cli.workers import Namespace, Worker, worker_path
from tenantry.errors import ConfigError

__all__ = ["secrets"]

secrets = typer.Typer(no_args_is_help=True, help="Secrets of a Worker.", rich_markup_mode="rich")

_SECRET_BYTES_MAX = 64 * 1024
Name = Annotated[str, typer.Argument(help="The secret: its name in `env`.")]


@secrets.command()
@connected
def put(
    connection: Connection,
    worker: Worker,
    name: Name,
    dispatch_namespace: Namespace = None,
) -> None:
    """Set a secret: asked for at a terminal, read from standard input elsewhere. It makes a new version and deploys it.

    [bold]Example[/bold]

      tenantry secrets put my-worker API_KEY < key.txt
    """
    if sys.stdin.isatty():
        text = typer.prompt(f"The value of {name}", hide_input=True, err=True)
    else:
        text = sys.stdin.read(_SECRET_BYTES_MAX).removesuffix("\n")
    if not text:
        raise ConfigError("the value is empty: give it on standard input")
    with connection.open() as client:
        client.call(
            "PUT",
            f"{worker_path(worker, dispatch_namespace)}/secrets",
            json={"name": name, "text": text, "type": "secret_text"},
        )
    output.say(f"Set {name} of {worker}")


@secrets.command("list")
@connected
def list_all(
    connection: Connection,
    worker: Worker,
    dispatch_namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List the names; the values are not to be had.

    [bold]Example[/bold]

      tenantry secrets list my-worker
    """
    with connection.open() as client:
        found = client.call("GET", f"{worker_path(worker, dispatch_namespace)}/secrets")
    output.listing(found, ("name", "type"), [(each["name"], each["type"]) for each in found], as_json=as_json)


@secrets.command()
@connected
def delete(
    connection: Connection,
    worker: Worker,
    name: Name,
    dispatch_namespace: Namespace = None,
) -> None:
    """Delete one. It makes a new version and deploys it.

    [bold]Example[/bold]

      tenantry secrets delete my-worker API_KEY
    """
    with connection.open() as client:
        client.call("DELETE", f"{worker_path(worker, dispatch_namespace)}/secrets/{quote(name, safe='')}")
    output.say(f"Deleted {name} of {worker}")


@secrets.command()
@connected_to_platform
def rotate(connection: Connection, as_json: AsJson = False) -> None:
    """Seal the secrets of all Workers, and those of S3 access keys, with a new key. They stay what they are.

    [bold]Example[/bold]

      tenantry secrets rotate
    """
    with connection.open() as client:
        done = client.ours("POST", "/secrets/rotate")
    if as_json:
        output.document(done)
        return
    output.say(f"Sealed {done['secrets']} secrets with a new key. Backups from before hold the old one")
