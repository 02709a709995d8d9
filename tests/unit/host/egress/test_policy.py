"""The policy's table, row by row, and what no policy may ever permit."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.config.egress import EgressFile, EgressPolicy, Network, parse_egress
from tenantry.host.egress.addresses import METADATA, is_public, parse_address
from tenantry.host.egress.policy import permits_address, permits_name, permits_port, permits_socket


def policy(mode: str = "public", allow: list[str] | None = None, metadata: list[str] | None = None) -> EgressPolicy:
    return parse_egress(EgressFile(policy=mode, allow=allow or [], allow_metadata=metadata or []), "here")  # type: ignore[arg-type]


PUBLIC = policy()
DENY = policy("deny")
NAMED = policy("allow", ["api.example.com", "*.example.org"])
RANGED = policy("allow", ["10.1.2.0/24", "fd12::/16"])
OPENED = policy("public", ["10.1.2.0/24", "169.254.0.0/16", "64:ff9b::/96", "::1"])
METADATA_OPEN = policy("public", [], ["169.254.169.254"])


@pytest.mark.parametrize(
    ("given", "address", "name", "permitted"),
    [
        (PUBLIC, "8.8.8.8", None, True),
        (PUBLIC, "8.8.8.8", "a.example", True),
        (PUBLIC, "10.1.2.3", "a.example", False),
        (PUBLIC, "127.0.0.1", None, False),
        (PUBLIC, "168.63.129.16", None, False),
        (PUBLIC, "64:ff9b::8.8.8.8", None, False),
        (PUBLIC, "2002:808:808::1", None, False),
        (DENY, "8.8.8.8", None, False),
        (NAMED, "8.8.8.8", "api.example.com", True),
        (NAMED, "8.8.8.8", "a.b.example.org", True),
        (NAMED, "8.8.8.8", "example.org", False),
        (NAMED, "8.8.8.8", "badexample.org", False),
        (NAMED, "8.8.8.8", "xapi.example.com", False),
        (NAMED, "8.8.8.8", "other.example", False),
        (NAMED, "8.8.8.8", None, False),
        (NAMED, "10.1.2.3", "api.example.com", False),
        (RANGED, "10.1.2.3", None, True),
        (RANGED, "10.1.2.3", "anything.example", True),
        (RANGED, "10.1.3.1", None, False),
        (RANGED, "fd12::1", None, True),
        (RANGED, "8.8.8.8", None, False),
        (OPENED, "10.1.2.3", None, True),
        (OPENED, "8.8.8.8", None, True),
        (OPENED, "169.254.1.1", None, False),
        (OPENED, "169.254.169.254", None, False),
        (OPENED, "::ffff:10.1.2.3", None, True),
        (OPENED, "::1", None, True),
        (OPENED, "127.0.0.1", None, False),
        (OPENED, "64:ff9b::8.8.8.8", None, True),
        (OPENED, "64:ff9b::10.1.2.3", None, True),
        (OPENED, "64:ff9b::127.0.0.1", None, False),
        (OPENED, "64:ff9b::169.254.169.254", None, False),
        (METADATA_OPEN, "169.254.169.254", None, True),
        (METADATA_OPEN, "169.254.169.253", None, False),
        (METADATA_OPEN, "100.100.100.200", "metadata.example", False),
    ],
)
def test_the_table_of_addresses(given: EgressPolicy, address: str, name: str | None, permitted: bool) -> None:
    assert permits_address(given, parse_address(address), name) is permitted


@pytest.mark.parametrize(
    ("given", "name", "permitted"),
    [
        (PUBLIC, "a.example", True),
        (PUBLIC, "localhost", False),
        (PUBLIC, "db", False),
        (PUBLIC, "a.localhost", False),
        (DENY, "a.example", False),
        (NAMED, "api.example.com", True),
        (NAMED, "x.example.org", True),
        (NAMED, "a.example", False),
        (RANGED, "a.example", True),
        (OPENED, "db", True),
        (policy("public", ["db"]), "db", True),
    ],
)
def test_the_table_of_names(given: EgressPolicy, name: str, permitted: bool) -> None:
    assert permits_name(given, name) is permitted


@pytest.mark.parametrize(
    ("port", "permitted"), [(80, True), (443, True), (8080, True), (25, False), (465, False), (587, False), (0, False)]
)
def test_the_table_of_ports(port: int, permitted: bool) -> None:
    assert permits_port(PUBLIC, port) is permitted
    assert permits_port(DENY, port) is False
    assert permits_socket(PUBLIC, IPv4Address("8.8.8.8"), port) is permitted


def test_an_operator_may_open_a_port() -> None:
    assert permits_port(parse_egress(EgressFile(closed_ports=[]), "here"), 25)


ADDRESSES = st.ip_addresses() | st.sampled_from([network[0] for network in METADATA])


@given(ADDRESSES, st.sampled_from([PUBLIC, NAMED, DENY]), st.sampled_from([None, "api.example.com", "a.example"]))
def test_without_ranges_no_policy_reaches_what_is_not_public(
    address: IPv4Address | IPv6Address, given: EgressPolicy, name: str | None
) -> None:
    if permits_address(given, address, name):
        assert is_public(address)
        assert permits_socket(given, address, 443)


@given(st.sampled_from(METADATA), st.sampled_from(["public", "allow"]))
def test_no_allow_list_opens_metadata(network: Network, mode: str) -> None:
    opened = policy(mode, ["0.0.0.0/0", "::/0", str(network)])
    address = network[0]
    assert not permits_address(opened, address, "api.example.com")
