"""Every limit of KV, with its unit and where the number comes from."""

from __future__ import annotations

# Cloudflare, "Workers KV limits".
KEY_BYTES_MAX = 512
METADATA_BYTES_MAX = 1024
VALUE_BYTES_MAX = 25 * 1024 * 1024
LIST_KEYS_MAX = 1000
BULK_KEYS_MAX = 100
BULK_BYTES_MAX = 25 * 1024 * 1024
EXPIRATION_SECONDS_MIN = 60
CACHE_SECONDS_MIN = 30

# Cloudflare, "How KV works". Only where a namespace is set to be as slow: here every read is current otherwise.
EDGE_CACHE_SECONDS = 60

# Cloudflare: one write a second to a key. Likewise only there.
WRITE_SECONDS_MIN = 1

# What such a namespace remembers of reads, and of listings.
EDGE_CACHE_BYTES_MAX = 32 * 1024 * 1024
EDGE_PAGES_MAX = 64

# workerd reads option numbers as a C++ `int`.
NUMBER_MIN = -(2**31)
NUMBER_MAX = 2**31 - 1

# The wire's limit for a body inside a frame (docs/design/wire.md): more is a stream.
INLINE_BYTES_MAX = 64 * 1024

# A result of many values leaves in one frame of at most 1 MiB; what does not fit here leaves as streams.
RESULT_INLINE_BYTES_MAX = 512 * 1024

# A cursor is base64url of a tag and a key: anything longer cannot be one of ours.
CURSOR_TAG_BYTES = 16
CURSOR_CHARACTERS_MAX = (CURSOR_TAG_BYTES + KEY_BYTES_MAX + 2) // 3 * 4

assert INLINE_BYTES_MAX < RESULT_INLINE_BYTES_MAX < BULK_BYTES_MAX
assert INLINE_BYTES_MAX < VALUE_BYTES_MAX < EDGE_CACHE_BYTES_MAX

# The embedded engine.

# A namespace costs two to three SQLite connections and six descriptors while it is open.
NAMESPACES_OPEN_MAX = 256
THREADS_MAX = 4

# Objects of namespaces that were used, a kilobyte each, so that a call does not make them anew.
BINDINGS_KEPT_MAX = 4096

# Big values lie in rows of this size: what one stream holds in memory, in either direction.
CHUNK_BYTES = 256 * 1024

# One transaction. More than this waits for the next one, so that nobody waits for a giant.
COMMIT_WRITES_MAX = 1024
COMMIT_BYTES_MAX = 8 * 1024 * 1024

# Writers to one namespace are held back when this much waits for the disk.
WAITING_BYTES_MAX = 32 * 1024 * 1024

# What one transaction clears away besides its own work.
SWEEP_ENTRIES_MAX = 128
SWEEP_BLOBS_MAX = 4

# How often expired entries of namespaces that nobody writes to are looked for.
SWEEP_SECONDS = 60

# After the start each namespace is looked at once for them, with this pause between two.
SWEEP_PAUSE_SECONDS = 0.05

# A file that is more than half empty, and by this many pages of 4 KiB, is made smaller, so many pages at a time.
FREE_PAGES_MIN = 4096
SHRINK_PAGES_MAX = 1024

# Rows that the event loop itself may read for one call, about a microsecond each. More goes to a thread.
LOOP_ROWS_MAX = 128

# Values that a bulk read fetches before it lets others run.
LOOP_VALUES_MAX = 8

assert COMMIT_BYTES_MAX >= CHUNK_BYTES
assert WAITING_BYTES_MAX >= COMMIT_BYTES_MAX
