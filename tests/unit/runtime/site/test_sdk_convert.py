"""What values become when they cross (reference 1.3, 1.12, 3.3, 3.6)."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime
from typing import Any

import js
import pytest
from pyodide.ffi import JsException, create_proxy, jsnull, to_js
from workers import python_from_rpc, python_to_rpc
from workers._bindings.base import BindingStub
from workers._convert import error_from_peer, error_to_peer, from_value
from workers.rpc import JsDict, RpcStub, RpcTarget
from workers.workflows import NonRetryableError

from tenantry.errors import ProtocolError
from tenantry.runtime.streams import ReadableStream
from tenantry.wire.values import (
    BlobValue,
    DataCloneError,
    FormDataValue,
    RequestValue,
    ResponseValue,
    StreamValue,
    StubValue,
)

NOON = datetime(2026, 1, 2, 12, 0, 0, 5000)  # noqa: DTZ001 - naive is what Workers get


class Custom:
    pass


class KvNamespace(BindingStub):
    type_name = "KvNamespace"
    clone_refusal = "A KV namespace binding cannot be serialized."


async def _coroutine() -> None:
    pass


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (None, None),
        (jsnull, None),
        (True, True),
        (7, 7),
        (2**53, 2**53),
        (-(2**70), -(2**70)),
        (1.5, 1.5),
        (2.0, 2),
        ("ä", "ä"),
        ([1, [2.0, None]], [1, [2, None]]),
        ({"a": {"b": [1]}}, {"a": {"b": [1]}}),
        ({1, 2}, {1, 2}),
        (NOON, NOON),
        (NOON.replace(tzinfo=UTC), NOON),
        (js.Date.new(NOON), NOON),
        (js.Map.new([["a", 1]]), {"a": 1}),
        (js.Set.new([1]), {1}),
        (to_js({"a": [1, {"b": None}]}), {"a": [1, {"b": None}]}),
    ],
)
def test_plain_values(cross: Any, sent: Any, got: Any):
    result = cross(sent)
    assert result == got
    assert type(result) is (JsDict if isinstance(got, dict) else type(got))


def test_integral_floats_arrive_as_integers_and_others_do_not(cross: Any):
    assert [type(item) for item in cross([2.0, 0.5, 1e300, float("inf")])] == [int, float, float, float]


def test_nan_crosses(cross: Any):
    value = cross(float("nan"))
    assert value != value


@pytest.mark.parametrize(
    "sent", [b"ab", memoryview(b"ab"), array("b", b"ab"), js.Uint8Array.new(b"ab"), js.Uint8Array.new(b"ab").buffer]
)
def test_buffers_arrive_as_memoryviews_and_in_bindings_as_bytes(cross: Any, sent: Any):
    result = cross(sent)
    assert type(result) is memoryview
    assert result.tobytes() == b"ab"
    assert cross([sent], plain=True) == [b"ab"]
    assert type(cross([sent], plain=True)[0]) is bytes


def test_dates_of_bindings_keep_their_zone(cross: Any):
    assert cross(NOON, plain=True) == NOON.replace(tzinfo=UTC)


def test_dicts_have_attributes_that_methods_shadow(cross: Any):
    result = cross({"keys": [1], "name": "n", "inner": {"x": 1}})
    assert result.name == "n"
    assert result.inner.x == 1
    assert result["keys"] == [1]
    assert list(result.keys()) == ["keys", "name", "inner"]
    assert type(result.to_py()) is dict
    assert type(result.to_py()["inner"]) is dict
    with pytest.raises(AttributeError):
        _ = result.missing


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2), "<class 'tuple'> cannot be sent over RPC."),
        ([(1,)], "<class 'tuple'> cannot be sent over RPC."),
        ({"a": bytearray(b"x")}, "<class 'bytearray'> cannot be sent over RPC."),
    ],
)
def test_what_rpc_refuses(cross: Any, value: Any, message: str):
    for send in (cross, python_to_rpc):
        with pytest.raises(TypeError) as caught:
            send(value)
        assert str(caught.value) == message


def test_awaitables_are_refused(cross: Any):
    for send in (cross, python_to_rpc):
        coroutine = _coroutine()
        with pytest.raises(TypeError, match=r"^Awaitable <class 'coroutine'> cannot be sent over RPC\.$"):
            send([coroutine])
        coroutine.close()


@pytest.mark.parametrize("value", [Custom(), 1j, range(3), Custom, [Custom()]])
def test_objects_of_other_classes_are_refused(cross: Any, value: Any):
    with pytest.raises(DataCloneError, match=r"Could not serialize object of type \"\w+\""):
        cross(value)


def test_bindings_are_refused(cross: Any, fake_stub: Any):
    with pytest.raises(DataCloneError, match=r"A KV namespace binding cannot be serialized\.$") as caught:
        cross(KvNamespace(fake_stub()))
    assert isinstance(caught.value, JsException)


def test_exceptions_lose_their_type(cross: Any):
    result = cross(ValueError("bad"))
    assert type(result) is Exception
    assert str(result) == "Error: bad"


def test_javascript_errors_keep_their_name(cross: Any):
    result = cross(js.TypeError.new("bad"))
    assert isinstance(result, JsException)
    assert (result.name, result.message) == ("TypeError", "bad")


async def test_functions_become_stubs(cross: Any, fake_stub: Any):
    def double(value: int) -> int:
        return value * 2

    for sent in (double, create_proxy(double), cross(double)):
        home = cross(sent)
        assert home._stub.target is double
        assert await home(2) == 4

    stub = fake_stub(lambda method, args: [method, args])
    received = cross({"callback": stub})["callback"]
    assert isinstance(received, RpcStub)
    assert await received(2) == ["", [2]]
    assert await received.increment(1, by=2) == ["increment", [1, {"by": 2}]]
    assert cross(received)._stub is stub


async def test_targets_become_stubs(cross: Any):
    class Counter(RpcTarget):
        def get_value(self) -> int:
            return 7

    home = cross([Counter()])[0]
    assert isinstance(home, RpcStub)
    assert await home.getValue() == 7


def test_stubs_are_never_promises(fake_stub: Any):
    stub = RpcStub(fake_stub())
    for name in ("then", "__len__", "__fspath__"):
        assert not hasattr(stub, name)
    stub.dispose()
    assert stub._stub.disposed
    assert stub.to_py() is stub


async def test_streams_move(cross: Any):
    stream = ReadableStream.of(b"abc")
    assert await cross(stream).read_all() == b"abc"
    with pytest.raises(TypeError, match=r"The ReadableStream has been locked to a reader\."):
        cross(stream)


async def test_asynchronous_generators_are_streams(cross: Any):
    async def chunks():
        yield "ab"
        yield b"c"

    assert await cross(chunks()).read_all() == b"abc"


def test_headers_cross(cross: Any):
    assert cross(js.Headers.new({"A": "b"})).get("a") == "b"


# Errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Error", Exception),
        ("TypeError", TypeError),
        ("RangeError", ValueError),
        ("ValueError", ValueError),
        ("KeyError", KeyError),
        ("PermissionError", PermissionError),
        ("TimeoutError", TimeoutError),
        ("NonRetryableError", Exception),
        ("SystemExit", Exception),
        ("__import__", Exception),
    ],
)
def test_errors_of_peers(name: str, kind: type[Exception]):
    error = error_from_peer(name, "it broke")
    assert isinstance(error, JsException)
    assert isinstance(error, kind)
    assert (error.name, error.message, error.remote) == (name, "it broke", True)
    assert str(error) == f"{name}: it broke"


def test_peers_cannot_make_classes_without_end():
    kinds = {type(error_from_peer(f"Error{index}", "")) for index in range(100)}
    assert kinds == {JsException}
    assert type(error_from_peer("KeyError", "")) is type(error_from_peer("KeyError", ""))


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (ValueError("bad"), "ValueError", "bad"),
        (KeyError("k"), "KeyError", "'k'"),
        (NonRetryableError("no"), "NonRetryableError", "no"),
        (JsException("RangeError", "far"), "RangeError", "far"),
        (error_from_peer("ValueError", "from afar"), "ValueError", "from afar"),
    ],
)
def test_errors_for_peers(error: Exception, name: str, message: str):
    assert error_to_peer(error) == (name, message)


def test_an_exception_that_cannot_be_printed_is_still_told():
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert error_to_peer(Silent()) == ("Silent", "")


# python_to_rpc, python_from_rpc -------------------------------------------------------------------------------------


def test_python_to_rpc_makes_javascript_values():
    value = python_to_rpc({"a": b"x", "b": [1, NOON], "c": None})
    assert isinstance(value["a"], js.Uint8Array)
    assert isinstance(value.b[1], js.Date)
    assert value.c is None


def test_python_from_rpc_is_the_way_back():
    back = python_from_rpc(python_to_rpc({"a": b"x", "b": [1, NOON, 2.0], "c": None}))
    assert back["a"].tobytes() == b"x"
    assert back["b"] == [1, NOON, 2]
    assert isinstance(back, JsDict)
    assert repr(python_from_rpc(js.Request.new("https://a.b/"))) == "Request(method='GET', url='https://a.b/')"
    assert str(python_from_rpc(js.Error.new("x"))) == "Error: x"


# What hostile peers send -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        StreamValue(0),
        RequestValue("GET", "https://a.b/", [], 0),
        ResponseValue(200, [], 0),
        BlobValue(0, 5),
        FormDataValue([("a", BlobValue(0, 5))]),
        StreamValue(9),
        StubValue(-1),
    ],
)
def test_a_message_that_names_the_wrong_capability(fake_stub: Any, value: Any):
    with pytest.raises(ProtocolError):
        from_value([value], [fake_stub()])


def test_a_blob_does_not_lie_about_its_size():
    assert from_value(BlobValue(b"abc", 10**9), []).size == 3
    assert from_value(BlobValue(0, -5), [ReadableStream.of(b"")]).size == 0


def test_an_odd_response_can_be_looked_at():
    response = from_value(ResponseValue(99999, [("X", "\n")], b"\xff"), [])
    assert (response.status, response.status_text, response.ok) == (99999, "", False)
    assert repr(response) == "Response(status=99999)"
