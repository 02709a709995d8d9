"""The surface of the `workers` module, to the letter (workers-runtime reference, 1.2)."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import workers

NAMES = """Blob, BlobEnding, BlobValue, Body, Context, DurableObject, FetchKwargs, FetchResponse, File, FormData,
FormDataValue, Headers, JSBody, Request, RequestInitCfProperties, Response, WorkerEntrypoint, WorkflowEntrypoint, env,
fetch, handler, import_from_javascript, patch_env, python_from_rpc, python_to_rpc, waitUntil, wait_until"""


def test_all_is_what_cloudflare_exports():
    assert workers.__all__ == [name.strip() for name in NAMES.replace("\n", " ").split(",")]


def test_everything_in_all_exists():
    for name in workers.__all__:
        assert getattr(workers, name) is not None


@pytest.mark.parametrize("name", ["RpcTarget", "HTMLRewriter", "WebSocket", "caches", "console"])
def test_what_is_not_exported_is_an_attribute_error(name: str):
    with pytest.raises(AttributeError, match=f"^module 'workers' has no attribute '{name}'$"):
        getattr(workers, name)


def test_wait_until_has_two_spellings():
    assert workers.waitUntil is workers.wait_until


@pytest.mark.parametrize(
    "module",
    [
        "asgi",
        "js",
        "pyodide",
        "pyodide.code",
        "pyodide.ffi",
        "pyodide.http",
        "pyodide.webloop",
        "workers.asgi",
        "workers.entrypoints",
        "workers.rpc",
        "workers.types",
        "workers.utils",
        "workers.workflows",
        "workers.wsgi",
    ],
)
def test_every_module_that_programs_import_can_be_imported(module: str):
    assert importlib.import_module(module)


def test_asgi_is_workers_asgi():
    import asgi
    from workers import asgi as ours

    assert asgi.fetch is ours.fetch


def test_importing_workers_leaves_the_heavy_modules_alone():
    """Every tenant pays for what is imported here."""
    site = Path(workers.__file__).parent.parent
    script = (
        "import sys, workers\n"
        "heavy = {'dataclasses', 'http.client', 'email.message', 'js', 'workers.asgi', 'workers.wsgi', 'pyodide'}\n"
        "own = {'workers._bindings.kv', 'workers._bindings.r2', 'workers._bindings.d1'}\n"
        "print(*sorted((heavy | own) & set(sys.modules)))\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": f"{site}:{site.parent.parent.parent}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    # The channel of the runtime has dataclasses already.
    assert set(loaded) <= {"dataclasses"}


def test_import_from_javascript_knows_two_modules():
    module = workers.import_from_javascript("cloudflare:workers")
    assert module.env is workers.env
    assert module.WorkerEntrypoint is workers.WorkerEntrypoint

    with pytest.raises(OSError, match=r"a Worker has no sockets$"):
        workers.import_from_javascript("cloudflare:sockets").connect("example.com:443")

    for name in ("cloudflare:other", "node:fs", "left-pad"):
        with pytest.raises(ImportError, match=f"^Failed to import '{name}': "):
            workers.import_from_javascript(name)
