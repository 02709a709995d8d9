"""What holds for every test: none leaves the logging of this process other than it was. And who runs which tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

TESTS = Path(__file__).parent
# An example may take long on a machine that is full, and says nothing of the code by that.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

SHARED_PLATFORMS = {"acceptance": "platform", "clients": "platform", "clients/s3": "endpoint"}
"""Folder to the fixture that is the session's: one test process has all tests that use it, so that it is made once."""
LONGEST = (
    "clients",
    "attacks at strict",
    "attacks at strict as nobody",
    "attacks at container",
    "acceptance",
    "clients/s3",
)
"""The groups that take longest. They are begun first, lest one of them be all that is left to do in the end."""


@pytest.hookimpl(tryfirst=True)  # after pytest-randomly, which wraps, and before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module is run by one test process: dealt out test by test, it would have its fixtures made in each of them."""
    groups: dict[str, str] = {}
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark is None:
            mark = pytest.mark.xdist_group(_group_of(item))
            item.add_marker(mark)
        groups[item.nodeid] = mark.args[0]
    rank = {group: number for number, group in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(groups[item.nodeid], len(rank)))  # the rest stays as it was shuffled


def pytest_collection_finish(session: pytest.Session) -> None:
    """A pytest that xdist does not know loses the groups, and nothing but time would tell."""
    if getattr(session.config.option, "loadgroup", False):  # set in a test process of xdist
        lost = [item.nodeid for item in session.items if "@" not in item.nodeid]
        if lost:
            raise pytest.UsageError(f"this xdist does not group tests under this pytest: {lost[0]} has no group")


def _group_of(item: pytest.Item) -> str:
    module = item.path.relative_to(TESTS)
    folder = module.parent.as_posix()
    shared = SHARED_PLATFORMS.get(folder) in getattr(item, "fixturenames", ())
    return folder if shared else module.as_posix()


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands set it up for a process that is theirs alone; here the next test would not see what is logged."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
