"""`tenantry namespaces`: dispatch namespaces, which hold the customers' Workers."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from tenantry.cli import output
from tenantry.cli.connection import AsJson, Connection, connected

__all__ = ["namespaces"]

namespaces = typer.Typer(
    no_args_is_help=True, help="Dispatch namespaces, and the Workers in them.", rich_markup_mode="rich"
)

_PATH = "/workers/dispatch/namespaces"
Name = Annotated[str, typer.Argument(help="The namespace.")]


@namespaces.command()
@connected
def create(connection: Connection, name: Name, as_json: AsJson = False) -> None:
    """Make one.

    [bold]Example[/bold]

      tenantry namespaces create bindings
    """
    with connection.open() as client:
        made = client.call("POST", _PATH, json={"name": name})
    _shown(made, f"Made {name}", as_json=as_json)


@namespaces.command("list")
@connected
def list_all(connection: Connection, as_json: AsJson = False) -> None:
    """List them.

    [bold]Example[/bold]

      tenantry namespaces list
    """
    with connection.open() as client:
        found = client.call("GET", _PATH)
    rows = [(each["namespace_name"], each["script_count"], each["created_on"]) for each in found]
    output.listing(found, ("namespace", "workers", "made"), rows, as_json=as_json)


@namespaces.command()
@connected
def workers(connection: Connection, name: Name, as_json: AsJson = False) -> None:
    """List the Workers in one.

    [bold]Example[/bold]

      tenantry namespaces workers bindings
    """
    with connection.open() as client:
        found = list(client.by_cursor(f"{_PATH}/{quote(name, safe='')}/scripts"))
    rows = [(each["script"]["id"], each["modified_on"], " ".join(each["script"].get("tags") or ())) for each in found]
    output.listing(found, ("worker", "changed", "tags"), rows, as_json=as_json)


@namespaces.command()
@connected
def rename(
    connection: Connection,
    name: Name,
    to: Annotated[str, typer.Argument(help="Its new name.")],
    as_json: AsJson = False,
) -> None:
    """Rename one. Bindings that name it by its old name do not find it any more.

    [bold]Example[/bold]

      tenantry namespaces rename bindings customers
    """
    with connection.open() as client:
        changed = client.call("PUT", f"{_PATH}/{quote(name, safe='')}", json={"name": to})
    _shown(changed, f"Renamed {name} to {to}", as_json=as_json)


@namespaces.command()
@connected
def delete(
    connection: Connection,
    name: Name,
) -> None:
    """Delete one that holds no Workers.

    [bold]Example[/bold]

      tenantry namespaces delete bindings
    """
    with connection.open() as client:
        client.call("DELETE", f"{_PATH}/{quote(name, safe='')}")
    output.say(f"Deleted {name}")


def _shown(found: object, words: str, *, as_json: bool) -> None:
    if as_json:
        output.document(found)
    else:
        output.say(words)
