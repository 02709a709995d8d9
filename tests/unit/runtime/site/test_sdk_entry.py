"""Entrypoints: what is found, what is called, with what (reference 1.9, 3.2)."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import js
import pytest
from pyodide.ffi import JsException
from workers import DurableObject, Request, Response, WorkerEntrypoint, WorkflowEntrypoint, handler
from workers._entry import dispatch, dispatch_stub, find_entrypoints
from workers.rpc import RpcTarget

from tenantry.wire.events import InvocationKind

ENV, CTX = SimpleNamespace(NAME="env"), SimpleNamespace(NAME="ctx")


def module(**members: Any) -> ModuleType:
    made = ModuleType("main")
    vars(made).update(members)
    return made


async def call(entry: type, kind: InvocationKind, method: str, *args: Any) -> Any:
    return await dispatch(find_entrypoints(module(Default=entry)), ENV, CTX, kind, method, list(args))


async def fetch(entry: type) -> Any:
    return await call(entry, InvocationKind.FETCH, "fetch", Request("https://test.com/"))


async def rpc(entry: type, method: str, *args: Any) -> Any:
    return await call(entry, InvocationKind.RPC, method, *args)


class Mixin:
    def inherited(self) -> str:
        return "inherited"


class Default(Mixin, WorkerEntrypoint):
    nested = type("nested", (), {})
    number = 7

    async def fetch(self, request: Request) -> Response:
        return Response(request.url)

    async def set_data(self, key: str, value: Any = None) -> list[Any]:
        return [key, value]

    def getData(self, key: str) -> str:  # noqa: N802
        return key

    def get_data(self, key: str) -> str:
        return f"exact {key}"

    def onlyCamel(self) -> str:  # noqa: N802
        return "camel"

    def no_arguments(self) -> str:
        return "none"

    def many(self, *args: Any) -> list[Any]:
        return list(args)

    def who(self) -> list[Any]:
        return [self.env.NAME, self.ctx.NAME]

    def _private(self) -> str:
        return "private"

    @staticmethod
    def static() -> str:
        return "static"

    @classmethod
    def of_class(cls) -> str:
        return "class"

    @property
    def prop(self) -> str:
        return "property"

    def alarm(self) -> None:
        raise AssertionError

    def web_socket_message(self) -> None:
        raise AssertionError


# Finding -----------------------------------------------------------------------------------------------------------


def test_entrypoints_are_the_subclasses_in_the_module():
    class Other(WorkerEntrypoint):
        pass

    class Thing(DurableObject):
        pass

    class Flow(WorkflowEntrypoint):
        pass

    found = find_entrypoints(
        module(
            Default=Default,
            Other=Other,
            Thing=Thing,
            Flow=Flow,
            _Hidden=Other,
            WorkerEntrypoint=WorkerEntrypoint,
            number=1,
        )
    )
    assert found == {"Default": Default, "Other": Other, "Thing": Thing, "Flow": Flow}


def test_all_decides_when_it_is_there():
    assert set(find_entrypoints(module(Default=Default, Other=Default, __all__=["Other"]))) == {"Other"}


def test_two_styles_at_once_are_refused():
    with pytest.raises(TypeError, match=r"^Cannot define multiple default entrypoints$"):
        find_entrypoints(module(Default=Default, on_fetch=lambda request: None))


async def test_no_default_class():
    with pytest.raises(TypeError, match=r"^There is no 'Default' class defined in the Python Worker's main module$"):
        await dispatch(find_entrypoints(module()), ENV, CTX, InvocationKind.FETCH, "fetch", [None])


# fetch -------------------------------------------------------------------------------------------------------------


async def test_fetch():
    assert await (await fetch(Default)).text() == "https://test.com/"


async def test_fetch_may_be_synchronous_and_without_a_parameter():
    class Entry(WorkerEntrypoint):
        def fetch(self):
            return Response("x")

    assert (await fetch(Entry)).status == 200


async def test_fetch_may_return_a_raw_response():
    class Entry(WorkerEntrypoint):
        async def fetch(self, request):
            return js.Response.new("x", status=201)

    assert (await fetch(Entry)).status == 201


@pytest.mark.parametrize("value", [None, "text", {"a": 1}, 200])
async def test_fetch_must_return_a_response(value: Any):
    class Entry(WorkerEntrypoint):
        async def fetch(self, request):
            return value

    with pytest.raises(TypeError, match=f"did not resolve to 'Response'.*returned {type(value).__name__}"):
        await fetch(Entry)


async def test_no_fetch_handler():
    class Entry(WorkerEntrypoint):
        pass

    with pytest.raises(TypeError, match=r'^Python entrypoint ".*\.py" does not export a handler named "fetch"$'):
        await fetch(Entry)


async def test_one_instance_serves_one_call():
    class Entry(WorkerEntrypoint):
        def count(self):
            self.number = getattr(self, "number", 0) + 1
            return self.number

    assert [await rpc(Entry, "count"), await rpc(Entry, "count")] == [1, 1]


async def test_an_init_of_ones_own():
    class Entry(WorkerEntrypoint):
        def __init__(self, ctx, env):
            super().__init__(ctx, env)
            self.mine = env.NAME

        def get(self):
            return self.mine

    assert await rpc(Entry, "get") == "env"


# RPC ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "args", "result"),
    [
        ("set_data", ["k", 1], ["k", 1]),
        ("setData", ["k", 1], ["k", 1]),
        ("set_data", ["k"], ["k", None]),
        ("set_data", ["k", 1, "surplus"], ["k", 1]),
        ("getData", ["k"], "k"),
        ("get_data", ["k"], "exact k"),
        ("only_camel", [], "camel"),
        ("noArguments", [1, 2], "none"),
        ("many", [1, 2, 3], [1, 2, 3]),
        ("inherited", [], "inherited"),
        ("who", [], ["env", "ctx"]),
    ],
)
async def test_methods(method: str, args: list[Any], result: Any):
    assert await rpc(Default, method, *args) == result


@pytest.mark.parametrize(
    "method",
    [
        "missing",
        "_private",
        "__init__",
        "__class__",
        "static",
        "of_class",
        "prop",
        "nested",
        "number",
        "env",
        "ctx",
        "",
        "a.b",
        "Private",
    ],
)
async def test_what_is_not_a_public_function_does_not_exist(method: str):
    with pytest.raises(TypeError, match=r"^Method .* does not exist$") as caught:
        await rpc(Default, method)
    assert str(caught.value) == f"Method {method} does not exist"


@pytest.mark.parametrize(
    "method",
    [
        "fetch",
        "alarm",
        "connect",
        "dup",
        "constructor",
        "webSocketMessage",
        "web_socket_message",
        "webSocketClose",
        "webSocketError",
    ],
)
async def test_reserved_names(method: str):
    with pytest.raises(JsException) as caught:
        await rpc(Default, method)
    assert caught.value.message == f"'{method}' is a reserved method and cannot be called over RPC."
    assert isinstance(caught.value, TypeError)


async def test_too_few_arguments_are_pythons_own_error():
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'key'"):
        await rpc(Default, "set_data")


async def test_exceptions_come_out_as_they_are():
    class Entry(WorkerEntrypoint):
        def broken(self):
            raise LookupError("mine")

    with pytest.raises(LookupError, match=r"^mine$"):
        await rpc(Entry, "broken")


# Other events ------------------------------------------------------------------------------------------------------


async def test_scheduled():
    class Entry(WorkerEntrypoint):
        async def scheduled(self, controller, env, ctx):
            seen.append((controller.cron, controller.scheduledTime, env.NAME, ctx.NAME))
            controller.noRetry()

    seen: list[Any] = []
    await call(Entry, InvocationKind.SCHEDULED, "scheduled", {"cron": "* * * * *", "scheduledTime": 5})
    assert seen == [("* * * * *", 5, "env", "ctx")]


async def test_queue_tells_what_was_decided(invocation: Any):
    class Entry(WorkerEntrypoint):
        def queue(self, batch):
            first, second, _ = batch.messages
            first.ack()
            first.retry()
            second.retry(delaySeconds=5)
            batch.ackAll()
            batch.retryAll()

    batch = {"queue": "q", "messages": [{"id": name, "body": name, "attempts": 1} for name in "abc"]}
    assert await call(Entry, InvocationKind.QUEUE, "queue", batch) == {
        "batch": {"action": "ackAll", "delaySeconds": None},
        "messages": [
            {"id": "a", "action": "ack", "delaySeconds": None},
            {"id": "b", "action": "retry", "delaySeconds": 5},
        ],
    }
    assert [level for level, _ in invocation.logs] == ["warn", "warn"]


async def test_alarm_takes_its_argument_or_none():
    class Without(WorkerEntrypoint):
        def alarm(self):
            return "without"

    class With(WorkerEntrypoint):
        def alarm(self, info):
            return info

    assert await call(Without, InvocationKind.ALARM, "alarm", {"retryCount": 0}) == "without"
    assert await call(With, InvocationKind.ALARM, "alarm", 1) == 1


# The older style ---------------------------------------------------------------------------------------------------


async def legacy(kind: InvocationKind, *args: Any, **handlers: Any) -> Any:
    return await dispatch(find_entrypoints(module(**handlers)), ENV, CTX, kind, "", list(args))


async def test_on_fetch():
    async def on_fetch(request, env, ctx):
        return Response(f"{request.method} {env.NAME} {ctx.NAME}")

    response = await legacy(InvocationKind.FETCH, Request("https://test.com/"), on_fetch=on_fetch)
    assert await response.text() == "GET env ctx"


async def test_on_fetch_with_fewer_parameters_and_the_decorator():
    def on_fetch(request):
        return Response(request.url)

    for function in (on_fetch, handler(on_fetch)):
        if function is on_fetch:
            response = await legacy(InvocationKind.FETCH, js.Request.new("https://test.com/"), on_fetch=function)
            assert await response.text() == "https://test.com/"

    @handler
    async def decorated(request, env, ctx):
        return Response(request.method)

    response = await legacy(InvocationKind.FETCH, js.Request.new("https://test.com/"), on_fetch=decorated)
    assert await response.text() == "GET"


async def test_the_older_style_has_no_rpc_and_only_its_own_handlers():
    with pytest.raises(TypeError, match=r"^Method x does not exist$"):
        await dispatch(find_entrypoints(module(on_fetch=lambda: None)), ENV, CTX, InvocationKind.RPC, "x", [])
    with pytest.raises(TypeError, match=r'^Python entrypoint "main\.py" does not export a handler named "queue"$'):
        await legacy(InvocationKind.QUEUE, {"messages": []}, on_fetch=lambda: None)


# Stubs -------------------------------------------------------------------------------------------------------------


class Counter(RpcTarget):
    limit = 3

    def __init__(self) -> None:
        self.value = 0

    def increment(self, by: int = 1) -> int:
        self.value += by
        return self.value

    async def read_value(self) -> int:
        return self.value

    def fetch(self) -> str:
        return "a normal method here"


async def test_functions_of_this_worker_are_called():
    async def later(value):
        return value + 1

    assert await dispatch_stub(later, "", [1, "surplus"]) == 2
    assert await dispatch_stub(lambda: 5, "", []) == 5


async def test_targets_of_this_worker_are_called():
    counter = Counter()
    assert await dispatch_stub(counter, "increment", [2]) == 2
    assert await dispatch_stub(counter, "readValue", []) == 2
    assert await dispatch_stub(counter, "fetch", []) == "a normal method here"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", 'The RPC receiver does not implement the method "missing".'),
        ("_private", 'The RPC receiver does not implement the method "_private".'),
        ("__init__", 'The RPC receiver does not implement the method "__init__".'),
        ("value", 'The RPC receiver does not implement the method "value".'),
        ("limit", '"limit" is not a function.'),
        ("dup", "'dup' is a reserved method and cannot be called over RPC."),
        ("constructor", "'constructor' is a reserved method and cannot be called over RPC."),
    ],
)
async def test_what_a_target_does_not_offer(name: str, message: str):
    with pytest.raises(JsException) as caught:
        await dispatch_stub(Counter(), name, [])
    assert caught.value.message == message


async def test_a_function_has_no_methods():
    with pytest.raises(JsException, match=r"does not implement the method \"__globals__\""):
        await dispatch_stub(lambda: None, "__globals__", [])
    with pytest.raises(JsException, match=r"not a function"):
        await dispatch_stub(Counter(), "", [])


async def test_an_incoming_request_leaves_redirects_to_its_client():
    class Entry(WorkerEntrypoint):
        def fetch(self, request):
            return Response(request.redirect)

    assert await (await fetch(Entry)).text() == "manual"
