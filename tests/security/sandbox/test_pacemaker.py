"""What makes the kernel choose anew while somebody is in the background, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import tenantry
from tenantry.sandbox import Pacemaker

_SECONDS_MAX = 60

# A host that dies without a word, while its pacemaker goes.
DYING = """
import os, psutil
from tenantry.sandbox import Pacemaker
Pacemaker().go(True)
print(psutil.Process().children()[0].pid, flush=True)
os._exit(1)
"""


@pytest.fixture
def pacemaker() -> Iterator[Pacemaker]:
    pacemaker = Pacemaker()
    yield pacemaker
    pacemaker.close()
    assert not found()


def found() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "pacemaker" in " ".join(child.cmdline())]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def has_ended(pid: int) -> bool:
    """Whether or not its parent has taken note."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def beats(pid: int) -> dict[int, int]:
    """How often each of its threads has gone to sleep, by the processor that it may run on; not the first, on all."""
    counts = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        if int(thread) != pid:
            status = Path(f"/proc/{pid}/task/{thread}/status").read_text()
            (count,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt"))
            if len(processors := os.sched_getaffinity(int(thread))) == 1:
                counts[processors.pop()] = count
    return counts


def has_beaten(pid: int) -> bool:
    return min(beats(pid).values(), default=0) > 50 and set(beats(pid)) == os.sched_getaffinity(0)


def is_resting(pid: int) -> bool:
    before = beats(pid)
    time.sleep(0.05)  # there is no sign of rest but that nothing comes
    return beats(pid) == before


def test_nothing_is_started_for_nobody(pacemaker: Pacemaker) -> None:
    pacemaker.go(False)
    assert not found()


def test_it_wakes_up_on_every_processor_and_rests_when_told(pacemaker: Pacemaker) -> None:
    pacemaker.go(True)
    (process,) = found()
    until(lambda: has_beaten(process.pid))
    pacemaker.go(False)
    until(lambda: is_resting(process.pid))
    before = beats(process.pid)
    pacemaker.go(True)
    until(lambda: all(count > before[processor] + 50 for processor, count in beats(process.pid).items()))
    assert found() == [process]


def test_it_takes_no_processor_from_those_that_are_not_in_the_background(pacemaker: Pacemaker) -> None:
    pacemaker.go(True)
    (process,) = found()
    until(lambda: has_beaten(process.pid))
    threads = [int(thread) for thread in os.listdir(f"/proc/{process.pid}/task")]
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}


def test_one_that_died_is_replaced_when_it_is_needed_next(pacemaker: Pacemaker) -> None:
    pacemaker.go(True)
    (dead,) = found()
    dead.kill()
    until(lambda: has_ended(dead.pid))
    pacemaker.go(False)
    pacemaker.go(True)
    (process,) = found()
    until(lambda: has_beaten(process.pid))


def test_it_ends_with_its_host() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(tenantry.__file__).parents[1])}
    host = subprocess.run([sys.executable, "-c", DYING], env=environment, capture_output=True, text=True, check=False)
    until(lambda: has_ended(int(host.stdout)))


def test_where_no_process_can_be_started_the_next_time_is_another_try(
    pacemaker: Pacemaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", fail)
        with pytest.raises(BlockingIOError):
            pacemaker.go(True)
        pacemaker.go(False)
    assert not found()
    pacemaker.go(True)
    assert len(found()) == 1
