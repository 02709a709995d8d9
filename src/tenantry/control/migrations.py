"""The numbered steps from an empty file to today's schema. A step that was released is never edited: add one.

Plain SQL that SQLite and PostgreSQL both take. The number of the last step done is in `schema_version`.
"""

from __future__ import annotations

from sqlalchemy import Connection

from tenantry.errors import ConfigError

__all__ = ["MIGRATIONS", "migrate"]

# One tuple of statements for each step; the first is number 1.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE accounts (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, created_on TEXT NOT NULL)",
        """
        CREATE TABLE tokens (
            id TEXT PRIMARY KEY NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            scope TEXT NOT NULL,
            resource TEXT NOT NULL,
            digest TEXT NOT NULL,
            created_on TEXT NOT NULL,
            modified_on TEXT NOT NULL,
            expires_on TEXT
        )
        """,
        """
        CREATE TABLE audit_log (
            number INTEGER PRIMARY KEY NOT NULL,
            request_id TEXT NOT NULL,
            account_id TEXT NOT NULL,
            phase TEXT NOT NULL,
            at TEXT NOT NULL,
            actor TEXT NOT NULL,
            actor_name TEXT NOT NULL,
            address TEXT NOT NULL,
            method TEXT NOT NULL,
            path TEXT NOT NULL,
            status INTEGER,
            UNIQUE (request_id, phase)
        )
        """,
        "CREATE INDEX audit_log_account ON audit_log (account_id, phase, number)",
        """
        CREATE TABLE api_keys (
            id TEXT PRIMARY KEY NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            user_name TEXT NOT NULL,
            digest TEXT NOT NULL,
            created_on TEXT NOT NULL
        )
        """,
        "CREATE INDEX api_keys_user ON api_keys (account_id, user_name)",
        """
        CREATE TABLE dispatch_namespaces (
            id TEXT PRIMARY KEY NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            created_on TEXT NOT NULL,
            modified_on TEXT NOT NULL,
            UNIQUE (account_id, name)
        )
        """,
        """
        CREATE TABLE scripts (
            id TEXT PRIMARY KEY NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            namespace_id TEXT REFERENCES dispatch_namespaces (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            deployment_id TEXT,
            settings TEXT NOT NULL,
            created_on TEXT NOT NULL,
            modified_on TEXT NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX scripts_ordinary_name ON scripts (account_id, name) WHERE namespace_id IS NULL",
        "CREATE UNIQUE INDEX scripts_user_name ON scripts (namespace_id, name) WHERE namespace_id IS NOT NULL",
        """
        CREATE TABLE versions (
            id TEXT PRIMARY KEY NOT NULL,
            script_id TEXT NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            bundle TEXT NOT NULL,
            metadata TEXT NOT NULL,
            modules TEXT NOT NULL,
            annotations TEXT NOT NULL,
            source TEXT NOT NULL,
            startup_ms INTEGER NOT NULL,
            created_on TEXT NOT NULL,
            UNIQUE (script_id, number)
        )
        """,
        """
        CREATE TABLE script_secrets (
            id TEXT PRIMARY KEY NOT NULL,
            script_id TEXT NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            value TEXT NOT NULL,
            created_on TEXT NOT NULL
        )
        """,
        "CREATE INDEX script_secrets_name ON script_secrets (script_id, name)",
        """
        CREATE TABLE deployments (
            id TEXT PRIMARY KEY NOT NULL,
            script_id TEXT NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            annotations TEXT NOT NULL,
            source TEXT NOT NULL,
            created_on TEXT NOT NULL,
            UNIQUE (script_id, number)
        )
        """,
        """
        CREATE TABLE deployment_versions (
            deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
            version_id TEXT NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
            percentage FLOAT NOT NULL,
            PRIMARY KEY (deployment_id, version_id)
        )
        """,
        """
        CREATE TABLE asset_sessions (
            id TEXT PRIMARY KEY NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            namespace_id TEXT REFERENCES dispatch_namespaces (id) ON DELETE CASCADE,
            script_name TEXT NOT NULL,
            manifest TEXT NOT NULL,
            hash_count INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            created_on TEXT NOT NULL
        )
        """,
        "CREATE INDEX asset_sessions_worker ON asset_sessions (account_id, script_name)",
        """
        CREATE TABLE asset_session_files (
            session_id TEXT NOT NULL REFERENCES asset_sessions (id) ON DELETE CASCADE,
            hash TEXT NOT NULL,
            blob TEXT NOT NULL,
            size_bytes INTEGER NOT NULL,
            PRIMARY KEY (session_id, hash)
        )
        """,
        """
        CREATE TABLE kv_namespaces (
            id TEXT PRIMARY KEY NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            title TEXT NOT NULL,
            created_on TEXT NOT NULL,
            UNIQUE (account_id, title)
        )
        """,
        """
        CREATE TABLE r2_buckets (
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            created_on TEXT NOT NULL,
            storage_class TEXT NOT NULL,
            jurisdiction TEXT NOT NULL,
            location TEXT,
            PRIMARY KEY (account_id, name)
        )
        """,
        """
        CREATE TABLE s3_credentials (
            id TEXT PRIMARY KEY NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            permission TEXT NOT NULL,
            bucket TEXT,
            secret TEXT NOT NULL,
            created_on TEXT NOT NULL,
            FOREIGN KEY (account_id, bucket) REFERENCES r2_buckets (account_id, name) ON DELETE CASCADE
        )
        """,
        """
        CREATE TABLE d1_databases (
            id TEXT PRIMARY KEY NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            created_on TEXT NOT NULL,
            read_replication TEXT NOT NULL DEFAULT 'disabled',
            UNIQUE (account_id, name)
        )
        """,
        """
        CREATE TABLE queues (
            id TEXT PRIMARY KEY NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            settings TEXT NOT NULL,
            consumers TEXT NOT NULL,
            created_on TEXT NOT NULL,
            modified_on TEXT NOT NULL,
            UNIQUE (account_id, name)
        )
        """,
    ),
)


def migrate(connection: Connection) -> None:
    """Bring the schema up to date, inside the transaction of `connection`. Raises ConfigError for a newer one."""
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS schema_version (number INTEGER NOT NULL)")
    done = connection.exec_driver_sql("SELECT number FROM schema_version").scalar() or 0
    if done > len(MIGRATIONS):
        raise ConfigError(
            f"the control store is of version {done}, this program knows {len(MIGRATIONS)}: use a newer tenantry"
        )
    if done == len(MIGRATIONS):
        return
    for step in MIGRATIONS[done:]:
        for statement in step:
            connection.exec_driver_sql(statement)
    connection.exec_driver_sql("DELETE FROM schema_version")
    connection.exec_driver_sql(f"INSERT INTO schema_version (number) VALUES ({len(MIGRATIONS)})")  # noqa: S608 # our int
