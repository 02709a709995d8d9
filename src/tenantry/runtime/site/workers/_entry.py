"""From a call of the host to a method of the program: which entrypoint, which method, with how many arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import FunctionType, ModuleType
from typing import Any, Final

from tenantry.wire.events import InvocationKind
from workers._errors import type_error
from workers._request import Request
from workers._web.raw import camel_case
from workers._web.request import Request as RawRequest
from workers._web.response import Response as RawResponse
from workers.entrypoints import DurableObject, WorkerEntrypoint, WorkflowEntrypoint, _Entrypoint
from workers.rpc import RpcTarget

__all__ = ["DEFAULT", "LegacyEntrypoint", "dispatch", "dispatch_stub", "find_entrypoints"]

DEFAULT: Final = "Default"

RESERVED: Final = frozenset(
    {
        "alarm",
        "connect",
        "constructor",
        "dup",
        "fetch",
        "webSocketClose",
        "webSocketError",
        "webSocketMessage",
    }
)
"""What no caller reaches by RPC. `fetch` is reached as an event."""

_HANDLERS: Final[dict[InvocationKind, str]] = {
    InvocationKind.FETCH: "fetch",
    InvocationKind.SCHEDULED: "scheduled",
    InvocationKind.QUEUE: "queue",
    InvocationKind.ALARM: "alarm",
    InvocationKind.TAIL: "tail",
}
_LEGACY: Final = ("fetch", "scheduled", "alarm", "trace", "queue", "pubsub")
_BASES: Final = (DurableObject, WorkerEntrypoint, WorkflowEntrypoint)


class LegacyEntrypoint:
    """Global functions `on_fetch(request, env, ctx)` and the like, as a Worker was written before classes."""

    def __init__(self, handlers: dict[str, Callable[..., Any]], module: str) -> None:
        self.handlers = handlers
        self.__module__ = module


Entry = type[_Entrypoint] | LegacyEntrypoint


def find_entrypoints(module: ModuleType) -> dict[str, Entry]:
    """What the main module exports, by name. Raises TypeError for two default entrypoints."""
    members = vars(module)
    names = members.get("__all__")
    if names is None:
        names = [name for name in members if not name.startswith("_")]
    entries: dict[str, Entry] = {}
    for name in names:
        member = members.get(name)
        if isinstance(member, type) and issubclass(member, _BASES) and member not in _BASES:
            entries[name] = member
    handlers = {name: members[f"on_{name}"] for name in _LEGACY if callable(members.get(f"on_{name}"))}
    if handlers:
        if DEFAULT in entries:
            raise TypeError("Cannot define multiple default entrypoints")
        entries[DEFAULT] = LegacyEntrypoint(handlers, module.__name__)
    return entries


async def dispatch(
    entries: dict[str, Entry],
    env: Any,
    ctx: Any,
    kind: InvocationKind,
    method: str,
    args: list[Any],
    entrypoint: str = DEFAULT,
) -> Any:
    """Run one invocation and return what the program returns. Raises what it raises."""
    entry = entries.get(entrypoint)
    if entry is None:
        raise TypeError(f"There is no '{entrypoint}' class defined in the Python Worker's main module")
    if kind == InvocationKind.RPC:
        if isinstance(entry, LegacyEntrypoint):
            raise TypeError(f"Method {method} does not exist")
        function = _rpc_method(entry, method)
        result = _call(function, [entry(ctx, env), *args])
        return await result if hasattr(result, "__await__") else result
    handler = _HANDLERS[kind]
    result = _call_handler(entry, handler, env, ctx, args)
    if hasattr(result, "__await__"):
        result = await result
    if handler == "fetch":
        raw = getattr(result, "js_object", result)
        if not isinstance(raw, RawResponse):
            raise TypeError(
                "Incorrect type for Promise: the Promise did not resolve to 'Response'. "
                f"The fetch() handler returned {type(result).__name__}."
            )
    elif kind == InvocationKind.QUEUE:
        return args[0].outcome()
    return result


def _call_handler(entry: Entry, handler: str, env: Any, ctx: Any, args: list[Any]) -> Any:
    if handler == "fetch" and args:
        raw = getattr(args[0], "js_object", args[0])
        if isinstance(raw, RawRequest):
            # A redirect is for the client to follow: a Worker that passes the request on does not do it instead.
            raw._redirect = "manual"
            args = [args[0] if isinstance(args[0], Request) else Request._wrap(raw), *args[1:]]
    elif handler in ("scheduled", "queue") and args:
        from workers._events import QueueBatch, ScheduledController

        args[0] = (QueueBatch if handler == "queue" else ScheduledController)(args[0])
    if isinstance(entry, LegacyEntrypoint):
        legacy = entry.handlers.get("trace" if handler == "tail" else handler)
        if legacy is None:
            raise _no_handler(entry, handler)
        return _call(legacy, [*args, env, ctx])
    function = _member(entry, handler)
    if not isinstance(function, FunctionType):
        # A handler, unlike an RPC method, may be anything callable: a decorated one, a static one.
        bound = getattr(entry(ctx, env), handler, None)
        if not callable(bound):
            raise _no_handler(entry, handler)
        return _call(bound, [*args, env, ctx] if handler in ("scheduled", "queue", "tail") else args)
    return _call(
        function,
        [entry(ctx, env), *args, env, ctx] if handler in ("scheduled", "queue", "tail") else [entry(ctx, env), *args],
    )


def _no_handler(entry: Entry, handler: str) -> TypeError:
    main = entry.__module__.replace(".", "/")
    return TypeError(f'Python entrypoint "{main}.py" does not export a handler named "{handler}"')


# Methods -----------------------------------------------------------------------------------------------------------

_methods: dict[tuple[type, str], FunctionType] = {}
"""What `_rpc_method` found. Only hits are kept: a caller cannot fill it with names of its own."""


def _rpc_method(entry: type, name: str) -> FunctionType:
    """The public function that a caller's `name` stands for. Raises TypeError when there is none."""
    function = _methods.get((entry, name))
    if function is None:
        if name in RESERVED or camel_case(name) in RESERVED:
            raise type_error(f"'{name}' is a reserved method and cannot be called over RPC.")
        function = _find_method(entry, name)
        if function is None:
            raise TypeError(f"Method {name} does not exist")
        _methods[entry, name] = function
    return function


