"""What an engine promises beyond a Worker's calls: usage, settings, open uploads, deletes by version, the sweep."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
from structlog.testing import capture_logs

from tenantry.errors import BindingError
from tenantry.services.r2.binding import R2Binding
from tenantry.services.r2.engine import Engine
from tenantry.services.r2.model import UploadQuery, Usage
from tenantry.services.r2.service import BucketRules, Swept
from tenantry.services.r2.settings import (
    AgeCondition,
    AgeTransition,
    BucketSettings,
    DateCondition,
    LifecycleRule,
    RuleConditions,
    StorageClassTransition,
    Transition,
)
from tenantry.services.r2.sweeper import Sweeper

DAY_MS = 86_400_000


async def begin(bucket, key="key", **options):
    return (await bucket.call("createMultipartUpload", [key, options]))["uploadId"]


@pytest.mark.parametrize("large", [10, 70_000])
async def test_usage_counts_what_is_there_and_nothing_else(bucket, rules, refused, large):
    assert await rules.usage() == Usage()
    await bucket.call("put", ["a", b"x" * large])
    await bucket.call("put", ["b", b"x" * 5])
    assert await rules.usage() == Usage(objects=2, object_bytes=large + 5)
    await bucket.call("put", ["a", b"y" * 7])  # in place of the first
    await bucket.call("put", ["b", b"z", {"onlyIf": {"etagMatches": "no"}}])
    await refused("put", "c", b"x" * large, {"md5": bytes(16)})
    assert await rules.usage() == Usage(objects=2, object_bytes=12)

    upload = await begin(bucket)
    dropped = await begin(bucket)
    await bucket.call("uploadPart", ["key", dropped, 1, b"x" * large])
    part = await bucket.call("uploadPart", ["key", upload, 1, b"x" * large])
    await bucket.call("uploadPart", ["key", upload, 2, b"never used"])
    assert await rules.usage() == Usage(objects=2, object_bytes=12, uploads=2, upload_bytes=2 * large + 10)
    part = await bucket.call("uploadPart", ["key", upload, 1, b"x" * 3])
    assert (await rules.usage()).upload_bytes == large + 13
    await bucket.call("abortMultipartUpload", ["key", dropped])
    await bucket.call("abortMultipartUpload", ["key", dropped])
    assert await rules.usage() == Usage(objects=2, object_bytes=12, uploads=1, upload_bytes=13)
    await bucket.call("completeMultipartUpload", ["key", upload, [part]])
    assert await rules.usage() == Usage(objects=3, object_bytes=15)
    assert (await rules.usage()).bytes == 15
    await bucket.call("delete", [["a", "b", "key", "never was", "a"]])
    assert await rules.usage() == Usage()


async def test_usage_counts_the_plain_bytes_of_what_is_sealed(bucket, rules):
    key = {"ssecKey": bytes(32)}
    await bucket.call("put", ["a", b"x" * 100_000, key])
    upload = await begin(bucket, **key)
    await bucket.call("uploadPart", ["key", upload, 1, b"x" * 70_000, key])
    assert await rules.usage() == Usage(objects=1, object_bytes=100_000, uploads=1, upload_bytes=70_000)


async def test_usage_is_exact_under_writes_at_once(bucket, rules):
    async def writer(number):
        for turn in range(5):
            await bucket.call("put", [f"{number % 4}", b"x" * (number + turn)])
            if turn % 2:
                await bucket.call("delete", [f"{(number + turn) % 4}"])

    await asyncio.gather(*(writer(number) for number in range(12)))
    objects = (await bucket.call("list", []))["objects"]
    usage = await rules.usage()
    assert (usage.objects, usage.object_bytes) == (len(objects), sum(one["size"] for one in objects))


async def test_settings_are_kept_and_changed_in_one_step(rules):
    assert await rules.settings() == BucketSettings()
    number = 0

    def change(settings):
        nonlocal number
        number += 1
        return msgspec.structs.replace(settings, storage_class=f"{settings.storage_class}+{number}")

    await asyncio.gather(*(rules.change_settings(change) for _ in range(5)))
    assert (await rules.settings()).storage_class == "Standard+1+2+3+4+5"

    def fail(settings):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await rules.change_settings(fail)
    assert (await rules.settings()).storage_class == "Standard+1+2+3+4+5"


async def test_the_default_storage_class_is_the_buckets(bucket, rules):
    await rules.change_settings(lambda old: msgspec.structs.replace(old, storage_class="InfrequentAccess"))
    assert (await bucket.call("put", ["a", b""]))["storageClass"] == "InfrequentAccess"
    assert (await bucket.call("put", ["a", b"", {"storageClass": "Standard"}]))["storageClass"] == "Standard"
    upload = await begin(bucket)
    made = await bucket.call("completeMultipartUpload", ["key", upload, []])
    assert made["storageClass"] == "InfrequentAccess"


async def test_open_uploads_are_listed_by_key_and_id(bucket, rules):
    ids = {}
    for key in ("b", "a/1", "a/2", "a/1", "ä"):
        ids.setdefault(key, []).append(await begin(bucket, key))
    ended = await begin(bucket, "a/0")
    await bucket.call("abortMultipartUpload", ["a/0", ended])
    expected = [(key, one) for key in ("a/1", "a/2", "b", "ä") for one in sorted(ids[key])]

    async def listed(**query):
        return [(one.key, one.upload_id) for one in await rules.list_uploads(UploadQuery(**query))]

    assert await listed() == expected
    assert await listed(prefix=b"a/") == expected[:3]
    assert await listed(limit=2) == expected[:2]
    assert await listed(after=(b"a/1", expected[0][1])) == expected[1:]
    assert await listed(after=(b"a/1", expected[0][1]), prefix=b"b") == [expected[3]]
    assert await listed(prefix=b"none") == []


async def test_the_parts_of_an_open_upload_are_listed(bucket, rules, clock):
    upload = await begin(bucket)
    for number in (7, 2, 10_000):
        clock.now_ms += 1
        await bucket.call("uploadPart", ["key", upload, number, b"x" * number])
    parts = await rules.list_parts("key", upload, 0, 1000)
    assert [(part.number, part.size, part.uploaded_ms - clock.now_ms) for part in parts] == [
        (2, 2, -1),
        (7, 7, -2),
        (10_000, 10_000, 0),
    ]
    assert [part.number for part in await rules.list_parts("key", upload, 2, 1)] == [7]
    for key, upload_id in (("other", upload), ("key", "none")):
        with pytest.raises(BindingError, match="10024"):
            await rules.list_parts(key, upload_id, 0, 10)
    await bucket.call("abortMultipartUpload", ["key", upload])
    with pytest.raises(BindingError, match="10024"):
        await rules.list_parts("key", upload, 0, 10)


async def test_a_bucket_that_has_objects_is_not_deleted(engine: Engine, bucket, rules):
    assert await engine.delete_bucket("bucket", if_empty=True)
    await bucket.call("put", ["key", b"x"])
    assert not await engine.delete_bucket("bucket", if_empty=True)
    assert (await bucket.call("get", ["key"]))["body"] == b"x"
    await bucket.call("delete", ["key"])
    await begin(bucket)
    assert await engine.delete_bucket("bucket", if_empty=True)
    assert await rules.usage() == Usage()


async def test_a_delete_of_an_empty_bucket_loses_no_write(engine: Engine, bucket):
    """Whatever the order of the two, an acknowledged object is there, or the bucket was deleted before it."""
    for turn in range(20):
        put = asyncio.create_task(bucket.call("put", ["key", b"x"]))
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        deleted = await engine.delete_bucket("bucket", if_empty=True)
        (outcome,) = await asyncio.gather(put, return_exceptions=True)
        if isinstance(outcome, BindingError):
            assert "10006" in outcome.message
            assert deleted
        else:
            assert await bucket.call("head", ["key"]) == {**outcome, "range": {"offset": 0, "length": 1}}
        await bucket.call("delete", ["key"])


async def test_the_names_of_buckets(engine: Engine):
    for name in ("one", "two", "three"):
        await R2Binding(engine.bucket(name)).call("put", ["key", b""])
    await engine.delete_bucket("two")
    assert set(await engine.bucket_names()) == {"one", "three"}


async def test_a_cursor_is_of_its_bucket(engine: Engine):
    one, other = R2Binding(engine.bucket("one")), R2Binding(engine.bucket("other"))
    for binding in (one, other):
        for key in ("a", "b", "c"):
            await binding.call("put", [key, b""])
    cursor = (await one.call("list", [{"limit": 1}]))["cursor"]
    assert [entry["key"] for entry in (await one.call("list", [{"cursor": cursor}]))["objects"]] == ["b", "c"]
    nothing = {"objects": [], "truncated": False, "delimitedPrefixes": []}
    assert await other.call("list", [{"cursor": cursor}]) == nothing
    await engine.delete_bucket("one")
    assert await one.call("list", [{"cursor": cursor}]) == nothing
    for key in ("a", "b", "c"):  # a bucket of the same name is another bucket
        await one.call("put", [key, b""])
    assert await one.call("list", [{"cursor": cursor}]) == nothing


# The lifecycle


def rule(name, prefix="", **transitions):
    return LifecycleRule(id=name, conditions=RuleConditions(prefix), **transitions)


def after(days):
    return AgeCondition(days * 86_400)


async def keys(bucket):
    return [entry["key"] for entry in (await bucket.call("list", []))["objects"]]


async def test_objects_expire_by_prefix_and_age(bucket, rules, clock):
    settings = BucketSettings(
        lifecycle=(
            rule("logs", "logs/", delete_objects_transition=Transition(after(1))),
            msgspec.structs.replace(rule("off", "", delete_objects_transition=Transition(after(0))), enabled=False),
        )
    )
    await rules.change_settings(lambda _: settings)
    for key in ("logs", "logs/old", "logs/old2", "other"):
        await bucket.call("put", [key, b"x" * 20_000])
    clock.now_ms += DAY_MS - 1
    assert await rules.sweep() == Swept()
    await bucket.call("put", ["logs/old2", b"new"])
    clock.now_ms += 1
    assert await rules.sweep() == Swept(expired_objects=1)
    assert await keys(bucket) == ["logs", "logs/old2", "other"]
    clock.now_ms += DAY_MS
    assert await rules.sweep() == Swept(expired_objects=1)
    assert (await rules.usage()).object_bytes == 40_000


async def test_objects_expire_from_a_date_on_and_cool_down_before(bucket, rules, clock):
    date = datetime.fromtimestamp((clock.now_ms + 10 * DAY_MS) / 1000, UTC)
    settings = BucketSettings(
        lifecycle=(
            rule("end", delete_objects_transition=Transition(DateCondition(date))),
            rule("cool", storage_class_transitions=(StorageClassTransition(after(2)),)),
        )
    )
    await rules.change_settings(lambda _: settings)
    made = await bucket.call("put", ["key", b"x", {"customMetadata": {"a": "b"}}])
    clock.now_ms += 2 * DAY_MS
    assert await rules.sweep() == Swept(cooled_objects=1)
    assert await rules.sweep() == Swept()
    found = (await bucket.call("get", ["key"]))["object"]
    assert {**found, "range": None} == {**made, "storageClass": "InfrequentAccess", "range": None}
    clock.now_ms += 8 * DAY_MS
    assert await rules.sweep() == Swept(expired_objects=1)


async def test_uploads_are_aborted_by_prefix_and_age(bucket, rules, clock):
    settings = BucketSettings(
        lifecycle=(rule("up", "tmp/", abort_multipart_uploads_transition=AgeTransition(after(3))),)
    )
    await rules.change_settings(lambda _: settings)
    for key in ("tmp/a", "kept"):
        upload = await begin(bucket, key)
        await bucket.call("uploadPart", [key, upload, 1, b"x" * 20_000])
    clock.now_ms += 3 * DAY_MS
    await begin(bucket, "tmp/young")
    assert await rules.sweep() == Swept(aborted_uploads=1)
    assert [one.key for one in await rules.list_uploads(UploadQuery())] == ["kept", "tmp/young"]
    assert (await rules.usage()).upload_bytes == 20_000


async def test_many_pages_expire(bucket, rules, clock):
    await rules.change_settings(
        lambda _: BucketSettings(lifecycle=(rule("all", delete_objects_transition=Transition(after(1))),))
    )
    await asyncio.gather(*(bucket.call("put", [f"k{number}", b""]) for number in range(1100)))
    clock.now_ms += DAY_MS
    assert await rules.sweep() == Swept(expired_objects=1100)
    assert await keys(bucket) == []


async def test_what_was_stored_since_the_sweep_looked_is_not_swept(engine: Engine, bucket, clock):
    old = await bucket.call("put", ["key", b"old"])
    new = await bucket.call("put", ["key", b"new"])
    versions = [("key", old["version"]), ("none", old["version"])]
    assert await engine.bucket("bucket").delete_versions(versions) == 0
    await engine.bucket("bucket").change_storage_class(versions, "InfrequentAccess")
    found = await bucket.call("head", ["key"])
    assert (found["version"], found["storageClass"]) == (new["version"], "Standard")
    assert await engine.bucket("bucket").delete_versions([("key", new["version"])]) == 1


async def test_the_sweeper_sweeps_every_bucket_and_outlives_one_that_fails(engine: Engine, clock, monkeypatch):
    for name in ("one", "bad", "two"):
        binding = R2Binding(engine.bucket(name), clock)
        await begin(binding)
    clock.now_ms += 7 * DAY_MS
    sweep = BucketRules.sweep

    async def failing(rules):
        if (await rules.usage()).objects:
            raise OSError(5, "Input/output error")
        return await sweep(rules)

    monkeypatch.setattr(BucketRules, "sweep", failing)
    await R2Binding(engine.bucket("bad"), clock).call("put", ["key", b""])
    with capture_logs() as said:
        assert (await Sweeper(engine, clock).sweep()).aborted_uploads == 2
    assert [(line["event"], line["bucket"]) for line in said] == [("an R2 bucket could not be swept", "bad")]
