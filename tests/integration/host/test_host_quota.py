"""Quotas as a Worker meets them: what its bindings say of a write that does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from tenantry.services.quota import Limit, Quota

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUOTAS = {
    "kv": Quota(Limit(1_000)),
    "r2": Quota(Limit(1_000), Limit(1_000_000)),
    "d1": Quota(Limit(100_000), Limit(200_000)),
}

SOURCE = """
from workers import Response, WorkerEntrypoint


async def said(call):
    try:
        await call
    except Exception as error:
        return str(error)
    return "ok"


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        env = self.env
        await env.DB.exec("CREATE TABLE t (data BLOB)")
        fill = env.DB.prepare("INSERT INTO t SELECT randomblob(3000) FROM json_each(?)")
        lines = [
            await said(env.KV.put("k", "x" * 1000)),
            await said(env.KV.put("k", "x" * 999)),
            await said(env.BUCKET.put("k", "x" * 1001)),
            await said(env.BUCKET.put("k", "x" * 1000)),
            await said(fill.bind(str([0] * 40)).run()),
            await said(fill.bind(str([0] * 4)).run()),
        ]
        return Response("\\n".join(lines))
"""


async def test_a_worker_is_told_what_does_not_fit(platform: Any) -> None:
    bindings = {
        "KV": ("kv_namespace", {"namespace_id": "quota"}),
        "BUCKET": ("r2_bucket", {"bucket_name": "quota"}),
        "DB": ("d1", {"id": "quota"}),
    }
    platform.deploy("quota", SOURCE, bindings=bindings)
    lines = (await platform.text("quota")).splitlines()
    assert [line.removeprefix("Error: ") for line in lines] == [
        "KV PUT failed: 413 More bytes than the namespace may hold",
        "ok",
        "put: Your proposed upload exceeds the quota: more bytes than the bucket may hold. (100100)",
        "ok",
        "D1_ERROR: Exceeded maximum DB size.",
        "ok",
    ]
