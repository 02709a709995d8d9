"""`tenantry serve` as an operator runs it, started again on the same data as often as a test likes, and killed at a
moment of the test's choice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import httpx

from injection.example_platform import SECONDS_MAX, wait_until
from injection.moments import Moments

__all__ = ["Installation"]

_PROGRAM: Final = str(Path(sys.executable).with_name("tenantry"))
_ADDRESSES: Final = re.compile(r"tenants (http://\S+), control plane (http://[^\s,]+)")
_SETTINGS: Final = {
    **dict.fromkeys(("TENANTRY_PORT", "TENANTRY_CONTROL_PORT", "TENANTRY_S3_PORT", "TENANTRY_TAIL_PORT"), "0"),
    "TENANTRY_IDENTITY__API_KEYS": "false",
    "TENANTRY_IDENTITY__TRUST_USER_HEADER": "true",
    # Its changes are nobody's command.
    "TENANTRY_LOGS_MIB": "0",
}
_IDENTIFIER: Final = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PASSING: Final = re.compile(r"-wal$|-shm$|/__pycache__/|\.history/")
"""Files that are there or not, by when a log was folded in or a bundle compiled."""


class Installation:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        made = subprocess.run(
            [_PROGRAM, "init", str(folder), "--gateway-worker", "front"],
            env=_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        self._token = made.stdout.strip()
        self._moments: Moments | None = None
        self.gateway = ""
        self._control = ""
        self.account = ""

    def start(self) -> None:
        log = self.folder / "log"
        with log.open("wb") as output:
            command = [_PROGRAM, "serve", "--config", str(self.folder / "serve.toml")]
            moments = self._moments = Moments(self.data, command, _environment(**_SETTINGS), output)
        process = moments.process
        wait_until(
            lambda: process.poll() is not None or _ADDRESSES.search(log.read_text(errors="replace")),
            "tenantry serve to say its addresses",
        )
        text = log.read_text(errors="replace")
        assert process.poll() is None, text[-4000:]
        found = _ADDRESSES.search(text)
        assert found is not None
        self.gateway, self._control = found.groups()
        self.account = ""
        # It says its addresses a moment before they are listened on.
        wait_until(self._answers, "the control plane to answer")

    def _answers(self) -> bool:
        try:
            with self.api() as api:
                self.account = api.get("/accounts").raise_for_status().json()["result"][0]["id"]
        except httpx.ConnectError:
            return False
        return True

    @contextmanager
    def killed_at(self, nth: int, of: str = "") -> Iterator[Moments]:
        """Kills the host before its nth moment (`Moments.arm`) from now on; what it came to is in `killed_at`."""
        assert self._moments is not None
        self._moments.arm(nth, of)
        try:
            yield self._moments
        finally:
            self._moments.disarm()

    def kill(self) -> None:
        """`kill -9`, if it still runs. Returns when the last process is gone."""
        moments, self._moments = self._moments, None
        if moments is not None:
            moments.process.kill()
            moments.process.wait()
            # The end of the filter is the end of everything that was under it.
            moments.close()

    def api(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self._token}"}
        base = f"{self._control}/client/v4"
        if self.account:
            base += f"/accounts/{self.account}"
        return httpx.Client(base_url=base, headers=headers, timeout=SECONDS_MAX)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of an operator."""
        environment = _environment(TENANTRY_URL=self._control, TENANTRY_TOKEN=self._token)
        return subprocess.run(
            [_PROGRAM, *words], env=environment, capture_output=True, text=True, check=False, timeout=SECONDS_MAX
        )

    def files(self) -> Counter[str]:
        """All files of the data folder, with `#` for what is different each time."""
        names = (str(file.relative_to(self.data)) for file in self.data.rglob("*") if file.is_file())
        return Counter(_IDENTIFIER.sub("#", name) for name in names if not _PASSING.search(name))

    def rows(self) -> Counter[str]:
        """How many rows each table of the control store has. The audit log is of attempts, and has its own."""
        connection = apsw.Connection(str(self.data / "control.db"), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return Counter(
                {
                    name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0]
                    for name in tables
                    if not name.startswith("audit")
                }
            )
        finally:
            connection.close()


def _environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TENANTRY_")} | more
