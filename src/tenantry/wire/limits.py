"""Bounds of the wire protocol. Each end enforces them on what it receives; a breach is a ProtocolError."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

FRAME_BYTES_MAX: Final = 1 * MIB
"""Everything after the length field."""

PAYLOAD_BYTES_MAX: Final = 32 * MIB
"""Arguments or result of one call, over all of its parts. Cloudflare: workerd's MAX_JS_RPC_MESSAGE_SIZE."""

PAYLOAD_PART_BYTES: Final = 512 * KIB
"""A longer payload is sent in parts of this size, so that other frames get their turn."""

PENDING_PAYLOAD_BYTES_MAX: Final = 64 * MIB
"""What a peer may have sent of payloads that are not complete yet."""

INLINE_BODY_BYTES_MAX: Final = 64 * KIB
"""A body up to this size travels inside its value; a longer one is a stream."""

DATA_BYTES_MAX: Final = 256 * KIB
"""Bytes in one DATA frame."""

STREAM_WINDOW_BYTES: Final = 1 * MIB
"""Credit that a reader keeps granted. Two windows in flight fill a 10 Gbit/s loopback at 1 ms."""

STREAM_WINDOWS_BYTES: Final = 16 * MIB
"""What the windows of all streams that are read from one peer share."""
STREAM_WINDOW_BYTES_MIN: Final = 32 * KIB

CREDIT_BYTES_MAX: Final = 64 * MIB
"""Credit outstanding on one stream; a peer that grants more is broken."""

LOG_WINDOW_BYTES: Final = 512 * KIB
"""What a side may log before the other one has granted more. What does not fit is lost: a log holds nobody up."""
LOG_RESERVE_BYTES: Final = 64 * KIB
"""And beyond that, of level `error`: a flood of prints must not take away the traceback that ends it."""
LOG_MESSAGE_BYTES: Final = 64
"""What a message counts for beyond its text: to show one costs more than its bytes."""
LOG_MESSAGES_MAX: Final = 16
"""In one LOG frame."""

CALLS_MAX: Final = 8192
"""Calls in progress in one direction."""

EXPORTS_MAX: Final = 65536
"""Live exports of one side."""

CAPABILITIES_MAX: Final = 4096
"""Capabilities in one call or result."""

METHOD_CHARACTERS_MAX: Final = 256

TERMS_BYTES_MAX: Final = 64 * KIB
"""What a caller attaches to a call: limits, and parameters for an outbound Worker."""

ENTRY_BYTES_MAX: Final = 2 * TERMS_BYTES_MAX
"""What the host attaches to a call: its entrypoint, properties, and those parameters again."""

ERROR_TEXT_CHARACTERS_MAX: Final = 64 * KIB
"""An error's message; a longer one is cut by its sender."""

VALUE_DEPTH_MAX: Final = 200
"""Nesting of lists, dicts and sets in a value."""

VALUE_ITEMS_MAX: Final = 1024 * 1024
"""Elements of lists and sets, keys and values of dicts, all together in one value. The emptiest of them cost their
receiver 64 bytes each, so that a payload of the largest size could otherwise become 2 GiB."""

BIGINT_BYTES_MAX: Final = 1024
"""An integer beyond 64 bits. A longer one costs quadratic time to print, and from 4,300 digits on Python refuses to."""

assert DATA_BYTES_MAX + 64 < FRAME_BYTES_MAX
assert PAYLOAD_PART_BYTES + 64 < FRAME_BYTES_MAX
assert PAYLOAD_BYTES_MAX < PENDING_PAYLOAD_BYTES_MAX
assert STREAM_WINDOW_BYTES < CREDIT_BYTES_MAX
