"""The two documents that cross the channel: what a Worker asks, and what it gets.

    asked   {"statements": [[sql, [parameter, …]], …], "first": false, "session": false}
    given   {"results": [{"columns": […], "rows": [[…], …], "meta": {…}}, …], "bookmark": null}

They are JSON, as between Cloudflare's runtime and its D1: the codec on both sides is C, a document of any size is one
byte string or one stream, and NaN cannot be said. A BLOB is `["<base64>"]`; nothing else in a cell is an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec

from tenantry.services.d1 import limits
from tenantry.services.d1.errors import d1_error, result_too_large, type_error
from tenantry.services.d1.model import Effects, SqlValue, Statement

__all__ = [
    "ArraysDocument",
    "Durations",
    "ObjectsDocument",
    "Request",
    "ResultDocument",
    "Totals",
    "decode_request_untrusted",
    "sql_value",
]

Parameter: TypeAlias = bool | int | float | str | tuple[bytes] | None

SERVED_BY: Final = "tenantry"


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`first`: only the first row of each result is wanted. `session`: a bookmark is."""

    statements: list[tuple[str, list[Parameter]]]
    first: bool = False
    session: bool = False


_request_decoder: Final = msgspec.json.Decoder(Request)
_encode: Final = msgspec.json.Encoder().encode


def decode_request_untrusted(document: bytes | str) -> tuple[list[Statement], Request]:
    """Raises `BindingError` for anything but a well-formed request whose parameters D1 can bind."""
    try:
        request = _request_decoder.decode(document)
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError) as error:
        raise d1_error("The request is not well-formed.") from error
    if len(request.statements) > limits.STATEMENTS_MAX:
        raise d1_error(f"Too many statements in one call: at most {limits.STATEMENTS_MAX}.")
    return [
        Statement(sql, tuple([sql_value(value) for value in parameters])) for sql, parameters in request.statements
    ], request


def sql_value(value: Parameter) -> SqlValue:
    """As D1 binds it: every number is a double, also a boolean."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return value[0]
    if isinstance(value, float):
        # JSON cannot say NaN and Infinity, so D1 stores NULL; and it has no negative zero.
        return value + 0.0 if value - value == 0 else None
    if isinstance(value, bool) or -limits.SAFE_INTEGER_MAX <= value <= limits.SAFE_INTEGER_MAX:
        return float(value)
    raise type_error("bigint", value)


def _cell(value: Any) -> Any:  # Any: SQLite's values in, what JSON can say out
    """As a JavaScript number would arrive in Python: integral and safe is an int, anything else a float."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if -limits.SAFE_INTEGER_MAX <= value <= limits.SAFE_INTEGER_MAX else float(value)
    if isinstance(value, float):
        if value.is_integer() and -limits.SAFE_INTEGER_MAX <= value <= limits.SAFE_INTEGER_MAX:
            return int(value)
        return value if value - value == 0 else None
    return (value,)


class ResultDocument:
    """Rows becoming the document given, in pieces that nobody has to join."""

    __slots__ = ("_bytes_max", "_first", "_has_row", "_parts", "_size_bytes")

    def __init__(self, first: bool, bytes_max: int = limits.RESULT_BYTES_MAX) -> None:
        self._first = first
        self._bytes_max = bytes_max
        self.clear()

    def clear(self) -> None:
        self._parts: list[bytes] = []
        self._size_bytes = 0
        self._has_row = False

    def begin(self, columns: tuple[str, ...]) -> None:
        self._put(b'%b{"columns":%b,"rows":[' % (b"," if self._parts else b'{"results":[', _encode(columns)))
        self._has_row = False

    def add(self, rows: Sequence[tuple[Any, ...]]) -> int:  # Any: SQLite's values
        if self._first:
            # D1 runs the statement to its end all the same. One of the rows left out tells how large they are.
            left_out = len(_encode([_cell(value) for value in rows[-1]])) * len(rows)
            if self._has_row:
                return left_out
            rows = rows[:1]
        else:
            left_out = 0
        encoded = _encode([[_cell(value) for value in row] for row in rows])
        if self._has_row:
            self._put(b",")
        self._put(encoded[1:-1])
        self._has_row = True
        return max(left_out, len(encoded))

    def end(self, effects: Effects) -> None:
        self._put(b'],"meta":%b}' % _encode(_meta(effects)))

    def take(self, bookmark: str | None) -> list[bytes]:
        """The finished document."""
        parts, self._parts = self._parts, []
        parts.append(b'],"bookmark":%b}' % _encode(bookmark))
        return parts

    def _put(self, part: bytes) -> None:
        self._size_bytes += len(part)
        if self._size_bytes > self._bytes_max:
            self._parts.clear()
            raise result_too_large(self._bytes_max)
        self._parts.append(part)


