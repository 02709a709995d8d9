"""Cloudflare's Python SDK, two versions of it: they differ a lot in what they put on the wire."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".clients"
OLD = "4.3.1"


def old_sdk() -> Path:
    """A folder with the older version, installed now if it is not there. What it needs is here for the newer one."""
    folder = INSTALLED / f"cloudflare-{OLD}"
    INSTALLED.mkdir(exist_ok=True)
    with (INSTALLED / "cloudflare.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "cloudflare").exists():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
            done = subprocess.run(
                [*command, "--target", str(folder), f"cloudflare=={OLD}"], capture_output=True, text=True
            )
            if done.returncode != 0:
                pytest.skip(f"cloudflare {OLD} cannot be installed from PyPI here: {done.stderr.strip()[-300:]}")
    return folder


@pytest.mark.parametrize("which", ["newest", OLD])
def test_the_sdk_goes_through_everything(platform: Any, which: str) -> None:
    path = "" if which == "newest" else str(old_sdk())
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
    command = [sys.executable, str(HERE / "sdk_tour.py"), platform.base_url, platform.account, platform.token]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr[-6000:] + platform.log()[-2000:]
    version = json.loads(done.stdout)
    assert version == OLD if which == OLD else int(version.split(".")[0]) >= 5
