"""Many tenants: the example with customers beyond its own, how soon each is there at first, and what each then takes.

The platform's folder is made from the example: its dispatcher with a longer list of customers, its user Worker as it
is, and a wrangler.jsonc for each. `tenantry dev` deploys all of them over the control plane's API and runs none.
"""

from __future__ import annotations

import http.client
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import json5

from benchmarks.failure import BenchmarkError
from benchmarks.fixtures import check
from benchmarks.memory import private_bytes_of
from benchmarks.ours import Platform, running_platform
from benchmarks.percentile import percentile
from benchmarks.rows import Row, Target, make_row

__all__ = ["measure_crowd", "tenant_names", "write_platform"]

TENANTS: Final = 200
_WARM_REQUESTS: Final = 50
_WARM_USER: Final = "user1"
_NAMESPACE: Final = "bindings"
_EMPTY: Final = {"keys": [], "count": 0}
_ANSWER_SECONDS_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class _First:
    """The first requests of all tenants: how long each took, and what the live ones took of memory afterwards."""

    milliseconds: list[float]
    private_bytes: list[int]


def measure_crowd(example: Path, work: Path, tenants: int = TENANTS) -> list[Row]:
    """Raises BenchmarkError when a tenant does not answer as it must."""
    folder = work / "crowd-platform"
    write_platform(example, folder, tenants)
    with running_platform("crowd", folder, work) as platform:
        first = _first_requests(platform, tenants)
    p50, p99 = percentile(first.milliseconds, 50), percentile(first.milliseconds, 99)
    rows = [
        make_row("first request of a tenant that never ran, p50", "ms", p50, target=Target("ours", "<=", 5)),
        make_row("first request of a tenant that never ran, p99", "ms", p99, target=Target("ours", "<=", 15)),
    ]
    megabytes = sum(first.private_bytes) / len(first.private_bytes) / 1e6
    rows.append(make_row("private memory of a live tenant", "MB", megabytes, target=Target("ours", "<=", 3)))
    return rows


def tenant_names(tenants: int) -> list[str]:
    """Each is its user and its Worker. Short, because all of them stand in one variable, of 5 KB at most."""
    return [f"t{number:03}" for number in range(tenants)]


def write_platform(example: Path, folder: Path, tenants: int) -> None:
    """A copy of the example in `folder`, with so many customers more."""
    shutil.copytree(example, folder, ignore=shutil.ignore_patterns("__pycache__"))
    names = tenant_names(tenants)
    dispatcher = folder / "my-binding-dispatcher" / "wrangler.jsonc"
    config: dict[str, Any] = json5.loads(dispatcher.read_text())  # a wrangler configuration, as wrangler has it
    config["vars"]["CUSTOMERS"].update({name: name for name in names})
    dispatcher.write_text(json.dumps(config, indent=2))
    model: dict[str, Any] = json5.loads((folder / "customer-worker-1" / "wrangler.jsonc").read_text())
    entries = []
    for name in names:
        (folder / name).mkdir()
        (folder / name / "wrangler.jsonc").write_text(json.dumps(_customer(model, name), indent=2))
        entries.append(f'\n[[worker]]\npath = "{name}"\nnamespace = "{_NAMESPACE}"\ncustomer = "{name}"\n')
    with (folder / "tenantry.toml").open("a") as file:
        file.writelines(entries)


def _customer(model: dict[str, Any], name: str) -> dict[str, Any]:
    """The configuration of one more customer: as the model, but for its names."""
    return {
        **model,
        "name": name,
        "r2_buckets": [{**bucket, "bucket_name": f"{name}-files"} for bucket in model["r2_buckets"]],
        "d1_databases": [{**database, "database_name": f"{name}-database"} for database in model["d1_databases"]],
    }


def _first_requests(platform: Platform, tenants: int) -> _First:
    names = tenant_names(tenants)
    address = urlsplit(platform.gateway)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=_ANSWER_SECONDS_MAX)
    try:
        for _ in range(_WARM_REQUESTS):
            _request(connection, _WARM_USER)
        milliseconds = [_request(connection, name) for name in names]
    except (OSError, http.client.HTTPException) as error:
        platform.child.check()
        raise BenchmarkError(f"a tenant's first request failed: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    found = [entry for entry in platform.processes() if entry["worker"] in names]
    memory = [size for entry in found if (size := private_bytes_of(int(entry["pid"]))) is not None]
    check(len(memory) == tenants, f"{len(memory)} of {tenants} tenants are live after their first request")
    return _First(milliseconds, memory)


def _request(connection: http.client.HTTPConnection, user: str) -> float:
    """How long a list of a customer's keys takes: it has the customer's Worker, and its KV namespace opened."""
    started = time.perf_counter()
    connection.request("GET", "/data", headers={"X-User-ID": user})
    response = connection.getresponse()
    body = response.read()
    took = time.perf_counter() - started
    good = response.status == 200 and json.loads(body) == _EMPTY
    check(good, f"GET /data of {user} answered {response.status}: {body[:300]!r}")
    return took * 1000
