"""What a case of D1 is given, and how it says what it shows. The cases are in `d1_cases_*.py`.

A case is a function of one `Subject`: a database as `self.env` has it, and another one. Nothing else is known to it of
where it runs:

    on the host        the SDK's wrapper on the service, for each engine          tests/conformance/d1/test_d1_cases.py
    inside a Worker    `self.env` in a sandboxed process, over the real channel   tests/integration/host/test_host_d1.py

These files go into the Worker as they are, so they import the standard library and `workers` only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

RULES: dict[str, str] = {
    # 6.1 surface
    "prepare": "a statement is immutable and not looked at before it runs",
    "bind": "gives a new statement and validates types only",
    "first": "the first row or None; one column of it; the statement is run to its end; an absent column is an error",
    "raw": "rows as lists, with the names of the columns before them when asked",
    "dead methods": "dump and query say so",
    # 6.2 results
    "rows": "objects by column in select order; of columns with one name the last value stays",
    "meta": "real figures: changes, last_row_id, changed_db, size_after, rows_read, rows_written, duration",
    # 6.3, 6.4 values
    "values in": "numbers and booleans are doubles; None, text and bytes as such; NaN and Infinity are NULL",
    "types refused": "D1_TYPE_ERROR for what cannot be bound, TypeError for what cannot leave Python",
    "parameters": "?, ?NNN and names by first appearance; a wrong count is an error",
    "values out": "integral numbers are int, BLOBs lists of integers; what JSON cannot say is None",
    # 6.5 statements
    "batch": "one transaction; an error rolls all back; later statements see earlier ones",
    "several statements": "all run, the last one's result is given, only it may have parameters",
    "no statement": "blanks and comments, or text behind the last statement",
    "transactions": "BEGIN, COMMIT, ROLLBACK, SAVEPOINT and RELEASE are refused with the platform's text",
    "foreign keys": "enforced; deferred until the end of the transaction only",
    # 6.6, 6.7
    "exec": "line by line, counted and timed; an error tells of line 1",
    "sessions": "constraints, and bookmarks that grow with the state",
    # 6.8, 6.11
    "authorization": "what is allowed works, everything else is refused: schemas, pragmas, modules, functions, names",
    "limits": "each at its last good value, and refused one above",
    # 6.9
    "error texts": "SQLite's message, the offset where it is known, the code, the extended code where it differs",
    "deadline": "hostile statements end, and the database is usable at once",
    "isolation": "databases do not see each other",
}

# Rules of the section that no case here can show, and where they are shown.
ELSEWHERE: dict[str, str] = {
    "infrastructure texts: overloaded, reset, lost": "tests/unit/services/d1/test_d1_lifecycle.py",
    "memory, unread results, requests that never end": "tests/unit/services/d1/test_d1_hostile.py",
    "size of a database; usage": "tests/conformance/d1/test_d1_engines.py",
    "export and import": "tests/conformance/d1/test_d1_dump.py",
    "Time Travel": "tests/unit/services/d1/test_d1_history.py",
}


class Subject(Protocol):
    db: Any  # a D1Database; nothing was ever written to it
    other: Any  # another one


Case = Callable[[Subject], Awaitable[None]]
CASES: dict[str, tuple[Case, tuple[str, ...]]] = {}


def case(*rules: str) -> Callable[[Case], Case]:
    """Registers a case with the rules that it shows."""

    def register(function: Case) -> Case:
        name = getattr(function, "__name__", "")
        assert name not in CASES, name
        assert set(rules) <= set(RULES), rules
        CASES[name] = (function, rules)
        return function

    return register


class raises:  # noqa: N801  # it reads as a statement
    """A block that must raise an error whose `str()` begins with a text: `Error: D1_ERROR: …`."""

    def __init__(self, begin: str, kind: type[BaseException] = Exception) -> None:
        self._begin = begin
        self._kind = kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> bool:
        assert error is not None, f"nothing was raised: {self._begin}"
        if not isinstance(error, self._kind):
            return False
        assert str(error).startswith(self._begin), f"{str(error)[:300]!r} does not begin with {self._begin!r}"
        return True


def d1_error(text: str) -> raises:
    return raises(f"Error: D1_ERROR: {text}")


async def refused(db: Any, table: list[tuple[str, str]]) -> None:
    """Each statement is refused in its words, and nothing of it stays. Tells of all that do not."""
    wrong = []
    before = await db.prepare("SELECT name, sql FROM sqlite_schema").raw()
    for sql, text in table:
        try:
            with d1_error(text):
                await db.prepare(sql).all()
            assert await db.prepare("SELECT name, sql FROM sqlite_schema").raw() == before, "something stayed"
        except Exception as error:  # a table is checked to its end
            wrong.append(f"{sql[:60]!r}: {error}")
    assert not wrong, "\n".join(wrong)
