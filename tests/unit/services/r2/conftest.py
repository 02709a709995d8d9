"""The files engine in a folder of the test's own, and helpers that look at what it leaves there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tenantry.services.r2.binding import R2Binding
from tenantry.services.r2.engines.files import FilesEngine


@pytest.fixture
async def open_engine(tmp_path: Path) -> AsyncIterator[Callable[..., FilesEngine]]:
    """Makes engines over one folder; they are closed in the end."""
    made: list[FilesEngine] = []

    def make(**options: object) -> FilesEngine:
        engine = FilesEngine(tmp_path / "r2", **options)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        await engine.aclose()


@pytest.fixture
def engine(open_engine: Callable[..., FilesEngine]) -> FilesEngine:
    return open_engine()


@pytest.fixture
def bucket(engine: FilesEngine) -> R2Binding:
    return R2Binding(engine.bucket("bucket"))


@pytest.fixture
def body_files(tmp_path: Path) -> Callable[[], list[Path]]:
    """The files of bodies that are on disk, staged ones included."""

    def find() -> list[Path]:
        root = tmp_path / "r2"
        return sorted(
            path for path in root.rglob("*") if path.is_file() and "sqlite" not in path.name and path.name != ".lock"
        )

    return find
