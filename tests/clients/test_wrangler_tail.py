"""`wrangler tail`: its WebSocket, unmasked frame and all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

SOURCE = """
from workers import WorkerEntrypoint, Response

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        print("visited", request.headers.get("x-number"))
        return Response("front")
"""


@pytest.mark.usefixtures("front_afterwards")
def test_what_a_worker_prints_is_tailed(newest: Any, platform: Any, tmp_path: Path) -> None:
    project = platform.write_project(tmp_path / "project", {"name": "front"}, SOURCE)
    newest("deploy", cwd=project)
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            newest.command("tail", "front", "--format", "json", "--header", "x-number:seven"),
            env=newest.environment(),
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:

        def seen() -> bool:
            assert process.poll() is None, output.read_text()
            platform.get("/x", **{"x-number": "six"})
            platform.get("/x", **{"x-number": "seven", "authorization": "Bearer c4n4ry"})
            return "visited" in output.read_text() and output.read_text().rstrip().endswith("}")

        platform.wait_until(seen, "the tail to show a visit")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    text = output.read_text()
    first = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]

    assert first["outcome"] == "ok"
    assert first["scriptName"] == "front"
    assert first["logs"][0]["message"] == ["visited seven"]
    assert first["event"]["response"]["status"] == 200
    assert "six" not in text
    assert "c4n4ry" not in text
