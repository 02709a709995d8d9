"""`tenantry keys`: API keys by which end users' requests prove who they are from."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tenantry.cli import output
from tenantry.cli.connection import AsJson, Token, Url, connect

__all__ = ["keys"]

keys = typer.Typer(no_args_is_help=True, help="API keys of end users: made, listed, revoked.", rich_markup_mode="rich")


@keys.command()
def create(
    user: Annotated[str, typer.Argument(help="Whom requests with the key are from: what Workers read in X-User-ID.")],
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make a key for a user, and print it, this once.

    [bold]Example[/bold]

      tenantry keys create user1
    """
    with connect(url, token) as client:
        made = client.create_api_key(user)
    if as_json:
        output.result(json.dumps(made))
        return
    output.say(f"Made the key {made['id']} for {made['user']}. It is shown this once:")
    output.result(made["key"])


@keys.command("list")
def list_all(
    user: Annotated[str | None, typer.Option(help="Those of this user only.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List the keys, without their secrets.

    [bold]Example[/bold]

      tenantry keys list --user user1
    """
    with connect(url, token) as client:
        found = list(client.api_keys(user))
    if as_json:
        output.result(json.dumps(found))
        return
    for key in found:
        output.result(f"{key['id']}  {key['created_on']}  {key['user']}")


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `tenantry keys list` shows it.")],
    url: Url = None,
    token: Token = None,
) -> None:
    """Make a key worthless, from the next request on.

    [bold]Example[/bold]

      tenantry keys revoke 6e0f0bb1a0f4c9d2
    """
    with connect(url, token) as client:
        client.revoke_api_key(key_id)
    output.say(f"Revoked {key_id}")
