"""Arguments that no SDK of ours would send: every one gets a BindingError, and streams are closed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantry.errors import BindingError, ConfigError
from tenantry.services import ServiceSettings
from tenantry.services.r2 import SERVICE
from tenantry.services.r2.binding import R2Binding
from tenantry.services.r2.engines.memory import MemoryEngine
from tenantry.streams import BytesStream

METHODS = [
    "head",
    "get",
    "put",
    "delete",
    "list",
    "createMultipartUpload",
    "uploadPart",
    "completeMultipartUpload",
    "abortMultipartUpload",
]


class Watched(BytesStream):
    closed = False

    async def aclose(self) -> None:
        self.closed = True
        await super().aclose()


@pytest.mark.parametrize("method", ["", "__init__", "_put", "call", "PUT", "x" * 10_000])
async def test_a_method_that_is_none(method):
    with pytest.raises(BindingError, match="has no method"):
        await R2Binding(MemoryEngine().bucket("b")).call(method, [])


@pytest.mark.parametrize("method", METHODS)
async def test_wrong_arity(method):
    binding = R2Binding(MemoryEngine().bucket("b"))
    for args in ([], ["a"] * 6):
        if method == "list" and not args:
            continue
        with pytest.raises(BindingError, match="wrong number of arguments"):
            await binding.call(method, args)


@pytest.mark.parametrize("method", METHODS)
async def test_streams_in_any_argument_are_closed(method):
    binding = R2Binding(MemoryEngine().bucket("b"))
    streams = [Watched(b"x") for _ in range(4)]
    with pytest.raises(BindingError):
        await binding.call(method, [streams[0], [streams[1]], {"a": {"b": streams[2]}}, 0, streams[3], 0, 0])
    assert all(stream.closed for stream in streams)


NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30), st.floats(), st.sampled_from([10**400, -(10**400), 2**53, 2**63, 2**64, -1, 0, 1])
)
NAMES = st.sampled_from(
    [
        *("onlyIf", "range", "headers", "httpMetadata", "customMetadata", "md5", "sha1", "sha256", "ssecKey"),
        *("storageClass", "prefix", "cursor", "limit", "delimiter", "startAfter", "include", "etagMatches"),
        *("etagDoesNotMatch", "uploadedBefore", "uploadedAfter", "secondsGranularity", "offset", "length", "suffix"),
        *("partNumber", "etag", "contentType", "cacheExpiry", "if-match", "if-none-match", "if-modified-since"),
        *("expires", "content-type"),
    ]
)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.text(max_size=20),
    st.sampled_from(["\ud800", "*", '"a"', "bytes=0-0", "x" * 20_000, "Tue, 99 Nov 2023 22:13:20 GMT", "=" * 8]),
    st.binary(max_size=70),
    st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC)),
    st.datetimes(),
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(NAMES, st.text(max_size=3), st.integers()), inner, max_size=5),
        st.frozensets(st.one_of(st.integers(), st.text(max_size=3)), max_size=3).map(set),
    ),
    max_leaves=12,
)
OPTIONS = st.dictionaries(NAMES, VALUES, max_size=5)


async def outcome_of(binding: R2Binding, method: str, args: list[object]) -> BindingError | None:
    try:
        await binding.call(method, args)
    except BindingError as error:
        return error
    return None


def check(error: BindingError | None) -> None:
    if error is not None:
        assert error.name in ("Error", "TypeError", "RangeError")
        assert len(error.message) < 20_000


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(method=st.sampled_from(METHODS), args=st.lists(st.one_of(OPTIONS, VALUES, st.just("key")), max_size=5))
async def test_any_arguments_give_a_result_or_a_binding_error(method, args):
    binding = R2Binding(MemoryEngine().bucket("b"))
    await binding.call("put", ["key", b"0123456789"])
    check(await outcome_of(binding, method, args))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(method=st.sampled_from(["get", "put", "list"]), options=OPTIONS)
async def test_any_options_give_a_result_or_a_binding_error(method, options):
    binding = R2Binding(MemoryEngine().bucket("b"))
    await binding.call("put", ["key", b"0123456789"])
    args = {"get": ["key", options], "put": ["key", b"x", options], "list": [options]}[method]
    check(await outcome_of(binding, method, args))


async def test_huge_lists_are_refused_quickly():
    binding = R2Binding(MemoryEngine().bucket("b"))
    with pytest.raises(BindingError, match="10022"):
        await binding.call("delete", [["k"] * 1_000_000])
    with pytest.raises(BindingError, match="10025"):
        await binding.call("completeMultipartUpload", ["k", "id", [{}] * 1_000_000])
    with pytest.raises(BindingError, match="more than 256"):
        await binding.call("get", ["k", {"onlyIf": {"etagMatches": ["x"] * 1_000_000}}])
    with pytest.raises(BindingError, match="10012"):
        await binding.call("put", ["k", b"", {"customMetadata": {str(n): "" for n in range(100_000)}}])


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "a\0b", ".lock", "-x", "x" * 129, "ä", "a\n", 5]
)
async def test_a_bucket_name_that_is_no_file_name(tmp_path: Path, name):
    service = SERVICE(ServiceSettings(tmp_path))
    with pytest.raises(ConfigError, match="cannot be used"):
        service.open(name)
    with pytest.raises(ConfigError, match="cannot be used"):
        await service.delete(name)
    await service.aclose()


async def test_the_service_keeps_buckets_below_the_folder_of_the_account(tmp_path: Path):
    service = SERVICE(ServiceSettings(tmp_path, durability="process"))
    assert SERVICE.binding_types == {"r2_bucket": "bucket_name"}
    await service.open("bucket.1").call("put", ["key", b"x"])
    assert (await service.open("bucket.1").call("get", ["key"]))["body"] == b"x"
    assert (tmp_path / "r2" / "bucket.1").is_dir()
    await service.delete("bucket.1")
    assert not (tmp_path / "r2" / "bucket.1").exists()
    await service.aclose()
    await service.aclose()


async def test_a_date_at_the_end_of_time():
    binding = R2Binding(MemoryEngine().bucket("b"))
    last = datetime.max.replace(tzinfo=UTC)
    stored = await binding.call("put", ["key", b"", {"httpMetadata": {"cacheExpiry": last}}])
    assert stored["httpMetadata"]["cacheExpiry"] == last.replace(microsecond=999_000)
    assert (await binding.call("get", ["key", {"onlyIf": {"uploadedBefore": last}}]))["body"] == b""
