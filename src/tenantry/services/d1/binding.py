"""What a Worker may ask of its database, on the wire: `query` and `exec`.

    query(document)  a prepared statement, or a batch of them; see `encoding` for the documents
    exec(sql)        {count, duration}

`document` and `sql` are text, bytes or a stream of UTF-8. The result of a query is bytes, or a stream when it is long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from tenantry.errors import BindingError, StreamError
from tenantry.services.d1 import bookmarks, errors, limits
from tenantry.services.d1.database import Database
from tenantry.services.d1.encoding import (
    Durations,
    ObjectsDocument,
    ResultDocument,
    decode_request_untrusted,
)
from tenantry.services.d1.engine import Restored, Session
from tenantry.services.d1.errors import PastUnknown, QueryFailed, d1_error, exec_error
from tenantry.services.d1.model import Room, Statement
from tenantry.streams import ByteStream, is_byte_stream, read_all

if TYPE_CHECKING:
    from tenantry.services.d1.service import D1Service

__all__ = ["D1Binding"]


class D1Binding:
    """One database, open for calls from Workers (`call`) and from the host's own code (`run`)."""

    eager = False

    def __init__(self, service: D1Service, resource_id: str) -> None:
        self._service = service
        self._resource_id = resource_id

    async def call(self, method: str, args: list[Any]) -> Any:  # Any: the Binding protocol's
        try:
            function = _METHODS.get(method) if isinstance(method, str) else None
            if function is None:
                raise BindingError("The D1 database has no such method.", "TypeError")
            if len(args) != 1:
                raise BindingError(f"'{method}' takes one argument.", "TypeError")
            return await function(self, args[0])
        finally:
            for argument in args:
                if is_byte_stream(argument):
                    await argument.aclose()

    async def run(self, statements: list[Statement], *, first: bool = False) -> bytes:
        """The same as `query`, for the host's own code: statements in one transaction, results as one document."""
        database = self._service.database(self._resource_id)
        result, _ = await self._run(database, statements, first)
        return b"".join(result.take(None))

    async def query(self, statements: list[Statement], document: ObjectsDocument) -> list[bytes]:
        """Statements in one transaction, for the REST API: the pieces of `document`. Raises `QueryFailed`."""
        _check(statements)
        database = self._service.database(self._resource_id)
        await database.run(tuple(statements), document, self._service.query_seconds_max)
        return document.take()

    def usage(self) -> int:
        """Bytes of the database, as `size_after` says."""
        return self._service.engine.usage(self._resource_id)

    async def bookmark(self, time: int | None = None) -> str:
        """Of the present state, or of the last one not after `time` (nanoseconds since 1970). Raises `QueryFailed`."""
        if time is not None:
            self._service.check_past(time)
        database = self._service.database(self._resource_id)
        return bookmarks.encode(self._resource_id, await database.perform(lambda session: session.state_at(time)))

    async def restore(self, *, bookmark: str | None = None, time: int | None = None) -> tuple[str, str]:
        """Makes the database what it was. Gives the bookmarks of what was restored and of the state before, to undo it.

        Raises `QueryFailed`.
        """
        if bookmark is not None:
            time = bookmarks.decode_untrusted(self._resource_id, bookmark)
        assert time is not None
        wanted = time
        oldest = self._service.check_past(wanted if bookmark is None else None)

        def restore(session: Session, room: Room | None) -> Restored:
            try:
                # The state of then may be of a commit long before.
                if bookmark is not None and wanted < session.state_at(oldest):
                    raise PastUnknown
            except PastUnknown:
                if wanted < oldest and wanted != 0:
                    raise
            return session.restore(wanted, room)

        restored = await self._service.database(self._resource_id).restore(restore)
        return (
            bookmarks.encode(self._resource_id, restored.state),
            bookmarks.encode(self._resource_id, restored.previous),
        )

    async def execute(self, sql: str) -> dict[str, Any]:  # Any: an int and a float
        """The same as `exec`."""
        # The service splits at line feeds only: a statement must not go over several lines.
        lines = sql.strip().split("\n")
        statements = [Statement(line) for line in lines if not _is_blank(line)]
        durations = Durations()
        try:
            if not statements:
                raise QueryFailed(errors.NO_STATEMENTS)
            if len(statements) > limits.STATEMENTS_MAX:
                raise QueryFailed(f"Too many lines in one call: at most {limits.STATEMENTS_MAX}.")
            _check_length(statements)
            database = self._service.database(self._resource_id)
            await database.run(statements, durations, self._service.query_seconds_max)
        except QueryFailed as failure:
            raise exec_error(lines[0], failure) from failure
        return {"count": len(statements), "duration": durations.milliseconds}

    async def _query(self, argument: object) -> bytes | ByteStream:
        database = self._service.database(self._resource_id)
        document = await self._read_untrusted(database, argument)
        size_bytes = len(document)
        database.request_bytes += size_bytes
        try:
            statements, request = decode_request_untrusted(document)
            del document
            result, state = await self._run(database, statements, request.first, bookmarked=request.session)
        finally:
            database.request_bytes -= size_bytes
        parts = result.take(bookmarks.encode(self._resource_id, state) if request.session else None)
        result_bytes = sum(map(len, parts))
        if result_bytes <= limits.INLINE_RESULT_BYTES_MAX:
            return b"".join(parts)
        if database.unread_bytes + result_bytes > limits.UNREAD_RESULT_BYTES_MAX:
            raise d1_error(errors.OVERLOADED)
        return _ResultStream(parts, result_bytes, database)

    async def _exec(self, argument: object) -> dict[str, Any]:  # Any: an int and a float
        database = self._service.database(self._resource_id)
        document = await self._read_untrusted(database, argument)
        size_bytes = len(document)
        database.request_bytes += size_bytes
        try:
            return await self.execute(document if isinstance(document, str) else document.decode())
        except UnicodeDecodeError as error:
            raise d1_error("The request is not well-formed.") from error
        finally:
            database.request_bytes -= size_bytes

    async def _run(
        self, database: Database, statements: list[Statement], first: bool, *, bookmarked: bool = False
    ) -> tuple[ResultDocument, int]:
        result = ResultDocument(first, self._service.result_bytes_max)
        try:
            _check(statements)
            state = await database.run(statements, result, self._service.query_seconds_max, bookmarked=bookmarked)
        except QueryFailed as failure:
            raise d1_error(failure) from failure
        return result, state

    async def _read_untrusted(self, database: Database, argument: object) -> bytes | str:
        """Raises `BindingError`. What is being read counts as queued, so that slow senders are bounded too."""
        if isinstance(argument, bytes | str):
            expected = len(argument)
        elif is_byte_stream(argument):
            expected = limits.REQUEST_BYTES_MAX if argument.length is None else argument.length
        else:
            raise BindingError("A D1 request must be text, bytes or a stream.", "TypeError")
        if expected > limits.REQUEST_BYTES_MAX:
            raise d1_error(f"The request is too large: at most {limits.REQUEST_BYTES_MAX} bytes.")
        if database.request_bytes + expected > limits.QUEUE_BYTES_MAX:
            raise d1_error(errors.OVERLOADED)
        if isinstance(argument, bytes | str):
            return argument
        expected += 1  # even an empty one keeps the database from being evicted meanwhile
        database.request_bytes += expected
        try:
            return await read_all(argument, limits.REQUEST_BYTES_MAX)
        except ValueError as error:
            raise d1_error(f"The request is too large: at most {limits.REQUEST_BYTES_MAX} bytes.") from error
        except StreamError as error:
            raise d1_error(errors.CONNECTION_LOST) from error
        finally:
            database.request_bytes -= expected


