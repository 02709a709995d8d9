"""What all wrappers of bindings share: the call to the host, option objects, snake_case names, bodies as streams."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from tenantry.runtime.streams import ReadableStream
from tenantry.wire.events import InvocationKind
from workers._errors import data_clone_error
from workers._web.blob import Blob
from workers._web.body import Body, extract_body
from workers._web.buffers import buffer_bytes
from workers._web.form_data import FormData
from workers._web.raw import _Constructor, camel_case
from workers.rpc import JsDict

if TYPE_CHECKING:
    from tenantry.runtime.stub import Stub

__all__ = ["BindingStub", "JsDict", "ReadableStream", "body_stream", "camel_case", "options"]


class BindingStub:
    """A capability that the host resolves. `type_name` is Cloudflare's class name, such as `KvNamespace`.

    Subclasses define their methods in camelCase; `kv.get_with_metadata` finds `getWithMetadata`.
    """

    type_name: ClassVar[str] = "Object"
    clone_refusal: ClassVar[str] = ""
    """What a program reads that tries to send the binding to another Worker."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub

    def _call(self, method: str, *args: Any) -> Coroutine[Any, Any, Any]:
        """Call the host with plain values and streams. Errors arrive as `pyodide.ffi.JsException`."""
        return self._stub.call(InvocationKind.RPC, method, list(args))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            camel = camel_case(name)
            if camel != name:
                member = getattr(self, camel, None)
                if member is not None:
                    # Found at once from now on.
                    self.__dict__[name] = member
                    return member
        raise AttributeError(f"{self.type_name!r} object has no attribute {name!r}")

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{self.type_name!r} object is not iterable")

    def __len__(self) -> int:
        raise TypeError(f"{self.type_name!r} object has no len()")

    def __bool__(self) -> bool:
        return True

    @property
    def constructor(self) -> _Constructor:
        return _Constructor(self.type_name)

    @property
    def js_object(self) -> Any:
        return self

    def to_py(self, **_options: Any) -> Any:
        return self

    def __repr__(self) -> str:
        return f"[object {self.type_name}]"

    def _tenantry_value(self, capabilities: list[Any]) -> Any:
        raise data_clone_error(
            self.clone_refusal
            or f'Could not serialize object of type "{self.type_name}". This type does not support serialization.'
        )


def options(positional: object, keywords: dict[str, object]) -> dict[str, object]:
    """The options of a call: an object as the last argument, keyword arguments, or both (keywords win).

    The keys come out in camelCase. None means absent.
    """
    given: dict[str, object] = {}
    if positional is not None:
        if not isinstance(positional, dict):
            convert = getattr(positional, "to_py", None)
            positional = convert() if convert is not None else positional
            if not isinstance(positional, dict):
                raise TypeError(f"Expected an object for the options, got {type(positional).__name__}")
        given.update(positional)
    given.update(keywords)
    return {camel_case(key): value for key, value in given.items() if value is not None}


def body_stream(value: object) -> ReadableStream | None:
    """A stream of whatever holds bytes or text, with its length where it is known; None for any other object.

    What can be read only once (a stream, a body) is taken: it belongs to the stream that is returned.
    """
    if isinstance(value, str):
        return ReadableStream.of(value.encode())
    if type(value) is bytes:
        return ReadableStream.of(value)
    raw = getattr(value, "js_object", value)
    if isinstance(raw, ReadableStream):
        return raw
    if isinstance(raw, Blob):
        return raw.stream()
    if isinstance(raw, FormData):
        content = extract_body(raw)[0]
    elif isinstance(raw, Body):
        content = raw.take() or b""
    else:
        content = buffer_bytes(value)
    return ReadableStream.of(content) if isinstance(content, bytes) else content
