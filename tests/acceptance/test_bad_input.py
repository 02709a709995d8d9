"""Bad input gets a 4xx that says what is wrong, and changes nothing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

LONG_FOR_KV = "k" * 513
LONG_FOR_R2 = "k" * 1025
JSON = {"content-type": "application/json"}


def form(**parts: Any) -> dict[str, Any]:
    return {"files": parts}


A_FILE = ("a.txt", b"bytes", "text/plain")

# (what, method, path, httpx arguments, status, a part of the error)
REFUSED: list[tuple[str, str, str, dict[str, Any], int, str]] = [
    ("unknown path", "GET", "/nothing", {}, 404, "/files"),
    ("path below a path", "GET", "/files/a", {}, 404, "/files"),
    ("wrong method", "PUT", "/files", {}, 405, "POST"),
    ("method that nobody knows", "FROBNICATE", "/data", {}, 405, "POST"),
    ("wrong method for stats", "POST", "/stats", {}, 405, "GET"),
    ("wrong method for query", "GET", "/query", {}, 405, "POST"),
    ("no such file", "GET", "/files?key=absent", {}, 404, "no file"),
    ("no such data", "GET", "/data?key=absent", {}, 404, "nothing under this key"),
    ("delete a file that is not there", "DELETE", "/files?key=absent", {}, 404, "no file"),
    ("delete data that is not there", "DELETE", "/data?key=absent", {}, 404, "nothing under this key"),
    ("delete a file without key", "DELETE", "/files", {}, 400, '"key" is missing'),
    ("delete data without key", "DELETE", "/data", {}, 400, '"key" is missing'),
    ("delete a file with an empty key", "DELETE", "/files?key=", {}, 400, '"key" is empty'),
    ("get data with an empty key", "GET", "/data?key=", {}, 400, '"key" is empty'),
    ("get data with a long key", "GET", f"/data?key={LONG_FOR_KV}", {}, 400, "513"),
    ("get a file with a long key", "GET", f"/files?key={LONG_FOR_R2}", {}, 400, "1025"),
    ("query that is not UTF-8", "GET", "/data?key=%ff", {}, 400, "UTF-8"),
    ("data without body", "POST", "/data", {}, 400, "JSON"),
    ("data that is not JSON", "POST", "/data", {"content": b"{key: 1}", "headers": JSON}, 400, "JSON"),
    ("data that is not UTF-8", "POST", "/data", {"content": b'{"key": "\xff", "value": 1}'}, 400, "UTF-8"),
    ("data that is a list", "POST", "/data", {"json": ["key", "value"]}, 400, "object"),
    ("data that is text", "POST", "/data", {"json": "key"}, 400, "object"),
    ("data without key", "POST", "/data", {"json": {"value": 1}}, 400, '"key" is missing'),
    ("data with null for key", "POST", "/data", {"json": {"key": None, "value": 1}}, 400, '"key" is missing'),
    ("data with a number for key", "POST", "/data", {"json": {"key": 1, "value": 1}}, 400, "text"),
    ("data with a list for key", "POST", "/data", {"json": {"key": ["a"], "value": 1}}, 400, "text"),
    ("data with an empty key", "POST", "/data", {"json": {"key": "", "value": 1}}, 400, '"key" is empty'),
    ("data with a long key", "POST", "/data", {"json": {"key": LONG_FOR_KV, "value": 1}}, 400, "513"),
    ("data with a long key of few letters", "POST", "/data", {"json": {"key": "é" * 257, "value": 1}}, 400, "514"),
    ("data with a dot for key", "POST", "/data", {"json": {"key": ".", "value": 1}}, 400, "another name"),
    ("data with two dots for key", "POST", "/data", {"json": {"key": "..", "value": 1}}, 400, "another name"),
    ("data without value", "POST", "/data", {"json": {"key": "a"}}, 400, '"value" is missing'),
    ("data with NaN", "POST", "/data", {"content": b'{"key": "a", "value": NaN}'}, 400, "NaN"),
    ("data with a number out of range", "POST", "/data", {"content": b'{"key": "a", "value": 1e999}'}, 400, "1e999"),
    ("data with half a pair", "POST", "/data", {"content": rb'{"key": "a", "value": "\ud800"}'}, 400, "surrogate"),
    (
        "data with half a pair for key",
        "POST",
        "/data",
        {"content": rb'{"key": "\ud800", "value": 1}'},
        400,
        "surrogate",
    ),
    (
        "data nested without end",
        "POST",
        "/data",
        {"content": b'{"key": "a", "value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"},
        400,
        "nested",
    ),
    (
        "data nested deeper than a value may be",
        "POST",
        "/data",
        {"content": b'{"key": "a", "value": ' + b"[" * 300 + b"]" * 300 + b"}"},
        400,
        "nested",
    ),
    (
        "data of a length not said",
        "POST",
        "/data",
        {"content": [b'{"key": "a", ', b'"value": 1}']},
        411,
        "Length",
    ),
    ("too much data", "POST", "/data", {"content": b" " * (2 * 1024 * 1024 + 1)}, 413, "2097152"),
    ("file without body", "POST", "/files", {}, 400, "multipart/form-data"),
    ("file as JSON", "POST", "/files", {"json": {"key": "a", "file": "b"}}, 400, "multipart/form-data"),
    ("file as a url-encoded form", "POST", "/files", {"data": {"key": "a", "file": "b"}}, 400, "multipart/form-data"),
    (
        "form that is cut off",
        "POST",
        "/files",
        {
            "content": b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\na',
            "headers": {"content-type": "multipart/form-data; boundary=x"},
        },
        400,
        "form",
    ),
    (
        "form without boundary",
        "POST",
        "/files",
        {"content": b"--x--\r\n", "headers": {"content-type": "multipart/form-data"}},
        400,
        "form",
    ),
    ("form without key", "POST", "/files", form(file=A_FILE), 400, '"key" is missing'),
    ("form with an empty key", "POST", "/files", form(key=(None, ""), file=A_FILE), 400, '"key" is empty'),
    ("form with a long key", "POST", "/files", form(key=(None, LONG_FOR_R2), file=A_FILE), 400, "1025"),
    ("form with a file for key", "POST", "/files", form(key=A_FILE, file=A_FILE), 400, "text"),
    ("form without file", "POST", "/files", form(key=(None, "a")), 400, "no file"),
    ("form with text for file", "POST", "/files", form(key=(None, "a"), file=(None, "text")), 400, "no file"),
    ("query without sql", "POST", "/query", {"json": {"params": []}}, 400, '"sql"'),
    ("query with a number for sql", "POST", "/query", {"json": {"sql": 1}}, 400, '"sql"'),
    ("query with blank sql", "POST", "/query", {"json": {"sql": "  "}}, 400, '"sql"'),
    ("query with an object for params", "POST", "/query", {"json": {"sql": "SELECT ?", "params": {}}}, 400, "list"),
    ("query with too few params", "POST", "/query", {"json": {"sql": "SELECT ?"}}, 400, "Wrong number of parameter"),
    (
        "query with an object in params",
        "POST",
        "/query",
        {"json": {"sql": "SELECT ?", "params": [{"a": 1}]}},
        400,
        "D1_TYPE_ERROR",
    ),
    ("query with bad sql", "POST", "/query", {"json": {"sql": "SELEC 1"}}, 400, 'near "SELEC": syntax error'),
    ("query of no table", "POST", "/query", {"json": {"sql": "SELECT * FROM t"}}, 400, "no such table: t"),
    (
        "query that leaves the database",
        "POST",
        "/query",
        {"json": {"sql": "ATTACH '/etc/x' AS x"}},
        400,
        "not authorized",
    ),
    ("query of a pragma", "POST", "/query", {"json": {"sql": "PRAGMA database_list"}}, 400, "not authorized"),
]


@pytest.mark.parametrize(
    ("method", "path", "arguments", "status", "error"),
    [pytest.param(*row[1:], id=row[0]) for row in REFUSED],
)
def test_it_is_refused_with_a_reason(
    user1: httpx.Client, method: str, path: str, arguments: dict[str, Any], status: int, error: str
) -> None:
    before = user1.get("/stats").json()

    response = user1.request(method, path, **arguments)

    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    assert error in response.json()["error"]
    assert user1.get("/stats").json() == before


@pytest.mark.parametrize("headers", [{}, {"X-User-ID": ""}], ids=["absent", "empty"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/data"), ("POST", "/files"), ("GET", "/nothing")])
def test_who_does_not_say_who_they_are_is_told_how(
    nobody: httpx.Client, method: str, path: str, headers: dict[str, str]
) -> None:
    response = nobody.request(method, path, headers=headers)

    assert response.status_code == 400
    assert "X-User-ID" in response.json()["error"]


@pytest.mark.parametrize("user", ["user3", "USER1", "user1, user2", "../user1", "__class__", "customer-worker-1"])
def test_an_unknown_user_is_not_found(nobody: httpx.Client, user: str) -> None:
    response = nobody.get("/data", headers={"X-User-ID": user})

    assert response.status_code == 404
    assert "no such user" in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", {"GET", "HEAD"}),
        ("/files", {"GET", "HEAD", "POST", "DELETE"}),
        ("/data", {"GET", "HEAD", "POST", "DELETE"}),
        ("/stats", {"GET", "HEAD"}),
        ("/query", {"POST"}),
    ],
)
def test_a_wrong_method_is_answered_with_the_right_ones(user1: httpx.Client, path: str, allowed: set[str]) -> None:
    response = user1.patch(path)

    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == allowed
