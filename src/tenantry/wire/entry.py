"""Where in a Worker a call is delivered, and what it finds there that is not its caller's to say.

A call that is meant for more than the default entrypoint carries an `Entry` in front of its arguments (`front`), and
is of a kind of its own, ENTRY_FETCH or ENTRY_RPC. The host alone starts those kinds: which entrypoint a binding leads
to, and with what properties, stands in the table that was made when the binding's Worker was deployed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tenantry.wire.events import InvocationKind
from tenantry.wire.front import pack_front, split_front_untrusted
from tenantry.wire.limits import ENTRY_BYTES_MAX

__all__ = ["Entry", "enter", "pack_entry", "split_entry"]

_ENTRY_KINDS: Final = {
    InvocationKind.FETCH: InvocationKind.ENTRY_FETCH,
    InvocationKind.RPC: InvocationKind.ENTRY_RPC,
}
_PLAIN_KINDS: Final = {entry: plain for plain, entry in _ENTRY_KINDS.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """`entrypoint`: the name of a class; None: the default. `props` become `ctx.props`; `env` goes over the Worker's
    environment for this one call. Their values are plain; they may be secrets."""

    entrypoint: str | None = None
    props: Mapping[str, Any] = field(default_factory=dict, repr=False)
    env: Mapping[str, Any] = field(default_factory=dict, repr=False)


def pack_entry(entry: Entry) -> bytes:
    """What goes in front of the arguments. Raises DataCloneError for what is too much."""
    return pack_front(
        {"entrypoint": entry.entrypoint, "props": dict(entry.props), "env": dict(entry.env)}, ENTRY_BYTES_MAX
    )


def enter(kind: InvocationKind) -> InvocationKind:
    """The kind of a fetch or an RPC call that carries an entry."""
    return _ENTRY_KINDS[kind]


def split_entry(kind: InvocationKind, payload: bytes) -> tuple[Entry | None, InvocationKind, bytes]:
    """(entry, kind without it, arguments); as they are where a call carries none. What the host packed is trusted."""
    plain = _PLAIN_KINDS.get(kind)
    if plain is None:
        return None, kind, payload
    values, arguments = split_front_untrusted(payload, ENTRY_BYTES_MAX)
    return Entry(values["entrypoint"], values["props"], values["env"]), plain, arguments
