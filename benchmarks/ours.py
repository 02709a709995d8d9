"""Our side: `tenantry dev` on free ports, with data of its own."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.child import Child
from benchmarks.failure import BenchmarkError

__all__ = ["Platform", "running_platform"]

_START_SECONDS_MAX: Final = 120.0


@dataclass(frozen=True, slots=True)
class Platform:
    gateway: str
    control: str
    admin_token: str = field(repr=False)
    child: Child

    def processes(self) -> list[dict[str, Any]]:  # Any: JSON, as the control plane has it
        """The live worker processes: pid, worker, namespace, in_flight."""
        response = httpx.get(
            f"{self.control}/tenantry/v1/processes",
            headers={"Authorization": f"Bearer {self.admin_token}"},
            trust_env=False,
        )
        response.raise_for_status()
        result: list[dict[str, Any]] = response.json()["result"]
        return result


@contextmanager
def running_platform(name: str, folder: Path, work: Path) -> Iterator[Platform]:
    """`tenantry dev folder`, deployed and answering. Its data and its log lie in `work` under `name`."""
    data = work / name
    ports = ["--port", "0", "--control-port", "0", "--s3-port", "0"]
    command: list[str | Path] = [_tenantry(), "dev", folder, "--data", data, *ports]
    child = Child(f"tenantry dev ({name})", command, work / f"{name}.log")
    try:
        about = child.wait_for(lambda: _read(data / "dev.json"), _START_SECONDS_MAX)
        yield Platform(about["gateway"], about["control"], about["admin_token"], child)
    finally:
        child.stop()


def _read(file: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    return content


def _tenantry() -> Path:
    """The command beside this Python, so that what is measured is what is installed here."""
    beside = Path(sys.executable).with_name("tenantry")
    if beside.exists():
        return beside
    found = shutil.which("tenantry")
    if found is None:
        raise BenchmarkError("the command tenantry is not installed: run make setup")
    return Path(found)