class ObjectsDocument(ResultDocument):
    """What the REST API gives for `query`: `[{"results": [{column: value}, …], "success": true, "meta": {…}}, …]`.

    A BLOB is an array of integers. `take` gives the document without a bookmark.
    """

    __slots__ = ("_columns",)

    def __init__(self, bytes_max: int) -> None:
        super().__init__(False, bytes_max)
        self._columns: tuple[str, ...] = ()

    def begin(self, columns: tuple[str, ...]) -> None:
        self._columns = columns
        self._put(b'%b{"results":[' % (b"," if self._parts else b"["))
        self._has_row = False

    def add(self, rows: Sequence[tuple[Any, ...]]) -> int:  # Any: SQLite's values
        encoded = _encode([self._row(row) for row in rows])
        if self._has_row:
            self._put(b",")
        self._put(encoded[1:-1])
        self._has_row = True
        return len(encoded)

    def end(self, effects: Effects) -> None:
        self._put(b'],"success":true,"meta":%b}' % _encode(_meta(effects)))

    def take(self, bookmark: str | None = None) -> list[bytes]:
        parts, self._parts = self._parts, []
        return [*parts, b"]"]

    def _row(self, row: tuple[Any, ...]) -> Any:  # Any: what JSON can say
        return dict(zip(self._columns, map(_rest_cell, row), strict=True))


class ArraysDocument(ObjectsDocument):
    """What the REST API gives for `raw`: the same with `"results": {"columns": […], "rows": [[…], …]}`."""

    __slots__ = ()

    def begin(self, columns: tuple[str, ...]) -> None:
        self._put(b'%b{"results":{"columns":%b,"rows":[' % (b"," if self._parts else b"[", _encode(columns)))
        self._has_row = False

    def end(self, effects: Effects) -> None:
        self._put(b']},"success":true,"meta":%b}' % _encode(_meta(effects)))

    def _row(self, row: tuple[Any, ...]) -> Any:  # Any: what JSON can say
        return [_rest_cell(value) for value in row]


class Totals:
    """Rows that nobody wants, as of an import: what all statements did together is kept."""

    __slots__ = ("count", "effects")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.count = 0
        self.effects = Effects(0.0, 0, 0, False, 0, 0, 0)

    def begin(self, columns: tuple[str, ...]) -> None:
        pass

    def add(self, rows: Sequence[tuple[Any, ...]]) -> int:  # Any: SQLite's values
        return limits.ROWS_CHUNK_BYTES * len(rows)

    def end(self, effects: Effects) -> None:
        self.count += 1
        before = self.effects
        self.effects = Effects(
            before.duration_milliseconds + effects.duration_milliseconds,
            before.changes + effects.changes,
            effects.last_row_id,
            before.changed_database or effects.changed_database,
            effects.size_bytes,
            before.rows_read + effects.rows_read,
            before.rows_written + effects.rows_written,
        )

    def meta(self) -> dict[str, Any]:  # Any: what JSON can say
        return _meta(self.effects)


def _rest_cell(value: Any) -> Any:  # Any: SQLite's values in, what JSON can say out
    return list(value) if isinstance(value, bytes) else _cell(value)


def _meta(effects: Effects) -> dict[str, Any]:  # Any: what JSON can say
    return {
        "served_by": SERVED_BY,
        "duration": effects.duration_milliseconds,
        "changes": effects.changes,
        "last_row_id": _cell(effects.last_row_id),
        "changed_db": effects.changed_database,
        "size_after": effects.size_bytes,
        "rows_read": effects.rows_read,
        "rows_written": effects.rows_written,
        "served_by_primary": True,
        "timings": {"sql_duration_ms": effects.duration_milliseconds},
        "total_attempts": 1,
    }


class Durations:
    """Rows that nobody wants, as in `exec`: only the time is kept."""

    __slots__ = ("milliseconds",)

    def __init__(self) -> None:
        self.milliseconds = 0.0

    def clear(self) -> None:
        self.milliseconds = 0.0

    def begin(self, columns: tuple[str, ...]) -> None:
        pass

    def add(self, rows: Sequence[tuple[Any, ...]]) -> int:  # Any: SQLite's values
        return limits.ROWS_CHUNK_BYTES * len(rows)

    def end(self, effects: Effects) -> None:
        self.milliseconds += effects.duration_milliseconds
