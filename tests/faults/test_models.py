"""State machines against a model, for each service on each engine: any sequence of operations, faults and restarts.

The model is the ledger: what a key may hold. On an engine with a disk, any operation may meet an I/O error, the service
may be closed and opened again, and the power may be cut, after which it goes on with what the disk had.
"""

from __future__ import annotations

import asyncio
import errno
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from injection.disk import KINDS, Disk
from injection.effort import ROUNDS
from injection.subjects import SUBJECTS, Ledger, Store, Subject, payload

from tenantry.errors import BindingError, StreamError
from tenantry.services import ServiceSettings
from tenantry.services.d1 import D1Service
from tenantry.services.d1.engines.memory import MemoryEngine as D1Memory
from tenantry.services.kv import KvService
from tenantry.services.kv.engines.memory import MemoryEngine as KvMemory
from tenantry.services.r2 import R2Service
from tenantry.services.r2.engines.memory import MemoryEngine as R2Memory

KEYS = ("a", "a/b", "a/c", "ab", "é", "\U0001f600")
keys = st.sampled_from(KEYS)
BREAKS = {"write": (errno.EIO, errno.ENOSPC), "sync": (errno.EIO,), "rename": (errno.EIO,), "open": (errno.EMFILE,)}


class Machine(RuleBasedStateMachine):
    """What all services can do. `make` opens a service in memory; None: on the disk, as it is installed."""

    subject: Subject
    make: Callable[[ServiceSettings], Any] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.temporary = tempfile.TemporaryDirectory()
        self.ledger = Ledger()
        self.number = 0
        self.lives = 0
        self.disk: Disk | None = None
        self.open_new_folder()
        self.open()

    def open_new_folder(self) -> Path:
        self.lives += 1
        self.folder = Path(self.temporary.name) / str(self.lives)
        return self.folder

    def open(self) -> None:
        if self.make is None and self.disk is None:
            self.disk = Disk(self.folder).__enter__()
        subject = self.subject if self.make is None else Subject(**{**vars(self.subject), "make": self.make})

        async def opened() -> Store:
            return Store(subject, self.folder, "full")

        self.store = self.runner.run(opened())

    def close(self) -> None:
        self.runner.run(self.store.aclose())

    def teardown(self) -> None:
        try:
            if self.disk is not None:
                self.disk.mend()
            self.close()
            if self.disk is not None:
                # What a fault kept from being cleared away is cleared away by the next who opens it.
                self.open()
                self.runner.run(self.store.keys())
                self.close()
                self.subject.integrity(self.folder, orphans=True)
        finally:
            if self.disk is not None:
                self.disk.__exit__()
            self.runner.close()
            self.temporary.cleanup()

    def excuse(self, error: Exception) -> None:
        """An operation may fail only if the disk did."""
        if self.disk is None or self.disk.injected is None:
            raise error

    def attempt(self, action: Any) -> bool:
        """Whether it was done."""
        try:
            self.runner.run(action)
        except BindingError as error:
            self.excuse(error)
            return False
        return True

    def write(self, key: str, value: bytes | None, action: Any) -> None:
        self.ledger.begun(key, value)
        if self.attempt(action):
            self.ledger.done(key, value)

    def new_value(self, key: str, size: int) -> bytes:
        self.number += 1
        return payload(key, self.number, size)

    @rule(key=keys, size=st.sampled_from([0, 1, 300, 20_000, 70_000]))
    def put(self, key: str, size: int) -> None:
        value = self.new_value(key, size)
        self.write(key, value, self.store.put(key, value))

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.write(key, None, self.store.delete(key))

    @precondition(lambda self: self.disk is not None)
    @rule(kind=st.sampled_from(KINDS), nth=st.integers(1, 12), which=st.integers(0, 1))
    def break_soon(self, kind: str, nth: int, which: int) -> None:
        assert self.disk is not None
        self.disk.fail(kind, nth, BREAKS[kind][which % len(BREAKS[kind])])

    @precondition(lambda self: self.disk is not None)
    @rule()
    def restart(self) -> None:
        assert self.disk is not None
        self.disk.mend()
        self.close()
        self.open()

    @precondition(lambda self: self.disk is not None)
    @rule(luck=st.lists(st.booleans(), min_size=1, max_size=8))
    def cut_the_power(self, luck: list[bool]) -> None:
        assert self.disk is not None
        self.disk.mend()
        files = iter(range(10_000))
        old = self.disk
        old.survivors(self.open_new_folder(), lambda path: luck[next(files) % len(luck)])
        self.close()
        old.__exit__()
        self.disk = None
        self.open()

    @invariant()
    def everything_agrees(self) -> None:
        if self.disk is not None and self.disk.armed:
            return  # what is to fail is the next operation, not our look
        self.ledger.check(self.runner.run(self.store.everything()), self.subject.name)


class KvMachine(Machine):
    subject = SUBJECTS["kv"]

    @rule(key=keys, size=st.sampled_from([1, 70_000]))
    def put_and_read_at_once(self, key: str, size: int) -> None:
        """A reader sees all of the old value or all of the new one."""
        value = self.new_value(key, size)
        before = self.ledger.may_hold(key) | {value}

        async def both() -> None:
            reading = asyncio.ensure_future(self.store.get(key))
            try:
                await self.store.put(key, value)
            finally:
                try:
                    assert await reading in before
                except (BindingError, StreamError) as error:
                    self.excuse(error)

        self.write(key, value, both())


