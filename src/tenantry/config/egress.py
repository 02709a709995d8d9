"""Where `fetch()` of a Worker may go: the operator's word, never the tenant's.

    [egress]
    policy = "public"                     # or "allow" (what is listed and nothing else) or "deny"
    allow = ["api.example.com", "*.example.org", "10.1.2.0/24", "127.0.0.1"]
    allow_metadata = ["169.254.169.254"]  # the only way to an address that a cloud keeps credentials at
    closed_ports = [25, 465, 587]         # the default
    sockets = false                       # true: requests, httpx and the like work too, through a proxy

A range opens its addresses, also private ones. A name opens itself, and only with addresses that are public or in a
range: who runs a name's DNS cannot aim it at the inside. Under "public" every name is open already, but for one without
a dot, which is a name of the inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal

import msgspec

from tenantry.errors import ConfigError

__all__ = ["CLOSED_PORTS_DEFAULT", "PUBLIC", "EgressFile", "EgressPolicies", "EgressPolicy", "parse_egress"]

CLOSED_PORTS_DEFAULT: Final = frozenset({25, 465, 587})
"""Mail: nobody sends spam from here. Cloudflare closes port 25."""

Network = IPv4Network | IPv6Network

_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """`names` are exact, `suffixes` are ".example.org" for "*.example.org"; both in lower case, without a last dot."""

    mode: Literal["public", "allow", "deny"] = "public"
    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    metadata: tuple[Network, ...] = ()
    closed_ports: frozenset[int] = CLOSED_PORTS_DEFAULT
    sockets: bool = False
    """Whether its processes may make TCP connections: to a proxy of this policy, and to nothing else."""


@dataclass(frozen=True, slots=True)
class EgressPolicies:
    """The policy of each Worker: `workers` by (namespace, name), for the others `default`."""

    default: EgressPolicy = EgressPolicy()
    workers: Mapping[tuple[str | None, str], EgressPolicy] = field(default_factory=dict)

    def of(self, namespace: str | None, name: str) -> EgressPolicy:
        return self.workers.get((namespace, name), self.default)

    @property
    def any_sockets(self) -> bool:
        return any(policy.sockets for policy in (self.default, *self.workers.values()))


PUBLIC: Final = EgressPolicies()
"""The public Internet for everybody."""


class EgressFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table as it stands in a file."""

    policy: Literal["public", "allow", "deny"] = "public"
    allow: list[str] = []
    allow_metadata: list[str] = []
    closed_ports: list[int] = msgspec.field(default_factory=lambda: sorted(CLOSED_PORTS_DEFAULT))
    sockets: bool = False


def parse_egress(content: EgressFile, where: str) -> EgressPolicy:
    """The policy that a file asks for. Raises ConfigError, naming `where` it stands."""
    if content.policy == "deny" and (content.allow or content.allow_metadata):
        raise ConfigError(f'{where}: policy "deny" lets nothing out, so there is nothing to allow')
    if content.policy == "deny" and content.sockets:
        raise ConfigError(f'{where}: policy "deny" lets nothing out, so sockets would lead nowhere')
    if content.policy == "allow" and not (content.allow or content.allow_metadata):
        raise ConfigError(f'{where}: policy "allow" without anything in allow lets nothing out; write "deny"')
    names: set[str] = set()
    suffixes: list[str] = []
    networks: list[Network] = []
    for index, entry in enumerate(content.allow):
        text = entry.strip().lower().removesuffix(".")
        if (network := _network(text)) is not None:
            networks.append(network)
        elif _is_name(text.removeprefix("*.")):
            if text.startswith("*."):
                suffixes.append(text[1:])
            else:
                names.add(text)
        else:
            raise ConfigError(
                f"{where}.allow[{index}] is {entry!r}: neither a host name (api.example.com, *.example.com) nor an "
                "address or range (10.1.2.0/24); ports and URLs do not belong here"
            )
    for port in content.closed_ports:
        if not 1 <= port <= 65535:
            raise ConfigError(f"{where}.closed_ports holds {port}, which is not a port")
    return EgressPolicy(
        mode=content.policy,
        names=frozenset(names),
        suffixes=tuple(suffixes),
        networks=tuple(networks),
        metadata=tuple(_metadata(content.allow_metadata, where)),
        closed_ports=frozenset(content.closed_ports),
        sockets=content.sockets,
    )


def _metadata(entries: Iterable[str], where: str) -> Iterable[Network]:
    for index, entry in enumerate(entries):
        network = _network(entry.strip())
        if network is None:
            raise ConfigError(f"{where}.allow_metadata[{index}] is {entry!r}: write the address, as 169.254.169.254")
        yield network


def _network(text: str) -> Network | None:
    """An address or a range, or None for anything else. Host bits in a range are refused: they are a slip."""
    try:
        return ip_network(text)
    except ValueError:
        return None


def _is_name(text: str) -> bool:
    # A last label that is a number is read as an address wherever it is used, so no name may look like one.
    return _NAME.fullmatch(text) is not None and _NUMERIC.fullmatch(text) is None
