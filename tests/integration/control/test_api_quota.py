"""Quotas over REST: an error of the client's, in the envelope."""

from __future__ import annotations

from typing import Any

import pytest

from tenantry.config.quotas import ServiceQuota
from tenantry.services.quota import Limit, Quota

QUOTAS = {"kv": Quota(Limit(1_000)), "r2": Quota(Limit(1_000)), "d1": Quota(account=Limit(40_000))}

COUNTS = {name: ServiceQuota(resources=2) for name in ("kv", "r2", "d1")}


def error_of(response: Any) -> tuple[int, int, str]:
    error = response.json()["errors"][0]
    return response.status_code, error["code"], error["message"]


async def test_what_does_not_fit_is_refused(control: Any) -> None:
    await control.call("POST", "/r2/buckets", json={"name": "files"})
    path = "/r2/buckets/files/objects/a"
    status, code, message = error_of(await control.call("PUT", path, content=bytes(1_001)))
    assert (status, code) == (413, 100100)
    assert message == "Your proposed upload exceeds the quota: more bytes than the bucket may hold."
    assert (await control.call("PUT", path, content=bytes(1_000))).status_code == 200

    made = (await control.call("POST", "/d1/database", json={"name": "data"})).json()["result"]
    query = f"/d1/database/{made['uuid']}/query"
    assert (await control.call("POST", query, json={"sql": "CREATE TABLE t (data BLOB)"})).status_code == 200
    fill = {"sql": "INSERT INTO t SELECT randomblob(3000) FROM json_each(?)", "params": [str([0] * 20)]}
    status, code, message = error_of(await control.call("POST", query, json=fill))
    assert (status, code) == (400, 7500)
    assert message.startswith("Your account has exceeded D1's maximum account storage limit.")
    assert (await control.call("POST", query, json={"sql": "DELETE FROM t"})).status_code == 200


@pytest.mark.parametrize(
    ("path", "name", "code", "noun"),
    [
        ("/storage/kv/namespaces", "title", 10023, "KV namespaces"),
        ("/r2/buckets", "name", 10009, "buckets"),
        ("/d1/database", "name", 7406, "databases"),
    ],
)
async def test_one_resource_too_many_is_not_made(control: Any, path: str, name: str, code: int, noun: str) -> None:
    made = [(await control.call("POST", path, json={name: f"number-{number}"})).json()["result"] for number in (1, 2)]
    message = f"The account may not have more than 2 {noun}: delete one first."
    for _ in range(2):
        refused = await control.call("POST", path, json={name: "number-3"})
        assert error_of(refused) == (400, code, message)
    first = made[0].get("uuid") or made[0].get("id") or "number-1"
    assert (await control.call("DELETE", f"{path}/{first}")).status_code == 200
    assert (await control.call("POST", path, json={name: "number-3"})).status_code == 200
