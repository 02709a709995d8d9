"""Every spelling of an address is that address, and every kind of address is told from a public one."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.host.egress.addresses import BadHost, embedded, is_public, parse_address, parse_host_untrusted

LOOPBACK = IPv4Address("127.0.0.1")


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0.0.0x1",
        "0177.0.0.01",
        "127.0.0.1.",
        "00000000000000000177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::FFFF:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
    ],
)
def test_the_spellings_of_loopback(text: str) -> None:
    assert parse_host_untrusted(text) == LOOPBACK


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        "-a.b",
        "a-.b",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.256",
        "1.2.65536",
        "4294967296",
        "0x1ffffffff",
        "08.1.1.1",
        "a.1",
        "a.0x",
        "1..2",
        "127.0.0.1..",
        "١٢٧.0.0.1",
        "[::1",
        "[::1%lo]",
        "[fe80::1%25eth0]",
        "[127.0.0.1",
        "[1.2.3]",
        "[v1.x]",
        "a b",
        "a%00b",
        "a/b",
        "a\\b",
        "a@b",
        "a" * 64,
        "a." * 127 + "com",
        "9" * 5000,
    ],
)
def test_what_is_neither_a_name_nor_an_address(text: str) -> None:
    with pytest.raises(BadHost):
        parse_host_untrusted(text)


def test_names_lose_their_case_and_their_last_dot() -> None:
    assert parse_host_untrusted("API.Example.COM.") == "api.example.com"
    assert parse_host_untrusted("_dmarc.a-b.xn--bcher-kva.example") == "_dmarc.a-b.xn--bcher-kva.example"


NUMBERS = ["{:d}", "0{:o}", "0x{:x}", "0X{:X}", "000{:o}", "0x0{:x}"]


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.lists(st.sampled_from(NUMBERS), min_size=4, max_size=4))
def test_any_spelling_of_any_ipv4_address_is_that_address(value: int, count: int, forms: list[str]) -> None:
    address = IPv4Address(value)
    numbers = [*address.packed[: count - 1], value & (2 ** (8 * (5 - count)) - 1)]

    text = ".".join(form.format(number) for form, number in zip(forms, numbers, strict=False))

    assert parse_host_untrusted(text) == address


@given(st.text())
def test_any_text_is_an_address_a_clean_name_or_refused(text: str) -> None:
    try:
        host = parse_host_untrusted(text)
    except BadHost:
        return
    if isinstance(host, str):
        assert host.isascii()
        assert host == host.lower()
        assert not host.rpartition(".")[2].isdigit()


@given(st.ip_addresses(v=6))
def test_any_ipv6_address_is_itself_or_the_ipv4_one_that_sockets_take_it_for(address: IPv6Address) -> None:
    expected = address.ipv4_mapped or address
    assert parse_address(str(address)) == expected
    assert parse_address(address.exploded) == expected


CLOSED = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1"),
    *("198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "::7f00:1", "fe80::1", "fec0::1", "fc00::1", "fdff::1", "fd00:ec2::254"),
    *("ff02::1", "64:ff9b::1.2.3.4", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:db8::1"),
    *("2002:7f00:1::1", "3fff::1", "5f00::1", "4000::1"),
]
OPEN = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"),
    *("2606:4700:4700::1111", "2a00:1450::1", "2001:200::1", "2620:fe::fe", "3ffe::1"),
]


@pytest.mark.parametrize("text", CLOSED)
def test_what_is_not_public(text: str) -> None:
    assert not is_public(parse_address(text))


@pytest.mark.parametrize("text", OPEN)
def test_what_is_public(text: str) -> None:
    assert is_public(parse_address(text))


@given(st.ip_addresses())
def test_public_is_never_more_than_the_standard_library_calls_global(address: IPv4Address | IPv6Address) -> None:
    if is_public(address):
        assert not address.is_private
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_multicast
        assert not address.is_reserved
        assert not address.is_unspecified


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("64:ff9b::10.0.0.1", "10.0.0.1"),
        ("64:ff9b:1::10.0.0.1", "10.0.0.1"),
        ("2002:a00:1::", "10.0.0.1"),
        ("::10.0.0.1", "10.0.0.1"),
        ("::ffff:0:10.0.0.1", "10.0.0.1"),
        ("fe80::5efe:10.0.0.1", "10.0.0.1"),
        ("2a00::200:5efe:10.0.0.1", "10.0.0.1"),
        ("2001:0:a00:1::", "10.0.0.1"),
    ],
)
def test_addresses_that_carry_another(text: str, inner: str) -> None:
    assert IPv4Address(inner) in embedded(IPv6Address(text))


@pytest.mark.parametrize("text", ["::", "::1", "2606:4700::1111", "fd00::1", "8.8.8.8"])
def test_addresses_that_carry_none(text: str) -> None:
    assert embedded(parse_address(text)) == ()
