"""What moves between the rules of D1 and its engines: statements, calls, and what a statement did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from tenantry.services.d1 import limits
from tenantry.services.d1.errors import QueryFailed

__all__ = ["Call", "DumpOptions", "Effects", "Room", "Rows", "SqlValue", "Statement"]

SqlValue: TypeAlias = float | str | bytes | None
"""What is bound to a parameter. D1 binds every number as a double; integers come only out of SQLite."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and its parameters, already converted. The text may hold several statements; the last one's rows count."""

    sql: str
    parameters: tuple[SqlValue, ...] = ()


@dataclass(frozen=True, slots=True)
class Effects:
    """What one statement did: the `meta` of its result.

    `rows_read` and `rows_written` are D1's units of billing, which stock SQLite does not count. `rows_read` is what its
    full scans stepped over, at least the rows returned or changed: a lookup through an index counts what it found.
    `rows_written` is the rows changed, and for those that the statement itself wrote the entries of indexes.
    """

    duration_milliseconds: float
    changes: int
    last_row_id: int
    changed_database: bool
    size_bytes: int
    rows_read: int
    rows_written: int


@dataclass(frozen=True, slots=True)
class DumpOptions:
    """What a dump holds. `tables` are names, all tables when there is none."""

    schema: bool = True
    data: bool = True
    tables: frozenset[str] = frozenset()


class Rows(Protocol):
    """Takes the rows of one call's statements as they are read, in the engine's thread."""

    def clear(self) -> None:
        """Forgets everything: the call starts, perhaps not for the first time."""

    def begin(self, columns: tuple[str, ...]) -> None:
        """The next statement's rows follow."""

    def add(self, rows: Sequence[tuple[Any, ...]]) -> int:  # Any: SQLite's values, int included
        """Takes rows and says how many bytes they became. Raises `QueryFailed` when the result grows too large."""

    def end(self, effects: Effects) -> None:
        """The statement is done."""


class Room(Protocol):
    """What a call may add to its database where the account has a quota. Used in the engine's thread."""

    left_bytes: int
    """What there was when the call came: more than that need not be tried."""

    def take(self, size_bytes: int) -> None:
        """Asks for so much in all, before it is committed. May block. Raises `QueryFailed`."""


@dataclass(slots=True, eq=False)
class Call:
    """Statements that take effect together or not at all, and what became of them.

    Owned by the rules; while it is in `Session.apply`, the engine's thread writes `failure`, `state`
    and `alone`.
    """

    statements: Iterable[Statement]
    """May be gone through more than once."""
    rows: Rows
    seconds_max: float
    sql_bytes_max: int = limits.SQL_BYTES_MAX
    bookmarked: bool = False
    """A bookmark of the state that it leaves or saw is wanted."""
    state: int = 0
    """When `bookmarked`: that state, as the time of its commit (`Session.state_at`)."""
    failure: QueryFailed | None = None
    canceled: bool = False
    """Nobody waits for the answer any more. Set from the event loop at any time; only ever turns true."""
    room: Room | None = None
    """None: as much as the database may hold."""
    receipt: Callable[[], str | None] | None = None
    """Asked when the statements have run; what it gives is committed with their effects (`Session.receipt`)."""
    alone: bool = field(default=False)
    """Must not share a transaction: it kept others waiting, or one of a shared transaction broke it."""
