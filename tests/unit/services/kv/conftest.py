"""`env`: a namespace as a tenant's code has it, on the real service, without a channel between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kv_on_host import DirectStub
from workers._bindings.kv import KvNamespace

from tenantry.services import ServiceSettings
from tenantry.services.kv import KvService, MemoryEngine

NOW = 1_800_000_000


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[DirectStub]:
    service = KvService(ServiceSettings(tmp_path), engine=MemoryEngine(), clock=lambda: NOW)
    yield DirectStub(service.open("namespace"))
    await service.aclose()


@pytest.fixture
def kv(stub: DirectStub) -> Any:
    return KvNamespace(stub)
