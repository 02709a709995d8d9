"""Values that RPC and bindings return: objects with attributes, and stubs of other Workers' objects."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from tenantry.wire.events import InvocationKind
from tenantry.wire.values import StubValue

if TYPE_CHECKING:
    from tenantry.runtime.stub import Stub

__all__ = ["JsArray", "JsDict", "JsObject", "RpcStub", "RpcTarget"]


class JsDict(dict[str, Any]):
    """A plain object: a dict whose keys are also attributes, where no method of dict has that name."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to_py(self, **_options: Any) -> dict[str, Any]:
        return {key: to_py(item) for key, item in self.items()}

    def object_keys(self) -> list[str]:
        return list(self)

    def object_values(self) -> list[Any]:
        return list(self.values())

    def object_entries(self) -> list[tuple[str, Any]]:
        return list(self.items())


class JsObject(JsDict):
    """A plain object that the program itself made on the JavaScript side: `to_js({...})`, `JSON.parse(...)`."""

    __slots__ = ()


class JsArray(list[Any]):
    """An Array that has not been converted to a list, as an attribute of a raw object."""

    __slots__ = ()

    @property
    def length(self) -> int:
        return len(self)

    def to_py(self, **_options: Any) -> list[Any]:
        return [to_py(item) for item in self]

    def push(self, *items: Any) -> int:
        self.extend(items)
        return len(self)

    def join(self, separator: str = ",") -> str:
        return separator.join("" if item is None else str(item) for item in self)


def to_py(value: Any) -> Any:
    """Plain Python all the way down; what has no Python form stays what it is."""
    convert = getattr(value, "to_py", None)
    if convert is not None:
        return convert()
    kind = type(value)
    if kind is list:
        return [to_py(item) for item in value]
    if kind is dict:
        return {key: to_py(item) for key, item in value.items()}
    return value


class RpcTarget:
    """Base of objects that stay here and are called from elsewhere: their public methods are."""


class HomeStub:
    """Something of this Worker that came back to it: still called like a stub, so that a program needs not know."""

    __slots__ = ("target",)

    def __init__(self, target: Any) -> None:
        self.target = target

    async def call(self, kind: InvocationKind, method: str, args: list[Any]) -> Any:
        from workers._entry import dispatch_stub

        return await dispatch_stub(self.target, method, args)

    def dup(self) -> HomeStub:
        return self

    def dispose(self) -> None:
        """There is nothing to give back."""


class RpcStub:
    """A function or an object that lives in another Worker. `await stub(2)`, `await stub.increment(1)`."""

    __slots__ = ("_stub",)

    def __init__(self, stub: Stub | HomeStub) -> None:
        self._stub = stub

    def __call__(self, *args: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        return call(self._stub, "", args, options)

    def __getattr__(self, name: str) -> Any:
        return method_of(self._stub, name)

    def dup(self) -> RpcStub:
        return type(self)(self._stub.dup())

    def dispose(self) -> None:
        self._stub.dispose()

    def to_py(self, **_options: Any) -> RpcStub:
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__} object"

    def _tenantry_value(self, capabilities: list[Any]) -> Any:
        return stub_value(self._stub.target if isinstance(self._stub, HomeStub) else self._stub, capabilities)


def call(
    stub: Stub | HomeStub, method: str, args: tuple[Any, ...], options: dict[str, Any]
) -> Coroutine[Any, Any, Any]:
    """Call a method. Keyword arguments become one object after the positional ones, as calls into JavaScript do."""
    return stub.call(InvocationKind.RPC, method, [*args, options] if options else list(args))


def method_of(stub: Stub | HomeStub, name: str) -> Any:
    """The method `name` of a stub. Raises AttributeError for the names that no stub has."""
    if name == "then" or (name.startswith("__") and name.endswith("__")):
        # `then` would make a promise of it; dunders are Python asking about the stub, not a program calling it.
        raise AttributeError(name)

    def method(*args: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        return call(stub, name, args, options)

    method.__name__ = name
    return method


def stub_value(target: Any, capabilities: list[Any]) -> Any:
    """`target`, a stub or something of this Worker that may be called, as a value that names it."""
    capabilities.append(target)
    return StubValue(len(capabilities) - 1)
