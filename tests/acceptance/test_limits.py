"""Limits as they are written down: the author's in wrangler.jsonc, the operator's in tenantry.toml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

WORKER = """
from workers import Response, WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        if request.url.endswith("/spin"):
            while True: pass
        for done in range(100):
            try:
                await self.env.KV.get("key")
            except Exception as error:
                return Response(f"{done}: {error}")
"""
WRANGLER = """{
  "name": "limited", "main": "entry.py",
  "compatibility_date": "2026-05-01", "compatibility_flags": ["python_workers"],
  "kv_namespaces": [{"binding": "KV"}],
  "limits": {"cpu_ms": 60, "subrequests": 50}
}"""
PLATFORM = """
[gateway]
worker = "limited"

[limits]
subrequests = 7

[[worker]]
path = "limited"
"""


def test_both_hold_the_smaller_one(platform_of: Callable[[Path], Any], tmp_path: Path) -> None:
    folder = tmp_path / "platform"
    (folder / "limited").mkdir(parents=True)
    (folder / "tenantry.toml").write_text(PLATFORM)
    (folder / "limited" / "wrangler.jsonc").write_text(WRANGLER)
    (folder / "limited" / "entry.py").write_text(WORKER)
    platform = platform_of(folder)
    with platform.client("user1") as client:
        answer = client.get("/calls")
        assert answer.text == "7: Error: Too many API requests by single Worker invocation."
        answer = client.get("/spin")
    assert (answer.status_code, answer.text) == (503, "error code: 1102\n")
    words = "in one invocation, which may use 0.06 s. Its process is ended."
    platform.wait_until(lambda: words in platform.log_text(), "the log")
