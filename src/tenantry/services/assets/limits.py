"""Limits of static assets, with the source of each number."""

from __future__ import annotations

from typing import Final

FILES_MAX: Final = 100_000
"""Cloudflare: 100,000 files a version on paid plans, 20,000 on free ones."""

FILE_BYTES_MAX: Final = 25 * 1024 * 1024
"""Cloudflare: 25 MiB a file."""

VERSION_BYTES_MAX: Final = 1024 * 1024 * 1024
"""All files of a version together. Ours: Cloudflare names no number."""

PATH_BYTES_MAX: Final = 1024
"""Of a file's path in a manifest. Ours."""

HEADER_RULES_MAX: Final = 100
"""Cloudflare: rules in `_headers`."""

REDIRECTS_STATIC_MAX: Final = 2000
"""Cloudflare: rules in `_redirects` without `*` and `:placeholder`."""

REDIRECTS_DYNAMIC_MAX: Final = 100
"""Cloudflare: the others, and those that come after the first of them."""

LINE_CHARACTERS_MAX: Final = 2000
"""Cloudflare: of a line in `_headers` or `_redirects`."""

WORKER_FIRST_RULES_MAX: Final = 100
WORKER_FIRST_CHARACTERS_MAX: Final = 100
"""Cloudflare: rules of `run_worker_first`, and characters of one."""

URL_CHARACTERS_MAX: Final = 16 * 1024
"""Of a request for an asset. Cloudflare: 16 KB."""

CACHE_FILE_BYTES_MAX: Final = 64 * 1024
CACHE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Files up to the first are kept in memory, up to the second together. Ours."""

SITE_ENTRIES_MAX: Final = 100_000
"""Paths and rules that are kept in memory, of all Workers. One Worker's may be as many alone. Ours."""

READ_BYTES_MAX: Final = 512 * 1024
"""Bytes that one read of a larger file takes from the disk."""

READ_THREADS: Final = 2

assert CACHE_FILE_BYTES_MAX < FILE_BYTES_MAX <= VERSION_BYTES_MAX
