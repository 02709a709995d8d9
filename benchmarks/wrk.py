"""wrk, the load generator: runs it, and reads what it prints. What it counts as failed fails the run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.failure import BenchmarkError

__all__ = ["CONNECTIONS", "Sample", "find_wrk", "median_sample", "parse", "run"]

CONNECTIONS: Final = 32
_THREADS: Final = 1
_ANSWER_SECONDS_MAX: Final = 30
"""wrk's timeout of one answer. Uploads of 10 MiB over all connections wait for one another."""
_SCRIPTS: Final = Path(__file__).with_name("scripts")

_RATE: Final = re.compile(r"^Requests/sec:\s+([0-9.]+)$", re.MULTILINE)
_REQUESTS: Final = re.compile(r"^\s+(\d+) requests in ", re.MULTILINE)
_PERCENTILE: Final = re.compile(r"^\s+(50|99)%\s+([0-9.]+)(us|ms|s|m|h) *$", re.MULTILINE)
_STATUSES: Final = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_SOCKETS: Final = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_MILLISECONDS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one load on one side, all of its answers good."""

    requests: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float


def median_sample(samples: Sequence[Sample]) -> Sample:
    """The median of each figure by itself; the requests of all."""
    return Sample(
        sum(sample.requests for sample in samples),
        median(sample.requests_per_second for sample in samples),
        median(sample.p50_ms for sample in samples),
        median(sample.p99_ms for sample in samples),
    )


def parse(output: str) -> Sample:
    """What wrk said. Raises BenchmarkError when an answer was an error, was missing, or there was none at all."""
    if statuses := _STATUSES.search(output):
        raise BenchmarkError(f"{statuses[1]} answers had an error status")
    if sockets := _SOCKETS.search(output):
        connect, read, write, timeout = (int(count) for count in sockets.groups())
        raise BenchmarkError(
            f"connections failed: {connect} to open, {read} to read, {write} to write; {timeout} answers took more "
            f"than {_ANSWER_SECONDS_MAX} s"
        )
    requests = _REQUESTS.search(output)
    rate = _RATE.search(output)
    latencies = {percent: float(number) * _MILLISECONDS[unit] for percent, number, unit in _PERCENTILE.findall(output)}
    if requests is None or rate is None or latencies.keys() != {"50", "99"}:
        raise BenchmarkError(f"wrk printed something else than expected:\n{output}")
    if int(requests[1]) == 0:
        raise BenchmarkError("not one answer came in time")
    return Sample(int(requests[1]), float(rate[1]), latencies["50"], latencies["99"])


def run(
    wrk: str,
    url: str,
    seconds: int,
    *,
    connections: int = CONNECTIONS,
    headers: Sequence[str] = (),
    script: str | None = None,
    arguments: Sequence[str] = (),
) -> Sample:
    """Load `url` for so many seconds. Raises BenchmarkError as `parse` does."""
    command = [wrk, "--threads", str(_THREADS), "--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--timeout", f"{_ANSWER_SECONDS_MAX}s", "--latency"]
    for header in headers:
        command += ["--header", header]
    if script is not None:
        command += ["--script", str(_SCRIPTS / script)]
    command += [url, *(["--", *arguments] if arguments else [])]
    try:
        # It ends its connections only when they had their answers, hence the time beyond its duration.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 2 * _ANSWER_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"wrk did not end: no answers from {url}") from error
    if done.returncode != 0:
        raise BenchmarkError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    return parse(done.stdout)


def find_wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkError(
            "wrk, the load generator, is not installed. Debian and Ubuntu: apt-get install wrk; "
            "Fedora: dnf install wrk; Homebrew: brew install wrk; or build it from github.com/wg/wrk"
        )
    return found
