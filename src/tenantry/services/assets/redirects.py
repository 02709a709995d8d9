"""`_redirects`: a file of lines `from to [status]`. Lines that mean nothing are left out, as Cloudflare does it.

A rule without `*` and `:placeholder` is static: there may be many of them, and they are looked up. From the first that
is dynamic on all are, and are tried in their order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tenantry.services.assets.limits import LINE_CHARACTERS_MAX, REDIRECTS_DYNAMIC_MAX, REDIRECTS_STATIC_MAX
from tenantry.services.assets.patterns import PatternError, Template, fill

__all__ = ["Redirect", "Redirects"]

REWRITE: Final = 200
"""The status of a rule that serves another file and says nothing of it."""
_STATUSES: Final = frozenset({REWRITE, 301, 302, 303, 307, 308})
_DYNAMIC: Final = re.compile(r"\*|:[A-Za-z]")
_ABSOLUTE: Final = re.compile(r"https://[^/]")
_HAS_SCHEME: Final = re.compile(r"[A-Za-z0-9_]+://")
_TO_INDEX: Final = re.compile(r"/index(\.html)?")
# What may stand in a header; the rest a client would have to encode.
_TARGET: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Redirect:
    status: int
    to: str


class Redirects:
    """The rules of one file."""

    def __init__(self, static: dict[str, Redirect], dynamic: list[tuple[Template, Redirect]]) -> None:
        self._static = static
        self._dynamic = dynamic

    @classmethod
    def parse_untrusted(cls, text: str, *, html_handling: bool = True) -> Redirects:
        """Never raises. `html_handling`: whether `/index.html` is served as `/`, so that a rule from there loops."""
        static: dict[str, Redirect] = {}
        dynamic: list[tuple[Template, Redirect]] = []
        seen: set[str] = set()
        for line in text.split("\n"):
            rule = _rule(line.strip(), html_handling)
            if rule is None:
                continue
            source, redirect = rule
            is_static = not dynamic and not _DYNAMIC.search(source)
            if is_static and len(static) >= REDIRECTS_STATIC_MAX:
                continue
            if not is_static and len(dynamic) >= REDIRECTS_DYNAMIC_MAX:
                break
            if source in seen:
                continue
            seen.add(source)
            if is_static:
                static[source] = redirect
                continue
            try:
                dynamic.append((Template(source), redirect))
            except PatternError:
                continue
        return cls(static, dynamic)

    def match(self, path: str) -> Redirect | None:
        """The first rule for a path, as it stands in the URL, with its placeholders filled."""
        if (found := self._static.get(path)) is not None:
            return found
        for template, redirect in self._dynamic:
            values = template.match("", path)
            if values is not None:
                to = fill(redirect.to, values)
                if not _HAS_SCHEME.match(to):
                    to = re.sub("/{2,}", "/", to)  # `//other.example` would leave the site
                return Redirect(redirect.status, to)
        return None


def _rule(line: str, html_handling: bool) -> tuple[str, Redirect] | None:
    if not line or line.startswith("#") or len(line) > LINE_CHARACTERS_MAX:
        return None
    tokens = line.split()
    comment = next((index for index, token in enumerate(tokens) if index >= 2 and token.startswith("#")), None)
    tokens = tokens[:comment]
    if len(tokens) not in (2, 3):
        return None
    source, to, status = tokens[0], tokens[1], tokens[2] if len(tokens) == 3 else "302"
    if _ABSOLUTE.match(source) or not _TARGET.fullmatch(source) or not _TARGET.fullmatch(to):
        return None
    if not source.startswith("/"):
        source = f"/{source}"
    source = source.partition("?")[0].partition("#")[0]
    absolute = _ABSOLUTE.match(to) is not None
    if not absolute and not to.startswith("/"):
        return None
    if not status.isascii() or not status.isdigit() or len(status) > 3 or int(status) not in _STATUSES:
        return None
    if not absolute:
        to = re.sub("^/{2,}", "/", to)
        path = to.partition("?")[0].partition("#")[0]
        loops = source.endswith("/*") or (source.endswith("/") and html_handling)
        if loops and _TO_INDEX.fullmatch(path[path.rfind("/") :]):
            return None
    elif int(status) == REWRITE:
        return None
    return source, Redirect(int(status), to)
