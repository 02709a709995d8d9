"""The patterns of `_redirects`, `_headers` and `run_worker_first`, matched in time that is linear in the path.

Patterns and paths are both a tenant's, and are matched in the host, on its event loop. As regular expressions, which is
what they are at Cloudflare, some would keep it busy for hours (`/:a:b:c:d:e:f:g:h!`), so none is made.

    *              any text, slashes too; in `_redirects` and `_headers` at most one in a rule, by the name of `splat`
    :placeholder   at least one character, no slash; in a host no dot either

A placeholder takes as little as it can, where a regular expression would take as much: that shows only where a path
segment holds two of them with the same text between (`/:a-:b` and `/x-y-z`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["Glob", "PatternError", "Template", "fill"]

_PLACEHOLDER: Final = re.compile(r":([A-Za-z][A-Za-z0-9_]*)")
_ABSOLUTE: Final = re.compile(r"https://([^/]*)(.*)", re.DOTALL)


class PatternError(ValueError):
    """A pattern that means nothing. The message is for its author."""


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with values in the place of its placeholders; one that has none stays as it is."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


class Glob:
    """A pattern in which only `*` is special."""

    __slots__ = ("_parts",)

    def __init__(self, pattern: str) -> None:
        self._parts = pattern.split("*")

    def matches(self, text: str) -> bool:
        first, *rest = self._parts
        if not rest:
            return text == first
        if not text.startswith(first):
            return False
        position = len(first)
        for part in rest[:-1]:
            # The first place is as good as any: what it leaves, the next star takes.
            found = text.find(part, position)
            if found < 0:
                return False
            position = found + len(part)
        return len(text) - len(rest[-1]) >= position and text.endswith(rest[-1])


class Template:
    """A pattern with placeholders and a splat, for paths, or for hosts and paths where it begins with `https://`."""

    __slots__ = ("_host", "_path")

    def __init__(self, pattern: str) -> None:
        """Raises PatternError."""
        absolute = _ABSOLUTE.fullmatch(pattern)
        self._host = _Sequence(absolute[1], "/.") if absolute else None
        self._path = _Sequence(absolute[2] if absolute else pattern, "/")
        names = [*(self._host.names if self._host else ()), *self._path.names]
        if len(set(names)) < len(names):
            raise PatternError(f"{pattern[:200]!a} has two placeholders, or two *, of the same name")

    def match(self, host: str, path: str) -> dict[str, str] | None:
        """What its placeholders stand for, None where it does not match. `host` comes without a port."""
        values: dict[str, str] = {}
        if self._host is not None and not self._host.match(host, values):
            return None
        return values if self._path.match(path, values) else None


class _Sequence:
    """Texts with placeholders between them, before and after a splat, from the first character to the last."""

    __slots__ = ("_after", "_before", "_excluded", "names")

    def __init__(self, pattern: str, excluded: str) -> None:
        before, star, after = pattern.partition("*")
        if "*" in after:
            raise PatternError(f"{pattern[:200]!a} has more than one *")
        self._excluded = excluded
        self._before = _parts(before)
        self._after = _parts(after) if star else None
        self.names = [*self._before[1::2], *((*self._after[1::2], "splat") if self._after is not None else ())]

    def match(self, text: str, values: dict[str, str]) -> bool:
        if self._after is None:
            end = _run(self._before, text, 0, self._excluded, values, to_end=True)
            return end is not None
        begin = _run(self._before, text, 0, self._excluded, values)
        if begin is None:
            return False
        # From the end backwards: both sides leave the splat as much as they can.
        reverse: dict[str, str] = {}
        parts = [part if index % 2 else part[::-1] for index, part in enumerate(reversed(self._after))]
        taken = _run(parts, text[begin:][::-1], 0, self._excluded, reverse)
        if taken is None:
            return False
        values.update({name: value[::-1] for name, value in reverse.items()})
        values["splat"] = text[begin : len(text) - taken]
        return True


def _parts(pattern: str) -> list[str]:
    """Text, name of a placeholder, text, name, …, text."""
    return _PLACEHOLDER.split(pattern)


def _run(
    parts: Sequence[str], text: str, begin: int, excluded: str, values: dict[str, str], *, to_end: bool = False
) -> int | None:
    """Where the parts end that begin at `begin`; each placeholder takes as little as it can, unless it is the last and
    must reach the end of the text."""
    if not text.startswith(parts[0], begin):
        return None
    position = begin + len(parts[0])
    for index in range(1, len(parts), 2):
        name, literal = parts[index], parts[index + 1]
        if to_end and index == len(parts) - 2:
            found = len(text) - len(literal)
            if found <= position or not text.endswith(literal):
                return None
        else:
            found = text.find(literal, position + 1)
            if found < 0:
                return None
        value = text[position:found]
        if any(character in value for character in excluded):
            return None
        values[name] = value
        position = found + len(literal)
    return None if to_end and position != len(text) else position