class R2Machine(Machine):
    subject = SUBJECTS["r2"]

    def __init__(self) -> None:
        super().__init__()
        self.uploads: dict[str, tuple[str, dict[str, Any] | None, bytes]] = {}

    @rule(key=keys)
    def create_upload(self, key: str) -> None:
        async def create() -> None:
            made = await self.store.binding.call("createMultipartUpload", [key])
            self.uploads[made["uploadId"]] = (key, None, b"")

        self.attempt(create())

    @precondition(lambda self: self.uploads)
    @rule(data=st.data(), size=st.sampled_from([1, 5_000, 60_000]))
    def upload_part(self, data: st.DataObject, size: int) -> None:
        """A part may be replaced; what counts is the last that was acknowledged."""
        upload = data.draw(st.sampled_from(list(self.uploads)))
        key = self.uploads[upload][0]
        value = self.new_value(key, size)

        async def put() -> None:
            part = await self.store.binding.call("uploadPart", [key, upload, 1, value])
            self.uploads[upload] = (key, part, value)

        if not self.attempt(put()):
            # The part may be the old one or this one, whose tag nobody knows: nothing more is known of the upload.
            del self.uploads[upload]

    @precondition(lambda self: any(part for _, part, _ in self.uploads.values()))
    @rule(data=st.data(), abort=st.booleans())
    def end_upload(self, data: st.DataObject, abort: bool) -> None:
        upload = data.draw(st.sampled_from([upload for upload, found in self.uploads.items() if found[1]]))
        key, part, value = self.uploads.pop(upload)
        if abort:
            self.attempt(self.store.binding.call("abortMultipartUpload", [key, upload]))
        else:
            self.write(key, value, self.store.binding.call("completeMultipartUpload", [key, upload, [part]]))

    @rule(key=keys, matches=st.booleans())
    def put_if(self, key: str, matches: bool) -> None:
        """A put under a condition on the object that is there now."""
        assume(self.disk is None or not self.disk.armed)
        found = self.runner.run(self.store.binding.call("head", [key]))
        assume(found is not None)
        condition = {"etagMatches": found["etag"] if matches else "0" * 32}
        value = self.new_value(key, 500)

        async def put() -> None:
            made = await self.store.binding.call("put", [key, value, {"onlyIf": condition}])
            assert (made is not None) == matches

        if matches:
            self.write(key, value, put())
        else:
            self.attempt(put())

    @rule(key=keys, offset=st.integers(0, 400), length=st.integers(1, 60_000))
    def read_a_range(self, key: str, offset: int, length: int) -> None:
        assume(self.disk is None or not self.disk.armed)
        (value,) = self.ledger.may_hold(key)
        assume(value is not None and offset < len(value))
        assert value is not None

        async def read() -> None:
            found = await self.store.binding.call("get", [key, {"range": {"offset": offset, "length": length}}])
            body = found["body"]
            if not isinstance(body, bytes):
                pieces = []
                while piece := await body.read(10_000):
                    pieces.append(piece)
                await body.aclose()
                body = b"".join(pieces)
            assert body == value[offset : offset + length]

        self.runner.run(read())


class D1Machine(Machine):
    subject = SUBJECTS["d1"]

    @precondition(lambda self: self.disk is None or not self.disk.armed)
    @rule(key=keys)
    def a_batch_that_fails_does_nothing(self, key: str) -> None:
        document = (
            '{"statements": [["CREATE TABLE IF NOT EXISTS one (key TEXT PRIMARY KEY, value TEXT NOT NULL)", []],'
            '["INSERT OR REPLACE INTO one VALUES (?, \'bm9uc2Vuc2U=\')", ["%s"]],'
            "[\"INSERT INTO one VALUES ('x', NULL)\", []]]}"
        )
        with pytest.raises(BindingError):
            self.runner.run(self.store.binding.call("query", [(document % key).encode()]))

    @rule(chosen=st.lists(keys, min_size=2, max_size=4, unique=True))
    def puts_at_once(self, chosen: list[str]) -> None:
        """They share a transaction; each is acknowledged for itself."""
        values = {key: self.new_value(key, 200) for key in chosen}

        async def put(key: str) -> None:
            self.ledger.begun(key, values[key])
            try:
                await self.store.put(key, values[key])
            except BindingError as error:
                self.excuse(error)
            else:
                self.ledger.done(key, values[key])

        async def put_all() -> None:
            await asyncio.gather(*map(put, chosen))

        self.runner.run(put_all())


def _machine(base: type[Machine], make: Callable[[ServiceSettings], Any] | None) -> type[Machine]:
    return type(base.__name__, (base,), {"make": None if make is None else staticmethod(make)})


MACHINES = {
    "kv-memory": _machine(KvMachine, lambda settings: KvService(settings, engine=KvMemory())),
    "kv-sqlite": _machine(KvMachine, None),
    "r2-memory": _machine(R2Machine, lambda settings: R2Service(R2Memory())),
    "r2-files": _machine(R2Machine, None),
    "d1-memory": _machine(D1Machine, lambda settings: D1Service(D1Memory())),
    "d1-files": _machine(D1Machine, None),
}


@pytest.mark.parametrize("name", MACHINES)
def test_any_sequence_of_operations_and_faults_agrees_with_the_model(name: str) -> None:
    examples = max(ROUNDS, 8)
    run_state_machine_as_test(
        MACHINES[name],
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            derandomize=not ROUNDS,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{name}: {examples} sequences of operations, faults and restarts agree with the model")
