"""Bounds of R2. Cloudflare's own where it has one (developers.cloudflare.com/r2/platform/limits), else ours."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB

KEY_BYTES_MAX: Final = 1024
"""UTF-8. Cloudflare."""

METADATA_BYTES_MAX: Final = 8192
"""UTF-8 of all metadata of an object, names and values. Cloudflare."""

PUT_BYTES_MAX: Final = 5 * GIB - 5 * MIB
"""A single put, or one part. Cloudflare."""

OBJECT_BYTES_MAX: Final = 5 * TIB - 5 * GIB
"""Cloudflare."""

PART_BYTES_MIN: Final = 5 * MIB
"""Every part but the last. Cloudflare."""

PART_NUMBER_MAX: Final = 10_000
"""Cloudflare."""

UPLOAD_DAYS_DEFAULT: Final = 7
"""An upload that nobody completes is dropped after that, unless the bucket's lifecycle says otherwise. Cloudflare."""

ENDED_UPLOAD_DAYS: Final = 7
"""Ours: how long it is remembered that an upload was completed or aborted."""

UPLOAD_ID_CHARACTERS_MAX: Final = 256
"""Ours: what a worker may send as an upload id or a part's etag; those that we make are shorter."""

SSEC_KEY_BYTES: Final = 32
"""A customer's own key (SSE-C). Cloudflare."""

SEALED_CHUNK_BYTES: Final = 64 * KIB
"""Ours: an object under a customer's key is sealed in pieces of this size, so that a range opens few of them."""

CORS_RULES_MAX: Final = 100
"""Of a bucket. Cloudflare documents none; S3 has 100."""

CORS_AGE_SECONDS_MAX: Final = 86_400
"""How long a browser may keep the answer to a preflight. Cloudflare."""

LIFECYCLE_RULES_MAX: Final = 1000
"""Of a bucket. Cloudflare."""

SETTINGS_TEXT_CHARACTERS_MAX: Final = 1024
"""Ours: an id, origin, header or prefix in a bucket's settings."""

SETTINGS_LIST_ITEMS_MAX: Final = 100
"""Ours: origins, methods or headers of one CORS rule, storage classes of one lifecycle rule."""

SWEEP_HOURS: Final = 12
"""Ours: how often each bucket's lifecycle is carried out and its folder tidied. Cloudflare promises a day."""

SWEEP_START_SECONDS: Final = 300
"""Ours: how long after its start a host sweeps for the first time."""

SWEEP_PAUSE_SECONDS: Final = 0.01
"""Ours: between two buckets, so that the sweep of 100,000 of them is not felt."""

SWEEP_DELETES_PER_STEP: Final = 1000
"""Ours: objects that expire in one commit."""

SWEEP_CHECKS_PER_TURN: Final = 20_000
"""Ours: rules times objects that a sweep looks at before it gives the event loop back, some 5 ms."""

FREE_BYTES_MIN: Final = MIB
"""Ours: an index gives space back to the disk once it has more than this, and a quarter of itself, unused."""

DELETE_KEYS_MAX: Final = 1000
"""Keys in one delete. Cloudflare."""

LIST_LIMIT_MAX: Final = 1000
"""Objects and prefixes in one page, and the default. Cloudflare."""

LIST_PAGE_BYTES_MAX: Final = 512 * KIB
"""Ours: a page ends early, and says `truncated`, before it holds more, so that one call cannot ask for megabytes of
metadata. Cloudflare documents the same ("may return fewer than limit")."""

LIST_TEXT_CHARACTERS_MAX: Final = 4 * KEY_BYTES_MAX
"""Ours: a prefix, delimiter, cursor or startAfter. A longer one cannot match any key."""

CONDITION_ETAGS_MAX: Final = 256
"""Ours: entity tags in one condition."""

HEADER_CHARACTERS_MAX: Final = 16 * KIB
"""Ours: one header of the Headers form. Cloudflare allows 16 KB for a request header."""

INLINE_OBJECT_BYTES_MAX: Final = 16 * KIB
"""Ours: a body up to this size lies in the index itself, so that its put is one group commit and no file."""

INLINE_RESULT_BYTES_MAX: Final = 64 * KIB
"""A body up to this size travels inside the result of `get` (docs/design/wire.md)."""

READ_BYTES_MAX: Final = MIB
"""Ours: one read of a source stream."""

WRITE_BATCH_BYTES_MIN: Final = 256 * KIB
"""Ours: bytes gathered before an idle writer gets them."""

WRITE_BATCH_BYTES_MAX: Final = MIB
"""Ours: bytes gathered while the writer is busy; then the reader waits. The back-pressure is felt by the source."""

COPY_BYTES_MAX: Final = 16 * MIB
"""Ours: one job of the file-to-file path, so that a thread is given back now and then."""

READ_INLINE_BYTES_MAX: Final = 256 * KIB
"""Ours: read on the event loop if the page cache has it (32 µs; a hop to a thread and back costs 130 µs)."""

SCAN_ROWS_PER_TURN: Final = 100
"""Ours: index rows that `list` reads, or turns into results, before it gives the event loop back."""

OPEN_BUCKETS_MAX: Final = 256
"""Ours: open indexes; the least recently used beyond that is closed, unless it is in use."""

COMMITS_PER_GROUP_MAX: Final = 512
"""Ours: writes in one transaction."""

BODY_THREADS: Final = 6
"""Ours: threads that write, hash and read bodies."""

COMMIT_THREADS: Final = 4
"""Ours: threads that commit, open and close indexes."""

assert INLINE_OBJECT_BYTES_MAX <= INLINE_RESULT_BYTES_MAX <= READ_INLINE_BYTES_MAX
assert WRITE_BATCH_BYTES_MIN <= WRITE_BATCH_BYTES_MAX
assert PART_BYTES_MIN < PUT_BYTES_MAX < OBJECT_BYTES_MAX
assert KEY_BYTES_MAX < LIST_PAGE_BYTES_MAX
