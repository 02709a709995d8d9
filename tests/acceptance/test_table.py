"""Every row of the request table, and that no customer sees another's."""

from __future__ import annotations

from datetime import datetime

import httpx
import pytest


@pytest.mark.parametrize(
    ("user", "worker"),
    [("user1", "customer-worker-1"), ("user2", "customer-worker-2"), ("test-user", "customer-worker-test")],
)
def test_health_names_the_user_and_their_worker(nobody: httpx.Client, user: str, worker: str) -> None:
    response = nobody.get("/", headers={"X-User-ID": user})

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"status": "ok", "user": user, "worker": worker}


def test_a_file_comes_back_as_it_was_uploaded_until_it_is_deleted(user1: httpx.Client, name: str) -> None:
    content = bytes(range(256)) * 4

    uploaded = user1.post("/files", data={"key": name}, files={"file": ("picture.png", content, "image/png")})
    assert uploaded.status_code == 200, uploaded.text
    assert uploaded.json() == {"success": True, "key": name, "size": 1024}

    downloaded = user1.get("/files", params={"key": name})
    assert downloaded.status_code == 200
    assert downloaded.content == content
    assert downloaded.headers["content-type"] == "image/png"
    assert downloaded.headers["content-length"] == "1024"
    assert downloaded.headers["etag"].startswith('"')

    listed = user1.get("/files").json()
    entry = next(file for file in listed["files"] if file["key"] == name)
    assert (entry["size"], entry["contentType"]) == (1024, "image/png")
    assert datetime.fromisoformat(entry["uploaded"]).tzinfo is not None
    assert listed["count"] == len(listed["files"])

    deleted = user1.delete("/files", params={"key": name})
    assert (deleted.status_code, deleted.json()) == (200, {"success": True})
    assert user1.get("/files", params={"key": name}).status_code == 404
    assert name not in {file["key"] for file in user1.get("/files").json()["files"]}


def test_data_comes_back_as_it_was_set_until_it_is_deleted(user1: httpx.Client, name: str) -> None:
    set_ = user1.post("/data", json={"key": name, "value": {"color": "blue"}})
    assert (set_.status_code, set_.json()) == (200, {"success": True, "key": name})

    got = user1.get("/data", params={"key": name})
    assert (got.status_code, got.json()) == (200, {"key": name, "value": {"color": "blue"}})

    listed = user1.get("/data").json()
    assert name in listed["keys"]
    assert listed["count"] == len(listed["keys"])

    deleted = user1.delete("/data", params={"key": name})
    assert (deleted.status_code, deleted.json()) == (200, {"success": True})
    assert user1.get("/data", params={"key": name}).status_code == 404
    assert name not in user1.get("/data").json()["keys"]


def test_stats_follow_every_change_and_no_reading(user1: httpx.Client, name: str) -> None:
    before = user1.get("/stats").json()

    user1.post("/files", data={"key": name}, files={"file": ("a.txt", b"12345", "text/plain")}).raise_for_status()
    user1.post("/files", data={"key": f"{name}-2"}, files={"file": ("b.txt", b"123", "text/plain")}).raise_for_status()
    user1.post("/data", json={"key": name, "value": 1}).raise_for_status()
    user1.delete("/files", params={"key": f"{name}-2"}).raise_for_status()
    for path in ("/files", "/data", f"/files?key={name}", f"/data?key={name}", "/stats"):
        user1.get(path).raise_for_status()

    after = user1.get("/stats").json()
    assert after["files"] == {
        "count": before["files"]["count"] + 1,
        "totalSize": before["files"]["totalSize"] + 5,
    }
    assert after["storage"] == {
        "kvKeys": before["storage"]["kvKeys"] + 1,
        "r2Objects": before["storage"]["r2Objects"] + 1,
    }
    assert after["activity"]["totalOperations"] == before["activity"]["totalOperations"] + 4
    assert after["activity"]["lastActivity"] > (before["activity"]["lastActivity"] or "")


def test_the_database_answers_rows_and_meta(user1: httpx.Client, name: str) -> None:
    created = user1.post("/query", json={"sql": f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, word TEXT)"})
    assert created.status_code == 200, created.text

    inserted = user1.post("/query", json={"sql": f"INSERT INTO {name} (word) VALUES (?), (?)", "params": ["a", None]})
    assert inserted.status_code == 200
    assert inserted.json()["meta"]["changes"] == 2

    selected = user1.post("/query", json={"sql": f"SELECT * FROM {name} WHERE id >= ? ORDER BY id", "params": [1]})
    assert selected.status_code == 200
    assert selected.json()["success"] is True
    assert selected.json()["results"] == [{"id": 1, "word": "a"}, {"id": 2, "word": None}]
    assert selected.json()["meta"]["duration"] >= 0


def test_one_customer_sees_nothing_of_another(user1: httpx.Client, user2: httpx.Client, name: str) -> None:
    user1.post("/files", data={"key": name}, files={"file": ("a", b"secret", "text/plain")}).raise_for_status()
    user1.post("/data", json={"key": name, "value": "secret"}).raise_for_status()
    user1.post("/query", json={"sql": f"CREATE TABLE {name} (word TEXT)"}).raise_for_status()
    before = user2.get("/stats").json()

    assert user2.get("/files", params={"key": name}).status_code == 404
    assert user2.get("/data", params={"key": name}).status_code == 404
    assert user2.delete("/files", params={"key": name}).status_code == 404
    assert user2.delete("/data", params={"key": name}).status_code == 404
    assert name not in user2.get("/files").text
    assert name not in user2.get("/data").text
    unknown_table = user2.post("/query", json={"sql": f"SELECT * FROM {name}"})
    assert unknown_table.status_code == 400
    assert f"no such table: {name}" in unknown_table.json()["error"]

    assert user2.get("/stats").json() == before
    assert user1.get("/files", params={"key": name}).text == "secret"
    assert user1.get("/data", params={"key": name}).json()["value"] == "secret"


def test_two_customers_use_the_same_key_for_different_things(
    user1: httpx.Client, user2: httpx.Client, test_user: httpx.Client, name: str
) -> None:
    clients = [user1, user2, test_user]
    for number, client in enumerate(clients):
        client.post("/data", json={"key": name, "value": number}).raise_for_status()
        client.post(
            "/files", data={"key": name}, files={"file": ("a", bytes([number]), "text/plain")}
        ).raise_for_status()
        client.post("/query", json={"sql": f"CREATE TABLE {name} AS SELECT {number} AS number"}).raise_for_status()

    for number, client in enumerate(clients):
        assert client.get("/data", params={"key": name}).json()["value"] == number
        assert client.get("/files", params={"key": name}).content == bytes([number])
        rows = client.post("/query", json={"sql": f"SELECT number FROM {name}"}).json()["results"]
        assert rows == [{"number": number}]
