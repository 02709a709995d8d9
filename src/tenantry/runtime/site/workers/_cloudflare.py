"""`import_from_javascript`: what of Cloudflare's JavaScript modules has a form in Python."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final, NoReturn

from workers._context import wait_until
from workers._env import env
from workers.entrypoints import DurableObject, WorkerEntrypoint, WorkflowEntrypoint
from workers.rpc import RpcStub, RpcTarget

__all__ = ["MODULE", "SOCKETS"]


def connect(address: Any, options: Any = None) -> NoReturn:
    raise OSError("connect() is not available on this platform: a Worker has no sockets")


MODULE: Final = SimpleNamespace(
    DurableObject=DurableObject,
    RpcStub=RpcStub,
    RpcTarget=RpcTarget,
    WorkerEntrypoint=WorkerEntrypoint,
    WorkflowEntrypoint=WorkflowEntrypoint,
    env=env,
    waitUntil=wait_until,
)
SOCKETS: Final = SimpleNamespace(connect=connect)
