"""Bounds of the S3 endpoint. R2's or S3's own where there is one, else ours."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

TARGET_BYTES_MAX: Final = 16 * KIB
"""Path and query. A key of 1,024 bytes takes at most three times as many, presigning about 1.5 KiB. Ours."""

HEADER_BYTES_MAX: Final = 64 * KIB
"""All header lines. R2's metadata is at most 8,192 bytes; the rest is generous. Ours."""

HEADERS_MAX: Final = 256
"""Ours."""

QUERY_PARAMETERS_MAX: Final = 64
"""Ours: S3's own requests have about a dozen."""

CLOCK_SKEW_SECONDS_MAX: Final = 15 * 60
"""Between the date of a signature and now, either way. S3."""

PRESIGN_SECONDS_MAX: Final = 7 * 24 * 3600
"""S3 and R2."""

SIGNED_HEADERS_MAX: Final = 64
"""Ours."""

ACCESS_KEY_ID_CHARACTERS: Final = 32
"""R2."""

CHUNK_LINE_BYTES_MAX: Final = 256
"""A chunk's header in `aws-chunked`: at most 16 digits, `;chunk-signature=` and 64 digits. Ours."""

TRAILER_BYTES_MAX: Final = 4 * KIB
"""All trailers of a body: a checksum and a signature. Ours."""

CHUNK_BYTES_MAX: Final = 5 * 1024 * MIB
"""Of one chunk. S3 has none but that of the body; what is read is handed on at once, so memory does not care."""

XML_BYTES_MAX: Final = MIB
"""A body of XML: 1,000 keys of 1,024 bytes to delete fit in. S3's is 1 MB."""

COMPLETE_XML_BYTES_MAX: Final = 4 * MIB
"""10,000 parts with their etags and checksums."""

XML_INLINE_BYTES_MAX: Final = 16 * KIB
"""Read on the event loop, which takes less than a millisecond; a longer document is read in a thread. Ours."""

XML_DEPTH_MAX: Final = 8
"""S3's deepest is 5. Ours."""

XML_ELEMENTS_MAX: Final = 80_000
"""10,000 parts with three fields each, and room. Ours."""

LIST_KEYS_MAX: Final = 1000
"""Keys in a page. S3 and R2."""

BUCKETS_PER_PAGE_MAX: Final = 1000
"""R2."""

COPY_BYTES_MAX: Final = 5 * 1024 * MIB
"""A single copy. S3."""

SEND_BYTES: Final = 512 * KIB
"""Bytes of a body in one message to the server."""

DRAIN_BYTES_MAX: Final = 256 * KIB
"""What is read and dropped of a refused request's body, so that its client reads the answer and no reset. Ours."""

DRAIN_SECONDS_MAX: Final = 5
"""How long that may take. Ours."""

BODY_IDLE_SECONDS_MAX: Final = 120
"""A request whose body brings nothing for that long is ended. Ours; S3 gives up after about 20 seconds."""
