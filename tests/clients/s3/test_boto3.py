"""boto3, which is what most Python programs use: every case of `cases.py`, and what its transfer manager does."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from boto3.s3.transfer import TransferConfig

_spec = importlib.util.spec_from_file_location("tenantry_s3_cases", Path(__file__).with_name("cases.py"))
assert _spec is not None
assert _spec.loader is not None
cases = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = cases
_spec.loader.exec_module(cases)

MIB = 1024 * 1024


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.id)
def test_a_case_of_the_compatibility_table(case: Any, s3: Any, bucket: str) -> None:
    case.run(s3, bucket)


def test_no_case_is_told_twice() -> None:
    rows = [(case.operation, case.feature) for case in cases.CASES]

    assert len(rows) == len(set(rows))


def test_the_transfer_manager_uploads_in_parts_and_downloads_in_ranges(s3: Any, bucket: str) -> None:
    data = os.urandom(13 * MIB)
    transfer = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=3)

    s3.upload_fileobj(io.BytesIO(data), bucket, "big", Config=transfer, ExtraArgs={"ContentType": "x/y"})
    got = io.BytesIO()
    s3.download_fileobj(bucket, "big", got, Config=transfer)

    assert got.getvalue() == data
    found = s3.head_object(Bucket=bucket, Key="big", ChecksumMode="ENABLED")
    assert found["ETag"].endswith('-3"')
    assert found["ChecksumCRC32"].endswith("-3")


def test_the_transfer_manager_copies_in_parts(s3: Any, bucket: str) -> None:
    data = os.urandom(11 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=data)
    transfer = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)

    s3.copy({"Bucket": bucket, "Key": "source"}, bucket, "copy", Config=transfer)

    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == data


def test_the_bucket_in_front_of_the_host(endpoint: Any, s3: Any, bucket: str) -> None:
    """Virtual-host style: signed by boto3 for the name, sent to the address."""
    s3.put_object(Bucket=bucket, Key="folder/k", Body=b"1")
    port = endpoint.url.rpartition(":")[2]
    styled = endpoint.client(endpoint_url=f"http://localhost:{port}", addressing_style="virtual")
    url = styled.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "folder/k"})
    host = f"{bucket}.localhost:{port}"
    assert url.startswith(f"http://{host}/folder/k?")

    answer = httpx.get(url.replace(host, f"127.0.0.1:{port}"), headers={"Host": host})

    assert answer.content == b"1"


def test_a_client_that_sends_no_checksums(endpoint: Any, bucket: str) -> None:
    """As older SDKs do."""
    client = endpoint.client(request_checksum_calculation="when_required")

    made = client.put_object(Bucket=bucket, Key="k", Body=b"x" * 200_000)

    assert "ChecksumCRC32" not in made
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x" * 200_000


def test_a_key_of_one_bucket_neither_reaches_nor_detects_another(endpoint: Any, s3: Any, bucket: str) -> None:
    other = f"{bucket}-other"
    s3.create_bucket(Bucket=other)
    s3.put_object(Bucket=other, Key="k", Body=b"1")
    own = endpoint.client(endpoint.access_key("object-read-write", bucket))

    own.put_object(Bucket=bucket, Key="k", Body=b"mine")
    for name in (other, f"{bucket}-never-there"):
        for call in (
            lambda name=name: own.get_object(Bucket=name, Key="k"),
            lambda name=name: own.put_object(Bucket=name, Key="k", Body=b""),
            lambda name=name: own.delete_object(Bucket=name, Key="k"),
            lambda name=name: own.list_objects_v2(Bucket=name),
            lambda name=name: own.get_bucket_location(Bucket=name),
            lambda name=name: own.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": name, "Key": "k"}),
            lambda name=name: own.create_bucket(Bucket=name),
        ):
            error = cases.fails("AccessDenied", 403, call)
            assert error.response["Error"]["Message"] == "Access Denied"
    cases.fails("AccessDenied", 403, own.list_buckets)
    assert s3.get_object(Bucket=other, Key="k")["Body"].read() == b"1"


def test_a_key_may_do_what_its_permission_says(endpoint: Any, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    reads = {
        "get": lambda c: c.get_object(Bucket=bucket, Key="k"),
        "list": lambda c: c.list_objects_v2(Bucket=bucket),
        "head": lambda c: c.head_bucket(Bucket=bucket),
    }
    writes = {
        "put": lambda c: c.put_object(Bucket=bucket, Key="k", Body=b"1"),
        "delete": lambda c: c.delete_object(Bucket=bucket, Key="none"),
        "begin": lambda c: c.create_multipart_upload(Bucket=bucket, Key="u"),
    }
    admin_reads = {"buckets": lambda c: c.list_buckets(), "cycle": lambda c: c.get_bucket_lifecycle(Bucket=bucket)}
    admin_writes = {"make": lambda c: c.create_bucket(Bucket=f"{bucket}-{os.urandom(4).hex()}")}
    for permission, allowed in {
        "object-read-only": reads,
        "object-read-write": reads | writes,
        "admin-read-only": reads | admin_reads,
        "admin-read-write": reads | writes | admin_reads | admin_writes,
    }.items():
        client = endpoint.client(endpoint.access_key(permission))
        for name, call in (reads | writes | admin_reads | admin_writes).items():
            if name in allowed:
                call(client)
            else:
                cases.fails("AccessDenied", 403, lambda call=call, client=client: call(client))


def test_a_key_that_is_revoked_or_wrong_is_nobody(endpoint: Any, bucket: str) -> None:
    key = endpoint.access_key("object-read-only", bucket)
    client = endpoint.client(key)
    client.list_objects_v2(Bucket=bucket)

    endpoint.revoke(key)

    cases.fails("Unauthorized", 401, lambda: client.list_objects_v2(Bucket=bucket))
    wrong = endpoint.client(type(key)(endpoint.admin.id, "0" * 64))
    cases.fails("SignatureDoesNotMatch", 403, lambda: wrong.list_objects_v2(Bucket=bucket))


def test_a_key_goes_with_its_bucket(endpoint: Any, s3: Any, bucket: str) -> None:
    key = endpoint.access_key("object-read-write", bucket)

    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)

    cases.fails("Unauthorized", 401, lambda: endpoint.client(key).list_objects_v2(Bucket=bucket))
