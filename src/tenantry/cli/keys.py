"""`tenantry keys`: API keys by which end users' requests prove who they are from."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from tenantry.cli import output
from tenantry.cli.connection import AsJson, Connection, connected_to_platform

__all__ = ["keys"]

keys = typer.Typer(no_args_is_help=True, help="API keys of end users: made, listed, revoked.", rich_markup_mode="rich")


@keys.command()
@connected_to_platform
def create(
    connection: Connection,
    user: Annotated[str, typer.Argument(help="Whom requests with the key are from: what Workers read in X-User-ID.")],
    as_json: AsJson = False,
) -> None:
    """Make a key for a user, and print it, this once.

    [bold]Example[/bold]

      tenantry keys create user1
    """
    with connection.open() as client:
        made = client.ours("POST", "/api_keys", json={"user": user})
    if as_json:
        output.document(made)
        return
    output.say(f"Made the key {made['id']} for {made['user']}. It is shown this once:")
    output.result(made["key"])


@keys.command("list")
@connected_to_platform
def list_all(
    connection: Connection,
    user: Annotated[str | None, typer.Option(help="Those of this user only.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the keys, without their secrets.

    [bold]Example[/bold]

      tenantry keys list --user user1
    """
    with connection.open() as client:
        found = list(client.pages(client.ours, "/api_keys", {} if user is None else {"user": user}))
    rows = [(key["id"], key["created_on"], key["user"]) for key in found]
    output.listing(found, ("id", "made", "user"), rows, as_json=as_json)


@keys.command()
@connected_to_platform
def revoke(
    connection: Connection,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `tenantry keys list` shows it.")],
) -> None:
    """Make a key worthless, from the next request on.

    [bold]Example[/bold]

      tenantry keys revoke 6e0f0bb1a0f4c9d2
    """
    with connection.open() as client:
        client.ours("DELETE", f"/api_keys/{quote(key_id, safe='')}")
    output.say(f"Revoked {key_id}")
