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
"""An invocation that takes longer than this is ended when its client leaves. A quicker one is not worth the watch."""

READ_AHEAD_BYTES: Final = 256 * 1024
"""What is read of a body that nobody asks for, to see whether its client is still there."""

USER_CHARACTERS_MAX: Final = 256
"""Of a user's name that a credential proves. Ours."""

JWT_CHARACTERS_MAX: Final = 8 * 1024
"""Of a JWT; longer ones do not fit in most servers' headers. Ours."""

JWT_LEEWAY_SECONDS: Final = 30
"""By how much the clocks of an issuer and ours may differ. Ours."""

JWT_CACHE_TOKENS: Final = 10_000
"""Verified tokens that are remembered. The oldest goes."""

JWKS_BYTES_MAX: Final = 1024 * 1024
"""Of a key set. Ours."""

JWKS_SECONDS: Final = 300.0
"""How old a key set becomes before it is read again."""

JWKS_SECONDS_MIN: Final = 10.0
"""How long at least between two readings, whatever key a token names."""

JWKS_FETCH_SECONDS_MAX: Final = 10.0
"""What an issuer's server gets to answer with its key set."""
