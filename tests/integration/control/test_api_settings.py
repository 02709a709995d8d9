"""Settings, secrets, tags and schedules of Workers, ordinary ones and those of a dispatch namespace alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tenantry.control.observability import kept_rate_untrusted

ORDINARY = "/workers/scripts/w"
USER = "/workers/dispatch/namespaces/customers/scripts/w"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def control(emptied_control: Any) -> Any:
    return emptied_control


@pytest.fixture(params=[ORDINARY, USER], ids=["ordinary", "user"])
async def worker(request: pytest.FixtureRequest, control: Any) -> str:
    """The path of a Worker that has a variable and a secret."""
    namespace = "customers" if request.param == USER else None
    if namespace is not None:
        await control.call("POST", "/workers/dispatch/namespaces", json={"name": "customers"})
    bindings = [
        {"name": "V", "type": "plain_text", "text": "1"},
        {"name": "S", "type": "secret_text", "text": "c4n4ry"},
    ]
    assert (await control.deploy("w", namespace, bindings=bindings)).status_code == 200
    return str(request.param)


def fields(control: Any, worker: str) -> dict[str, dict[str, Any]]:
    """What the running version is bound to."""
    running = control.deployments.workers["customers" if worker == USER else None, "w"]
    return {binding.name: dict(binding.fields) for binding in running.bindings}


async def test_settings_show_names_of_secrets_and_no_values(control: Any, worker: str) -> None:
    settings = await control.call("GET", f"{worker}/settings")
    bindings = await control.call("GET", f"{worker}/bindings")

    assert settings.json()["result"]["bindings"] == [
        {"name": "V", "type": "plain_text", "text": "1"},
        {"name": "S", "type": "secret_text"},
    ]
    assert bindings.json()["result"] == settings.json()["result"]["bindings"]
    assert "c4n4ry" not in settings.text + bindings.text


async def test_settings_are_changed_by_a_json_part_and_leave_the_rest(control: Any, worker: str) -> None:
    document = {
        "bindings": [{"name": "V", "type": "inherit"}, {"name": "W", "type": "json", "json": [1]}],
        "compatibility_date": "2026-02-02",
        "tags": ["plan:pro"],
    }

    changed = await control.call("PATCH", f"{worker}/settings", files={"settings": (None, json.dumps(document))})

    assert changed.status_code == 200, changed.text
    result = changed.json()["result"]
    assert result["compatibility_date"] == "2026-02-02"
    assert result["compatibility_flags"] == ["python_workers"]
    assert result["tags"] == ["plan:pro"]
    assert fields(control, worker) == {"V": {"text": "1"}, "W": {"json": [1]}, "S": {"text": "c4n4ry"}}


@pytest.mark.parametrize(
    "body",
    [
        {"files": {"settings.bindings[].name": (None, "V")}},
        {"files": {"settings": (None, "[]")}},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        {"json": {"migrations": {"new_tag": "v1"}}},
        {"json": {"tags": ["a,b"]}},
        {"json": {"bindings": [{"name": "X", "type": "kv_namespace", "namespace_id": "0" * 32}]}},
    ],
)
async def test_settings_that_are_none_change_nothing(control: Any, worker: str, body: dict[str, Any]) -> None:
    before = fields(control, worker)

    response = await control.call("PATCH", f"{worker}/settings", **body)

    assert response.status_code == 400, response.text
    assert fields(control, worker) == before
    assert len(control.deployments.calls) == 1


async def test_settings_sent_back_as_they_were_read_change_nothing(control: Any, worker: str) -> None:
    settings = (await control.call("GET", f"{worker}/settings")).json()["result"]

    response = await control.call("PATCH", f"{worker}/settings", json=settings)

    assert response.json()["result"] == settings
    assert len(control.deployments.calls) == 1, "no new version, no new process"


async def test_script_settings_have_no_version(control: Any, worker: str) -> None:
    wanted = {"logpush": True, "observability": {"enabled": True}, "tags": ["a"], "tail_consumers": [{"service": "t"}]}

    changed = await control.call("PATCH", f"{worker}/script-settings", json=wanted)

    assert changed.json()["result"] == wanted
    partly = await control.call("PATCH", f"{worker}/script-settings", json={"logpush": False, "tail_consumers": None})
    assert partly.json()["result"] == {**wanted, "logpush": False, "tail_consumers": []}
    assert (await control.call("GET", f"{worker}/script-settings")).json() == partly.json()


@pytest.mark.parametrize(
    ("observability", "rate"),
    [
        ({"enabled": True}, 1.0),
        ({"enabled": True, "head_sampling_rate": 0.25, "logs": None, "traces": {"enabled": True}}, 0.25),
        ({"enabled": False, "head_sampling_rate": 0.25}, 0.0),
        ({"enabled": False, "logs": {"enabled": True, "head_sampling_rate": 0.5}}, 0.5),
        ({"enabled": True, "logs": {"enabled": True, "invocation_logs": False}}, 0.0),
        ({}, 0.0),
    ],
    ids=str,
)
async def test_what_observability_asks_for(observability: dict[str, Any], rate: float) -> None:
    # A coroutine as all of this module are: its mark is for the loop that they share.
    assert kept_rate_untrusted(observability) == rate


async def test_the_data_plane_hears_what_is_to_be_kept_of_a_worker(control: Any, worker: str) -> None:
    def told() -> tuple[int, float]:
        (running,) = control.deployments.workers.values()
        return len(control.deployments.calls), running.kept_rate

    assert told() == (1, 0.0)
    for settings, expected in (
        ({"observability": {"enabled": True, "head_sampling_rate": 0.5}}, (2, 0.5)),
        ({"observability": {"enabled": True, "head_sampling_rate": 0.5}, "logpush": True}, (2, 0.5)),
        ({"tags": ["x"]}, (2, 0.5)),
        ({"observability": None}, (3, 0.0)),
    ):
        changed = await control.call("PATCH", f"{worker}/script-settings", json=settings)
        assert changed.status_code == 200, changed.text
        assert told() == expected
    for rate in (-0.1, 1.1, "all", True):
        refused = await control.call(
            "PATCH", f"{worker}/script-settings", json={"observability": {"enabled": True, "head_sampling_rate": rate}}
        )
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, 10021)
    assert told() == (3, 0.0)


async def test_the_life_of_a_secret(control: Any, worker: str) -> None:
    put = await control.call("PUT", f"{worker}/secrets", json={"name": "T", "text": "s3cret", "type": "secret_text"})
    assert put.json()["result"] == {"name": "T", "type": "secret_text"}
    assert fields(control, worker)["T"] == {"text": "s3cret"}

    listed = await control.call("GET", f"{worker}/secrets")
    one = await control.call("GET", f"{worker}/secrets/T")
    assert [secret["name"] for secret in listed.json()["result"]] == ["S", "T"]
    assert one.json()["result"] == put.json()["result"]

    gone = await control.call("DELETE", f"{worker}/secrets/T?url_encoded=true")
    again = await control.call("DELETE", f"{worker}/secrets/T")
    assert gone.json()["result"] is None
    assert (again.status_code, again.json()["errors"][0]["code"]) == (404, 10056)
    assert (await control.call("GET", f"{worker}/secrets/T")).status_code == 404
    assert set(fields(control, worker)) == {"V", "S"}
    assert "s3cret" not in put.text + listed.text + one.text


async def test_the_same_secret_again_is_no_new_version(control: Any, worker: str) -> None:
    for _ in range(2):
        await control.call("PUT", f"{worker}/secrets", json={"name": "S", "text": "other", "type": "secret_text"})

    assert len(control.deployments.calls) == 2
    versions = (await control.call("GET", f"{worker}/versions")).json()["result"]["items"]
    assert [version["annotations"]["workers/triggered_by"] for version in versions] == ["secret", "upload"]


async def test_secrets_in_bulk_are_set_and_deleted_at_once(control: Any, worker: str) -> None:
    patch = {"secrets": {"S": None, "A": {"name": "A", "text": "1", "type": "secret_text"}, "ABSENT": None}}

    response = await control.call("PATCH", f"{worker}/secrets-bulk", json=patch)

    assert response.json()["result"] == {"A": {"name": "A", "type": "secret_text"}}
    assert fields(control, worker) == {"V": {"text": "1"}, "A": {"text": "1"}}
    assert len(control.deployments.calls) == 2


@pytest.mark.parametrize(
    ("secret", "code"),
    [
        ({"name": "V", "text": "x", "type": "secret_text"}, 10053),
        ({"name": "not a name", "text": "x", "type": "secret_text"}, 10021),
        ({"name": "A", "text": "x" * 6000, "type": "secret_text"}, 10021),
        ({"name": "A", "type": "secret_key", "format": "raw"}, 10021),
    ],
)
async def test_a_secret_that_cannot_be_is_refused(control: Any, worker: str, secret: Any, code: int) -> None:
    response = await control.call("PUT", f"{worker}/secrets", json=secret)

    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, code)
    assert len(control.deployments.calls) == 1


async def test_secrets_are_not_changed_while_the_latest_version_is_not_deployed(control: Any) -> None:
    await control.deploy()
    document = {"main_module": "entry.py", "compatibility_flags": ["python_workers"]}
    await control.call(
        "POST",
        f"{ORDINARY}/versions",
        data={"metadata": json.dumps(document)},
        files=[("entry.py", ("entry.py", b"x = 2", "text/x-python"))],
    )

    response = await control.call("PUT", f"{ORDINARY}/secrets", json={"name": "T", "text": "x"})

    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, 10215)


async def test_what_a_secret_was_stays_out_of_the_versions_in_the_database(control: Any, worker: str) -> None:
    with control.store._database.read() as connection:
        documents = connection.exec_driver_sql("SELECT metadata FROM versions").scalars().all()

    assert documents
    assert "c4n4ry" not in "".join(documents)


async def test_tags_are_added_taken_away_and_replaced(control: Any, worker: str) -> None:
    assert (await control.call("PUT", f"{worker}/tags", json=["a", "plan:pro"])).json()["result"] == ["a", "plan:pro"]
    assert (await control.call("PUT", f"{worker}/tags/b")).json()["result"] == ["a", "plan:pro", "b"]
    assert (await control.call("DELETE", f"{worker}/tags/a")).json()["result"] is None
    assert (await control.call("GET", f"{worker}/tags")).json()["result"] == ["plan:pro", "b"]
    nine = [f"t{number}" for number in range(9)]
    assert (await control.call("PUT", f"{worker}/tags", json=nine)).status_code == 400


async def test_schedules_are_stored_and_shown(control: Any, worker: str) -> None:
    put = await control.call("PUT", f"{worker}/schedules", json=[{"cron": "*/5 * * * *"}])
    (schedule,) = put.json()["result"]["schedules"]
    kept = await control.call("PUT", f"{worker}/schedules", json=[{"cron": "0 0 * * *"}, {"cron": "*/5 * * * *"}])

    assert schedule["cron"] == "*/5 * * * *"
    assert kept.json()["result"]["schedules"][1] == schedule, "with the time at which it was made"
    assert (await control.call("GET", f"{worker}/schedules")).json() == kept.json()
    assert (await control.call("PUT", f"{worker}/schedules", json=[{"cron": "often"}])).status_code == 400
    assert (await control.call("PUT", f"{worker}/schedules", json=[])).json()["result"] == {"schedules": []}


async def test_content_is_replaced_and_the_rest_stays(control: Any, worker: str) -> None:
    replaced = await control.call(
        "PUT",
        f"{worker}/content",
        headers={"CF-WORKER-MAIN-MODULE-PART": "other.py"},
        files=[("other.py", ("other.py", b"print(2)", "text/x-python"))],
    )
    shown = await control.call("GET", f"{worker}/content")

    assert replaced.status_code == 200, replaced.text
    assert shown.content == b"print(2)"
    assert shown.headers["cf-entrypoint"] == "other.py"
    assert fields(control, worker) == {"V": {"text": "1"}, "S": {"text": "c4n4ry"}}


async def test_the_switch_of_the_address(control: Any) -> None:
    await control.deploy()
    assert (await control.call("GET", f"{ORDINARY}/subdomain")).json()["result"]["enabled"] is True
    put = await control.call("POST", f"{ORDINARY}/subdomain", json={"enabled": False})
    assert put.json()["result"] == {"enabled": False, "previews_enabled": False}


async def test_a_worker_as_wrangler_reads_it(control: Any) -> None:
    await control.deploy(tags=["t"])
    service = (await control.call("GET", "/workers/services/w")).json()["result"]
    worker = (await control.call("GET", "/workers/workers/w")).json()["result"]

    assert service["default_environment"]["environment"] == "production"
    assert service["default_environment"]["script"]["tags"] == ["t"]
    assert isinstance(worker["subdomain"]["enabled"], bool)
    assert worker["references"]["workers"] == []
    for path, code in (("services", 10090), ("workers", 10007), ("scripts", 10007)):
        tail = "/settings" if path == "scripts" else ""
        absent = await control.call("GET", f"/workers/{path}/nope{tail}")
        assert (absent.status_code, absent.json()["errors"][0]["code"]) == (404, code)


async def test_a_dispatcher_is_named_before_its_outbound_worker_is_deleted(control: Any) -> None:
    await control.call("POST", "/workers/dispatch/namespaces", json={"name": "customers"})
    outbound = {"worker": {"service": "out"}}
    binding = {"name": "D", "type": "dispatch_namespace", "namespace": "customers", "outbound": outbound}
    await control.deploy("front", bindings=[binding])
    await control.deploy("out")

    references = (await control.call("GET", "/workers/scripts/out/references")).json()["result"]

    assert [each["service"] for each in references["dispatch_outbounds"]] == ["front"]
    assert references["services"]["incoming"] == []
    assert (await control.call("DELETE", "/workers/services/out?force=true")).status_code == 200
    assert control.deployments.calls[-1] == ("removed", None, "out")


async def test_service_bindings_to_a_worker_are_named_before_it_is_deleted(control: Any) -> None:
    own = {"name": "SELF", "type": "service", "service": "target", "entrypoint": "Admin", "props": {"a": [1, None]}}
    assert (await control.deploy("target", bindings=[own])).status_code == 200  # a Worker can bind itself
    await control.call("POST", "/workers/dispatch/namespaces", json={"name": "customers"})
    bound = {"name": "T", "type": "service", "service": "target", "environment": "production"}
    await control.deploy("caller", bindings=[bound])
    await control.deploy("customer", "customers", bindings=[bound])
    await control.deploy("target-2")

    references = (await control.call("GET", "/workers/scripts/target/references")).json()["result"]

    def each(service: str, name: str) -> dict[str, str]:
        return {"service": service, "environment": "production", "name": name}

    assert references["services"] == {
        "incoming": [each("caller", "T"), each("customer", "T"), each("target", "SELF")],
        "outgoing": [each("target", "SELF")],
        "pages_function": False,
    }
    assert (await control.call("GET", "/workers/scripts/target/bindings")).json()["result"] == [own]
    told = control.deployments.workers["customers", "customer"].bindings
    assert [(binding.type, binding.fields) for binding in told] == [("service", {"service": "target"})]
