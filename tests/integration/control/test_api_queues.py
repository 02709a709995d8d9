"""Queues over REST: found by their exact name, changed in parts, with consumers."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def control(emptied_control: Any) -> Any:
    return emptied_control


async def make(control: Any, name: str) -> dict[str, Any]:
    response = await control.call("POST", "/queues", json={"queue_name": name, "settings": {"delivery_delay": 5}})
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()["result"]
    return result


async def test_the_life_of_a_queue(control: Any) -> None:
    made = await make(control, "mail")
    assert made["settings"] == {
        "delivery_delay": 5,
        "delivery_paused": False,
        "message_retention_period": 345_600,
    }
    assert (made["producers_total_count"], made["consumers_total_count"]) == (0, 0)

    path = f"/queues/{made['queue_id']}"
    paused = await control.call("PATCH", path, json={"settings": {"delivery_paused": True}})
    assert paused.json()["result"]["settings"] == {**made["settings"], "delivery_paused": True}
    renamed = await control.call("PUT", path, json={"queue_name": "post"})
    assert renamed.json()["result"]["queue_name"] == "post"
    assert (await control.call("GET", path)).json()["result"] == renamed.json()["result"]
    assert (await control.call("DELETE", path)).json()["result"] is None
    gone = await control.call("GET", path)
    assert (gone.status_code, gone.json()["errors"][0]["code"]) == (404, 11000)


async def test_a_name_finds_its_queue_and_no_other(control: Any) -> None:
    for name in ("mail", "mail-2", "other"):
        await make(control, name)

    async def names(query: str) -> list[str]:
        return [queue["queue_name"] for queue in (await control.call("GET", f"/queues{query}")).json()["result"]]

    assert await names("?page=1&name=mail") == ["mail"]
    assert await names("?name=mail&name=other") == ["mail", "other"]
    assert await names("") == ["mail", "mail-2", "other"]
    assert await names("?per_page=2&page=2") == ["other"]
    taken = await control.call("POST", "/queues", json={"queue_name": "mail"})
    assert (taken.status_code, taken.json()["errors"][0]["code"]) == (400, 11009)
    assert (await control.call("POST", "/queues", json={"queue_name": "a b"})).status_code == 400


async def test_consumers_of_a_queue(control: Any) -> None:
    path = f"/queues/{(await make(control, 'mail'))['queue_id']}"
    body = {"type": "worker", "script_name": "w", "environment_name": "", "settings": {"batch_size": 10}}

    made = (await control.call("POST", f"{path}/consumers", json=body)).json()["result"]
    assert (made["script"], made["script_name"], made["queue_name"]) == ("w", "w", "mail")
    changed = {**body, "settings": {"batch_size": 20}}
    put = await control.call("PUT", f"{path}/consumers/{made['consumer_id']}", json=changed)
    assert put.json()["result"]["settings"] == {"batch_size": 20}
    (queue,) = (await control.call("GET", "/queues?name=mail")).json()["result"]
    assert [each["consumer_id"] for each in queue["consumers"]] == [made["consumer_id"]]
    assert (await control.call("GET", f"{path}/consumers")).json()["result"] == queue["consumers"]
    for _ in range(2):
        last = await control.call("DELETE", f"{path}/consumers/{made['consumer_id']}")
    assert last.status_code == 404
    assert (await control.call("POST", f"{path}/messages", json={"body": 1})).status_code == 501
