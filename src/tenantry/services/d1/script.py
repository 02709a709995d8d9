"""SQL text of any length, taken apart into statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tenantry.services.d1 import errors, limits
from tenantry.services.d1.errors import QueryFailed
from tenantry.services.d1.model import Statement

__all__ = ["Script", "split_statements"]

_READ_CHARACTERS: Final = 256 * 1024

_TOKEN: Final = re.compile(
    r"""
      (?P<blank> \s+ | --[^\n]* | /\* (?:.*?\*/ | .*) )
    | (?P<end> ; )
    | (?P<word> [A-Za-z_]\w* )
    | (?: '[^']*'? | "[^"]*"? | `[^`]*`? | \[[^\]]*\]? | [-/] | [^\s;A-Za-z_'"`\[\-/]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_OTHERS: Final = re.compile(r"""[^'"`\[\-/;]+""")
"""Inside a statement that is no trigger: what needs no look."""

# As sqlite3_complete() does it, from https://sqlite.org/src/file/src/complete.c: the next state for each kind of token.
# A trigger ends with `; END ;`, anything else with the first semicolon.
_START, _NORMAL, _EXPLAIN, _CREATE, _TRIGGER, _SEMICOLON, _END = range(7)
_WORDS: Final = {"explain": 1, "create": 2, "temp": 3, "temporary": 3, "trigger": 4, "end": 5}
_NEXT: Final = {
    # other     explain   create    temp      trigger   end
    _START: (_NORMAL, _EXPLAIN, _CREATE, _NORMAL, _NORMAL, _NORMAL),
    _NORMAL: (_NORMAL,) * 6,
    _EXPLAIN: (_EXPLAIN, _NORMAL, _CREATE, _NORMAL, _NORMAL, _NORMAL),
    _CREATE: (_NORMAL, _NORMAL, _NORMAL, _CREATE, _TRIGGER, _NORMAL),
    _TRIGGER: (_TRIGGER,) * 6,
    _SEMICOLON: (_TRIGGER,) * 5 + (_END,),
    _END: (_TRIGGER,) * 6,
}


def split_statements(sql: str) -> list[str]:
    """The statements of a text, each with its semicolon. Pieces of blanks and comments only are left out."""
    pieces, rest = _split(sql)
    return pieces if _is_empty(rest) else [*pieces, rest]


def _split(sql: str) -> tuple[list[str], str]:
    """The complete statements that are not empty, and what is behind the last."""
    pieces = []
    start = place = 0
    state = _START
    while place < len(sql):
        if state == _NORMAL and (match := _OTHERS.match(sql, place)):
            place = match.end()
            continue
        match = _TOKEN.match(sql, place)
        assert match is not None, "every character begins a token"
        place = match.end()
        if match.lastgroup == "end":
            if state in (_TRIGGER, _SEMICOLON):
                state = _SEMICOLON
                continue
            if state != _START:
                pieces.append(sql[start:place])
            start, state = place, _START
        elif match.lastgroup != "blank":
            word = match.group().lower() if match.lastgroup == "word" else ""
            state = _NEXT[state][_WORDS.get(word, 0)]
    return pieces, sql[start:]


def _is_empty(piece: str) -> bool:
    return all(match.lastgroup in ("blank", "end") for match in _TOKEN.finditer(piece))


class Script:
    """The statements of a UTF-8 file, read when they are asked for, each time anew.

    Iterating raises `QueryFailed` for text that is not UTF-8 or a statement that is too long.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        """Statements of the last time."""

    def __iter__(self) -> Iterator[Statement]:
        self.count = 0
        rest = ""
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                while text := file.read(_READ_CHARACTERS):
                    pieces, rest = _split(rest + text)
                    yield from self._statements(pieces)
                    if len(rest) > limits.IMPORT_STATEMENT_BYTES_MAX:
                        raise QueryFailed(errors.STATEMENT_TOO_LONG)
        except UnicodeDecodeError as error:
            raise QueryFailed("The file is not UTF-8 text.") from error
        if not _is_empty(rest):
            yield from self._statements([rest])

    def _statements(self, pieces: list[str]) -> Iterator[Statement]:
        for piece in pieces:
            self.count += 1
            yield Statement(piece)
