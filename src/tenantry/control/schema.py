"""The tables of the control store, for SQLAlchemy to build statements with.

`migrations.py` makes them; a test holds the two together. Times are ISO 8601 in UTC with `Z`, documents JSON: plain
TEXT that every database reads alike.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA = MetaData()

accounts = Table(
    "accounts",
    METADATA,
    Column("id", Text, primary_key=True),  # 32 hex digits
    Column("name", Text, nullable=False),
    Column("created_on", Text, nullable=False),
)

tokens = Table(
    "tokens",
    METADATA,
    Column("id", Text, primary_key=True),  # 16 hex digits, a part of the token, not secret
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),  # see `scopes.Scope`
    Column("resource", Text, nullable=False),  # what the scope is limited to; empty for scopes that have none
    Column("granted", Text, nullable=False),  # JSON [[type, name], …]: what it may bind beside, see `reach`
    Column("digest", Text, nullable=False),  # SHA-256 of the whole token; its entropy makes a slow hash pointless
    Column("created_on", Text, nullable=False),
    Column("modified_on", Text, nullable=False),
    Column("expires_on", Text),  # NULL: never
)

# Rows are added and never changed: see `audit`.
audit_log = Table(
    "audit_log",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("request_id", Text, nullable=False),  # 32 hex digits; two rows, one for each phase
    Column("account_id", Text, nullable=False),  # no reference: it outlives what it tells of
    Column("phase", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("actor_name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Integer),  # of the answer, in the second row
    UniqueConstraint("request_id", "phase"),
)
Index("audit_log_account", audit_log.c.account_id, audit_log.c.phase, audit_log.c.number)

api_keys = Table(
    "api_keys",
    METADATA,
    Column("id", Text, primary_key=True),  # 16 hex digits, a part of the key, not secret
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("user_name", Text, nullable=False),
    Column("digest", Text, nullable=False),  # SHA-256 of the whole key
    Column("created_on", Text, nullable=False),
)
Index("api_keys_user", api_keys.c.account_id, api_keys.c.user_name)

dispatch_namespaces = Table(
    "dispatch_namespaces",
    METADATA,
    Column("id", Text, primary_key=True),  # UUID
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_on", Text, nullable=False),
    Column("modified_on", Text, nullable=False),
    UniqueConstraint("account_id", "name"),
)

scripts = Table(
    "scripts",
    METADATA,
    Column("id", Text, primary_key=True),  # 32 hex digits: Cloudflare's `tag`
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("namespace_id", Text, ForeignKey("dispatch_namespaces.id", ondelete="CASCADE")),  # NULL: an ordinary Worker
    Column("name", Text, nullable=False),
    Column("deployment_id", Text),  # the current one; NULL only inside the transaction that makes the script
    Column("settings", Text, nullable=False),  # JSON of `records.ScriptSettings`: what no version carries
    Column("created_on", Text, nullable=False),
    Column("modified_on", Text, nullable=False),
)
# NULLs are distinct to a unique index, so each kind of Worker has one of its own.
Index(
    "scripts_ordinary_name",
    scripts.c.account_id,
    scripts.c.name,
    unique=True,
    sqlite_where=text("namespace_id IS NULL"),
)
Index(
    "scripts_user_name",
    scripts.c.namespace_id,
    scripts.c.name,
    unique=True,
    sqlite_where=text("namespace_id IS NOT NULL"),
)

versions = Table(
    "versions",
    METADATA,
    Column("id", Text, primary_key=True),  # UUID
    Column("script_id", Text, ForeignKey("scripts.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # from 1, in the order of their making
    Column("bundle", Text, nullable=False),  # content address
    Column("metadata", Text, nullable=False),  # JSON of `records.VersionMetadata`; of a secret it has the id only
    Column("modules", Text, nullable=False),  # JSON {name: content type}; apart, for it can be large and is rarely read
    Column("annotations", Text, nullable=False),  # JSON {"workers/message": …}
    Column("source", Text, nullable=False),  # who made it: wrangler, api
    Column("startup_ms", Integer, nullable=False),
    Column("created_on", Text, nullable=False),
    UniqueConstraint("script_id", "number"),
)

# The values of secrets, in this one place. A version names the row that it was made with, so a row never changes: a
# secret that is set anew is a new row.
script_secrets = Table(
    "script_secrets",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("script_id", Text, ForeignKey("scripts.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("created_on", Text, nullable=False),
)
Index("script_secrets_name", script_secrets.c.script_id, script_secrets.c.name)

deployments = Table(
    "deployments",
    METADATA,
    Column("id", Text, primary_key=True),  # UUID
    Column("script_id", Text, ForeignKey("scripts.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("annotations", Text, nullable=False),  # JSON, as a version's
    Column("source", Text, nullable=False),
    Column("created_on", Text, nullable=False),
    UniqueConstraint("script_id", "number"),
)

deployment_versions = Table(
    "deployment_versions",
    METADATA,
    Column("deployment_id", Text, ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True),
    Column("version_id", Text, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("percentage", Float, nullable=False),  # those of a deployment add up to 100
)

# An upload of static assets for a Worker, which need not exist yet: hence its name, and no reference.
asset_sessions = Table(
    "asset_sessions",
    METADATA,
    Column("id", Text, primary_key=True),  # 32 hex digits
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("namespace_id", Text, ForeignKey("dispatch_namespaces.id", ondelete="CASCADE")),  # NULL: an ordinary Worker
    Column("script_name", Text, nullable=False),
    Column("manifest", Text, nullable=False),  # JSON {path: {hash, size}}, as the client sent it
    Column("hash_count", Integer, nullable=False),  # how many contents the manifest names
    Column("expires_at", Integer, nullable=False),  # seconds since 1970, as in the token
    Column("created_on", Text, nullable=False),
)
Index("asset_sessions_worker", asset_sessions.c.account_id, asset_sessions.c.script_name)

# Those of its contents that are there.
asset_session_files = Table(
    "asset_session_files",
    METADATA,
    Column("session_id", Text, ForeignKey("asset_sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("hash", Text, primary_key=True),  # the client's name of it
    Column("blob", Text, nullable=False),  # ours: see `services.assets.store`
    Column("size_bytes", Integer, nullable=False),
)

kv_namespaces = Table(
    "kv_namespaces",
    METADATA,
    Column("id", Text, primary_key=True),  # 32 hex digits
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("title", Text, nullable=False),
    Column("created_on", Text, nullable=False),
    UniqueConstraint("account_id", "title"),
)

r2_buckets = Table(
    "r2_buckets",
    METADATA,
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("created_on", Text, nullable=False),
    # The bucket's own settings have the storage class that counts: this one is what listings show.
    Column("storage_class", Text, nullable=False),
    Column("jurisdiction", Text, nullable=False),
    Column("location", Text),
)

S3Permission = Literal["admin-read-write", "admin-read-only", "object-read-write", "object-read-only"]

s3_credentials = Table(
    "s3_credentials",
    METADATA,
    Column("id", Text, primary_key=True),  # the access key id: 32 hex digits
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("permission", Text, nullable=False),  # S3Permission
    Column("bucket", Text),  # NULL: all of the account; a key goes with its bucket
    Column("secret", Text, nullable=False),  # see s3_credentials.py
    Column("created_on", Text, nullable=False),
    ForeignKeyConstraint(["account_id", "bucket"], ["r2_buckets.account_id", "r2_buckets.name"], ondelete="CASCADE"),
)

d1_databases = Table(
    "d1_databases",
    METADATA,
    Column("id", Text, primary_key=True),  # UUID
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_on", Text, nullable=False),
    Column("read_replication", Text, nullable=False, server_default="disabled"),
    UniqueConstraint("account_id", "name"),
)

queues = Table(
    "queues",
    METADATA,
    Column("id", Text, primary_key=True),  # 32 hex digits
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("settings", Text, nullable=False),  # JSON of `queues.QueueSettings`
    Column("consumers", Text, nullable=False),  # JSON list of `queues.Consumer`
    Column("created_on", Text, nullable=False),
    Column("modified_on", Text, nullable=False),
    UniqueConstraint("account_id", "name"),
)
