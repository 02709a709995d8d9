"""The command line: its commands, and what becomes of errors."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Final

import typer

from tenantry.cli import output
from tenantry.errors import TenantryError

__all__ = ["main", "make_app"]

_COMMANDS: Final = {
    "dev": "dev",
    "new": "new",
    "init": "init",
    "serve": "serve",
    "deploy": "deploy",
    "rollback": "workers",
    "delete": "workers",
    "audit": "audit",
    "logs": "logs",
    "tail": "logs",
    "versions": "workers",
    "secrets": "secrets",
    "namespaces": "namespaces",
    "kv": "kv",
    "r2": "r2",
    "d1": "d1",
    "keys": "keys",
    "tokens": "tokens",
    "profiles": "profiles",
    "backup": "backup",
    "restore": "backup",
    "doctor": "doctor",
}
"""Each command to the module that has it, under its name: a function, or a group of commands."""


def make_app(words: Sequence[str] = ()) -> typer.Typer:
    """The command line that `words` are for: the command that the first of them names, or all. The others' modules are
    then not imported, which is a third of the time that a short command takes."""
    app = typer.Typer(
        name="tenantry",
        help="Workers for Platforms on your own machines: a Worker, KV, R2 and D1 for every customer.",
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for name in words[:1] if words and words[0] in _COMMANDS else _COMMANDS:
        command = getattr(import_module(f"tenantry.cli.{_COMMANDS[name]}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command()(command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"tenantry {version('tenantry')}, Python {platform.python_version()}")
        raise typer.Exit


# Without a callback Typer would not take the first word as a command where there is one command only.
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Exit status: 0 done, 1 it could not be done, 2 the command line is wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        make_app(words)(args=words, prog_name="tenantry")
    except TenantryError as error:
        # A mistake of the user's or a refusal of the platform: one line, no traceback.
        output.fail(" ".join(str(error).split()))
        sys.exit(1)
