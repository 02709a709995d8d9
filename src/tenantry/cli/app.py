"""The command line: its commands, and what becomes of errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from tenantry.cli import output
from tenantry.cli.audit import audit
from tenantry.cli.backup import backup, restore
from tenantry.cli.d1 import d1
from tenantry.cli.deploy import deploy
from tenantry.cli.dev import dev
from tenantry.cli.doctor import doctor
from tenantry.cli.init import init
from tenantry.cli.keys import keys
from tenantry.cli.kv import kv
from tenantry.cli.logs import logs, tail
from tenantry.cli.namespaces import namespaces
from tenantry.cli.new import new
from tenantry.cli.profiles import profiles
from tenantry.cli.r2 import r2
from tenantry.cli.secrets import secrets
from tenantry.cli.serve import serve
from tenantry.cli.tokens import tokens
from tenantry.cli.workers import delete, rollback, versions
from tenantry.errors import TenantryError

__all__ = ["app", "main"]

app = typer.Typer(
    name="tenantry",
    help="Workers for Platforms on your own machines: a Worker, KV, R2 and D1 for every customer.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(dev)
app.command()(new)
app.command()(init)
app.command()(serve)
app.command()(deploy)
app.command()(rollback)
app.command()(delete)
app.command()(audit)
app.command()(logs)
app.command()(tail)
app.add_typer(versions, name="versions")
app.add_typer(secrets, name="secrets")
app.add_typer(namespaces, name="namespaces")
app.add_typer(kv, name="kv")
app.add_typer(r2, name="r2")
app.add_typer(d1, name="d1")
app.add_typer(keys, name="keys")
app.add_typer(tokens, name="tokens")
app.add_typer(profiles, name="profiles")
app.command()(backup)
app.command()(restore)
app.command()(doctor)


@app.callback()
def _root() -> None:
    """Makes Typer take the first word as a command, however many there are."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Exit status: 0 done, 1 it could not be done, 2 the command line is wrong."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="tenantry")
    except TenantryError as error:
        # A mistake of the user's or a refusal of the platform: one line, no traceback.
        output.fail(" ".join(str(error).split()))
        sys.exit(1)
