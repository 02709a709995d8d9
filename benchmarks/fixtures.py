"""What the customers have before the loads run: the same on both sides, written through the front door."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

import httpx

from benchmarks.failure import BenchmarkError

__all__ = [
    "DATA_PREFIX",
    "DATA_USER",
    "DATA_VALUE",
    "FILE_PATTERN",
    "FILE_USER",
    "KEYS",
    "LARGE",
    "SMALL",
    "Files",
    "Tenants",
    "check",
]

DATA_USER: Final = "user1"
FILE_USER: Final = "user2"
"""Files of another customer, so that what is uploaded under load changes nothing for GET /stats."""

KEYS: Final = 100
DATA_PREFIX: Final = "bench-"
DATA_VALUE: Final = json.dumps({"name": "blue", "tags": ["a", "b", "c"], "text": "x" * 64})
FILE_PATTERN: Final = "tenantry"
_STATS_FILES: Final = 3
_SECONDS_MAX: Final = 120.0


@dataclass(frozen=True, slots=True)
class Files:
    """Files of one size: FILE_PATTERN again and again, under keys that begin with `prefix`."""

    name: str
    prefix: str
    size: int
    count: int

    @property
    def times(self) -> int:
        return self.size // len(FILE_PATTERN)

    def content(self) -> bytes:
        return FILE_PATTERN.encode() * self.times


SMALL: Final = Files("4 KiB", "small-", 4 * 1024, 16)
LARGE: Final = Files("10 MiB", "large-", 10 * 1024 * 1024, 4)


def check(condition: object, what: str) -> None:
    """Raises BenchmarkError: an answer that is not what it must be would make its figure worthless."""
    if not condition:
        raise BenchmarkError(what)


class Tenants:
    """A client for one side's gateway that knows what the answers must be. Closed by its owner."""

    def __init__(self, side: str, gateway: str) -> None:
        self._side = side
        # A proxy of the environment is for the world outside.
        self._http = httpx.Client(base_url=gateway, timeout=_SECONDS_MAX, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def seed(self) -> None:
        for number in range(KEYS):
            self.post_data(number)
        for files, user in ((SMALL, FILE_USER), (LARGE, FILE_USER)):
            for number in range(files.count):
                self.post_file(user, files, number)
        for number in range(_STATS_FILES):
            self.post_file(DATA_USER, SMALL, number)

    def post_data(self, number: int = 0) -> None:
        key = f"{DATA_PREFIX}{number}"
        answer = self._json("POST", "/data", DATA_USER, json={"key": key, "value": json.loads(DATA_VALUE)})
        self._check("POST /data", answer == {"success": True, "key": key}, answer)

    def get_data(self) -> None:
        key = f"{DATA_PREFIX}{KEYS - 1}"
        answer = self._json("GET", "/data", DATA_USER, params={"key": key})
        self._check("GET /data", answer == {"key": key, "value": json.loads(DATA_VALUE)}, answer)

    def get_stats(self) -> None:
        answer = self._json("GET", "/stats", DATA_USER)
        expected_files = {"count": _STATS_FILES, "totalSize": _STATS_FILES * SMALL.size}
        expected_storage = {"kvKeys": KEYS, "r2Objects": _STATS_FILES}
        good = answer.get("files") == expected_files and answer.get("storage") == expected_storage
        self._check("GET /stats", good and answer["activity"]["totalOperations"] >= KEYS + _STATS_FILES, answer)

    def post_file(self, user: str, files: Files, number: int = 0) -> None:
        key = f"{files.prefix}{number}"
        upload = {"file": ("file.bin", files.content(), "application/octet-stream")}
        answer = self._json("POST", "/files", user, data={"key": key}, files=upload)
        self._check("POST /files", answer == {"success": True, "key": key, "size": files.size}, answer)

    def get_file(self, files: Files) -> None:
        response = self._send("GET", "/files", FILE_USER, params={"key": f"{files.prefix}{files.count - 1}"})
        same = hashlib.sha256(response.content).digest() == hashlib.sha256(files.content()).digest()
        self._check("GET /files", same, f"{len(response.content)} bytes that are not those of the file")

    def operations(self, user: str) -> int:
        """How many operations the customer's Worker has counted."""
        count: int = self._json("GET", "/stats", user)["activity"]["totalOperations"]
        return count

    # Any, here and below: httpx's own arguments, and JSON answers.
    def _json(self, method: str, path: str, user: str, **arguments: Any) -> Any:
        return self._send(method, path, user, **arguments).json()

    def _send(self, method: str, path: str, user: str, **arguments: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, headers={"X-User-ID": user}, **arguments)
        except httpx.HTTPError as error:
            raise BenchmarkError(f"{self._side}: {method} {path}: {type(error).__name__}: {error}") from error
        self._check(f"{method} {path}", response.status_code == 200, f"{response.status_code}: {response.text[:300]}")
        return response

    def _check(self, request: str, condition: object, answer: object) -> None:
        check(condition, f"{self._side}: {request} answered {answer}")
