"""What the S3 endpoint needs of R2's rules, and Workers do not: checksums of parts, parts of objects, markers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tenantry.errors import BindingError
from tenantry.services.r2.checksums import CHECKSUM_BYTES, Checksum, digest_of
from tenantry.services.r2.engine import Engine
from tenantry.services.r2.limits import PART_BYTES_MIN
from tenantry.services.r2.model import Window
from tenantry.services.r2.options import GetOptions, ListOptions, PutOptions
from tenantry.services.r2.service import BucketRules

FIRST, SECOND = b"1" * PART_BYTES_MIN, b"second"


@pytest.fixture
def rules(engine: Engine, clock: Callable[[], int]) -> BucketRules:
    return BucketRules(engine.bucket("bucket"), clock)


async def upload(rules: BucketRules, algorithm: str | None) -> Any:
    checksums = () if algorithm is None else (Checksum(algorithm),)
    upload_id = await rules.create_upload("k", PutOptions(checksums=checksums))
    parts = [await rules.upload_part("k", upload_id, number, body) for number, body in ((1, FIRST), (2, SECOND))]
    return upload_id, parts


@pytest.mark.parametrize("algorithm", CHECKSUM_BYTES)
async def test_every_part_has_the_checksum_that_the_upload_was_begun_with(rules: BucketRules, algorithm: str) -> None:
    upload_id, parts = await upload(rules, algorithm)

    listed = await rules.list_parts("k", upload_id, 0, 10)
    record = await rules.complete_upload("k", upload_id, [(part.number, part.etag) for part in parts])

    assert [part.checksum for part in listed] == [digest_of(algorithm, body) for body in (FIRST, SECOND)]
    assert set(record.metadata.checksums) == {algorithm}
    found = await rules.head("k")
    assert found == record


async def test_a_completion_that_expects_other_checksums_is_refused(rules: BucketRules) -> None:
    upload_id, parts = await upload(rules, "crc64nvme")
    chosen = [(part.number, part.etag) for part in parts]

    with pytest.raises(BindingError, match="10025"):
        await rules.complete_upload("k", upload_id, chosen, part_checksums={2: bytes(8)})
    with pytest.raises(BindingError, match=r"CRC64NVME.*\(10037\)") as caught:
        await rules.complete_upload("k", upload_id, chosen, checksum=bytes(8))
    assert "\n" in caught.value.message
    whole = digest_of("crc64nvme", FIRST + SECOND)
    record = await rules.complete_upload("k", upload_id, chosen, checksum=whole)

    assert record.metadata.checksums == {"crc64nvme": whole}


async def test_a_part_of_an_object_can_be_read(rules: BucketRules) -> None:
    upload_id, parts = await upload(rules, None)
    await rules.complete_upload("k", upload_id, [(part.number, part.etag) for part in parts])

    found = await rules.get("k", GetOptions(part=2))

    assert found is not None
    record, window, body = found
    assert (record.part_count, window) == (2, Window(PART_BYTES_MIN, len(SECOND)))
    assert body is not None
    assert await body.read(100) == SECOND
    await body.aclose()
    for number in (0, 3):
        with pytest.raises(BindingError, match="10039"):
            await rules.get("k", GetOptions(part=number))


async def test_an_object_that_was_put_at_once_is_one_part(rules: BucketRules) -> None:
    record = await rules.put("k", b"whole", PutOptions())

    assert record is not None
    assert (record.part_count, record.part_window(1), record.part_window(2)) == (0, Window(0, 5), None)


async def test_a_body_that_is_not_what_its_sender_says_is_not_kept(rules: BucketRules) -> None:
    checks = (
        Checksum("crc32", b"\0\0\0\0"),
        Checksum("crc32", lambda: b"\0\0\0\0"),
        Checksum("sha256", bytes(32), mismatch=lambda expected, actual: BindingError("my own words")),
    )
    for check, words in zip(checks, ("10037", "10037", "my own words"), strict=True):
        with pytest.raises(BindingError, match=words):
            await rules.put("k", b"body", PutOptions(checksums=(check,)))

    assert await rules.head("k") is None


async def test_a_checksum_that_is_not_to_be_stored_is_not(rules: BucketRules) -> None:
    record = await rules.put("k", b"body", PutOptions(checksums=(Checksum("sha1", stored=False), Checksum("crc32c"))))

    assert record is not None
    assert set(record.metadata.checksums) == {"md5", "crc32c"}


async def test_a_marker_is_the_last_entry_of_the_page_before(rules: BucketRules) -> None:
    for key in ("a", "b/1", "b/2", "b0", "c"):
        await rules.put(key, b"", PutOptions())

    async def after(marker: str, **options: str) -> list[str]:
        page = await rules.list(ListOptions(marker=marker, **options))
        return [record.key for record in page.objects] + page.prefixes

    assert await after("b/") == ["b/1", "b/2", "b0", "c"]
    assert await after("b/", delimiter="/") == ["b0", "c"]
    assert await after("b/1", delimiter="/") == ["b0", "c", "b/"]
    assert await after("b/1", delimiter="/", prefix="b/") == ["b/2"]
    assert await after("b/", delimiter="/", prefix="b/") == ["b/1", "b/2"]
    assert await after("c") == []
