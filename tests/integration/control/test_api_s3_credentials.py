"""Access keys for S3 over REST: made, shown once, listed, revoked."""

from __future__ import annotations

from typing import Any

import pytest

PATH = "/r2/s3-credentials"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def control(emptied_control: Any) -> Any:
    return emptied_control


async def make(control: Any, **body: Any) -> Any:
    response = await control.call("POST", PATH, json={"name": "backup", "permission": "admin-read-write", **body})
    assert response.status_code == 200, response.text
    return response.json()["result"]


async def test_the_secret_is_shown_once(control: Any) -> None:
    made = await make(control)
    listed = (await control.call("GET", PATH)).json()["result"]

    assert len(made["access_key_id"]) == 32
    assert len(made["secret_access_key"]) == 64
    assert listed == [{key: value for key, value in made.items() if key != "secret_access_key"}]
    assert made["bucket"] is None


async def test_a_key_may_be_for_a_bucket_that_exists_and_goes_with_it(control: Any) -> None:
    missing = await control.call(
        "POST", PATH, json={"name": "k", "permission": "object-read-only", "bucket": "never-there"}
    )
    await control.call("POST", "/r2/buckets", json={"name": "files"})
    await make(control, permission="object-read-only", bucket="files")
    kept = await make(control)

    await control.call("DELETE", "/r2/buckets/files")

    assert (missing.status_code, missing.json()["errors"][0]["code"]) == (404, 10006)
    left = (await control.call("GET", PATH)).json()["result"]
    assert [one["access_key_id"] for one in left] == [kept["access_key_id"]]


async def test_a_revoked_key_is_gone(control: Any) -> None:
    made = await make(control)

    gone = await control.call("DELETE", f"{PATH}/{made['access_key_id']}")
    again = await control.call("DELETE", f"{PATH}/{made['access_key_id']}")

    assert (gone.status_code, again.status_code) == (200, 404)
    assert control.store.s3_credentials.find_untrusted(control.account, made["access_key_id"]) is None


@pytest.mark.parametrize(
    "body",
    [
        {"permission": "root"},
        {"permission": "admin-read-only", "bucket": "files"},
        {"name": ""},
        {"name": "x" * 121},
        {"name": "two\nlines"},
        {"colour": "blue"},
        {"bucket": 7},
    ],
    ids=str,
)
async def test_what_makes_no_sense_is_refused(control: Any, body: dict[str, Any]) -> None:
    response = await control.call("POST", PATH, json={"name": "k", "permission": "object-read-only", **body})

    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, 10001)
