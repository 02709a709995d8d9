"""The rules of `cases.py`, through the SDK's own class, on every engine. In a Worker: tests/integration/host."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from workers._bindings.r2 import R2Bucket
from workers._errors import error_from_peer
from workers._web.streams import ReadableStream
from workers.rpc import JsDict

from tenantry.errors import BindingError

_spec = importlib.util.spec_from_file_location("tenantry_r2_cases", Path(__file__).with_name("cases.py"))
assert _spec is not None
assert _spec.loader is not None
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)


class DirectStub:
    """Calls the binding without a channel in between."""

    def __init__(self, binding):
        self._binding = binding

    async def call(self, kind, method, args):
        plain = [arg.take() if isinstance(arg, ReadableStream) else arg for arg in args]
        try:
            return self._receive(await self._binding.call(method, plain))
        except BindingError as error:
            raise error_from_peer(error.name, error.message) from None

    def _receive(self, value):
        if isinstance(value, dict):
            return JsDict((key, self._receive(item)) for key, item in value.items())
        if isinstance(value, list):
            return [self._receive(item) for item in value]
        return ReadableStream(value) if hasattr(value, "aclose") else value


@pytest.mark.parametrize("name", cases.CASES)
async def test_rule(bucket, clock, name):
    clock.now_ms += 123  # a time with a fraction of a second
    await cases.CASES[name](R2Bucket(DirectStub(bucket)))
