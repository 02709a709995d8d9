"""`tenantry profiles`: the installations that the client commands talk to, by name."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from tenantry.cli import output
from tenantry.cli.connection import AsJson
from tenantry.config.profiles import Profile, Profiles, profiles_file

__all__ = ["profiles"]

profiles = typer.Typer(
    no_args_is_help=True, help="Installations by name, for all client commands.", rich_markup_mode="rich"
)

Name = Annotated[str, typer.Argument(help="TENANTRY_PROFILE=NAME chooses it for one command.")]


@profiles.command()
def add(
    name: Name,
    url: Annotated[str, typer.Option(help="The control plane's address.")],
    token: Annotated[str, typer.Option(prompt=True, hide_input=True, help="An API token; asked for when left out.")],
    account: Annotated[str | None, typer.Option(help="The account; not needed when there is one.")] = None,
) -> None:
    """Keep an address and a token. The first one is the default.

    [bold]Example[/bold]

      tenantry profiles add prod --url https://control.example.com
    """
    kept = Profiles(profiles_file(os.environ))
    kept.put(name, Profile(url, token, account))
    kept.save()
    output.say(f"Kept {name} in {profiles_file(os.environ)}")


@profiles.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List them, without their tokens.

    [bold]Example[/bold]

      tenantry profiles list
    """
    kept = Profiles(profiles_file(os.environ))
    rows = [
        {"name": name, "url": each.url, "account": each.account, "default": name == kept.default}
        for name, each in sorted(kept.by_name.items())
    ]
    if as_json:
        output.result(json.dumps(rows))
        return
    for row in rows:
        output.result(f"{'*' if row['default'] else ' '} {row['name']}  {row['url']}")


@profiles.command()
def use(name: Name) -> None:
    """Make one the default.

    [bold]Example[/bold]

      tenantry profiles use prod
    """
    kept = Profiles(profiles_file(os.environ))
    kept.get(name)
    kept.default = name
    kept.save()


@profiles.command()
def remove(name: Name) -> None:
    """Forget one. Its token stays valid: `tenantry tokens revoke` ends that.

    [bold]Example[/bold]

      tenantry profiles remove prod
    """
    kept = Profiles(profiles_file(os.environ))
    kept.remove(name)
    kept.save()
