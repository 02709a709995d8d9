"""What a caller and an operator read when a Worker has a bug."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from conftest import Platform


def test_a_bug_is_a_500_with_an_id_and_its_traceback_is_in_the_log(platform: Platform, user2: httpx.Client) -> None:
    """The bug: the Worker does not expect that its customer changes the table of the activity."""
    user2.post("/data", json={"key": "a", "value": 1}).raise_for_status()
    rename = "ALTER TABLE platform_activity RENAME COLUMN operations TO something_else"
    user2.post("/query", json={"sql": rename}).raise_for_status()
    try:
        response = user2.get("/stats")
        still_there = user2.get("/data", params={"key": "a"})
    finally:
        user2.post("/query", json={"sql": "DROP TABLE platform_activity"}).raise_for_status()

    assert response.status_code == 500
    body = response.json()
    assert sorted(body) == ["error", "id"]
    assert body["error"] == "Internal error"
    assert str(uuid.UUID(body["id"])) == body["id"]
    assert still_there.status_code == 200
    platform.wait_until(lambda: body["id"] in platform.log_text(), "the id in the log")
    platform.wait_until(lambda: "activity.py" in platform.log_text(), "the traceback in the log")
    lines = platform.log_text().splitlines()
    assert any("my-binding-dispatcher" in line and body["id"] in line for line in lines)
    assert any("customer-worker-2" in line for line in lines)


def test_dev_json_says_where_everything_is(platform: Platform) -> None:
    about = platform.about
    assert set(about["customers"]) == {"user1", "user2", "test-user"}
    assert about["customers"]["user1"]["worker"] == "customer-worker-1"
    for customer in about["customers"].values():
        assert all(customer[service] for service in ("kv", "r2", "d1"))
    for service in ("kv", "r2", "d1"):
        assert len({customer[service] for customer in about["customers"].values()}) == 3
    assert (platform.data / "dev.json").stat().st_mode & 0o777 == 0o600
    assert httpx.get(f"{about['control']}/healthz").status_code == 200
