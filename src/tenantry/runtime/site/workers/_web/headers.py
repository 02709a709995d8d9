"""Headers: the pairs of a message, checked, and the two ways to look at them (JavaScript's and Python's)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tenantry.wire.values import HeadersValue
from workers._errors import type_error
from workers._web.raw import Raw, js_string

if TYPE_CHECKING:
    from http.client import HTTPMessage

__all__ = ["Headers", "Pairs", "http_message", "pairs_of", "sdk_pairs_of"]

Pairs = list[tuple[str, str]]

_is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_is_bad_value = re.compile(r"[\0\r\n]").search
_BLANKS = " \t\r\n"


def _name(name: Any) -> str:
    text = name if type(name) is str else js_string(name)
    if not _is_token(text):
        raise type_error("Invalid header name.")
    return text.lower()


def _value(value: Any) -> str:
    text = (value if type(value) is str else js_string(value)).strip(_BLANKS)
    if _is_bad_value(text):
        raise type_error("Invalid header value.")
    return text


def pairs_of(headers: Any) -> Pairs:
    """The pairs of whatever JavaScript accepts as headers: a new list, names in lower case."""
    if not headers and (headers is None or type(headers) in (dict, list)):
        return []
    if isinstance(headers, Headers):
        return list(headers.pairs)
    if isinstance(headers, dict) or (not isinstance(headers, list) and hasattr(headers, "items")):
        return [(_name(name), _value(value)) for name, value in headers.items()]
    try:
        return [(_name(name), _value(value)) for name, value in headers]
    except ValueError as error:
        raise type_error("Headers must be pairs of a name and a value.") from error


def sdk_pairs_of(headers: Any) -> Pairs:
    """The same, for what the SDK accepts."""
    if headers is not None and not isinstance(headers, (list, dict, Headers)):
        raise TypeError("Received unexpected type for headers argument")
    return pairs_of(headers)


def first(pairs: Pairs, name: str) -> str | None:
    """The value of a header whose name is given in lower case."""
    for known, value in pairs:
        if known == name:
            return value
    return None


def combined(pairs: Pairs) -> Pairs:
    """Sorted by name, one pair for each name but Set-Cookie, whose values cannot be joined."""
    cookies: Pairs = []
    values: dict[str, str] = {}
    for name, value in pairs:
        if name == "set-cookie":
            cookies.append((name, value))
        elif name in values:
            values[name] += f", {value}"
        else:
            values[name] = value
    return sorted([*values.items(), *cookies], key=lambda pair: pair[0])


def http_message(pairs: Pairs) -> HTTPMessage:
    """A new HTTPMessage, which belongs to the caller."""
    from http.client import HTTPMessage  # it loads `email`, which a Worker that reads no header need not pay for

    message = HTTPMessage()
    # What `message[name] = value` does for each pair under this policy, without the policy.
    message._headers = combined(pairs)  # type: ignore[attr-defined]  # email.message keeps its pairs there
    return message


class Headers(Raw):
    """js.Headers: a view of the pairs of the message that it belongs to."""

    __slots__ = ("pairs",)
    js_name = "Headers"

    def __init__(self, headers: Any = None, **named: Any) -> None:
        self.pairs: Pairs = pairs_of(headers)
        if named:
            self.pairs += pairs_of(named)

    @classmethod
    def over(cls, pairs: Pairs) -> Headers:
        view = cls.__new__(cls)
        view.pairs = pairs
        return view

    def get(self, name: str, default: str | None = None) -> str | None:
        wanted = _name(name)
        values = [value for known, value in self.pairs if known == wanted]
        return ", ".join(values) if values else default

    def getSetCookie(self) -> list[str]:
        return [value for name, value in self.pairs if name == "set-cookie"]

    def getAll(self, name: str) -> list[str]:
        if _name(name) != "set-cookie":
            raise type_error('getAll() can only be used with the header name "Set-Cookie".')
        return self.getSetCookie()

    def has(self, name: str) -> bool:
        wanted = _name(name)
        return any(known == wanted for known, _ in self.pairs)

    def set(self, name: str, value: Any) -> None:
        wanted, text = _name(name), _value(value)
        self.delete(wanted)
        self.pairs.append((wanted, text))

    def append(self, name: str, value: Any) -> None:
        self.pairs.append((_name(name), _value(value)))

    def delete(self, name: str) -> None:
        wanted = _name(name)
        self.pairs[:] = [pair for pair in self.pairs if pair[0] != wanted]

    def entries(self) -> Iterator[tuple[str, str]]:
        return iter(combined(self.pairs))

    def items(self) -> Iterable[tuple[str, str]]:
        return combined(self.pairs)

    def keys(self) -> Iterator[str]:
        return iter(name for name, _ in combined(self.pairs))

    def values(self) -> Iterator[str]:
        return iter(value for _, value in combined(self.pairs))

    def forEach(self, callback: Any) -> None:
        for name, value in combined(self.pairs):
            callback(value, name, self)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(combined(self.pairs))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.has(name)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)

    def __delitem__(self, name: str) -> None:
        self.delete(name)

    def to_py(self, **_options: Any) -> dict[str, str]:
        return dict(combined(self.pairs))

    def _tenantry_value(self, capabilities: list[Any]) -> HeadersValue:
        return HeadersValue(self.pairs)
