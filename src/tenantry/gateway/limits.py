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

SENDFILE_BYTES_MIN: Final = 256 * 1024
"""A file of this size goes from the disk to the socket without entering the host; for less, a read is quicker."""

READ_AHEAD_BYTES: Final = 256 * 1024
"""What is held of a body that nobody asks for: enough to see whether its client is still there."""

PIPELINED_MAX: Final = 64
"""Requests that one read may bring; a client that sends more ahead is cut off behind them. Ours."""

PIPELINED_BYTES_MAX: Final = 64 * 1024
"""What is read of requests behind the one that is being answered."""

FRAMING_BYTES_MAX: Final = 512 * 1024
FRAMING_FACTOR_MAX: Final = 8
"""What may come of a request that is not its body (its head, chunk sizes, their extensions, trailers): this, and so
many times the body. Chunks of one byte take six."""

LINGER_BYTES_MAX: Final = 1024 * 1024
LINGER_SECONDS_MAX: Final = 2.0
"""What a client may still send of a request that has its answer."""

CONNECTIONS_MAX: Final = 16_384
"""Of clients at once. One more is closed at once."""

LOOK_SECONDS: Final = 1.0
"""How often connections are looked at for the limits below."""

HEAD_SECONDS_MAX: Final = 30.0
"""For the head of a request from its first byte, and for a short body from its head: then 408."""

IDLE_SECONDS_MAX: Final = 90.0
"""A connection without a request is closed. Proxies that keep connections should let go of them earlier."""

STALLED_SECONDS_MAX: Final = 60.0
"""A client that takes nothing of its response for so long is gone."""

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