_METHODS: Final[dict[str, Callable[[D1Binding, object], Awaitable[Any]]]] = {
    "query": D1Binding._query,
    "exec": D1Binding._exec,
}


def _check(statements: list[Statement]) -> None:
    if not statements or any(_is_comment(statement.sql) for statement in statements):
        raise QueryFailed(errors.NO_STATEMENTS)
    _check_length(statements)


def _check_length(statements: list[Statement]) -> None:
    for statement in statements:
        characters = len(statement.sql)
        if characters * 4 > limits.SQL_BYTES_MAX and len(statement.sql.encode()) > limits.SQL_BYTES_MAX:
            raise QueryFailed(errors.STATEMENT_TOO_LONG)


def _is_comment(sql: str) -> bool:
    return not sql.strip() or ("--" in sql and all(_is_blank(line) for line in sql.split("\n")))


def _is_blank(line: str) -> bool:
    text = line.strip()
    return not text or text.startswith("--")


class _ResultStream:
    """A finished result, read from the pieces it was encoded in."""

    def __init__(self, parts: list[bytes], size_bytes: int, database: Database) -> None:
        self.length: int | None = size_bytes
        self._parts = parts
        self._index = 0
        self._offset = 0
        self._held_bytes = size_bytes
        self._database = database
        database.unread_bytes += size_bytes

    async def read(self, size_max: int) -> bytes:
        taken: list[bytes] = []
        room = size_max
        while room > 0 and self._index < len(self._parts):
            part = self._parts[self._index]
            piece = part[self._offset : self._offset + room]
            taken.append(piece)
            room -= len(piece)
            self._offset += len(piece)
            if self._offset >= len(part):
                self._parts[self._index] = b""
                self._index += 1
                self._offset = 0
        return b"".join(taken)

    async def aclose(self) -> None:
        self._parts = []
        self._index = 0
        held, self._held_bytes = self._held_bytes, 0
        self._database.unread_bytes -= held
