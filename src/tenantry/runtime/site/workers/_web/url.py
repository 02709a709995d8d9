"""URLs as the WHATWG standard reads them, as far as http and https go; js.URL and js.URLSearchParams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from workers._errors import type_error
from workers._web.raw import Raw, js_string

__all__ = ["URL", "URLSearchParams", "normalised", "parse"]

_SPLIT = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*):(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?P<search>\?[^#]*)?(?P<hash>#.*)?",
    re.DOTALL,
)
# Most URLs of a program are plain: nothing to lower, to encode or to resolve, and no port or user.
_is_plain = re.compile(
    r"https?://[a-z0-9\-.]+(?::(?!80/|443/)[1-9][0-9]{0,3})?/(?!\.)(?!.*/\.)"
    r"[A-Za-z0-9\-_~!$&'()*+,;=:@%/.]*(?:\?[A-Za-z0-9\-_~!$&()*+,;=:@%/.?]*)?"
).fullmatch
_bad_host = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]").search
_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}
_PATH_SAFE: Final = "!$&'()*+,;=:@/%[]|~^"
_SEARCH_SAFE: Final = "!$&()*+,;=:@/?%[]|~{}^`\\"
_HASH_SAFE: Final = "!$&'()*+,;=:@/?%[]|~{}^\\#"


def normalised(url: str) -> str:
    """The URL as the standard writes it. Raises TypeError for what is not an absolute URL."""
    return url if _is_plain(url) else parse(url).href


def parse(url: str, base: str | None = None) -> URL:
    return URL(url, base)


def _path(path: str) -> str:
    segments: list[str] = []
    parts = path.replace("\\", "/").split("/")[1:] or [""]
    last = len(parts) - 1
    for index, part in enumerate(parts):
        dots = part.lower().replace("%2e", ".")
        if dots == "..":
            if segments:
                segments.pop()
            if index == last:
                segments.append("")
        elif dots == ".":
            if index == last:
                segments.append("")
        else:
            segments.append(part)
    return quote("/" + "/".join(segments), safe=_PATH_SAFE)


def _host(host: str, url: str) -> str:
    if host.startswith("["):
        if not host.endswith("]"):
            raise type_error(f"Invalid URL: {url}")
        return host.lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise type_error(f"Invalid URL: {url}") from None
    if not host or _bad_host(host):
        raise type_error(f"Invalid URL: {url}")
    return host.lower()


class URL(Raw):
    __slots__ = ("_params", "_search", "hash", "hostname", "password", "pathname", "port", "protocol", "username")
    js_name = "URL"

    def __init__(self, url: Any, base: Any = None) -> None:
        text = js_string(url).strip("".join(map(chr, range(33)))).translate({9: None, 10: None, 13: None})
        match = _SPLIT.fullmatch(text)
        if match is None or (base is not None and match["scheme"].lower() in _PORTS and match["authority"] is None):
            if base is None:
                raise type_error(f"Invalid URL: {text}")
            from urllib.parse import urljoin

            text = urljoin(js_string(base), text)
            match = _SPLIT.fullmatch(text)
            if match is None:
                raise type_error(f"Invalid URL: {text}")
        scheme = match["scheme"].lower()
        self.protocol = f"{scheme}:"
        self.username = self.password = self.hostname = self.port = ""
        self._params: URLSearchParams | None = None
        authority = match["authority"]
        if authority is None and scheme in _PORTS:
            raise type_error(f"Invalid URL: {text}")
        if authority is not None:
            self._authority(authority, scheme, text)
        path = match["path"]
        self.pathname = _path(path or "/") if authority is not None else path
        self._search = _search(match["search"])
        self.hash = _hash(match["hash"])

    def _authority(self, authority: str, scheme: str, text: str) -> None:
        user, at, rest = authority.rpartition("@")
        if at:
            name, _, password = user.partition(":")
            self.username, self.password = quote(name, safe="%!$&'()*+,"), quote(password, safe="%!$&'()*+,")
        host, port = rest, ""
        if not rest.endswith("]") and ":" in rest:
            host, _, port = rest.rpartition(":")
        self.hostname = _host(host, text)
        if port:
            if not port.isascii() or not port.isdigit() or int(port) > 65535:
                raise type_error(f"Invalid URL: {text}")
            number = str(int(port))
            self.port = "" if number == _PORTS.get(scheme) else number

    @property
    def host(self) -> str:
        return f"{self.hostname}:{self.port}" if self.port else self.hostname

    @host.setter
    def host(self, host: str) -> None:
        self._authority(host, self.protocol[:-1], host)

    @property
    def origin(self) -> str:
        return f"{self.protocol}//{self.host}" if self.hostname else "null"

    @property
    def search(self) -> str:
        if self._params is not None:
            text = str(self._params)
            return f"?{text}" if text else ""
        return self._search if self._search != "?" else ""

    @search.setter
    def search(self, search: str) -> None:
        self._search = _search(search if not search or search.startswith("?") else f"?{search}")
        self._params = None

    @property
    def searchParams(self) -> URLSearchParams:
        """Live: what is changed there changes the URL."""
        if self._params is None:
            self._params = URLSearchParams(self._search)
        return self._params

    @property
    def href(self) -> str:
        search = self._search if self._params is None else self.search  # a lone "?" stays in the text
        if not self.hostname:
            return f"{self.protocol}{self.pathname}{search}{self.hash}"
        user = self.username + (f":{self.password}" if self.password else "")
        return f"{self.protocol}//{user}{'@' if user else ''}{self.host}{self.pathname}{search}{self.hash}"

    @staticmethod
    def canParse(url: Any, base: Any = None) -> bool:
        try:
            URL(url, base)
        except TypeError:
            return False
        return True

    def toString(self) -> str:
        return self.href

    def toJSON(self) -> str:
        return self.href

    def __str__(self) -> str:
        return self.href


def _search(search: str | None) -> str:
    return quote(search, safe=_SEARCH_SAFE) if search else ""


def _hash(fragment: str | None) -> str:
    return quote(fragment, safe=_HASH_SAFE) if fragment and fragment != "#" else ""


class URLSearchParams(Raw):
    __slots__ = ("_pairs",)
    js_name = "URLSearchParams"

    def __init__(self, source: Any = None, **named: Any) -> None:
        if source is None:
            pairs: Iterable[tuple[Any, Any]] = named.items()
        elif isinstance(source, str):
            pairs = parse_qsl(source.removeprefix("?"), keep_blank_values=True, errors="replace")
        elif hasattr(source, "items"):
            pairs = source.items()
        else:
            pairs = source
        self._pairs = [(js_string(name), js_string(value)) for name, value in pairs]

    @property
    def size(self) -> int:
        return len(self._pairs)

    def append(self, name: Any, value: Any) -> None:
        self._pairs.append((js_string(name), js_string(value)))

    def set(self, name: Any, value: Any) -> None:
        key = js_string(name)
        at = next((index for index, pair in enumerate(self._pairs) if pair[0] == key), len(self._pairs))
        rest = [pair for pair in self._pairs[at:] if pair[0] != key]
        self._pairs[at:] = [(key, js_string(value)), *rest]

    def delete(self, name: str) -> None:
        self._pairs = [pair for pair in self._pairs if pair[0] != name]

    def get(self, name: str, default: str | None = None) -> str | None:
        return next((value for known, value in self._pairs if known == name), default)

    def getAll(self, name: str) -> list[str]:
        return [value for known, value in self._pairs if known == name]

    def has(self, name: str) -> bool:
        return any(known == name for known, _ in self._pairs)

    def sort(self) -> None:
        self._pairs.sort(key=lambda pair: pair[0])

    def keys(self) -> Iterator[str]:
        return iter([name for name, _ in self._pairs])

    def values(self) -> Iterator[str]:
        return iter([value for _, value in self._pairs])

    def entries(self) -> Iterator[tuple[str, str]]:
        return iter(list(self._pairs))

    def items(self) -> Iterator[tuple[str, str]]:
        return self.entries()

    def forEach(self, callback: Any) -> None:
        for name, value in list(self._pairs):
            callback(value, name, self)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return self.entries()

    def __contains__(self, name: object) -> bool:
        return any(known == name for known, _ in self._pairs)

    def to_py(self, **_options: Any) -> dict[str, str]:
        return dict(self._pairs)

    def toString(self) -> str:
        return urlencode(self._pairs)

    def __str__(self) -> str:
        return urlencode(self._pairs)
