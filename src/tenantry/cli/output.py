"""Results on stdout, words on stderr, one line an error."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.text import Text

__all__ = ["fail", "result", "say", "show", "warn"]


def result(line: str) -> None:
    """What was asked for; scripts read it."""
    show(Text(_clean(line)))


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
