"""XML both ways: small documents read with hard bounds, and answers written.

Read are documents of a bounded size and depth, without a DTD, entities or processing instructions (defusedxml), as
plain trees without namespaces. Text that XML 1.0 cannot hold is never written as it is: see `url_encoded`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, Union
from urllib.parse import quote
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from tenantry.s3.errors import error
from tenantry.s3.limits import XML_DEPTH_MAX, XML_ELEMENTS_MAX

__all__ = ["Element", "Value", "document", "parse_untrusted", "url_encoded"]

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# A string, because it names itself.
Value: TypeAlias = Union[str, int, Mapping[str, "Value"], Sequence["Value"], None]  # noqa: UP007


@dataclass(slots=True)
class Element:
    """An element of a document that was read: its name without a namespace, its own text, and its children."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, name: str) -> Iterator[Element]:
        return (child for child in self.children if child.name == name)

    def first(self, name: str) -> Element | None:
        return next(self.all(name), None)

    def value(self, name: str) -> str | None:
        """The text of the only child of that name, or None. Raises S3Error where there are several."""
        found = list(self.all(name))
        if len(found) > 1:
            raise error("MalformedXML")
        return found[0].text if found else None

    def only(self, names: Iterable[str]) -> None:
        """Raises S3Error if there is a child of another name."""
        allowed = set(names)
        if any(child.name not in allowed for child in self.children):
            raise error("MalformedXML")


class _Builder:
    """The target of the parser: makes the tree, and gives up on a deep or wide one while it grows."""

    def __init__(self) -> None:
        self._stack: list[Element] = []
        self._root: Element | None = None
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._stack) >= XML_DEPTH_MAX or self._count > XML_ELEMENTS_MAX:
            raise error("MalformedXML")
        element = Element(tag.rpartition("}")[2])
        if self._stack:
            self._stack[-1].children.append(element)
        else:
            self._root = element
        self._stack.append(element)

    def data(self, text: str) -> None:
        self._stack[-1].text += text

    def end(self, tag: str) -> None:
        self._stack.pop()

    def close(self) -> Element | None:
        return self._root


def parse_untrusted(body: bytes, name: str) -> Element:
    """The root of a document whose root is called `name`. The caller has bounded its size. Raises S3Error."""
    parser = DefusedXMLParser(target=_Builder(), forbid_dtd=True)
    try:
        parser.feed(body)
        root = parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise error("MalformedXML") from None
    if not isinstance(root, Element) or root.name != name:
        raise error("MalformedXML")
    return root


def url_encoded(text: str) -> str:
    """As `encoding-type=url` has it: what XML cannot say survives."""
    return quote(text, safe="/~")


def document(name: str, content: Value, *, namespace: bool = True) -> bytes:
    """A whole answer. Dicts are children in order, a list repeats its element, None leaves it out."""
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    _write(parts, name, content, f' xmlns="{_NAMESPACE}"' if namespace else "")
    return "".join(parts).encode()


def _write(parts: list[str], name: str, content: Value, attributes: str = "") -> None:
    if content is None:
        return
    if isinstance(content, list):
        for item in content:
            _write(parts, name, item)
        return
    parts.append(f"<{name}{attributes}>")
    if isinstance(content, Mapping):
        for child, value in content.items():
            _write(parts, child, value)
    elif isinstance(content, bool):
        parts.append("true" if content else "false")
    else:
        # A character that XML cannot hold would make the whole answer unreadable.
        parts.append(escape(_NOT_XML.sub("\ufffd", str(content))).replace("\r", "&#13;"))
    parts.append(f"</{name}>")
