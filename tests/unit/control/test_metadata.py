"""Metadata of uploads: what is taken, what is refused, with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.config.deployment import WorkerLimits
from tenantry.control.errors import Invalid
from tenantry.control.metadata import parse_metadata_untrusted

MINIMAL = {"main_module": "entry.py", "compatibility_flags": ["python_workers"]}


def parse(**change: Any) -> Any:
    return parse_metadata_untrusted(json.dumps({**MINIMAL, **change}).encode())


def test_minimal_metadata_has_cloudflares_defaults() -> None:
    metadata = parse()

    assert metadata.main_module == "entry.py"
    assert metadata.compatibility_date == "2021-11-02"
    assert metadata.limits == WorkerLimits()
    assert metadata.bindings == ()


def test_unknown_keys_are_ignored_and_set_nothing() -> None:
    metadata = parse(account_id="f" * 32, quota=1e9, role="admin", author="x", modified_on="1970")

    assert metadata == parse()


@pytest.mark.parametrize(
    ("binding", "fields"),
    [
        ({"type": "kv_namespace", "namespace_id": "0" * 32}, {"namespace_id": "0" * 32}),
        ({"type": "r2_bucket", "bucket_name": "files"}, {"bucket_name": "files"}),
        ({"type": "r2_bucket", "bucket_name": "files", "jurisdiction": "default"}, {"bucket_name": "files"}),
        ({"type": "d1", "id": "x"}, {"id": "x", "database_id": "x"}),
        ({"type": "d1", "database_id": "x"}, {"id": "x", "database_id": "x"}),
        ({"type": "d1", "database_id": "x", "id": "x"}, {"id": "x", "database_id": "x"}),
        ({"type": "dispatch_namespace", "namespace": "bindings"}, {"namespace": "bindings"}),
        ({"type": "plain_text", "text": ""}, {"text": ""}),
        ({"type": "secret_text", "text": "s"}, {"text": "s"}),
        ({"type": "json", "json": {"a": [None, 1.5]}}, {"json": {"a": [None, 1.5]}}),
        ({"type": "json", "json": None}, {"json": None}),
        ({"type": "inherit"}, {"old_name": "B"}),
        ({"type": "inherit", "old_name": "A", "version_id": "latest"}, {"old_name": "A"}),
    ],
)
def test_the_table_of_bindings(binding: dict[str, Any], fields: dict[str, Any]) -> None:
    (spec,) = parse(bindings=[{"name": "B", "raw": True, **binding}]).bindings

    assert (spec.name, spec.type, dict(spec.fields)) == ("B", binding["type"], fields)


def outbound(**fields: Any) -> dict[str, Any]:
    return {"type": "dispatch_namespace", "namespace": "n", "outbound": fields}


def test_an_outbound_worker_is_kept_as_it_was_sent() -> None:
    sent = {"worker": {"service": "out", "entrypoint": "Named"}, "params": [{"name": "customer"}]}

    kept = parse(bindings=[{"name": "B", **outbound(**sent)}]).bindings[0]

    assert kept.fields == {"namespace": "n", "outbound": sent}


@pytest.mark.parametrize(
    ("binding", "code", "words"),
    [
        ({"type": "queue", "queue_name": "q"}, 10021, "bindings of type 'queue' are not supported yet"),
        ({"type": "durable_object_namespace", "class_name": "C"}, 10021, "'durable_object_namespace'"),
        ({"type": "\x1b[31m"}, 10021, "'\\x1b[31m'"),
        ({"type": 3}, 10021, "bindings[0]"),
        ({}, 10021, "bindings[0]"),
        ({"type": "plain_text"}, 10021, "binding B of type plain_text"),
        ({"type": "plain_text", "text": 1}, 10021, "binding B of type plain_text"),
        ({"type": "plain_text", "text": "x" * 5121}, 10021, "larger than 5120 bytes"),
        ({"type": "json", "json": "x" * 5121}, 10021, "larger than 5120 bytes"),
        ({"type": "kv_namespace", "namespace_id": "../../etc"}, 10042, "is not valid"),
        ({"type": "d1"}, 10021, "binding B of type d1 must have a valid"),
        ({"type": "d1", "id": "a", "database_id": "b"}, 10021, "must have a valid"),
        ({"type": "dispatch_namespace", "namespace": "../x"}, 10021, "dispatch namespace name"),
        ({"type": "dispatch_namespace", "namespace": "n", "outbound": {}}, 10021, "missing required field `worker`"),
        (outbound(worker={}), 10021, "missing required field `service`"),
        (outbound(worker={"service": "../x"}), 10016, "is not a Worker name"),
        (outbound(worker={"service": "w", "environment": "staging"}), 10021, "has no environment but production"),
        (outbound(worker={"service": "w", "entrypoint": "a.b"}), 10021, "'a.b' is not the name of an entrypoint"),
        (outbound(worker={"service": "w"}, params=[{"name": "a-b"}]), 10021, "'a-b' is not the name of an outbound"),
        (outbound(worker={"service": "w"}, params=[{"name": "a"}] * 65), 10021, "more than 64 outbound params"),
        ({"type": "r2_bucket", "bucket_name": "b", "jurisdiction": "eu"}, 10021, "jurisdictions"),
        ({"type": "inherit", "version_id": "7"}, 10021, "inheriting from a version"),
        ({"type": "plain_text", "text": "", "name": "a-b"}, 10021, "'a-b' is not a binding name"),
        ({"type": "plain_text", "text": "", "name": "__proto__" * 40}, 10021, "is not a binding name"),
    ],
)
def test_the_table_of_refused_bindings(binding: dict[str, Any], code: int, words: str) -> None:
    with pytest.raises(Invalid) as raised:
        parse(bindings=[{"name": "B", **binding}])

    assert raised.value.code == code
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"main_module": None}, "main_module is missing"),
        ({"main_module": ""}, "main_module is missing"),
        ({"main_module": 1}, "$.main_module"),
        ({"main_module": "index.js"}, "JavaScript needs the workerd runtime"),
        ({"main_module": "index.mjs"}, "JavaScript needs the workerd runtime"),
        ({"main_module": None, "body_part": "script"}, "JavaScript needs the workerd runtime"),
        ({"main_module": "entry.wasm"}, "must be a Python file"),
        ({"main_module": "../entry.py"}, "not a plain relative path"),
        ({"main_module": "/entry.py"}, "not a plain relative path"),
        ({"compatibility_flags": []}, '"python_workers" compatibility flag is required'),
        ({"compatibility_flags": ["python_workers"] * 65}, "more than 64"),
        ({"compatibility_flags": ["python_workers", "a" * 101]}, "not a compatibility flag"),
        ({"compatibility_flags": ["python_workers", "x;y"]}, "not a compatibility flag"),
        ({"compatibility_date": "2026-02-30"}, "compatibility_date"),
        ({"compatibility_date": "2026-W01-1"}, "compatibility_date"),
        ({"compatibility_date": "٢٠٢٦-01-01"}, "compatibility_date"),
        ({"compatibility_date": "9" * 10_000}, "compatibility_date"),
        ({"limits": {"cpu_ms": 9}}, "limits.cpu_ms must be between 10 and 300000"),
        ({"limits": {"cpu_ms": 300_001}}, "limits.cpu_ms must be between 10 and 300000"),
        ({"limits": {"cpu_ms": 10**30}}, "limits.cpu_ms"),
        ({"limits": {"subrequests": -1}}, "limits.subrequests"),
        ({"migrations": {"new_tag": "v1"}}, "migrations is not supported yet"),
        ({"assets": "x"}, "metadata: assets: Expected `object`"),
        ({"assets": {"config": {"html_handling": "x"}}}, "Invalid enum value 'x'"),
        ({"assets": {"config": {"run_worker_first": []}}}, "must provide at least 1 rule"),
        ({"assets": {"config": {"run_worker_first": ["!/a"]}}}, "at least 1 non-negative rule"),
        ({"bindings": {}}, "$.bindings"),
        ({"bindings": [{"name": "A", "type": "plain_text", "text": ""}] * 2}, "two bindings have the name A"),
        ({"bindings": [{"name": "A", "type": "plain_text", "text": ""}] * 513}, "more than 512 bindings"),
    ],
)
def test_the_table_of_refused_metadata(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as raised:
        parse(**change)

    assert raised.value.code == 10021
    assert words in raised.value.message


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*MINIMAL, "bindings"]), inner),
        ).map(lambda value: json.dumps(value).encode()),
        st.integers(1, 100_000).map(lambda depth: b"[" * depth),
        st.integers(1, 100_000).map(lambda depth: b'{"bindings":' + b"[" * depth),
        st.just(b'{"main_module": "\\ud800.py"}'),
        st.just(b'{"main_module": "a.py", "bindings": [{"name": "A", "type": "plain_text", "text": "\\ud800"}]}'),
    )
)
def test_any_bytes_are_metadata_or_one_kind_of_error(content: bytes) -> None:
    try:
        parse_metadata_untrusted(content)
    except Invalid as error:
        assert len(error.message) < 1000  # noqa: PT017 # both outcomes are right
