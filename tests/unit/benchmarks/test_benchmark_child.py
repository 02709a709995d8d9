"""What the run starts, it ends: also what a child started, and what does not listen."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from benchmarks.child import Child
from benchmarks.failure import BenchmarkError

STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(f"{below.pid}.")
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_child_that_does_not_listen_is_killed_with_what_is_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.child._STOP_SECONDS_MAX", 0.05)
    said = tmp_path / "said"
    child = Child("stubborn", [sys.executable, "-c", STUBBORN, said], tmp_path / "log")

    def pid_below() -> int | None:
        text = said.read_text() if said.exists() else ""
        return int(text[:-1]) if text.endswith(".") else None

    try:
        below = child.wait_for(pid_below, 30)
    finally:
        child.stop()

    assert not is_alive(child.pid)
    # Its new parent has it to bury; killed it is already.
    with suppress(psutil.NoSuchProcess):
        psutil.wait_procs([psutil.Process(below)], timeout=10)
    assert not is_alive(below)


def test_a_child_ends_with_its_input(tmp_path: Path) -> None:
    output = tmp_path / "output"
    command = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read(); print('down')"]
    child = Child("listener", command, tmp_path / "log", output=output)
    try:
        child.wait_for(lambda: output.read_text() or None, 30)
    finally:
        child.stop()
    assert not is_alive(child.pid)


def test_waiting_for_a_child_that_ended_tells_its_last_words(tmp_path: Path) -> None:
    child = Child("broken", [sys.executable, "-c", "raise SystemExit('no such port')"], tmp_path / "log")
    try:
        with pytest.raises(BenchmarkError, match=r"broken ended by itself:\nno such port"):
            child.wait_for(lambda: None, 30)
    finally:
        child.stop()
    child.stop()  # a second time does nothing


def test_waiting_has_an_end(tmp_path: Path) -> None:
    child = Child("silent", [sys.executable, "-c", "import sys; sys.stdin.read()"], tmp_path / "log")
    try:
        with pytest.raises(BenchmarkError, match="silent is not ready after 0 s"):
            child.wait_for(lambda: None, 0.01)
    finally:
        child.stop()