def _find_method(entry: type, name: str) -> FunctionType | None:
    """The exact name first, then the same words spelt the other way."""
    if not name or name.startswith("_"):
        return None
    for candidate in (name, snake_case(name), camel_case(name)):
        member = _member(entry, candidate)
        if isinstance(member, FunctionType) and candidate not in RESERVED:
            return member
    return None


def _member(entry: type, name: str) -> Any:
    """What the program's own classes define under the name; the base classes' members are not the program's."""
    for owner in entry.__mro__:
        if owner in _BASES or owner in (_Entrypoint, RpcTarget, object):
            continue
        if name in vars(owner):
            return vars(owner)[name]
    return None


def snake_case(name: str) -> str:
    """`setData` as `set_data`."""
    if name.islower():
        return name
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _call(function: Any, args: list[Any]) -> Any:
    """Call with the arguments that the function can take: what it has no parameter for is dropped."""
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(getattr(function, "__func__", None), "__code__", None)
        if code is None:
            return function(*args)
    if not code.co_flags & 0x04:  # CO_VARARGS
        taken = code.co_argcount - (1 if hasattr(function, "__self__") else 0)
        if len(args) > taken:
            return function(*args[: max(taken, 0)])
    return function(*args)


# Stubs -------------------------------------------------------------------------------------------------------------


async def dispatch_stub(target: Any, method: str, args: list[Any]) -> Any:
    """Call something that this Worker passed to another: a function (`method` is empty) or an object's method."""
    if not method:
        if not callable(target):
            raise type_error("The RPC receiver is not a function.")
        result = _call(target, args) if isinstance(target, FunctionType) else target(*args)
    else:
        result = _target_method(target, method)(args)
    return await result if isinstance(result, Awaitable) else result


def _target_method(target: Any, name: str) -> Callable[[list[Any]], Any]:
    if name in ("dup", "constructor"):
        raise type_error(f"'{name}' is a reserved method and cannot be called over RPC.")
    if isinstance(target, RpcTarget):
        function = _find_target_method(type(target), name)
        if function is not None:
            return lambda args: _call(function, [target, *args])
        if not name.startswith("_") and _member(type(target), name) is not None:
            raise type_error(f'"{name}" is not a function.')
    raise type_error(f'The RPC receiver does not implement the method "{name}".')


def _find_target_method(kind: type, name: str) -> FunctionType | None:
    if name.startswith("_"):
        return None
    for candidate in (name, snake_case(name), camel_case(name)):
        member = _member(kind, candidate)
        if isinstance(member, FunctionType):
            return member
    return None
