"""XML that strangers send, and XML that we send."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.s3.errors import S3Error
from tenantry.s3.xml import document, parse_untrusted

BOMB = b"""<!DOCTYPE Delete [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<Delete><Object><Key>&b;</Key></Object></Delete>"""
OUTSIDE = b'<!DOCTYPE Delete [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Delete",
        b"<Delete>",
        b"<Other/>",
        b"<Delete/><Delete/>",
        BOMB,
        OUTSIDE,
        b"<!DOCTYPE Delete><Delete/>",
        b"<Delete>&unknown;</Delete>",
        b"<Delete>\x00</Delete>",
        b"\xff\xfe<Delete/>",
        b"<a>" * 100_000,
        b"<Delete>" + b"<a>" * 9 + b"</a>" * 9 + b"</Delete>",
        b"<Delete>" + b"<a/>" * 80_001 + b"</Delete>",
        b'<?xml version="1.0" encoding="martian"?><Delete/>',
    ],
    ids=range(15),
)
def test_what_is_no_plain_document_is_refused(body: bytes) -> None:
    with pytest.raises(S3Error, match="MalformedXML"):
        parse_untrusted(body, "Delete")


def test_a_document_is_read_with_and_without_a_namespace() -> None:
    for opening in (b"<Delete>", b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'):
        root = parse_untrusted(opening + b"<Object><Key> a &amp; b\n</Key></Object></Delete>", "Delete")

        assert [entry.value("Key") for entry in root.all("Object")] == [" a & b\n"]


def test_a_child_that_should_be_alone_is() -> None:
    root = parse_untrusted(b"<a><b>1</b><b>2</b></a>", "a")

    with pytest.raises(S3Error, match="MalformedXML"):
        root.value("b")
    with pytest.raises(S3Error, match="MalformedXML"):
        root.only({"c"})


@given(st.binary(max_size=300))
def test_any_bytes_give_a_document_or_one_clean_error(body: bytes) -> None:
    try:
        parse_untrusted(body, "Delete")
    except S3Error as error:
        assert error.name == "MalformedXML"  # noqa: PT017 - either is right


@given(st.text(max_size=100))
def test_any_text_can_be_written(text: str) -> None:
    root = fromstring(document("a", {"b": text}, namespace=False))

    found = root.findtext("b") or ""
    assert len(found) == len(text)
    assert all(one == other or one == "\ufffd" for one, other in zip(found, text, strict=True))
