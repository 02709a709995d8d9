"""`self.env.<D1 database>`: statements, made into the document that the host takes, and its answer made into rows.

One call is one JSON document each way, as between Cloudflare's runtime and its D1 (a BLOB is `["<base64>"]` in it). The
conversions are those that a Python program sees there: what may be bound is checked here, with the texts of
Cloudflare's client half, and again by the host.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from workers._bindings.base import BindingStub, ReadableStream, options
from workers._errors import JsException, type_error
from workers.rpc import JsDict

if TYPE_CHECKING:
    from tenantry.runtime.stub import Stub

__all__ = ["D1Database", "D1DatabaseSession", "D1PreparedStatement"]

_INLINE_BYTES_MAX = 64 * 1024
_READ_BYTES = 256 * 1024
_SAFE_INTEGER_MAX = 2**53 - 1
_SESSION_INVALID = "D1_SESSION_ERROR: invalid bookmark or constraint"


class _Connection(BindingStub):
    """What a database and a session of it have in common."""

    # Any, throughout: values come from tenants and are theirs; that is what this module is about.

    def prepare(self, query: Any, /) -> D1PreparedStatement:
        """A statement. Nothing is checked before it runs."""
        return D1PreparedStatement(self, query)

    async def batch(self, statements: Any, /) -> Any:
        """The results of all statements, which take effect together or not at all."""
        if not isinstance(statements, list) or not all(isinstance(item, D1PreparedStatement) for item in statements):
            raise type_error("D1 batch() takes a list of prepared statements.")
        return [_result(item) for item in await self._query(statements)]

    async def _query(self, statements: list[D1PreparedStatement], first: bool = False) -> list[Any]:
        answer = await self._send(_document(statements, first, self._wants_bookmark()))
        self._learn_bookmark(answer["bookmark"])
        results: list[Any] = answer["results"]
        return results

    async def _send(self, document: bytes) -> Any:
        body = document if len(document) <= _INLINE_BYTES_MAX else ReadableStream.of(document)
        return json.loads(await _bytes_of(await self._call("query", body)))

    def _wants_bookmark(self) -> bool:
        return False

    def _learn_bookmark(self, bookmark: str | None) -> None:
        pass


class D1Database(_Connection):
    """A D1 database. Statements are made with `prepare` and run by their own methods, or together by `batch`."""

    type_name: ClassVar[str] = "D1Database"

    async def exec(self, query: Any, /) -> Any:
        """Runs each line, a whole statement or several, in one transaction. `count` and `duration`, no rows."""
        if not isinstance(query, str):
            raise type_error("D1 exec() takes SQL text.")
        text = _utf8(query)
        body = text if len(text) <= _INLINE_BYTES_MAX else ReadableStream.of(text)
        return JsDict(await self._call("exec", body))

    def withSession(self, constraint: Any = None, /) -> D1DatabaseSession:
        """`first-unconstrained` (default), `first-primary` or a bookmark. There is one copy, so all mean the same."""
        if constraint is not None and not isinstance(constraint, str):
            raise JsException("Error", _SESSION_INVALID)
        return D1DatabaseSession(self._stub, (constraint or "").strip() or "first-unconstrained")

    async def dump(self) -> Any:
        """Cloudflare took it away; exports are the control plane's."""
        raise JsException("Error", "D1_DUMP_ERROR: Status + 404")

    async def query(self, *_arguments: Any, **_keywords: Any) -> Any:
        raise JsException(
            "Error",
            "D1_ERROR: D1Database.query() requires the d1_binding_jsrpc compatibility flag. "
            "Enable d1_binding_jsrpc before calling query().",
        )


class D1DatabaseSession(_Connection):
    """A session: the same database, and a bookmark that grows with every query."""

    type_name: ClassVar[str] = "D1DatabaseSession"

    def __init__(self, stub: Stub, constraint: str) -> None:
        super().__init__(stub)
        named = constraint in ("first-unconstrained", "first-primary")
        self._bookmark = None if named else constraint

    def getBookmark(self) -> str | None:
        return self._bookmark

    def _wants_bookmark(self) -> bool:
        return True

    def _learn_bookmark(self, bookmark: str | None) -> None:
        # They compare as text, and of two queries at once the older answer may come last.
        if bookmark is not None and (self._bookmark is None or bookmark > self._bookmark):
            self._bookmark = bookmark


