"""The operator's file says where Workers may go; every slip in it is named."""

from __future__ import annotations

from ipaddress import ip_network

import msgspec
import pytest

from tenantry.config.egress import EgressFile, EgressPolicies, EgressPolicy, parse_egress
from tenantry.errors import ConfigError


def read(**content: object) -> EgressPolicy:
    return parse_egress(msgspec.convert(content, EgressFile), "$.egress")


def test_nothing_said_is_the_public_internet() -> None:
    assert read() == EgressPolicy()
    assert EgressPolicy().mode == "public"
    assert EgressPolicy().closed_ports == {25, 465, 587}


def test_names_suffixes_addresses_and_ranges() -> None:
    policy = read(
        policy="allow",
        allow=["API.example.com.", "*.example.org", "10.1.2.0/24", "127.0.0.1", "fd00::/8", "db"],
        allow_metadata=["169.254.169.254"],
        closed_ports=[25],
    )

    assert policy.names == {"api.example.com", "db"}
    assert policy.suffixes == (".example.org",)
    assert policy.networks == tuple(map(ip_network, ("10.1.2.0/24", "127.0.0.1/32", "fd00::/8")))
    assert policy.metadata == (ip_network("169.254.169.254/32"),)
    assert policy.closed_ports == {25}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"policy": "allow"}, 'write "deny"'),
        ({"policy": "deny", "allow": ["a.b"]}, "nothing to allow"),
        ({"policy": "deny", "sockets": True}, "sockets would lead nowhere"),
        ({"allow": ["https://a.example"]}, "$.egress.allow[0]"),
        ({"allow": ["a.example", "a.example:443"]}, "$.egress.allow[1]"),
        ({"allow": ["*"]}, "$.egress.allow[0]"),
        ({"allow": ["a.*.example"]}, "$.egress.allow[0]"),
        ({"allow": [""]}, "$.egress.allow[0]"),
        ({"allow": ["127.1"]}, "$.egress.allow[0]"),
        ({"allow": ["10.1.2.3/24"]}, "$.egress.allow[0]"),
        ({"allow_metadata": ["metadata.google.internal"]}, "write the address"),
        ({"closed_ports": [0]}, "not a port"),
        ({"closed_ports": [65536]}, "not a port"),
    ],
)
def test_every_slip_is_named(content: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(**content)
    assert problem in str(raised.value)


def test_a_worker_may_have_its_own() -> None:
    policies = EgressPolicies(workers={("ns", "one"): EgressPolicy(mode="deny")})
    assert policies.of("ns", "one").mode == "deny"
    assert policies.of(None, "one").mode == "public"


def test_nobody_has_sockets_who_was_not_given_them() -> None:
    assert read().sockets is False
    assert read(sockets=True).sockets is True
    assert EgressPolicies().any_sockets is False
    assert EgressPolicies(default=read(sockets=True)).any_sockets is True
    assert EgressPolicies(workers={(None, "one"): read(sockets=True)}).any_sockets is True
