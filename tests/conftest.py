"""What holds for every test: none leaves the logging of this process other than it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands set it up for a process that is theirs alone; here the next test would not see what is logged."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
