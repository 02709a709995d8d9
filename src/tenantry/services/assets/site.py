"""The files of one version of a Worker and the rules that they are served by: a request in, an answer out. No I/O.

What answers a request, in this order:

1. `run_worker_first` sends it to the Worker, or a negative rule there to the files.
2. A rule of `_redirects`, or a file that its path shows (`html_handling`).
3. The Worker, if there is one.
4. `not_found_handling`. With a Worker it comes before 3 where `run_worker_first` has rules, and for a browser that
   navigates, since the Worker's author then said what the Worker is for.

Whether there is a file does not depend on the method: what is not GET or HEAD meets a 405 there, not the Worker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from tenantry.services.assets.content_types import content_type
from tenantry.services.assets.headers import HeaderRules
from tenantry.services.assets.html_handling import Served, resolve
from tenantry.services.assets.limits import URL_CHARACTERS_MAX
from tenantry.services.assets.model import Asset
from tenantry.services.assets.patterns import Glob
from tenantry.services.assets.redirects import REWRITE, Redirects

__all__ = ["Site", "SiteAnswer", "SiteRequest"]

_URL: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://(?P<host>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(#.*)?", re.DOTALL
)
_CACHE_CONTROL: Final = "public, max-age=0, must-revalidate"


@dataclass(frozen=True, slots=True)
class SiteRequest:
    """What of a request counts. `host` is without a port, `path` as it stands in the URL, `query` with its `?`."""

    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]

    @classmethod
    def read_untrusted(cls, method: str, url: str, headers: Sequence[tuple[str, str]]) -> SiteRequest | None:
        """None for a URL that leads to no file whatever the files are."""
        match = _URL.fullmatch(url) if len(url) <= URL_CHARACTERS_MAX else None
        if match is None:
            return None
        host = match["host"].rpartition("@")[2]
        host = host if host.endswith("]") else host.rpartition(":")[0] or host
        first: dict[str, str] = {}
        for name, value in headers:
            first.setdefault(name.lower(), value)
        return cls(method.upper(), host.lower(), match["path"] or "/", match["query"] or "", first)


@dataclass(frozen=True, slots=True)
class SiteAnswer:
    """`asset` is the body, of a HEAD too; None: there is none."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    asset: Asset | None = None


class Site:
    """Immutable. `has_worker`: whether there is anybody else to ask. `navigations_prefer_files`: see point 4."""

    def __init__(
        self,
        files: Mapping[str, Asset],
        *,
        html_handling: str,
        not_found_handling: str,
        run_worker_first: bool | Sequence[str],
        redirects: str,
        headers: str,
        has_worker: bool,
        navigations_prefer_files: bool,
    ) -> None:
        """The texts and rules were checked when they were deployed."""
        self.weight = 16 + len(files) + redirects.count("\n") + headers.count("\n")
        """About how many entries it holds in memory."""
        self._files = files
        self._html_handling = html_handling
        self._not_found_handling = not_found_handling
        self._has_worker = has_worker
        self._navigations_prefer_files = navigations_prefer_files
        self._always_worker_first = run_worker_first is True
        rules = () if isinstance(run_worker_first, bool) else run_worker_first
        self._files_first = [Glob(rule[1:]) for rule in rules if rule.startswith("!")]
        self._worker_first = [Glob(rule) for rule in rules if not rule.startswith("!")]
        self._redirects = Redirects.parse_untrusted(redirects, html_handling=html_handling != "none")
        self._headers = HeaderRules.parse_untrusted(headers)

    def is_for_worker(self, request: SiteRequest) -> bool:
        """Whether the Worker is asked and not the files."""
        if not self._has_worker:
            return False
        path = request.path
        if any(rule.matches(path) for rule in self._files_first):
            return False
        if self._always_worker_first or any(rule.matches(path) for rule in self._worker_first):
            return True
        keep = bool(self._worker_first) or (
            self._navigations_prefer_files and request.headers.get("sec-fetch-mode") == "navigate"
        )
        return self._found(request, self._not_found_handling if keep else "none") is None

    def answer(self, request: SiteRequest) -> SiteAnswer:
        """What the files answer, whether the Worker would have been asked or not."""
        found = self._found(request, self._not_found_handling) or SiteAnswer(404)
        headers = self._headers.apply(found.headers, request.host, request.path)
        if found.asset is not None and _is_known(request.headers.get("if-none-match", ""), found.asset):
            return SiteAnswer(304, headers)
        return SiteAnswer(found.status, headers, found.asset)

    def _found(self, request: SiteRequest, not_found_handling: str) -> SiteAnswer | None:
        path = request.path
        redirect = self._redirects.match(path)
        if redirect is not None:
            if redirect.status != REWRITE:
                return SiteAnswer(redirect.status, [("location", _location(redirect.to, request))])
            path = redirect.to.partition("?")[0].partition("#")[0]
        decoded = _decoded(path)
        served = resolve(self._files, decoded, self._html_handling, not_found_handling)
        if served is None:
            # What is rewritten to a file that is not there is not the Worker's either.
            return SiteAnswer(404) if redirect is not None else None
        if request.method not in ("GET", "HEAD"):
            return SiteAnswer(405, [("allow", "GET, HEAD")])
        canonical = _encoded(served.redirect or decoded)
        if served.redirect is not None or canonical != path:
            return SiteAnswer(307, [("location", canonical + request.query)])
        return self._file(served, request)

    def _file(self, served: Served, request: SiteRequest) -> SiteAnswer:
        assert served.file is not None, "it is served, not redirected to"
        asset = self._files[served.file]
        headers = [("etag", f'"{asset.hash}"')]
        kind = content_type(served.file)
        if kind is not None:
            headers.append(("content-type", kind))
        if "authorization" not in request.headers and "range" not in request.headers:
            headers.append(("cache-control", _CACHE_CONTROL))
        return SiteAnswer(served.status, headers, asset)


def _is_known(if_none_match: str, asset: Asset) -> bool:
    known = {f'"{asset.hash}"', f'W/"{asset.hash}"'}
    return any(tag.strip() in known for tag in if_none_match.split(","))


def _location(to: str, request: SiteRequest) -> str:
    """Where a rule leads. The client's own query goes along where the rule has none."""
    address, hash_sign, fragment = to.partition("#")
    if "?" not in address:
        address += request.query
    return address + hash_sign + fragment


def _decoded(path: str) -> str:
    return re.sub("/{2,}", "/", "/".join(_decoded_segment(segment) for segment in path.split("/")))


def _decoded_segment(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return segment


def _encoded(path: str) -> str:
    """As `encodeURIComponent` writes each segment: the one spelling of a path that a file is served by."""
    return "/".join(quote(segment, safe="!*'()") for segment in path.split("/"))
