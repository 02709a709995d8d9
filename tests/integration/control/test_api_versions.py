"""Versions and deployments over REST: immutable, split by percentages, returned to."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def control(emptied_control: Any) -> Any:
    return emptied_control


async def upload(control: Any, source: bytes, *, name: str = "w", **metadata: Any) -> Any:
    """A version that is not deployed."""
    document = {
        "main_module": "entry.py",
        "compatibility_date": "2026-01-15",
        "compatibility_flags": ["python_workers"],
        **metadata,
    }
    response = await control.call(
        "POST",
        f"/workers/scripts/{name}/versions",
        data={"metadata": json.dumps(document)},
        files=[("entry.py", ("entry.py", source, "text/x-python"))],
    )
    assert response.status_code == 200, response.text
    return response.json()["result"]


async def split(control: Any, *shares: tuple[str, float], query: str = "", **more: Any) -> Any:
    versions = [{"version_id": version, "percentage": percentage} for version, percentage in shares]
    return await control.call(
        "POST", f"/workers/scripts/w/deployments{query}", json={"strategy": "percentage", "versions": versions, **more}
    )


def running(control: Any) -> list[tuple[str, float]]:
    return [(version.version_id, version.percentage) for version in control.deployments.splits[None, "w"]]


async def test_a_version_is_put_in_charge_by_a_deployment_only(control: Any) -> None:
    first = (await control.deploy()).json()["result"]["deployment_id"]
    second = await upload(control, b"x = 2", annotations={"workers/message": "better", "workers/tag": "v2"})

    assert running(control) == [(first, 100)]
    assert second["number"] == 2
    assert second["annotations"] == {
        "workers/triggered_by": "upload",
        "workers/message": "better",
        "workers/tag": "v2",
    }
    made = await split(control, (first, 90), (second["id"], 10), annotations={"workers/message": "try it"})
    assert made.status_code == 200
    assert running(control) == [(first, 90), (second["id"], 10)]

    listed = (await control.call("GET", "/workers/scripts/w/deployments")).json()["result"]["deployments"]
    assert listed[0] == made.json()["result"], "the newest, which is the current one, comes first"
    assert listed[0]["annotations"]["workers/message"] == "try it"
    again = await control.call("GET", f"/workers/scripts/w/deployments/{listed[1]['id']}")
    assert again.json()["result"] == listed[1]
    assert [(version.version_id, version.percentage) for version in control.store.all_deployed()] == running(control)


async def test_versions_are_listed_by_pages_that_end(control: Any) -> None:
    await control.deploy()
    ids = [(await upload(control, f"x = {number}".encode()))["id"] for number in range(3)]

    async def page(number: int) -> list[str]:
        response = await control.call("GET", f"/workers/scripts/w/versions?per_page=2&page={number}&deployable=true")
        return [version["id"] for version in response.json()["result"]["items"]]

    assert await page(1) == [ids[2], ids[1]]
    assert (await page(2))[0] == ids[0]
    assert await page(3) == []
    shown = (await control.call("GET", f"/workers/scripts/w/versions/{ids[0]}")).json()["result"]
    assert shown["id"] == ids[0]
    latest = (await control.call("GET", "/workers/scripts/w/versions/latest")).json()["result"]
    assert latest["id"] == ids[2]


@pytest.mark.parametrize(
    ("percentages", "words"),
    [
        ([], "1 to 2 versions"),
        ([50, 40], "add up to 100"),
        ([150, -50], "between 0 and 100"),
        ([100, 0, 0], "1 to 2 versions"),
    ],
)
async def test_a_split_that_is_none_is_refused(control: Any, percentages: list[float], words: str) -> None:
    ids = [(await control.deploy()).json()["result"]["deployment_id"]]
    ids += [(await upload(control, f"x = {number}".encode()))["id"] for number in range(2)]

    response = await split(control, *zip(ids, percentages, strict=False))

    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, 10021)
    assert words in response.json()["errors"][0]["message"]
    assert running(control) == [(ids[0], 100)]


async def test_a_version_of_another_worker_cannot_be_deployed(control: Any) -> None:
    await control.deploy()
    other = (await control.deploy("other")).json()["result"]["deployment_id"]

    response = await split(control, (other, 100))

    assert response.status_code == 404
    assert (await split(control, (other, 50), (other, 50))).status_code == 400


async def test_a_version_that_is_already_running_keeps_its_identity(control: Any) -> None:
    first = (await control.deploy()).json()["result"]["deployment_id"]
    second = (await upload(control, b"x = 2"))["id"]
    await split(control, (first, 60), (second, 40))

    before = control.deployments.splits[None, "w"]
    await split(control, (first, 40), (second, 60))
    after = control.deployments.splits[None, "w"]

    assert [version.version_id for version in after] == [second, first], "the larger share comes first"
    assert {version.bundle for version in before} == {version.bundle for version in after}


async def test_a_return_across_changed_secrets_has_to_be_forced(control: Any) -> None:
    await control.deploy(bindings=[{"name": "S", "type": "secret_text", "text": "old"}])
    first = running(control)[0][0]
    await control.call("PUT", "/workers/scripts/w/secrets", json={"name": "S", "text": "new", "type": "secret_text"})

    refused = await split(control, (first, 100))
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, 10220)
    assert "The following secrets have changed: S" in refused.json()["errors"][0]["message"]
    assert control.deployments.workers[None, "w"].bindings[0].fields["text"] == "new"

    forced = await split(control, (first, 100), query="?force=true")
    assert forced.json()["result"]["annotations"]["workers/triggered_by"] == "rollback"
    assert control.deployments.workers[None, "w"].bindings[0].fields["text"] == "old"


async def test_an_upload_for_a_worker_that_is_not_there(control: Any) -> None:
    response = await control.call("POST", "/workers/scripts/nope/versions", files={"entry.py": b""})

    assert (response.status_code, response.json()["errors"][0]["code"]) == (404, 10007)


async def test_bindings_are_inherited_from_the_latest_version(control: Any) -> None:
    """Not from the deployed one: that is what the author saw last."""
    await control.deploy(bindings=[{"name": "A", "type": "plain_text", "text": "1"}])
    await upload(control, b"x = 2", bindings=[{"name": "A", "type": "plain_text", "text": "2"}])

    third = await upload(control, b"x = 3", bindings=[{"name": "A", "type": "inherit"}])

    assert third["resources"]["bindings"] == [{"name": "A", "type": "plain_text", "text": "2"}]
    assert isinstance(third["resources"]["script"]["etag"], str)
    assert isinstance(third["metadata"]["has_preview"], bool)


async def amend(control: Any, env: dict[str, Any], **more: Any) -> Any:
    return await control.call(
        "PATCH",
        "/workers/workers/w/versions/latest",
        content=json.dumps({"env": env, **more}),
        headers={"content-type": "application/merge-patch+json"},
    )


async def test_a_secret_of_a_version_waits_for_its_deployment(control: Any) -> None:
    text = {"type": "secret_text", "text": "one"}
    kept = {"name": "KEPT", "type": "secret_text", "text": "kept"}
    first = (await control.deploy(bindings=[kept])).json()["result"]["deployment_id"]

    made = await amend(control, {"A": text, "B": text}, annotations={"workers/message": "rotate"})

    assert made.status_code == 200, made.text
    version = made.json()["result"]
    assert version["annotations"] == {"workers/triggered_by": "secret", "workers/message": "rotate"}
    assert "one" not in made.text
    assert running(control) == [(first, 100)]
    # The next begins where this one ended, and null takes a secret away.
    second = (await amend(control, {"A": None, "NEVER": None})).json()["result"]
    assert [(each["name"], each["type"]) for each in second["resources"]["bindings"]] == [
        ("KEPT", "secret_text"),
        ("B", "secret_text"),
    ]
    assert (await split(control, (second["id"], 100))).status_code == 200
    [deployed] = control.deployments.splits[None, "w"]
    assert {binding.name: binding.fields["text"] for binding in deployed.bindings} == {"KEPT": "kept", "B": "one"}


@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"TEXT": {"type": "secret_text", "text": "x"}}, 10053),
        ({"A": {"type": "plain_text", "text": "x"}}, 10021),
        ({"no name": {"type": "secret_text", "text": "x"}}, 10021),
        ({f"S{number}": None for number in range(101)}, 10021),
    ],
    ids=["the name of a variable", "no secret", "no name", "too many"],
)
async def test_a_secret_of_a_version_that_cannot_be(control: Any, env: dict[str, Any], code: int) -> None:
    await control.deploy(bindings=[{"name": "TEXT", "type": "plain_text", "text": "1"}])
    response = await amend(control, env)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, code)
    listed = (await control.call("GET", "/workers/scripts/w/versions")).json()["result"]["items"]
    assert len(listed) == 1


async def test_a_secret_of_a_version_of_no_worker(control: Any) -> None:
    response = await amend(control, {"A": {"type": "secret_text", "text": "x"}})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (404, 10007)
