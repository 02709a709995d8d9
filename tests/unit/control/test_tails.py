"""Tails: what filters let pass, what a reader who is slow misses, and how a session ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenantry.control import limits
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.records import ScriptRef
from tenantry.control.tails import Reader, Tails, message_of, parse_filters_untrusted
from tenantry.host.traces import Trace, TraceException, TraceHub, TraceLog, TraceRequest

REF = ScriptRef("a" * 32, None, "w")


def trace(**more: Any) -> Trace:
    usual: dict[str, Any] = {
        "worker": "w",
        "namespace": None,
        "version_id": "v1",
        "outcome": "ok",
        "logs": [TraceLog("info", "hello", 5)],
        "began_at": 1,
        "request": TraceRequest("GET", "http://example.com/x", {"x-plan": "pro", "cf-connecting-ip": "10.0.0.1"}),
        "status": 200,
    }
    return Trace(**{**usual, **more})


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_a_fetch_in_the_shape_that_wrangler_reads() -> None:
    failed = trace(outcome="exception", exceptions=[TraceException("ValueError", "no", "Traceback", 7)])
    message = json.loads(message_of(failed))

    assert message["event"]["request"]["url"] == "http://example.com/x"
    assert message["event"]["response"] == {"status": 200}
    assert message["logs"] == [{"message": ["hello"], "level": "info", "timestamp": 5}]
    assert message["exceptions"][0]["name"] == "ValueError"
    assert message["outcome"] == "exception"
    assert message["scriptVersion"] == {"id": "v1"}


def test_a_call_and_a_word_outside_of_any() -> None:
    assert json.loads(message_of(trace(request=None, method="get_data")))["event"] == {"rpcMethod": "get_data"}
    stray = json.loads(message_of(trace(request=None, began_at=None, status=None)))
    assert stray["event"] is None
    assert stray["eventTimestamp"] is None


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ([], True),
        ([{"sampling_rate": 0.5}], True),
        ([{"sampling_rate": 0.1}], False),
        ([{"outcome": ["ok", "canceled"]}], True),
        ([{"outcome": ["exception"]}], False),
        ([{"method": ["get"]}], True),
        ([{"method": ["POST"]}], False),
        ([{"header": {"key": "X-Plan"}}], True),
        ([{"header": {"key": "x-plan", "query": "free"}}], False),
        ([{"header": {"key": "x-other"}}], False),
        ([{"client_ip": ["10.0.0.1"]}], True),
        ([{"client_ip": ["10.0.0.2"]}], False),
        ([{"query": "ell"}], True),
        ([{"query": "nope"}], False),
        ([{"scriptVersion": "v1"}], True),
        ([{"scriptVersion": "v2"}], False),
        ([{"outcome": ["ok"]}, {"method": ["POST"]}], False),
    ],
)
def test_the_table_of_filters(filters: list[Any], passes: bool) -> None:
    parsed = parse_filters_untrusted(json.dumps({"filters": filters}).encode())
    assert all(each.passes(trace(), lambda: 0.3) for each in parsed) is passes


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"filters": {}}', b'{"filters": [{"outcome": "ok"}]}'])
def test_filters_that_are_none(body: bytes) -> None:
    with pytest.raises(Invalid):
        parse_filters_untrusted(body)


def test_no_body_is_no_filter() -> None:
    assert parse_filters_untrusted(b"") == ()


async def test_a_reader_who_is_slow_is_told_what_was_left_out() -> None:
    reader = Reader()
    for _ in range(limits.TAIL_PENDING_MESSAGES_MAX + 3):
        reader.put(b"x")

    got = [await reader.get() for _ in range(limits.TAIL_PENDING_MESSAGES_MAX + 1)]

    assert got[:-1] == [b"x"] * limits.TAIL_PENDING_MESSAGES_MAX
    assert json.loads(got[-1])["event"]["type"] == "overload"
    assert "3 messages" in json.loads(got[-1])["event"]["message"]


async def test_several_readers_of_one_worker_each_get_what_they_asked_for() -> None:
    hub = TraceHub()
    tails = Tails(hub)
    everything, _ = tails.read(tails.create(REF, ()))
    failures, end = tails.read(tails.create(REF, parse_filters_untrusted(b'{"filters": [{"outcome": ["exception"]}]}')))
    hub.publish(trace())
    hub.publish(trace(outcome="exception"))
    hub.publish(trace(worker="other"))

    assert json.loads(await failures.get())["outcome"] == "exception"
    assert [json.loads(await everything.get())["outcome"] for _ in range(2)] == ["ok", "exception"]
    end()
    assert len(tails.of(REF)) == 1, "a session ends with its reader"


def test_a_url_is_good_once_and_until_it_expires() -> None:
    clock = Clock()
    tails = Tails(TraceHub(), clock)
    tail = tails.create(REF, ())

    assert tails.claim_untrusted("nope") is None
    assert tails.claim_untrusted("\udcff") is None
    assert tails.claim_untrusted(tail.secret) is tail
    assert tails.claim_untrusted(tail.secret) is None
    late = tails.create(REF, ())
    clock.now += timedelta(seconds=limits.TAIL_SECONDS_MAX)
    assert tails.claim_untrusted(late.secret) is None
    assert late.closed.is_set()
    assert tails.of(REF) == []


def test_a_worker_has_so_many_tails_and_no_more() -> None:
    tails = Tails(TraceHub())
    made = [tails.create(REF, ()) for _ in range(limits.TAILS_PER_WORKER_MAX)]
    with pytest.raises(Invalid):
        tails.create(REF, ())

    tails.create(ScriptRef(REF.account_id, None, "other"), ())
    tails.delete(REF, made[0].id)
    tails.create(REF, ())
    for ref in (REF, ScriptRef(REF.account_id, "ns", "w")):
        with pytest.raises(NotFound):
            tails.delete(ref, made[0].id)
