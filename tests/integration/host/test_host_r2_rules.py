"""The rules of tests/conformance/r2/cases.py, run by a Worker in its sandbox on its own `env`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

CASES = (Path(__file__).parents[2] / "conformance" / "r2" / "cases.py").read_text()
# Not imported: the module is a Worker's.
NAMES = [f"{section}-{case}" for section, case in re.findall(r'^@rule\("([\d.]+)"\)\nasync def (\w+)', CASES, re.M)]

ENTRY = """
import traceback
from cases import CASES
from workers import Response, WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        name = request.url.rsplit("/", 1)[1]
        try:
            await CASES[name](self.env["BUCKET_" + str(list(CASES).index(name))])
        except BaseException:
            return Response(traceback.format_exc(), status=500)
        return Response("ok " + str(len(CASES)))
"""


@pytest.mark.parametrize("name", NAMES)
async def test_rule(platform: Any, name: str) -> None:
    if "r2-rules" not in {process["worker"] for process in platform.host.processes()}:
        buckets = {f"BUCKET_{n}": ("r2_bucket", {"bucket_name": f"rules-{n}"}) for n in range(len(NAMES))}
        platform.deploy("r2-rules", ENTRY, files={"cases.py": CASES}, bindings=buckets)
    assert await platform.text("r2-rules", f"/{name}") == f"ok {len(NAMES)}"
