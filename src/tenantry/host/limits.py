"""The host's limits. Workers for Platforms' defaults where it has them."""

from __future__ import annotations

from typing import Final

from tenantry.config.limits import CPU_MS_MIN

CPU_SECONDS_MIN: Final = CPU_MS_MIN / 1000
"""The least that a call may ask for by `limits.cpuMs`."""

QUEUE_SECONDS_MAX: Final = 30.0
"""An invocation that waited this long behind others is refused."""

MEMORY_LOOK_CPU_SECONDS: Final = 0.01
"""A process's memory is looked at each time that it used so much CPU, which is what touching 50 MiB costs at least.
So the looks cost a share of what it uses, however many processes there are."""
MEMORY_LOOK_AT_REST_CPU_SECONDS: Final = 0.001
"""And when it rests after having used so much."""

MEMORY_BLANK_BYTES_MAX: Final = 64 * 1024 * 1024
"""What a process may have when it begins and is not charged for. A blank one has less than half of that; whoever grows
faster than the host reads gains no more."""

START_GRACE_CPU_SECONDS: Final = 0.25
START_GRACE_SECONDS: Final = 1.0
"""An import that was interrupted, because it took too long, has these to say where; then its process is ended."""

LAST_WORDS_CPU_SECONDS: Final = 0.1
LAST_WORDS_SECONDS: Final = 0.25
"""A process that used up its CPU time has these to say where it is; then it is ended. The signal is with it at once."""

WAIT_UNTIL_SECONDS_MAX: Final = 30.0
"""What goes on after the answer, unless somebody still reads a body or holds a stub."""
CANCEL_SECONDS_MAX: Final = 5.0
"""An invocation that was told to stop and does not is stopped together with its process."""

REFUSED_CALLS_MAX: Final = 10_000
"""Calls beyond a limit, each of which is told so. A process that makes more of them is ended."""

DEPTH_MAX: Final = 16
"""Workers that call Workers."""
SERVICE_CALLS_MAX: Final = 32
"""Calls through service bindings for one event from outside, all Workers that it reaches together. Cloudflare's."""

LOG_BYTES_MAX: Final = 256 * 1024
"""Log text of one invocation, or of LOG_SECONDS outside of any. Cloudflare: 256 KB."""
LOG_SECONDS: Final = 60.0
LOG_BYTES_PER_SECOND: Final = 256 * 1024
LOG_BURST_BYTES: Final = 512 * 1024
"""And of one Worker, whatever it is asked, beyond what its processes may say unasked (`LOG_WINDOW_BYTES`). What comes
faster is lost. Ours."""
KEPT_PER_SECOND_MAX: Final = 20
"""Invocations of one Worker that ended well, said nothing, and are kept because its `observability` asks for it."""
ATTENDED_PER_SECOND_MAX: Final = 200
"""The same, while somebody follows the Worker's log."""
KEPT_TOTAL_MAX: Final = 500
"""Of all Workers together, in a second: what a thread can write beside everything else."""
ATTENDED_WORKERS_MAX: Final = 10_000
"""Workers whose silent invocations are kept, beyond which nobody more can follow one."""
REDACTED_CHARACTERS_MIN: Final = 8
"""Of a secret that is hidden where its Worker logs it: a shorter one would be found where it does not stand."""

OPERATOR_WEIGHT: Final = 8
"""How much more of the host's loop than a tenant's a Worker outside of dispatch namespaces gets, where it is short."""

PROCESSES_PER_WORKER_MAX: Final = 4
BUSY_INVOCATIONS: Final = 64
"""A process that holds this many gets help."""
BUSY_CPU_SHARE: Final = 0.9
"""So does one that used this share of a processor since the last look, and answered nothing;"""
BUSY_SILENT_CPU_SECONDS: Final = 0.1
"""or so much in one go: where processors are short, nobody gets the share."""
SILENT_CPU_SHARE: Final = 0.02
"""What of that is forgiven: one that waits may look now and then whether there is anything to do."""

