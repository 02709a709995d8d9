"""What an attack is: a row of the threat list, a snippet that runs sealed, and what has to be seen from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenantry.errors import LimitExceeded, TenantryError

if TYPE_CHECKING:
    from tenantry.doctor.arena import Arena, Attacker

__all__ = ["Attack", "Drive", "NotCovered", "Outside", "attack", "refused"]

Drive = Callable[["Arena", "Attacker", "Attack"], Awaitable[str]]
"""How the host provokes it. Returns the outcome."""

Outside = Callable[["Arena", "Attacker"], Awaitable[str | None]]
"""What the host sees of the attacker's living process afterwards. Returns what is wrong, None when nothing is."""


class NotCovered(Exception):
    """This machine cannot show it. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack.

    `id` is its row in the list of threats, `name` says what is tried and is unique. `code` runs in the `fetch` handler
    of a Worker of its own; `at_import` is the module's last lines. `strict` and `container` say which outcome is
    containment at these levels: a regular expression for the whole of it, or `= ` and the repr of the snippet's
    `result`; None where the attack means nothing. Outcomes that begin with `! ` are the host's own words.

    `alone`: nothing else may run beside it. `cpu_ms` and `subrequests` are the Worker's limits.
    """

    id: str
    name: str
    code: str = ""
    strict: str | None = ".*"
    container: str | None = ".*"
    at_import: str = ""
    drive: Drive | None = None
    outside: Outside | None = None
    alone: bool = False
    cpu_ms: int | None = None
    subrequests: int | None = None

    def expected(self, isolation: str) -> str | None:
        return self.container if isolation == "container" else self.strict


_SAME = "as at strict"


def attack(
    id: str,  # noqa: A002 - the word of the table
    name: str,
    code: str,
    strict: str | None,
    container: str | None = _SAME,
    *,
    at_import: str = "",
    drive: Drive | None = None,
    outside: Outside | None = None,
    alone: bool = False,
    cpu_ms: int | None = None,
    subrequests: int | None = None,
) -> Attack:
    """An `Attack`, as short as a line of a table. What is not said of `container` is as at `strict`."""
    return Attack(
        id=id,
        name=name,
        code=code,
        strict=strict,
        container=strict if container == _SAME else container,
        at_import=at_import,
        drive=drive,
        outside=outside,
        alone=alone,
        cpu_ms=cpu_ms,
        subrequests=subrequests,
    )


def refused(error: TenantryError) -> str:
    """An outcome by the kind of error that a caller tells apart: which limit it was is in the words."""
    kind = LimitExceeded if isinstance(error, LimitExceeded) else type(error)
    return f"! {kind.__name__}: {error}"
