"""Limits of the data plane's HTTP."""

from __future__ import annotations

from typing import Final

URL_CHARACTERS_MAX: Final = 16 * 1024
"""Cloudflare: 16 KB, else 414."""

REQUEST_HEADER_BYTES_MAX: Final = 128 * 1024
"""Cloudflare: 128 KB in total, else 431."""

RESPONSE_HEADER_BYTES_MAX: Final = 32 * 1024
"""A larger header block is refused: 502."""

SEND_BYTES: Final = 512 * 1024
"""Bytes of a body in one message to the server."""

DISCONNECT_WATCH_SECONDS: Final = 0.05
"""An invocation that takes twice this long is ended when its client leaves, some sooner. A quicker one is not worth the
watch."""

READ_AHEAD_BYTES: Final = 256 * 1024
"""What is read of a body that nobody asks for, to see whether its client is still there."""
