"""The peer: the same Workers in JavaScript in Miniflare, installed from npm as its lock file says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.child import Child
from benchmarks.failure import BenchmarkError

__all__ = ["Peer", "running_peer"]

_FOLDER: Final = Path(__file__).with_name("peers")
_START_SECONDS_MAX: Final = 60.0
_INSTALL_SECONDS_MAX: Final = 600.0


@dataclass(frozen=True, slots=True)
class Peer:
    gateway: str
    hello: str
    child: Child


@contextmanager
def running_peer(work: Path) -> Iterator[Peer]:
    """Miniflare with the platform and the hello Worker, both answering. Its data lies in `work`."""
    node = shutil.which("node")
    if node is None:
        raise BenchmarkError("the peer needs Node.js 20 or newer; without it: python -m benchmarks --without-peer")
    _install()
    output = work / "peer.json"
    child = Child("the peer", [node, _FOLDER / "serve.mjs", work / "peer"], work / "peer.log", output=output)
    try:
        line = child.wait_for(lambda: _first_line(output), _START_SECONDS_MAX)
        urls = json.loads(line)
        yield Peer(urls["gateway"], urls["hello"], child)
    finally:
        child.stop()


def _install() -> None:
    """`npm ci`, unless what is installed is what the lock file says."""
    modules = _FOLDER / "node_modules"
    lock = _FOLDER / "package-lock.json"
    # npm writes this copy last, so its age is that of a complete installation.
    installed = modules / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise BenchmarkError("the peer is installed by npm, which is not here; without it: --without-peer")
    try:
        done = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund"],
            cwd=_FOLDER,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"npm ci took more than {_INSTALL_SECONDS_MAX:.0f} s") from error
    if done.returncode != 0:
        raise BenchmarkError(f"npm ci failed:\n{done.stderr[-2000:]}")


def _first_line(file: Path) -> str | None:
    line, newline, _ = file.read_text().partition("\n")
    return line if newline else None
