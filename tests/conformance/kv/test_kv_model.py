"""A state machine against a dict: any sequence of operations gives what the model gives, whatever the engine."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tenantry.services import ServiceSettings
from tenantry.services.kv import KvService, MemoryEngine, SqliteEngine
from tenantry.streams import BytesStream, read_all

KEYS = ["a", "a\x00", "a/b", "ab", "é", "\U0001f600", "\uffff"]
keys = st.sampled_from(KEYS)
values = st.builds(
    lambda byte, size: bytes([byte]) * size, st.integers(0, 255), st.sampled_from([0, 3, 65536, 65537, 600_000])
)


class KvMachine(RuleBasedStateMachine):
    """The model: key → (value, metadata, expiration)."""

    engine_name = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1_800_000_000
        self.model: dict[str, tuple[bytes, str | None, int | None]] = {}

    def run(self, method: str, *args: Any) -> Any:
        async def call() -> Any:
            result = await self.service.open("namespace").call(method, list(args))
            return await self.whole(result)

        return self.runner.run(call())

    async def whole(self, result: Any) -> Any:
        if isinstance(result, list):
            return [await self.whole(item) for item in result]
        return result if not hasattr(result, "aclose") else await read_all(result, 2**26)

    @initialize()
    def start(self) -> None:
        path = Path(self.folder.name)
        engine = MemoryEngine() if self.engine_name == "memory" else SqliteEngine(path, sync_full=False)
        self.service = KvService(ServiceSettings(path), engine=engine, clock=lambda: self.now)

    def teardown(self) -> None:
        self.runner.run(self.service.aclose())
        self.runner.close()
        self.folder.cleanup()

    @rule(
        key=keys,
        value=values,
        metadata=st.sampled_from([None, "null", '{"a":1}']),
        ttl=st.sampled_from([None, 60, 100]),
        streamed=st.booleans(),
    )
    def put(self, key: str, value: bytes, metadata: str | None, ttl: int | None, streamed: bool) -> None:
        self.run("put", key, BytesStream(value) if streamed else value, None, ttl, metadata)
        self.model[key] = (value, metadata, None if ttl is None else self.now + ttl)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.run("delete", key)
        self.model.pop(key, None)

    @rule(seconds=st.sampled_from([1, 59, 60, 61]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def every_key_agrees(self) -> None:
        for key in KEYS:
            found = self.model.get(key)
            alive = found is not None and (found[2] is None or found[2] > self.now)
            assert self.run("getWithMetadata", key) == ([found[0], found[1]] if found is not None and alive else None)

    @rule(wanted=st.lists(keys, min_size=1, max_size=12))
    def get_many(self, wanted: list[str]) -> None:
        expected = []
        for key in dict.fromkeys(wanted):
            found = self.model.get(key)
            alive = found is not None and (found[2] is None or found[2] > self.now)
            expected.append([found[0], found[1]] if found is not None and alive else None)
        assert self.run("getMany", wanted) == expected

    @rule(prefix=st.sampled_from(["", "a", "a/", "é", "x"]), limit=st.integers(1, 5))
    def list_all(self, prefix: str, limit: int) -> None:
        names: list[str] = []
        cursor = None
        while True:
            page = json.loads(self.run("list", prefix, limit, cursor))
            names += [key["name"] for key in page["keys"]]
            if page["list_complete"]:
                break
            cursor = page["cursor"]
        alive = [key for key, (_, _, end) in self.model.items() if end is None or end >= self.now]
        assert names == sorted((key for key in alive if key.startswith(prefix)), key=str.encode)

    @rule()
    def restart(self) -> None:
        if self.engine_name != "memory":
            self.runner.run(self.service.aclose())
            self.start()


class SqliteKvMachine(KvMachine):
    engine_name = "sqlite"


@pytest.mark.parametrize("machine", [KvMachine, SqliteKvMachine])
def test_any_sequence_of_operations_agrees_with_the_model(machine: type[KvMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))
