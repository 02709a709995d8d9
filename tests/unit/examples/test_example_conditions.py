"""The example's reading of Range and If-None-Match, which arrive as a stranger wrote them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[3] / "examples" / "multi-tenant" / "user-worker" / "src" / "conditions.py"


@pytest.fixture(scope="module")
def conditions() -> dict[str, Any]:
    return runpy.run_path(str(SOURCE))


@pytest.mark.parametrize(
    ("header", "window"),
    [
        ("bytes=0-0", {"offset": 0, "length": 1}),
        ("bytes=5-9", {"offset": 5, "length": 5}),
        ("bytes=5-", {"offset": 5}),
        ("bytes=-5", {"suffix": 5}),
        ("bytes=-0", {"suffix": 0}),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=9-5", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("bytes=١-٢", None),
        ("bytes= 0-1", None),
        ("bytes=0-1\n", None),
        ("items=0-1", None),
        ("bytes=0-" + "9" * 16, None),
    ],
)
def test_a_range_is_one_that_r2_takes_or_none(conditions: dict[str, Any], header: str | None, window: object) -> None:
    assert conditions["parse_range"](header) == window


@pytest.mark.parametrize(
    ("header", "etags"),
    [
        ('"a"', ["a"]),
        ('"a", "b"', ["a", "b"]),
        ('W/"a",W/"b"', ["a", "b"]),
        ("*", ["*"]),
        ("unquoted", ["unquoted"]),
        (None, []),
        ("", []),
        (" , ", []),
        ('""', []),
        ('"', []),
    ],
)
def test_etags_are_without_quotes(conditions: dict[str, Any], header: str | None, etags: list[str]) -> None:
    assert conditions["parse_etags"](header) == etags
