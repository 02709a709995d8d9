"""The `workers` module: what a Worker imports. Its surface is that of Cloudflare's `workers-runtime-sdk`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers._context import wait_until as _wait_until
from workers._env import env as _global_env
from workers._env import patch_env
from workers._fetch import fetch
from workers._forms import Blob, BlobEnding, File, FormData
from workers._request import Request
from workers._response import FetchResponse, Response
from workers.entrypoints import DurableObject, WorkerEntrypoint, WorkflowEntrypoint
from workers.types import (
    BlobValue,
    Body,
    Context,
    FetchKwargs,
    FormDataValue,
    Headers,
    JSBody,
    RequestInitCfProperties,
)
from workers.utils import handler, import_from_javascript, python_from_rpc, python_to_rpc

if TYPE_CHECKING:
    from workers._context import wait_until
    from workers._env import GlobalEnv

    env: GlobalEnv
    waitUntil = wait_until

__all__ = [
    "Blob",
    "BlobEnding",
    "BlobValue",
    "Body",
    "Context",
    "DurableObject",
    "FetchKwargs",
    "FetchResponse",
    "File",
    "FormData",
    "FormDataValue",
    "Headers",
    "JSBody",
    "Request",
    "RequestInitCfProperties",
    "Response",
    "WorkerEntrypoint",
    "WorkflowEntrypoint",
    "env",
    "fetch",
    "handler",
    "import_from_javascript",
    "patch_env",
    "python_from_rpc",
    "python_to_rpc",
    "waitUntil",
    "wait_until",
]


def __getattr__(name: str) -> Any:
    if name == "env":
        return _global_env
    if name in ("wait_until", "waitUntil"):
        return _wait_until
    raise AttributeError(f"module 'workers' has no attribute {name!r}")
