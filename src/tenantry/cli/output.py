"""Results on stdout, words on stderr, one line an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["document", "fail", "listing", "result", "say", "show", "warn"]


def result(line: str) -> None:
    """What was asked for; scripts read it."""
    show(Text(_clean(line)))


def document(value: Any) -> None:  # whatever JSON can hold
    """One JSON document on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def listing(found: Any, titles: Sequence[str], rows: Sequence[Sequence[object]], *, as_json: bool) -> None:
    """What was asked for: a table for a person, tabs between the cells for a script, or `found` as JSON."""
    if as_json:
        document(found)
    elif sys.stdout.isatty():
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for title in titles:
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*(Text(_clean(str(cell))) for cell in row))
        Console(highlight=False).print(table)
    else:
        for row in rows:
            print("\t".join(_clean(str(cell)) for cell in row))


def say(line: str) -> None:
    """What happens meanwhile."""
    _print(sys.stderr, Text(_clean(line)))


def warn(line: str) -> None:
    _print(sys.stderr, Text.assemble(("warning: ", "yellow"), _clean(line)))


def fail(line: str) -> None:
    _print(sys.stderr, Text.assemble(("error: ", "bold red"), _clean(line)))


def show(text: Text) -> None:
    """Styled text on stdout."""
    _print(sys.stdout, text)


def _clean(line: str) -> str:
    """Without control characters: file names and remote messages must not steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in line)


def _print(stream: TextIO, text: Text) -> None:
    # soft_wrap: the terminal wraps, not we, so that a line can be copied whole.
    Console(file=stream, soft_wrap=True, highlight=False).print(text)
