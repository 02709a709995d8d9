"""Whether a request may leave: a decision about a port, a name and an address, and nothing that is not pure.

It is asked twice for each connection: about the name, before anybody resolves it, and about each address, the one that
is then connected to. What is permitted, in this order:

    mode "deny"                  nothing
    a closed port                nothing
    a metadata address           only where `metadata` names it
    an address in `networks`     yes
    mode "public"                a public address
    mode "allow"                 a public address of a name that is listed
"""

from __future__ import annotations

from tenantry.config.egress import EgressPolicy
from tenantry.host.egress.addresses import METADATA, Address, embedded, is_public

__all__ = ["permits_address", "permits_name", "permits_port", "permits_socket"]


def permits_port(policy: EgressPolicy, port: int) -> bool:
    return policy.mode != "deny" and 0 < port <= 65535 and port not in policy.closed_ports


def permits_name(policy: EgressPolicy, name: str) -> bool:
    """Whether a name may be resolved at all. One that may still has to have an address that is permitted."""
    if policy.mode == "deny":
        return False
    if _is_listed(policy, name) or policy.networks or policy.metadata:
        return True
    return policy.mode == "public" and "." in name and not name.endswith(".localhost")


def permits_address(policy: EgressPolicy, address: Address, name: str | None) -> bool:
    """Whether to connect to `address`, of the host `name`; None where the URL names the address itself."""
    return _permits_all(policy, address, listed=name is not None and _is_listed(policy, name))


def permits_socket(policy: EgressPolicy, address: Address, port: int) -> bool:
    """Whether any request at all may connect there: what is left to ask where only the socket's address is known."""
    return permits_port(policy, port) and _permits_all(policy, address, listed=bool(policy.names or policy.suffixes))


def _permits_all(policy: EgressPolicy, address: Address, *, listed: bool) -> bool:
    if policy.mode == "deny":
        return False
    # An address that carries another inside is permitted when both are.
    return all(_permits(policy, each, listed) for each in (address, *embedded(address)))


def _permits(policy: EgressPolicy, address: Address, listed: bool) -> bool:
    if any(address in network for network in policy.metadata):
        return True
    if any(address in network for network in METADATA):
        return False
    if any(address in network for network in policy.networks):
        return True
    return is_public(address) and (policy.mode == "public" or listed)


def _is_listed(policy: EgressPolicy, name: str) -> bool:
    return name in policy.names or name.endswith(policy.suffixes)