HELD_SECONDS_MAX: Final = 5.0
"""While all of a Worker's processes hold their processors, a request waits this long for one that lets go; longer, and
it is told to come again."""

IDLE_SECONDS_MAX: Final = 60.0
LIVE_PROCESSES_MAX: Final = 5000

MEMORY_BUDGET_SHARE: Final = 0.75
"""Of the machine's memory: what all worker processes may hold together, unless the operator says. The rest is the
host's, and the page cache's."""
BLANK_PRIVATE_BYTES: Final = 2 * 1024 * 1024
"""What a process has to itself before it has done anything, as the budget counts it. Measured: 1.4 MB, and what the
kernel needs for a process beside it."""

STARTS_PER_PROCESSOR_MAX: Final = 8
"""Processes that are being forked, or import their Worker, at once, for each processor of the machine."""
STARTS_QUEUED_MAX: Final = 1024
"""Starts that wait behind them; more are refused."""
START_PLACE_SECONDS: Final = 0.25
"""An import that takes longer goes on beside the others."""

BACKOFF_SECONDS_FIRST: Final = 0.1
BACKOFF_SECONDS_MAX: Final = 30.0
BACKOFF_CRASHES_FREE: Final = 2
"""Crashes in a row that are answered with a fresh process at once."""
BACKOFF_WAIT_SECONDS_MAX: Final = 2.0
"""A request waits this long for a Worker that is held back, if that is enough."""
BACKOFF_REFUSAL_SECONDS: Final = 0.5
"""If it is not, it is refused after this long. Whoever asks again as soon as it is refused would keep the host and the
dispatcher at it otherwise, faster than a Worker that answers."""
START_ATTEMPTS_MAX: Final = 3
"""Processes that a request tries which end before it can be sent to them."""
HEALTHY_SECONDS: Final = 10.0
"""A process that lived this long ends its Worker's row of crashes. One that starts sooner after a crash lets others
go first."""

TICK_SECONDS: Final = 0.02
"""How often the CPU clocks of busy processes are read: the precision of the CPU limit."""

BACKGROUND_CPU_SHARE: Final = 0.4
FOREGROUND_CPU_SHARE: Final = 0.15
SHARE_SECONDS: Final = 0.3
"""A Worker whose processes together use more than the one share of a processor, over about so long, lets the others go
first until they use less than the other. So does a process that used BUSY_SILENT_CPU_SECONDS."""
BACKGROUND_SECONDS_FIRST: Final = 1.0
BACKGROUND_SECONDS_MAX: Final = 30.0
"""And for so long at least, twice as long each time: in the background it may use little because it gets little."""

UNPAID_CPU_SECONDS_MAX: Final = 1.0
"""CPU that a process may use while it holds no invocation, beyond what is forgiven: threads that go on, say."""
UNPAID_CPU_SHARE: Final = 0.05
"""Forgiven: this share of the time, for an event loop and a collector that have their own pace."""
QUIET_LOOKS: Final = 25
"""A process without invocations that used less than that at so many looks in a row is left alone for a while."""
UNPAID_CPU_SECONDS_PER_INVOCATION: Final = 0.0005
"""Forgiven too, for what tidying up after an answer costs."""

FORM_FIELD_BYTES_MAX: Final = 1024 * 1024
FORM_FIELDS_BYTES_MAX: Final = 16 * 1024 * 1024
FORM_PARTS_MAX: Final = 1000
"""Bounds of a form that the host takes apart. Files do not count: they lie on disk."""

COMPILE_SECONDS_MAX: Final = 30.0
COMPILE_SOURCE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Sources of one bundle that are compiled ahead; the rest compiles when it is imported."""

TRIALS_MAX: Final = 2
"""Workers that are tried at once, before they are stored. Ours: each is a process that imports, on the host's cores."""

TRIAL_LOG_CHARACTERS_MAX: Final = 16 * 1024
"""Of the traceback that the author of a Worker gets to read when it cannot be imported. Ours."""
