"""`_headers`: a file of paths, each followed by lines `name: value`, or `! name` to take one away.

Every rule that matches applies, in its order: the first to set a header sets it anew, the next ones add to it. Lines
that mean nothing are left out, as Cloudflare leaves them out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from tenantry.services.assets.limits import HEADER_RULES_MAX, LINE_CHARACTERS_MAX
from tenantry.services.assets.patterns import PatternError, Template, fill

__all__ = ["HeaderRules"]

_PATH: Final = re.compile(r"[^\s]+://|/")
_ABSOLUTE: Final = re.compile(r"https://(?P<host>[^/]+)(/.*)?")
_PORT: Final = re.compile(r".*:[0-9]+")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]+")
_UNSET: Final = "! "


@dataclass(slots=True)
class _Rule:
    template: Template
    set: dict[str, str] = field(default_factory=dict)
    unset: list[str] = field(default_factory=list)


class HeaderRules:
    """The rules of one file."""

    def __init__(self, rules: list[_Rule]) -> None:
        self._rules = rules

    @classmethod
    def parse_untrusted(cls, text: str) -> HeaderRules:
        """Never raises."""
        rules: list[_Rule] = []
        rule: _Rule | None = None
        for raw in text.split("\n"):
            line = raw.strip()
            if not line or line.startswith("#") or len(line) > LINE_CHARACTERS_MAX:
                continue
            if _PATH.match(line):
                if len(rules) >= HEADER_RULES_MAX:
                    break
                rule = _begun(line)
                if rule is not None:
                    rules.append(rule)
            elif rule is not None:
                _add(rule, line)
        return cls([rule for rule in rules if rule.set or rule.unset])

    def apply(self, headers: list[tuple[str, str]], host: str, path: str) -> list[tuple[str, str]]:
        """Headers of a response, names in lower case, as the rules want them. `host` comes without a port."""
        touched: set[str] = set()
        for rule in self._rules:
            values = rule.template.match(host, path)
            if values is None:
                continue
            for name in rule.unset:
                headers = [pair for pair in headers if pair[0] != name]
            for name, text in rule.set.items():
                value = fill(text, values)
                if name not in touched:
                    headers = [pair for pair in headers if pair[0] != name]
                    touched.add(name)
                headers = [*headers, (name, value)]
        return headers


def _begun(line: str) -> _Rule | None:
    if not line.startswith("/"):
        absolute = _ABSOLUTE.fullmatch(line)
        if absolute is None or _PORT.fullmatch(absolute["host"]):
            return None
        if line.count("/") == 2:
            line += "/"
    try:
        return _Rule(Template(line.partition("?")[0].partition("#")[0]))
    except PatternError:
        return None


def _add(rule: _Rule, line: str) -> None:
    name, colon, value = line.partition(":")
    if not colon:
        if line.startswith(_UNSET):
            rule.unset.append(line.removeprefix(_UNSET).strip().lower())
        return
    name, value = name.strip().lower(), value.strip()
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        return
    rule.set[name] = f"{rule.set[name]}, {value}" if name in rule.set else value
