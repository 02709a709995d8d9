"""Limits of configuration files and of what is read from a project's folders."""

from __future__ import annotations

# A configuration is written by hand; anything larger is a mistake in the path. Ours.
CONFIG_FILE_BYTES_MAX = 1024 * 1024
# The same numbers as the control plane's, so that a mistake is found before it is uploaded.
MODULES_MAX = 20_000
MODULE_BYTES_TOTAL_MAX = 64 * 1024 * 1024
ASSET_FILES_MAX = 100_000
ASSET_FILE_BYTES_MAX = 25 * 1024 * 1024

# What a plan says when the operator says nothing, and between which bounds it may be set.
CONCURRENT_INVOCATIONS_DEFAULT = 100  # invocations of one Worker at once, over all its processes. Ours
CONCURRENT_INVOCATIONS_MAX = 4096  # and the default of the gateway's Worker, which holds one for each of its tenants'
QUEUED_INVOCATIONS_DEFAULT = 200  # invocations that wait for one of those to end. Ours
QUEUED_INVOCATIONS_MAX = 65_536
CPU_MS_DEFAULT = 30_000  # CPU of one invocation. Cloudflare: 30 s by default
CPU_MS_MIN = 10  # Cloudflare
CPU_MS_MAX = 300_000  # Cloudflare: up to 5 minutes
WALL_SECONDS_DEFAULT = 300.0  # an invocation whose caller waits. Ours
WALL_SECONDS_MAX = 86_400.0
MEMORY_MIB_DEFAULT = 128  # of one process, beyond what a blank one has. Cloudflare
MEMORY_MIB_MIN = 16
MEMORY_MIB_MAX = 65_536
SUBREQUESTS_DEFAULT = 1000  # binding calls, RPC calls and fetches of one invocation. Cloudflare
SUBREQUESTS_MAX = 10_000_000  # Cloudflare
STARTUP_CPU_MS_DEFAULT = 1000  # CPU of importing a Worker. Cloudflare: 1 s
STARTUP_SECONDS_DEFAULT = 10.0  # wall time of importing a Worker. Ours
STARTUP_SECONDS_MAX = 300.0
REQUEST_BODY_BYTES_MAX = 2**50  # of the setting; by default a body has no limit, since it streams. Cloudflare: by plan
JWT_SECRET_BYTES_MIN = 32  # RFC 7518, section 3.2: a key as long as the hash of HS256
DRAIN_SECONDS_DEFAULT = 30.0  # what requests get to end after a stop was asked for. Ours, as Kubernetes
DRAIN_SECONDS_MAX = 3600.0
DRAIN_NOTICE_SECONDS_DEFAULT = 1.0  # between "not ready" and the end of listening. Ours
LOGS_MIB_DEFAULT = 64  # what is kept of what Workers said. Ours
LOGS_MIB_MAX = 1024 * 1024
LOG_DAYS_DEFAULT = 7.0  # and for how long. Cloudflare: 3 or 7 days, by plan
LOG_DAYS_MAX = 3650.0
