"""Every number of the sandbox, and where it comes from."""

from __future__ import annotations

from typing import Final

# What a tenant gets unless the policy says otherwise.
MEMORY_BYTES: Final = 256 * 1024 * 1024  # twice the 128 MB of a Worker: RLIMIT_DATA counts address space, not pages
THREADS: Final = 64  # the design's; a pool of a few dozen is the most that sensible code wants
OPEN_FILES: Final = 256
FILE_BYTES: Final = 16 * 1024 * 1024  # one file can fill /tmp and no more
STACK_BYTES: Final = 8 * 1024 * 1024  # what CPython is built for
THREAD_STACK_BYTES: Final = 2 * 1024 * 1024  # 64 threads of glibc's 8 MiB would be the whole of the memory limit twice
TMP_BYTES: Final = 16 * 1024 * 1024
TMP_FILES: Final = 1024
PENDING_SIGNALS: Final = 64

# Where a cgroup is delegated: what a process may be charged for beyond its own memory, which is /tmp, page tables,
# stacks in the kernel and what waits in sockets and pipes.
MEMORY_KERNEL_BYTES: Final = 32 * 1024 * 1024
# The host's share of the processors, where that of all workers together is 100.
HOST_CPU_WEIGHT: Final = 400
# A worker's share beside other workers', and that of one that keeps a processor busy.
CPU_WEIGHT: Final = 100
BACKGROUND_CPU_WEIGHT: Final = 10

BLANK_COUNT: Final = 4
ASSIGNMENT_BYTES_MAX: Final = 64 * 1024
BUNDLE_NAME_BYTES_MAX: Final = 128
# One packet between the host and the zygote. The largest is the start: some paths and names.
CONTROL_BYTES_MAX: Final = 64 * 1024
# A layer's name and the reason why it is missing.
REFUSAL_BYTES_MAX: Final = 4096
# How many callers may wait for a blank worker. Beyond it a spawn fails at once instead of joining a queue of seconds.
SPAWNS_WAITING_MAX: Final = 1024
# How many forks the zygote is asked for at a time: a storm must not keep it from reaping.
FORKS_IN_FLIGHT_MAX: Final = 16

# Where a worker with sockets finds its proxy: the port that proxies have by custom (Squid's). Its namespace is its own.
PROXY_PORT: Final = 3128
# Connections that wait to be accepted; more wait in the client (a SYN that is not answered).
PROXY_BACKLOG: Final = 32
# One socket's buffers in a worker's network namespace. Linux's own: 4 and 6 MiB, which is the whole of a worker's
# memory with a few dozen connections.
SOCKET_SEND_BYTES_MAX: Final = 128 * 1024
SOCKET_RECEIVE_BYTES_MAX: Final = 256 * 1024

START_SECONDS_MAX: Final = 30.0
SPAWN_SECONDS_MAX: Final = 15.0
CLOSE_SECONDS_MAX: Final = 5.0

# Users that real root gives to its children, one each, so that what the kernel counts by user (pipes, signals,
# threads) is counted by tenant. systemd's registry of user ids leaves 1879048192 … 2147483647 to nobody.
# https://systemd.io/UIDS-GIDS/
TENANT_USER_FIRST: Final = 0x7000_0000
TENANT_USER_COUNT: Final = 1_000_000
# Where those are not mapped (root inside a container): nobody. Also what a tenant sees itself as, everywhere.
NOBODY: Final = 65534

assert REFUSAL_BYTES_MAX <= 0xFFFF
assert THREAD_STACK_BYTES * THREADS <= MEMORY_BYTES
assert FILE_BYTES <= TMP_BYTES < MEMORY_KERNEL_BYTES
