"""The rehearsal, as the zygote runs it before it forks."""

from __future__ import annotations

import os
import threading

import workers

from tenantry.runtime.rehearsal import rehearse


def test_it_runs_through_and_leaves_no_descriptor_no_thread_and_no_binding() -> None:
    before = os.listdir("/proc/self/fd")
    threads = threading.active_count()
    rehearse(12)
    # Others may have gone meanwhile: what the tests before left to the collector.
    assert set(os.listdir("/proc/self/fd")) <= set(before)
    assert threading.active_count() <= threads
    assert list(workers.env) == []
