"""A zygote that dies while it is asked for a process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from tenantry.errors import TenantryError
from tenantry.host.runtime import PythonRuntime, python_policy
from tenantry.sandbox import Zygote


class Fake:
    """A zygote. The first one fails, and may be seen to be dead only after that."""

    def __init__(self, failure: str, dies: bool) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._failure = failure
        self._dies = dies

    async def spawn(self, bundle: str, assignment: bytes, *, sockets: bool = False) -> str:
        if not self._failure:
            return f"a process for {bundle}"
        if self._dies:
            asyncio.get_running_loop().call_soon(self.closed.set_result, "it died")
        raise TenantryError(self._failure)

    async def aclose(self) -> None:
        pass


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PythonRuntime:
    (tmp_path / "bundles").mkdir()

    async def fresh(cls: type[Zygote], policy: Any, cgroups: Any) -> Fake:
        return Fake("", dies=False)

    monkeypatch.setattr(Zygote, "start", classmethod(fresh))
    return PythonRuntime(python_policy(tmp_path, "none"))


async def test_a_process_that_dies_with_its_zygote_is_asked_for_once_more(runtime: PythonRuntime) -> None:
    runtime._zygote = cast(Zygote, Fake("a worker process died before it was sealed", dies=True))
    assert cast(str, await runtime.start("bundle", b"")) == "a process for bundle"


async def test_a_process_that_dies_alone_is_an_error(runtime: PythonRuntime) -> None:
    runtime._zygote = cast(Zygote, Fake("a worker process died before it was sealed", dies=False))
    with pytest.raises(TenantryError, match="before it was sealed"):
        await runtime.start("bundle", b"")
