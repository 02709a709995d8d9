"""The services behind bindings. One package each, found by its entry point in `tenantry.services`.

A service is rules (`service.py`, `limits.py`, `errors.py`) above an engine interface (`engine.py`, a `Protocol`) and
its engines (`engines/`). What the host knows of it is what this module says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tenantry.services.quota import Quota
from tenantry.services.snapshot import Snapshot

__all__ = ["Binding", "Service", "ServiceSettings"]


def _nothing_set(_service: str, _resource_id: str) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What every service is opened with.

    `folder` is the data folder of one account; a service keeps its resources below `folder / <service name>`.
    `durability` is "full" (an acknowledged write survives a power cut) or "process" (it survives `kill -9`).
    `of_resource` says what the operator set for one resource: service name and resource id to settings that the service
    knows. It is asked when the resource is opened, may read a small file, and must not change its mind.
    """

    folder: Path
    durability: str = "full"
    of_resource: Callable[[str, str], Mapping[str, str]] = _nothing_set
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    """By service name. A service that is not named has none."""


class Binding(Protocol):
    """One resource (a namespace, a bucket, a database), open for calls from Workers.

    `call` gets a method name and positional arguments straight from a worker: hostile until validated. Arguments and
    results are plain values (None, bool, int, float, str, bytes, datetime, list, dict, set) and `ByteStream`s, also
    nested. A stream in `args` belongs to the call: it is closed when the call returns. A stream in the result belongs
    to the caller.

    Raises `BindingError` for everything that the Worker may read; anything else is our bug and reaches the Worker as
    `internal error; reference = <id>`. A cancelled call leaves the resource consistent; a write may or may not have
    been done.

    `eager` says that a call may begin outside of any task, in the turn in which it came: then one that need not wait
    has no task at all. Until its first suspension it cannot use what belongs to tasks, such as `asyncio.timeout`.
    """

    eager: bool

    async def call(self, method: str, args: list[Any]) -> Any: ...


class Service(Protocol):
    """A kind of resource for one account.

    `open` is lazy and cheap (the handle is an LRU inside), creates the resource when it does not exist, and returns the
    same state for the same id. `resource_id` comes from the control store, never from a Worker; it is still checked to
    be a safe file name. `delete` removes the resource and its bytes.
    """

    def open(self, resource_id: str) -> Binding: ...

    async def delete(self, resource_id: str) -> None: ...

    async def aclose(self) -> None: ...


class ServiceFactory(Protocol):
    """What an entry point in `tenantry.services` names.

    `binding_types` maps each binding type of the upload metadata (Cloudflare's name, such as `kv_namespace`) to the
    field of that binding that names the resource (`namespace_id`).
    """

    name: str
    binding_types: dict[str, str]

    def __call__(self, settings: ServiceSettings) -> Service: ...

    def back_up(self, folder: Path, target: Path, snapshot: Snapshot) -> None:
        """Copies what the service keeps in `folder` (an account's, of this service) to `target`, in the same layout.

        Called in a process that has nothing open, while a host may be using the folder: each resource is copied as it
        was at one moment. `target` may hold an earlier copy, which becomes this one. Blocks. Raises `apsw.Error` and
        `OSError`.
        """
        ...
