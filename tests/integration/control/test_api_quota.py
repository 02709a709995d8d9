"""Quotas over REST: an error of the client's, in the envelope."""

from __future__ import annotations

from typing import Any

from tenantry.services.quota import Limit, Quota

QUOTAS = {"kv": Quota(Limit(1_000)), "r2": Quota(Limit(1_000)), "d1": Quota(account=Limit(40_000))}


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
