"""A Worker that is tried before it is stored: what its author reads when it cannot be imported."""

from __future__ import annotations

from typing import Any

import pytest

from tenantry.config.plans import Plan, Plans
from tenantry.errors import StartRefused

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST_OPTIONS = {"plans": Plans(Plan(startup_cpu_ms=500, startup_seconds=5))}

GOOD = """
from workers import WorkerEntrypoint, env
VALUE = env.GREETING

class Default(WorkerEntrypoint):
    async def fetch(self, request): ...
"""


async def try_it(platform: Any, name: str, source: str, **options: Any) -> int:
    worker = platform.deploy(name, source, **options)
    before = set(platform.pids(name))
    try:
        milliseconds: int = await platform.host.start_once(worker)
        return milliseconds
    finally:
        assert set(platform.pids(name)) == before, "a try leaves no process"


async def test_one_that_can_be_imported_with_its_environment(platform: Any, unique: str) -> None:
    bindings = {"GREETING": ("plain_text", {"text": "hi"}), "STORE": ("kv_namespace", {"namespace_id": "0" * 32})}

    assert await try_it(platform, unique, GOOD, bindings=bindings) >= 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import not_there\n", "No module named 'not_there'"),
        ("def f(:\n", "SyntaxError"),
        ("raise ValueError('on purpose')\n", "ValueError: on purpose"),
        ("import sys; sys.exit(3)\n", "SystemExit"),
        ("import os; os._exit(3)\n", "process ended while it was imported"),
        ("while True: pass\n", "500 ms of CPU"),
        ("from workers import env\nenv.MISSING\n", "MISSING"),
        ("import helper\n", "in helper"),
        ("\x7fELF\x02\x01\x01\x00\x00", "null bytes"),
    ],
)
async def test_one_that_cannot_is_refused_with_its_own_words(
    platform: Any, unique: str, source: str, words: str
) -> None:
    files = {"helper.py": "def boom():\n    raise RuntimeError('in helper')\nboom()\n"}
    with pytest.raises(StartRefused) as refused:
        await try_it(platform, unique, source, files=files)

    assert words in str(refused.value)
    assert str(platform.data) not in str(refused.value)
    assert "/tenantry/" not in str(refused.value)


async def test_a_refusal_tells_no_secret(platform: Any, unique: str) -> None:
    source = "from workers import env\nprint(env.KEY)\nraise ValueError(f'no luck with {env.KEY}')\n"
    bindings = {"KEY": ("secret_text", {"text": "canary-key-1"})}
    with pytest.raises(StartRefused) as refused:
        await try_it(platform, unique, source, bindings=bindings)
    assert "no luck with [redacted]" in str(refused.value)
    assert "canary" not in str(refused.value)


async def test_a_binding_answers_nobody_while_a_module_is_imported(platform: Any, unique: str) -> None:
    source = """
from workers import env
from pyodide.ffi import run_sync
run_sync(env.STORE.put("k", "v"))
"""
    bindings = {"STORE": ("kv_namespace", {"namespace_id": "1" * 32})}
    with pytest.raises(StartRefused):
        await try_it(platform, unique, source, bindings=bindings)
