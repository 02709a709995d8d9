"""`tenantry new`: a project that runs at once, to change into one's own."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

import typer

from tenantry.cli import output
from tenantry.errors import ConfigError

__all__ = ["new"]

_PLACEHOLDER = "__NAME__"
_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,51}", re.ASCII)


def new(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that is not there yet; its name is the project's.")
    ],
    template: Annotated[
        Literal["worker", "platform"],
        typer.Option(
            help="worker: one Worker with a KV namespace. platform: a dispatcher and a customer with a database."
        ),
    ] = "worker",
) -> None:
    """Make a project from a template.

    [bold]Examples[/bold]

      tenantry new my-worker

      tenantry new my-platform --template platform
    """
    name = folder.resolve().name
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be a Worker's name: lower-case letters, digits, '-' and '_', 52 at most")
    if folder.exists():
        raise ConfigError(f"{folder} is there already; nothing was changed")
    try:
        _copy(files("tenantry.cli") / "templates" / template, folder, name)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from error
    output.say(f"Made {folder}. Run it: tenantry dev {folder}")


def _copy(source: Traversable, target: Path, name: str) -> None:
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.is_dir():
            if entry.name != "__pycache__":
                _copy(entry, target / entry.name, name)
        else:
            text = entry.read_text(encoding="utf-8").replace(_PLACEHOLDER, name)
            (target / entry.name).write_text(text, encoding="utf-8")
