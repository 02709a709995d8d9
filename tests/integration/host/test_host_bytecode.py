"""Bytecode that is made ahead: it is there, it is used, and nothing of a tenant's runs for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tenantry.errors import ProtocolError
from tenantry.host import BytecodeCache, PythonRuntime
from tenantry.host.bytecode import _checked_untrusted
from tenantry.host.runtime import python_policy

pytestmark = pytest.mark.asyncio(loop_scope="module")

TAG = sys.implementation.cache_tag


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cache(platform: Any) -> AsyncIterator[BytecodeCache]:
    runtime = PythonRuntime(python_policy(platform.data, "strict"))
    await runtime.open()
    cache = BytecodeCache(platform.data / "bundles", runtime)
    yield cache
    await cache.aclose()
    await runtime.aclose()


async def compiled(cache: BytecodeCache, folder: Path, name: str = "entry") -> Path:
    """The bytecode of a module, once everything that is wanted was looked at."""
    cache.want(folder.name)
    async with asyncio.timeout(20):
        while cache._task is not None and not cache._task.done():
            await asyncio.wait({cache._task})
    return folder / "__pycache__" / f"{name}.{TAG}.pyc"


SOURCE = """
    from workers import Response, WorkerEntrypoint
    import helper

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            return Response(helper.VALUE)
"""


async def test_a_worker_loads_what_was_compiled_ahead(platform: Any, unique: str, cache: BytecodeCache) -> None:
    worker = platform.deploy(unique, SOURCE, files={"helper.py": f"VALUE = 'compiled {unique}'\n"})
    folder = platform.data / "bundles" / worker.bundle
    assert (await compiled(cache, folder)).is_file()
    assert (await compiled(cache, folder, "helper")).stat().st_mode & 0o777 == 0o644
    # Nobody changes a bundle. Here it shows that the source was not read again.
    (folder / "helper.py").write_text("VALUE = 'parsed'\n")
    assert await platform.text(unique) == f"compiled {unique}"


async def test_nothing_of_the_bundle_is_run(platform: Any, unique: str, cache: BytecodeCache) -> None:
    worker = platform.deploy(unique, f"# {unique}\nwhile True: pass\n")
    assert (await compiled(cache, platform.data / "bundles" / worker.bundle)).is_file()


async def test_a_module_that_does_not_compile_is_left_to_the_import(
    platform: Any, unique: str, cache: BytecodeCache
) -> None:
    worker = platform.deploy(unique, SOURCE, files={"helper.py": f"VALUE = '{unique}'\n", "broken.py": "def (:\n"})
    folder = platform.data / "bundles" / worker.bundle
    assert (await compiled(cache, folder)).is_file()
    assert not (await compiled(cache, folder, "broken")).exists()
    assert await platform.text(unique) == unique


async def test_bytecode_that_came_with_the_bundle_is_left_alone(
    platform: Any, unique: str, cache: BytecodeCache
) -> None:
    own = f"__pycache__/entry.{TAG}.pyc"
    worker = platform.deploy(unique, f"# {unique}\n", files={own: "mine"})
    path = await compiled(cache, platform.data / "bundles" / worker.bundle)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"__pycache__/a.pyc": "text"},
        {1: b""},
        {"entry.py": b""},
        {"/__pycache__/a.pyc": b""},
        {"../__pycache__/a.pyc": b""},
        {"a/../__pycache__/a.pyc": b""},
        {"a/__pycache__/b/c.pyc": b""},
        {"a.pyc": b""},
    ],
)
async def test_an_answer_that_is_no_bytecode_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError):
        _checked_untrusted(value)
