"""Where one statement ends and the next begins."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.services.d1 import limits, split_statements
from tenantry.services.d1.errors import QueryFailed
from tenantry.services.d1.script import Script

TRIGGER = "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE 1 WHEN 2 THEN 3 END; SELECT ';END;'; END;"


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("", []),
        (" ; ;; -- nothing;\n /* ; */", []),
        ("a; b", ["a;", " b"]),
        ("'a;''b'; c", ["'a;''b';", " c"]),
        ("\";\" `;` [;] ';'; x", ["\";\" `;` [;] ';';", " x"]),
        ("a -- ;\n; /* ; */ b;", ["a -- ;\n;", " /* ; */ b;"]),
        ("a - b / c; d", ["a - b / c;", " d"]),
        (f"{TRIGGER} {TRIGGER}x", [TRIGGER, f" {TRIGGER}", "x"]),
        ("EXPLAIN " + TRIGGER + "y", ["EXPLAIN " + TRIGGER, "y"]),
        ("CREATE TABLE trigger (a); z", ["CREATE TABLE trigger (a);", " z"]),
        ("'not closed; b", ["'not closed; b"]),
        ("/* not closed; b", []),
    ],
)
def test_statements_end_where_sqlite_ends_them(sql: str, statements: list[str]) -> None:
    assert split_statements(sql) == statements


WORDS = st.sampled_from(
    ["create", "temp", "trigger", "end", "explain", "begin", "x", ";", ";", "'", '"', "--", "\n", "/*", "*/", "[", "]"]
)


@given(st.lists(WORDS, max_size=30).map(" ".join))
def test_it_is_sqlites_own_judgement(sql: str) -> None:
    pieces = split_statements(sql)
    for piece in pieces[:-1]:
        assert sqlite3.complete_statement(piece)
    if sqlite3.complete_statement(sql) and pieces:
        assert sqlite3.complete_statement(pieces[-1])


def test_a_long_trigger_costs_what_its_length_does() -> None:
    assert len(split_statements("CREATE TRIGGER t BEGIN " + ";" * 1_000_000)) == 1


def test_a_file_is_read_in_pieces_and_as_often_as_wanted(tmp_path: Path) -> None:
    path = tmp_path / "file.sql"
    statement = "INSERT INTO t VALUES ('" + "é;''" * 30_000 + "');"
    path.write_text("\ufeff" + statement * 10 + "\n-- the end")
    script = Script(path)
    for _ in range(2):
        assert [one.sql for one in script] == [statement] * 10
        assert script.count == 10


def test_a_statement_of_a_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMPORT_STATEMENT_BYTES_MAX", 100_000)
    path = tmp_path / "file.sql"
    path.write_text("SELECT '" + "x" * 400_000)
    with pytest.raises(QueryFailed, match="statement too long"):
        list(Script(path))
