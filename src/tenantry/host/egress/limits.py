"""Limits of `fetch()`."""

from __future__ import annotations

from typing import Final

CONNECTIONS_PER_WORKER_MAX: Final = 32
"""Requests of one Worker that are under way, bodies included; more wait for their turn. Cloudflare: 6 an invocation."""
QUEUE_PER_WORKER_MAX: Final = 1000
"""Requests of one Worker that wait; more are refused."""
CONNECTIONS_MAX: Final = 8192
"""Sockets of all Workers together, and never more than a quarter of the host's descriptors."""
IDLE_CONNECTIONS_PER_WORKER_MAX: Final = 8
"""Connections that are kept for the next request."""

QUEUE_SECONDS_MAX: Final = 30.0
"""A request that waits longer than this for its turn fails: whoever holds the others does not read their bodies."""
RESOLVE_SECONDS_MAX: Final = 8.0
CONNECT_SECONDS_MAX: Final = 20.0
"""Names, TCP and TLS together, over all addresses of a host."""
CONNECT_ADDRESS_SECONDS_MAX: Final = 8.0
"""TCP and TLS with one address."""
IDLE_SECONDS_MAX: Final = 100.0
"""Silence of the other side, before its answer and in it. Cloudflare: 100 s (524)."""
KEEPALIVE_SECONDS: Final = 15.0
"""An idle connection is kept for this long; a Worker without one keeps nothing at all."""

ADDRESSES_MAX: Final = 8
"""Addresses of one name that are tried."""
NAMES_CACHED_MAX: Final = 64
"""Names of one Worker whose addresses are remembered, for NAME_SECONDS."""
NAME_SECONDS: Final = 10
LOOKUP_THREADS: Final = 16
LOOKUPS_PER_WORKER_MAX: Final = 2
"""Lookups of one Worker at once: a name server that does not answer holds a thread each."""

URL_CHARACTERS_MAX: Final = 16 * 1024
"""Cloudflare: 16 KB."""
REQUEST_HEADERS_MAX: Final = 512
REQUEST_HEADER_BYTES_MAX: Final = 128 * 1024
"""Cloudflare: 128 KB in total."""
METHOD_CHARACTERS_MAX: Final = 64

RESPONSE_HEADERS_MAX: Final = 256
RESPONSE_HEADER_FIELD_BYTES_MAX: Final = 16 * 1024
RESPONSE_HEADER_BYTES_MAX: Final = 128 * 1024
"""Cloudflare: 128 KB in total."""

READ_BYTES: Final = 64 * 1024
"""What is read ahead of a Worker, and what of a request's body is in hand."""

PROXY_CONNECTIONS_MAX: Final = 32
"""Connections of one process to its proxy at once; more wait in its own network namespace."""
PROXY_CONNECTIONS_PER_SECOND: Final = 200
PROXY_CONNECTIONS_BURST: Final = 200
"""How fast the proxy of one process takes new connections: each costs the host, whatever comes of it."""
PROXY_HEAD_SECONDS_MAX: Final = 30.0
"""From a connection to a whole request. Longer than clients keep one open that they have not used yet."""
PROXY_LINGER_SECONDS_MAX: Final = 5.0
PROXY_LINGER_BYTES_MAX: Final = 1024 * 1024
"""What a client that was refused may still send before it reads why."""
PROXY_REFUSALS_TOLD_MAX: Final = 100
"""What of one process is told to its Worker's log; the client is told each."""
PROXY_ACCEPT_PAUSE_SECONDS: Final = 0.5
"""When the host is out of descriptors."""

assert CONNECTIONS_PER_WORKER_MAX < CONNECTIONS_MAX
assert LOOKUPS_PER_WORKER_MAX < LOOKUP_THREADS
assert CONNECT_ADDRESS_SECONDS_MAX < CONNECT_SECONDS_MAX
