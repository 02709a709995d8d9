"""The loads: what is asked, of whom, and how it is known that the answers are good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import httpx

from benchmarks.failure import BenchmarkError
from benchmarks.fixtures import (
    DATA_PREFIX,
    DATA_USER,
    DATA_VALUE,
    FILE_PATTERN,
    FILE_USER,
    KEYS,
    LARGE,
    SMALL,
    Files,
    Tenants,
    check,
)
from benchmarks.rows import Target
from benchmarks.wrk import CONNECTIONS

__all__ = ["HELLO", "LOADS", "Load", "Side"]

_CONNECTIONS_LARGE: Final = 8
_TENFOLD: Final = Target("ratio", ">=", 10)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared: where it answers, and a client that checks what it answers."""

    name: str
    gateway: str
    hello: str
    tenants: Tenants


@dataclass(frozen=True, slots=True)
class Load:
    """One row of the table. `counts` says that every request is an operation that the customer's Worker counts."""

    name: str
    path: str
    check: Callable[[Side], None]
    user: str | None = None
    script: str | None = None
    arguments: tuple[str, ...] = ()
    target: Target | None = None
    counts: bool = False
    connections: int = CONNECTIONS
    seconds_min: int = 1
    """A shorter run would end before the first answers."""

    def url(self, side: Side) -> str:
        """A load without a user has no dispatcher before it."""
        return (side.hello if self.user is None else side.gateway) + self.path

    def headers(self) -> list[str]:
        return [] if self.user is None else [f"X-User-ID: {self.user}"]


def _check_hello(side: Side) -> None:
    try:
        response = httpx.get(side.hello, trust_env=False)
    except httpx.HTTPError as error:
        raise BenchmarkError(f"{side.name}: hello: {type(error).__name__}: {error}") from error
    good = response.status_code == 200 and response.text == "Hello, world!"
    check(good, f"{side.name}: hello answered {response.status_code}: {response.text[:300]}")


def _post_files(files: Files) -> Load:
    return Load(
        f"POST /files {files.name}",
        "/files",
        lambda side: side.tenants.post_file(FILE_USER, files),
        FILE_USER,
        "post_file.lua",
        (files.prefix, str(files.count), FILE_PATTERN, str(files.times)),
        counts=True,
        connections=_file_connections(files),
        seconds_min=1 if files is SMALL else 5,
    )


def _get_files(files: Files) -> Load:
    return Load(
        f"GET /files {files.name}",
        "/files",
        lambda side: side.tenants.get_file(files),
        FILE_USER,
        "get.lua",
        (files.prefix, str(files.count)),
        connections=_file_connections(files),
    )


def _file_connections(files: Files) -> int:
    """Fewer for large files: the peer answers no more of them for having more, and then begins to break connections."""
    return CONNECTIONS if files is SMALL else _CONNECTIONS_LARGE


HELLO: Final = Load("hello", "/", _check_hello, target=Target("ours", ">=", 20_000))

LOADS: Final = (
    HELLO,
    Load(
        "GET /data",
        "/data",
        lambda side: side.tenants.get_data(),
        DATA_USER,
        "get.lua",
        (DATA_PREFIX, str(KEYS)),
        _TENFOLD,
    ),
    Load(
        "POST /data",
        "/data",
        lambda side: side.tenants.post_data(),
        DATA_USER,
        "post_data.lua",
        (DATA_PREFIX, str(KEYS), DATA_VALUE),
        _TENFOLD,
        counts=True,
    ),
    Load("GET /stats", "/stats", lambda side: side.tenants.get_stats(), DATA_USER, target=_TENFOLD),
    _post_files(SMALL),
    _get_files(SMALL),
    _post_files(LARGE),
    _get_files(LARGE),
)