class D1PreparedStatement(BindingStub):
    """SQL and values for its parameters. It never changes: `bind` makes another one."""

    type_name: ClassVar[str] = "D1PreparedStatement"

    def __init__(self, connection: _Connection, statement: Any, values: tuple[Any, ...] = ()) -> None:
        super().__init__(connection._stub)
        self._connection = connection
        self._values = values
        self.statement = statement

    @property
    def params(self) -> list[Any]:
        """The values as Cloudflare keeps them: bytes are a list of integers."""
        return [list(value) if isinstance(value, bytes) else value for value in self._values]

    def bind(self, *values: Any, **keywords: Any) -> D1PreparedStatement:
        """The statement with values for its parameters, in their order. Only their types are checked."""
        # Keywords would become one object at the end, in Cloudflare's Python too: then a type that cannot be bound.
        given = (*values, keywords) if keywords else values
        return D1PreparedStatement(self._connection, self.statement, tuple([_bindable(value) for value in given]))

    async def all(self) -> Any:
        """`results` (a list of rows), `meta` and `success`."""
        return _result((await self._connection._query([self]))[0])

    async def run(self) -> Any:
        """The same as `all`."""
        return await self.all()

    async def first(self, column: Any = None, /) -> Any:
        """The first row, or one column of it; None when there is no row. The statement is run to its end."""
        answer = (await self._connection._query([self], first=True))[0]
        rows = _rows(answer)
        if not rows:
            return None
        row = _row(answer["columns"], rows[0])
        if column is None:
            return row
        if column not in row:
            raise JsException("Error", f"D1_COLUMN_NOTFOUND: Column not found ({column})")
        return row[column]

    async def raw(self, settings: Any = None, /, **keywords: Any) -> Any:
        """The rows as lists; with `columnNames`, after a list of the names."""
        given = options(settings, keywords)
        answer = (await self._connection._query([self]))[0]
        names = [list(answer["columns"])] if given.get("columnNames") else []
        return [*names, *_rows(answer)]


def _document(statements: list[D1PreparedStatement], first: bool, session: bool) -> bytes:
    asked = []
    for statement in statements:
        if not isinstance(statement.statement, str):
            raise JsException("Error", "D1_ERROR: The SQL of a statement must be a string.")
        asked.append([statement.statement, [_json(value) for value in statement._values]])
    document = {"statements": asked, "first": first, "session": session}
    return _utf8(json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return [b64encode(value).decode()]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _utf8(text: str) -> bytes:
    """As JavaScript writes UTF-8: halves of surrogate pairs are joined, lone ones become U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


async def _bytes_of(answer: Any) -> bytes:
    if not isinstance(answer, ReadableStream):
        return bytes(answer)
    chunks = []
    while chunk := await answer.read(_READ_BYTES):
        chunks.append(chunk)
    return b"".join(chunks)


def _result(answer: Any) -> JsDict:
    columns = answer["columns"]
    meta = answer["meta"]
    meta["timings"] = JsDict(meta["timings"])
    return JsDict(success=True, results=[_row(columns, row) for row in _rows(answer)], meta=JsDict(meta))


def _rows(answer: Any) -> list[list[Any]]:
    """The rows, with every BLOB as a list of integers."""
    rows: list[list[Any]] = answer["rows"]
    for row in rows:
        for index, cell in enumerate(row):
            if type(cell) is list:
                row[index] = list(b64decode(cell[0]))
    return rows


def _row(columns: list[str], row: list[Any]) -> JsDict:
    # Of columns with the same name, the last one's value stays, at the place of the first.
    return JsDict(zip(columns, row, strict=True))


def _bindable(value: Any) -> Any:
    """What is kept of a value to bind: None, int, float, str or bytes. Raises JsException or TypeError."""
    if value is None or isinstance(value, str | float):
        return value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        if -_SAFE_INTEGER_MAX <= value <= _SAFE_INTEGER_MAX:
            return value
        raise _not_supported("bigint", value)
    if isinstance(value, tuple | bytearray):
        # These do not even reach the binding on Cloudflare.
        raise TypeError(f"{type(value)} cannot be sent over RPC.")
    if isinstance(value, list):
        if all(type(item) is int and 0 <= item < 256 for item in value):
            return bytes(value)
        raise _not_supported("object", _string(value))
    try:
        return memoryview(value).tobytes()
    except TypeError:
        kind = "undefined" if type(value).__name__ == "JsUndefined" else "function" if callable(value) else "object"
        raise _not_supported(kind, "undefined" if kind == "undefined" else _string(value)) from None


def _not_supported(kind: str, value: Any) -> JsException:
    return JsException("Error", f"D1_TYPE_ERROR: Type '{kind}' not supported for value '{value}'")


def _string(value: Any) -> str:
    """JavaScript's String(value)."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list):
        return ",".join("" if item is None else _string(item) for item in value)
    if isinstance(value, datetime):
        return f"{value:%a %b %d %Y %H:%M:%S} GMT+0000 (Coordinated Universal Time)"
    if callable(value):
        return f"function {getattr(value, '__name__', '')}() {{ [python code] }}"
    return "[object Object]"
