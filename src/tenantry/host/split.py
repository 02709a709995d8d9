"""Which version of a Worker takes an invocation, where its requests are split between several.

One request meets one version of each Worker, however often it calls it: the choice is a function of the request's key,
which everything that it calls inherits. The key is drawn at random, or comes with the request in
`Cloudflare-Workers-Version-Key`; `Cloudflare-Workers-Version-Overrides` names a version outright, of those that are
deployed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from tenantry.host.invocation import Invocation
    from tenantry.host.pool import WorkerPool

__all__ = ["Invokable", "Split", "VersionChoice", "read_choice_untrusted"]

KEY_HEADER: Final = "cloudflare-workers-version-key"
OVERRIDES_HEADER: Final = "cloudflare-workers-version-overrides"

_HEADER_CHARACTERS_MAX: Final = 4096
# An item of an RFC 8941 dictionary: name="version id".
_OVERRIDE: Final = re.compile(r'\s*([A-Za-z0-9_-]{1,255})\s*=\s*"([0-9A-Za-z-]{1,64})"\s*')


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """What decides for a request and all that it calls. `overrides`: the name of a Worker → the id of a version."""

    key: str
    overrides: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def drawn(cls) -> VersionChoice:
        return cls(f"{random.getrandbits(64):x}")


def read_choice_untrusted(headers: Sequence[tuple[str, str]]) -> VersionChoice | None:
    """The choice that a request comes with; None where it leaves it to us. What is malformed counts for nothing."""
    key: str | None = None
    overrides: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower == KEY_HEADER and value and len(value) <= _HEADER_CHARACTERS_MAX:
            key = value
        elif lower == OVERRIDES_HEADER and len(value) <= _HEADER_CHARACTERS_MAX:
            matches = [_OVERRIDE.fullmatch(item) for item in value.split(",")]
            overrides.update({match[1]: match[2] for match in matches if match is not None})
    if key is None and not overrides:
        return None
    return VersionChoice(key or VersionChoice.drawn().key, overrides)


class Invokable(Protocol):
    """A pool, or a split of pools."""

    def pool_for(self, caller: Invocation) -> WorkerPool:
        """The pool that takes what code of `caller` calls."""

    def pick(self, choice: VersionChoice | None) -> tuple[WorkerPool, VersionChoice | None]:
        """The pool that takes an event from outside, and what decides for all that it calls, if that is known yet."""


class Split:
    """Two or more pools of one Worker, with the percentage of each; they add up to 100."""

    def __init__(self, name: str, parts: Sequence[tuple[WorkerPool, float]]) -> None:
        self._name = name
        self._parts = tuple(parts)

    def choose(self, choice: VersionChoice) -> WorkerPool:
        wanted = choice.overrides.get(self._name)
        for pool, _ in self._parts:
            if pool.worker.version_id == wanted:
                return pool
        # The name is hashed too: else the same requests would be the first for every Worker that is split.
        digest = blake2b(f"{self._name}\0{choice.key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        point = int.from_bytes(digest, "big") / 2**64 * 100
        for pool, percentage in self._parts:
            point -= percentage
            if point < 0:
                return pool
        return self._parts[0][0]  # rounding; the first has the largest share

    def pick(self, choice: VersionChoice | None) -> tuple[WorkerPool, VersionChoice | None]:
        choice = choice or VersionChoice.drawn()
        return self.choose(choice), choice

    def pool_for(self, caller: Invocation) -> WorkerPool:
        root = caller.root
        root.choice = root.choice or VersionChoice.drawn()
        return self.choose(root.choice)
