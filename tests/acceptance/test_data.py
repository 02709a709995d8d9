"""Any JSON value under any key."""

from __future__ import annotations

import json

import httpx
import pytest

NESTED = {"list": [1, [2, [3, {"deep": None}]]], "": "", "ünïcödé 🎉": "\u0000\u2028", "float": 1.5, "true": True}


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        "",
        False,
        True,
        [],
        {},
        -1,
        1.5,
        2.0,
        2**53 + 1,
        -(2**63) - 1,
        10**30,
        5e-324,
        "text",
        "null",
        '{"key": 1}',
        "🎉" * 1000,
        NESTED,
        [None] * 1000,
        json.loads("[" * 90 + "]" * 90),
        "x" * 1024 * 1024,
        [0] * (256 * 1024),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_any_json_value_comes_back_as_it_was(user1: httpx.Client, name: str, value: object) -> None:
    user1.post("/data", json={"key": name, "value": value}).raise_for_status()

    response = user1.get("/data", params={"key": name})

    assert response.json() == {"key": name, "value": value}
    assert type(response.json()["value"]) in (type(value), int if type(value) is float else type(value))


@pytest.mark.parametrize(
    "key",
    [
        "files:list",
        "activity",
        "stats",
        "user:user2",
        "../x",
        "a/b",
        "...",
        " ",
        "key with spaces",
        "%41",
        "a+b&c=d#e?f",
        "line\nbreak",
        "nul\0",
        "grüße",
        "🎉",
        "__proto__",
        "constructor",
        "k" * 512,
        "é" * 256,
    ],
    ids=lambda key: repr(key)[:20],
)
def test_any_text_is_a_key_of_the_customers_own(user1: httpx.Client, user2: httpx.Client, key: str) -> None:
    before = user1.get("/stats").json()

    assert user1.get("/data", params={"key": key}).status_code == 404
    user1.post("/data", json={"key": key, "value": [key]}).raise_for_status()

    assert user1.get("/data", params={"key": key}).json() == {"key": key, "value": [key]}
    assert key in user1.get("/data").json()["keys"]
    assert user2.get("/data", params={"key": key}).status_code == 404
    during = user1.get("/stats").json()
    assert during["storage"]["kvKeys"] == before["storage"]["kvKeys"] + 1
    user1.delete("/data", params={"key": key}).raise_for_status()
    after = user1.get("/stats").json()
    assert after["storage"] == before["storage"]
    assert after["activity"]["totalOperations"] == before["activity"]["totalOperations"] + 2


def test_a_key_that_begins_another_is_not_that_other(user1: httpx.Client, name: str) -> None:
    user1.post("/data", json={"key": f"{name}-longer", "value": 1}).raise_for_status()

    assert user1.delete("/data", params={"key": name}).status_code == 404
    assert user1.get("/data", params={"key": f"{name}-longer"}).status_code == 200


def test_the_first_of_two_same_keys_in_the_query_counts(user1: httpx.Client, name: str) -> None:
    user1.post("/data", json={"key": name, "value": 1}).raise_for_status()

    assert user1.get(f"/data?other=1&key={name}&key=absent").json()["key"] == name
