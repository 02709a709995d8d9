"""Who is put in the background, with all its threads, and who can be taken back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import tenantry
from tenantry.sandbox.priority import set_background

# Some threads, and another one for each line that comes.
BUSY = """
import sys, threading
hold = threading.Event()
def start():
    threading.Thread(target=hold.wait, daemon=True).start()
    print("started", flush=True)
for _ in range(5):
    start()
for _ in sys.stdin:
    start()
"""

# As whoever runs it: to the background, and back.
THERE_AND_BACK = """
import os, sys
from tenantry.sandbox.priority import set_background
pid = int(sys.argv[1])
print(set_background(pid, True), os.sched_getscheduler(pid), set_background(pid, False), os.sched_getscheduler(pid))
"""


@contextmanager
def busy(**user: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [user.pop("python", sys.executable), "-I", "-S", "-c", BUSY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        **user,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for _ in range(5):
            process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait()


def policies(pid: int) -> list[int]:
    return [os.sched_getscheduler(int(thread)) for thread in os.listdir(f"/proc/{pid}/task")]


def test_all_threads_go_to_the_background_and_those_that_begin_there_stay() -> None:
    with busy() as process:
        assert set_background(process.pid, True)
        assert policies(process.pid) == [os.SCHED_IDLE] * 6

        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        assert policies(process.pid) == [os.SCHED_IDLE] * 7


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take a process back")
def test_root_takes_them_back_as_nice_as_they_were() -> None:
    with busy() as process:
        os.setpriority(os.PRIO_PROCESS, process.pid, 5)
        assert set_background(process.pid, True)
        assert set_background(process.pid, False)
        assert policies(process.pid) == [os.SCHED_OTHER] * 6
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 5


def test_an_ordinary_user_is_told_that_there_is_no_way_back(public_python: str) -> None:
    ordinary: Any = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    with busy(python=public_python, **ordinary) as process:
        result = subprocess.run(
            [public_python, "-c", THERE_AND_BACK, str(process.pid)],
            **ordinary,
            env={"PYTHONPATH": str(Path(tenantry.__file__).parents[1])},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
    if "ModuleNotFoundError" in result.stderr or "PermissionError: [Errno 13]" in result.stderr:
        pytest.skip("the package cannot be read by another user")
    assert result.stdout.split() == ["True", str(os.SCHED_IDLE), "False", str(os.SCHED_IDLE)], result.stderr


def test_who_is_gone_cannot_be_moved() -> None:
    with busy() as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not set_background(process.pid, True)
        assert not psutil.pid_exists(process.pid)
