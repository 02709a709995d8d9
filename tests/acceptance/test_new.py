"""What `tenantry new` makes runs at once, as it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

PROGRAM = str(Path(sys.executable).with_name("tenantry"))


@pytest.mark.parametrize(
    ("template", "answers"),
    [
        ("worker", [{"hello": "world", "visits": 1}, {"hello": "world", "visits": 2}]),
        ("platform", [{"hello": "user1", "visits": 1}, {"hello": "user1", "visits": 2}]),
    ],
)
def test_a_template_answers(
    platform_of: Callable[[Path], Any], tmp_path: Path, template: str, answers: list[dict[str, Any]]
) -> None:
    folder = tmp_path / "project"
    subprocess.run([PROGRAM, "new", str(folder), "--template", template], check=True, capture_output=True)
    running = platform_of(folder)
    with running.client("user1") as client:
        found: list[httpx.Response] = [client.get("/") for _ in answers]
    assert [response.json() for response in found] == answers
