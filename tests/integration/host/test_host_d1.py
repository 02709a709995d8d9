"""The cases of D1 from inside a Worker: `self.env` in a sandboxed process, over the real channel.

One process runs them all; each case has two databases of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import d1_cases_errors
import d1_cases_limits
import d1_cases_results
import d1_facade
import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODULES = (d1_facade, d1_cases_errors, d1_cases_limits, d1_cases_results)

RUNNER = """
import traceback
from urllib.parse import urlsplit

import d1_cases_errors, d1_cases_limits, d1_cases_results
from d1_facade import CASES
from workers import Response, WorkerEntrypoint


class WorkerSubject:
    def __init__(self, env, case):
        self.db = env[f"DB_{case}"]
        self.other = env[f"OTHER_{case}"]


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        case = urlsplit(request.url).path[1:]
        try:
            await CASES[case][0](WorkerSubject(self.env, case))
        except BaseException:
            return Response(traceback.format_exc())
        return Response("ok")
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(platform: Any) -> str:
    platform.deploy(
        "d1-cases",
        RUNNER,
        bindings={
            f"{name}_{case}": ("d1", {"id": f"{name.lower()}-{number}"})
            for number, case in enumerate(d1_facade.CASES)
            for name in ("DB", "OTHER")
        },
        files={f"{module.__name__}.py": Path(str(module.__file__)).read_text() for module in MODULES},
    )
    return "d1-cases"


@pytest.mark.parametrize("case", list(d1_facade.CASES))
async def test_case(platform: Any, worker: str, case: str) -> None:
    assert await platform.text(worker, f"/{case}") == "ok"
