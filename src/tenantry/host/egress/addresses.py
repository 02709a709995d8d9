"""Hosts of URLs as addresses, in every spelling that some parser accepts, and what kind of address it is.

Only addresses are judged, never texts: `0x7f.1`, `2130706433` and `127.0.0.1` are the same four bytes to the kernel, so
they are the same here. The ranges are IANA's registries of special-purpose addresses, written out: what the standard
library calls global has changed between versions of Python.

    https://www.iana.org/assignments/iana-ipv4-special-registry
    https://www.iana.org/assignments/iana-ipv6-special-registry
    https://url.spec.whatwg.org/#concept-ipv4-parser
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

__all__ = ["METADATA", "Address", "BadHost", "embedded", "is_public", "parse_address", "parse_host_untrusted"]

Address = IPv4Address | IPv6Address


class BadHost(ValueError):
    """A host that is neither a name nor an address."""


_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def parse_host_untrusted(text: str) -> Address | str:
    """The host of a URL: an address, or a name in lower case without a last dot. Raises only BadHost."""
    if text.startswith("[") and text.endswith("]"):
        return parse_address(text[1:-1])
    name = text.lower().removesuffix(".")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return _ipv4(name)
    if not _NAME.fullmatch(name):
        raise BadHost
    return name


def parse_address(text: str) -> Address:
    """An address as resolvers and brackets write it. An IPv4 one inside an IPv6 one, as sockets take it, is IPv4.

    Raises BadHost, for a scope (`fe80::1%eth0`) too.
    """
    try:
        if ":" not in text:
            return IPv4Address(text)
        if "%" in text:
            raise BadHost
        address = IPv6Address(text)
    except AddressValueError as error:
        raise BadHost from error
    return address.ipv4_mapped or address


def _ipv4(text: str) -> IPv4Address:
    """One to four numbers, decimal, octal (`0…`) or hexadecimal (`0x…`); the last fills what is left."""
    parts = text.split(".")
    if len(parts) > 4:
        raise BadHost
    numbers = [_number(part) for part in parts]
    last = numbers.pop()
    if any(number > 255 for number in numbers) or last >= 256 ** (4 - len(numbers)):
        raise BadHost
    value = last
    for index, number in enumerate(numbers):
        value += number << (8 * (3 - index))
    return IPv4Address(value)


def _number(part: str) -> int:
    if not _NUMBER.fullmatch(part) or len(part) > 64:
        raise BadHost
    try:
        if part.startswith("0x"):
            return int(part[2:] or "0", 16)
        return int(part, 8 if len(part) > 1 and part.startswith("0") else 10)
    except ValueError:
        raise BadHost from None


# Kinds of addresses ------------------------------------------------------------------------------------------------

_IPV4_CLOSED: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host: connects to loopback
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers (CGNAT), and by clouds for their own
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
)
_IPV6_OPEN: Final = IPv6Network("2000::/3")
"""All of IPv6 that is given out to anybody. Loopback, ULA, link-local, multicast and NAT64 lie outside."""
_IPV6_CLOSED: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)

METADATA: Final = tuple(
    ip_network(network)
    for network in (
        "169.254.0.0/16",  # AWS, Azure, GCP, Oracle, DigitalOcean, OpenStack; beside .169.254 ECS, EKS, Tencent
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # GCP
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's host, at an address that looks public
        "192.0.0.192/32",  # Oracle
    )
)
"""Where clouds hand out the credentials of the machine to whoever asks from it."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")
_COMPATIBLE: Final = IPv6Network("::/96")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")


def is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _IPV4_CLOSED)
    return address in _IPV6_OPEN and not any(address in network for network in _IPV6_CLOSED)


def embedded(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that a gateway on the way may send this one to."""
    if isinstance(address, IPv4Address):
        return ()
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if any(address in network for network in (_NAT64, _NAT64_LOCAL, _TRANSLATED)):
        return (low,)
    if address in _COMPATIBLE and int(low) > 0xFFFF:  # `::1` is not 0.0.0.1
        return (low,)
    if (int(address) >> 32) & 0xFFFFFFFF in (0x00005EFE, 0x02005EFE):  # ISATAP
        return (low,)
    return ()
