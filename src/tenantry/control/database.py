"""The control store's database: SQLite in WAL mode, one writer at a time, every commit on disk before it returns."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry

from tenantry.control.migrations import migrate
from tenantry.control.vault import Vault
from tenantry.errors import ConfigError

__all__ = ["Database", "vault_of"]

_BUSY_TIMEOUT_MS = 10_000
_VAULT_OPTION = "tenantry_vault"


class Database:
    """Transactions on one file. Everything here blocks: call it from a thread, any thread."""

    def __init__(self, file: Path, vault: Vault, *, durable: bool = True) -> None:
        """Open `file`, made (readable by its owner only) and migrated as needed. Raises ConfigError.

        `vault` seals the secrets that lie in it.
        """
        # The journal files that SQLite makes beside it take over this mode.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        file.chmod(0o600)
        self._synchronous = "FULL" if durable else "NORMAL"
        self._write_lock = threading.Lock()
        self._engine = create_engine(
            URL.create("sqlite+pysqlite", database=str(file)),
            pool_size=8,
            max_overflow=8,
            pool_reset_on_return=None,
            execution_options={_VAULT_OPTION: vault},
        )
        event.listen(self._engine, "connect", self._on_connect)
        event.listen(self._engine, "begin", _on_begin)
        try:
            with self.write() as connection:
                migrate(connection)
        except DatabaseError as error:
            self.close()
            raise ConfigError(f"{file}: cannot be used as the control store: {error.orig}") from error
        except ConfigError as error:
            self.close()
            raise ConfigError(f"{file}: {error}") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view, at the same time as any writer."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable once the block is left, and undone if it is left by an exception."""
        # The lock queues our own writers fairly; SQLite's busy handler would make them sleep and retry.
        with (
            self._write_lock,
            self._engine.connect().execution_options(tenantry_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def flush(self) -> bool:
        """Bring every commit to the disk, whatever `durable` says. False while a reader holds an old view open."""
        with self._write_lock, closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            busy = cursor.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0]  # type: ignore[attr-defined,unused-ignore]
            return not busy

    def close(self) -> None:
        self._engine.dispose()

    def _on_connect(self, connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        # The driver must not begin transactions by itself: it does not know which will write.
        connection.isolation_level = None
        for pragma in (
            f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}",
            "PRAGMA journal_mode = WAL",
            f"PRAGMA synchronous = {self._synchronous}",
            "PRAGMA foreign_keys = ON",
        ):
            connection.execute(pragma)


def vault_of(connection: Connection) -> Vault:
    """What opens the secrets that lie in the database of a connection."""
    vault: Vault = connection.get_execution_options()[_VAULT_OPTION]
    return vault


def _on_begin(connection: Connection) -> None:
    # A writer locks at once: one that first reads could find that it must not write any more.
    write = connection.get_execution_options().get("tenantry_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
