"""`self.env` and `workers.env`: the bindings of the Worker, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from workers._fetch import Fetcher

__all__ = ["Env", "GlobalEnv", "make_env", "overlay", "patch_env", "set_env"]


def _kv(binding: dict[str, Any]) -> Any:
    from workers._bindings.kv import KvNamespace

    return KvNamespace(binding["stub"])


def _r2(binding: dict[str, Any]) -> Any:
    from workers._bindings.r2 import R2Bucket

    return R2Bucket(binding["stub"])


def _d1(binding: dict[str, Any]) -> Any:
    from workers._bindings.d1 import D1Database

    return D1Database(binding["stub"])


def _dispatch_namespace(binding: dict[str, Any]) -> Any:
    from workers._bindings.dispatch import DispatchNamespace

    return DispatchNamespace(binding["stub"])


def _service(binding: dict[str, Any]) -> Any:
    stub = binding["stub"]
    stub.plain = False  # another Worker answers, by the rules of RPC
    return Fetcher(stub)


def _text(binding: dict[str, Any]) -> Any:
    return binding["text"]


def _json(binding: dict[str, Any]) -> Any:
    from workers._convert import raw_object

    return raw_object(binding["json"])


_WRAPPERS: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "kv_namespace": _kv,
    "r2_bucket": _r2,
    "d1": _d1,
    "dispatch_namespace": _dispatch_namespace,
    "service": _service,
    "assets": _service,
    "plain_text": _text,
    "secret_text": _text,
    "json": _json,
}
"""Wrappers are imported on first use: a Worker without a database does not pay for D1."""


class Env:
    """The bindings, as attributes and as items. No public name of its own: a binding could have it."""

    def __init__(self, bindings: list[dict[str, Any]]) -> None:
        self.__dict__["_bindings"] = {binding["name"]: binding for binding in bindings}

    def __getattr__(self, name: str) -> Any:
        binding = self.__dict__["_bindings"].get(name)
        if binding is None:
            raise AttributeError(f"The Worker has no binding named {name!r}")
        wrapper = _WRAPPERS.get(binding["type"])
        if wrapper is None:
            raise AttributeError(f"The binding {name!r} is of the type {binding['type']!r}, which is not supported")
        # In the instance from now on: this method is not asked again.
        value = self.__dict__[name] = wrapper(binding)
        return value

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__["_bindings"]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__["_bindings"])

    def __repr__(self) -> str:
        return f"Env({', '.join(self.__dict__['_bindings'])})"  # names only: values may be secrets


_env = Env([])
_patches: ContextVar[dict[str, Any] | None] = ContextVar("patches", default=None)


class GlobalEnv:
    """`workers.env`: the bindings of this process, under what `patch_env` puts over them."""

    def __getattr__(self, name: str) -> Any:
        patches = _patches.get()
        if patches is not None and name in patches:
            return patches[name]
        return getattr(_env, name)

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def __contains__(self, name: object) -> bool:
        return name in (_patches.get() or ()) or name in _env

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(_env), **(_patches.get() or {})})

    def __repr__(self) -> str:
        return f"Env({', '.join(self)})"


env = GlobalEnv()


def make_env(bindings: list[dict[str, Any]]) -> Env:
    """`bindings` are dicts of name, type, and the `stub`, `text` or `json` of that type."""
    return Env(bindings)


def set_env(new: Env) -> None:
    """What `workers.env` shows, in this process."""
    global _env
    _env = new


def overlay(env: Env, values: dict[str, Any]) -> Env:
    """`env` with values over it, for one invocation: in what it is handed, and in `workers.env` in its context."""
    over = Env([])
    bindings = [{"name": name, "type": "json", "json": value} for name, value in values.items()]
    over.__dict__["_bindings"] = {**env.__dict__["_bindings"], **{binding["name"]: binding for binding in bindings}}
    _patches.set({**(_patches.get() or {}), **{name: getattr(over, name) for name in values}})
    return over


@contextmanager
def patch_env(d: Any = None, **keywords: Any) -> Iterator[None]:
    """Put other values over entries of `workers.env` for as long as the block runs, in this context only."""
    before = _patches.get()
    _patches.set({**(before or {}), **dict(d or {}), **keywords})
    try:
        yield
    finally:
        _patches.set(before)
