"""Every bound of D1, with its unit and where the number comes from. CF is Cloudflare's documented or measured limit."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# What a tenant may say (CF, "limits" page and the runtime's own SQLite limits).
SQL_BYTES_MAX: Final = 100_000
VALUE_BYTES_MAX: Final = 2_000_000  # a row, a string or a BLOB
COLUMNS_MAX: Final = 100
PARAMETERS_MAX: Final = 100
EXPRESSION_DEPTH_MAX: Final = 100
COMPOUND_SELECT_TERMS_MAX: Final = 5
FUNCTION_ARGUMENTS_MAX: Final = 127
LIKE_PATTERN_BYTES_MAX: Final = 50
TRIGGER_DEPTH_MAX: Final = 10
VIRTUAL_MACHINE_OPERATIONS_MAX: Final = 25_000
DATABASE_BYTES_MAX: Final = 10_000_000_000
QUERY_SECONDS_MAX: Final = 30.0
"""All statements of one call together. CF: "maximum SQL query duration"."""

# Ours: what one call may make the host hold.
STATEMENTS_MAX: Final = 10_000
"""Statements in a batch, lines in an exec."""
REQUEST_BYTES_MAX: Final = 32 * MIB
RESULT_BYTES_MAX: Final = 32 * MIB
"""Rows of all results of a call as they are encoded. One row that is being read comes on top."""
QUEUE_CALLS_MAX: Final = 1_000
"""Calls waiting for one database."""
QUEUE_BYTES_MAX: Final = 64 * MIB
"""Their requests together."""
UNREAD_RESULT_BYTES_MAX: Final = 64 * MIB
"""Results of one database that were handed out as streams and are not read yet."""
INLINE_RESULT_BYTES_MAX: Final = 64 * KIB
"""A longer result is a stream. The wire's INLINE_BODY_BYTES_MAX; the floors keep it from being imported here."""

# Group commit: how long one call may keep others from their answer.
GROUP_CALLS_MAX: Final = 128
GROUP_SECONDS_MAX: Final = 0.010
"""No further call joins a group that is this old. An fsync costs about 0.2 ms, so there is little left to gain."""
READS_SECONDS_MAX: Final = 0.001
"""Answers to reads are gathered no longer than this before the event loop is told of them."""
HOLD_SECONDS_MAX: Final = 0.050
"""A call that runs this long while others wait for the commit is stopped, and runs again alone after it."""

# How a deadline is enforced.
PROGRESS_OPERATIONS: Final = 100_000
"""Virtual machine operations between two looks at the clock: some 10 ms, rare enough not to fight for the GIL."""
WATCH_SECONDS: Final = 0.050
"""How often the event loop looks after running calls."""
STUCK_SECONDS_DEFAULT: Final = 1.0
"""A call still running so long after it was interrupted sits in a SQL function that never looks up."""

# The shape of the process.
THREADS_DEFAULT: Final = 4
SPARE_THREADS_MAX: Final = 16
"""Threads started in place of stuck ones."""
OPEN_DATABASES_MAX: Final = 256
DRAIN_SECONDS_DEFAULT: Final = 5.0
"""How long accepted calls may go on when the service closes."""
CLOSE_SECONDS_MAX: Final = 30.0
"""How long the last checkpoint of one database may take."""
RESOURCE_ID_CHARACTERS_MAX: Final = 128

# SQLite as the embedded engine runs it.
CACHE_KIB: Final = 2_000
STATEMENT_CACHE_COUNT: Final = 64
BUSY_MILLISECONDS: Final = 2_000
"""Only an operator's own sqlite3 can make a database busy: it has one connection here that writes."""

# The past, for Time Travel.
HISTORY_SECONDS: Final = 30 * 24 * 3600
"""How far back a database can be restored. CF: 30 days."""
CHECKPOINT_FRAMES: Final = 1_000
"""Pages in the log (4 MB) when it is archived and begins anew. SQLite's own default."""
HISTORY_STEPS_BYTES: Final = 4 * MIB
HISTORY_STEPS_PER_BASE: Final = 2
"""A new base is made when the steps since the last are larger than this, and than so many bases."""
HISTORY_BASE_SECONDS: Final = 7 * 24 * 3600
"""Or when the last is older than this. What was deleted is gone from disk so much later than HISTORY_SECONDS."""

# Export and import.
DUMP_BYTES_MAX: Final = 10 * GIB
IMPORT_BYTES_MAX: Final = 5 * GIB
"""CF: 5 GB."""
IMPORT_STATEMENT_BYTES_MAX: Final = 8 * MIB
"""A row of VALUE_BYTES_MAX as an INSERT, in hexadecimal: what was exported can be imported. CF: SQL_BYTES_MAX."""
IMPORT_SECONDS_MAX: Final = 600.0
TRANSFERS_MAX: Final = 2
"""Exports and imports that run at once. More wait."""
TRANSFERS_KEPT_MAX: Final = 32
"""That run, wait, or have files that may still be sent or fetched."""
TRANSFER_SECONDS_MAX: Final = 3600.0
"""How long after its beginning a job is known and its file may be sent or fetched."""
ANSWER_SECONDS_MAX: Final = 10.0
"""How long the answer that tells of an import's end may take to leave. Until then a killed host may have lost it."""
ROWS_CHUNK_MAX: Final = 256
ROWS_CHUNK_BYTES: Final = 64 * KIB
"""Rows are taken from SQLite in chunks of about this size, so that the bound on results is looked at in between."""

DISK_FREE_BYTES_MIN: Final = MIB
"""A write that found no room on a disk with less than this did so for want of disk, not because of its own limit."""

SAFE_INTEGER_MAX: Final = 2**53 - 1
"""Number.MAX_SAFE_INTEGER."""

assert RESULT_BYTES_MAX <= UNREAD_RESULT_BYTES_MAX
assert REQUEST_BYTES_MAX <= QUEUE_BYTES_MAX
assert GROUP_SECONDS_MAX < HOLD_SECONDS_MAX <= QUERY_SECONDS_MAX
