"""The capability table of a Worker: made when it is deployed, from its bindings, and never from anything it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tenantry.config.deployment import BindingSpec, DeployedWorker
from tenantry.errors import BindingError, ConfigError, ProtocolError
from tenantry.host.targets import Permanent, Reply, Target, Thing, close_streams
from tenantry.host.terms import OutboundWorker
from tenantry.services import Binding, Service
from tenantry.streams import BytesStream, is_byte_stream
from tenantry.wire.assignment import Assignment, BindingStubSpec
from tenantry.wire.events import InvocationKind
from tenantry.wire.limits import INLINE_BODY_BYTES_MAX
from tenantry.wire.values import DataCloneError, StreamValue, StubValue, capability, decode_untrusted, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tenantry.host.invocation import Invocation
    from tenantry.host.process import WorkerProcess
    from tenantry.wire.events import CallReceived

__all__ = ["CapabilityTable", "ServiceTarget"]

_VALUE_TYPES: Final = {"plain_text": "text", "secret_text": "text", "json": "json"}


class ServiceTarget(Permanent):
    """A binding of a service. The resource is opened at the first call."""

    def __init__(self, open_binding: Callable[[], Binding]) -> None:
        self._open = open_binding
        self._binding: Binding | None = None

    def _opened(self) -> Binding:
        if self._binding is None:
            self._binding = self._open()
        return self._binding

    def begin(self, process: WorkerProcess, invocation: Invocation, call: CallReceived) -> bool:
        if not self._opened().eager:
            return False
        process.calls.serve_now(invocation, call)
        return True

    async def call(
        self, invocation: Invocation, kind: InvocationKind, method: str, payload: bytes, things: list[Thing]
    ) -> Reply:
        try:
            args = decode_untrusted(payload)
            if type(args) is not list:
                raise ProtocolError("arguments that are not a list")
            result = await self._opened().call(method, [_argument(arg, things) for arg in args])
        finally:
            if things:
                await close_streams(things)
        answered: list[Thing] = []
        try:
            return Reply(encode(result, lambda value: _result(value, answered)), answered)
        except BaseException:
            await close_streams(answered)
            raise


_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})


def _argument(value: Any, things: list[Thing]) -> Any:
    """A value for a service: what the wire calls a stream becomes one; nothing else of the wire's is let through."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return [_argument(item, things) for item in value]
    if kind is dict:
        return {key: _argument(item, things) for key, item in value.items()}
    if kind is StreamValue:
        if isinstance(value.body, bytes):
            return BytesStream(value.body)
        stream = capability(value.body, things)
        if not is_byte_stream(stream):
            raise ProtocolError("a stream that is none")
        return stream
    if kind is set:
        return {_argument(item, things) for item in value}
    if kind is StubValue:
        raise BindingError("A function or a stub cannot be passed to this binding.", "TypeError")
    if kind.__module__ == "datetime":
        return value
    raise BindingError(f"A {kind.__name__.removesuffix('Value')} cannot be passed to this binding.", "TypeError")


def _result(value: Any, things: list[Thing]) -> Any:
    if is_byte_stream(value):
        if isinstance(value, BytesStream) and value.length is not None and value.length <= INLINE_BODY_BYTES_MAX:
            return StreamValue(value.take())
        things.append(value)
        return StreamValue(len(things) - 1)
    raise DataCloneError(f"a service answered with a {type(value).__name__}")


class CapabilityTable:
    """What the processes of one version of a Worker get: their assignment, and the targets that it numbers.

    Targets carry no state of a process, so all processes of a version share them.
    """

    def __init__(
        self,
        worker: DeployedWorker,
        services: Mapping[str, tuple[Service, str]],
        namespace_target: Callable[[str, OutboundWorker | None], Target],
        worker_target: Callable[[Mapping[str, Any]], Target],
        fetch: Target,
        forms: Target,
        assets: Target | None = None,
    ) -> None:
        """`worker_target` is for service bindings, by their fields. `assets` is for bindings of that type; None: the
        version has no static assets."""
        self.targets: list[Target] = [fetch, forms]
        self._assets = assets
        bindings = [self._binding(spec, services, namespace_target, worker_target) for spec in worker.bindings]
        self.assignment = Assignment(
            main_module=worker.main_module,
            bindings=bindings,
            fetch_target=1,
            forms_target=2,
            compatibility_date=worker.compatibility_date,
            compatibility_flags=list(worker.compatibility_flags),
        )

    def _binding(
        self,
        spec: BindingSpec,
        services: Mapping[str, tuple[Service, str]],
        namespace_target: Callable[[str, OutboundWorker | None], Target],
        worker_target: Callable[[Mapping[str, Any]], Target],
    ) -> BindingStubSpec:
        if spec.type in _VALUE_TYPES:
            return BindingStubSpec(spec.name, spec.type, value=spec.fields[_VALUE_TYPES[spec.type]])
        if spec.type == "dispatch_namespace":
            target = namespace_target(spec.fields["namespace"], OutboundWorker.of(spec.fields))
        elif spec.type == "service":
            target = worker_target(spec.fields)
        elif spec.type == "assets":
            if self._assets is None:
                raise ConfigError(f"the binding {spec.name} is for static assets, and this version has none")
            target = self._assets
        elif spec.type in services:
            service, field = services[spec.type]
            resource = spec.fields[field]
            target = ServiceTarget(lambda: service.open(resource))
        else:
            raise ConfigError(f"the binding {spec.name} is of a type that this platform does not have: {spec.type}")
        self.targets.append(target)
        return BindingStubSpec(spec.name, spec.type, target=len(self.targets))
