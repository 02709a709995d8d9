"""D1 by wrangler, remote: statements, files in and out, migrations, time travel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

SQL = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x;y'), (2, NULL);\n"


@pytest.fixture
def has_routes(platform: Any) -> None:
    with platform.api() as api:
        absent = api.get("/d1/database/nope").json()["errors"][0]["code"]
    if absent != 7404:
        pytest.skip("the API has no routes for the contents of databases yet")


@pytest.mark.usefixtures("has_routes")
def test_the_life_of_a_database(newest: Any, platform: Any, tmp_path: Path) -> None:
    created = newest("d1", "create", "wrangler-d1").text
    database = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", created)[0]
    config = {
        "name": "front",
        "d1_databases": [{"binding": "DB", "database_name": "wrangler-d1", "database_id": database}],
    }
    project = platform.write_project(tmp_path, config, "")
    (project / "in.sql").write_text(SQL)
    (project / "migrations").mkdir()
    (project / "migrations" / "0001_more.sql").write_text("CREATE TABLE more (c TEXT);\n")

    newest("d1", "execute", "wrangler-d1", "--remote", "--file", "in.sql", "-y", cwd=project)
    asked = newest(
        "d1", "execute", "wrangler-d1", "--remote", "--json", "--command", "SELECT b FROM t ORDER BY a", cwd=project
    ).text
    assert json.loads(asked[asked.index("[") :])[0]["results"] == [{"b": "x;y"}, {"b": None}]
    newest("d1", "migrations", "apply", "wrangler-d1", "--remote", cwd=project)
    assert "No migrations to apply" in newest("d1", "migrations", "list", "wrangler-d1", "--remote", cwd=project).text

    info = newest("d1", "time-travel", "info", "wrangler-d1", "--json", cwd=project).text
    bookmark = json.loads(info[info.index("{") :])["bookmark"]
    with platform.api() as api:
        api.post(f"/d1/database/{database}/query", json={"sql": "DELETE FROM t"}).raise_for_status()
    newest("d1", "time-travel", "restore", "wrangler-d1", "--bookmark", bookmark, "--json", cwd=project)

    newest("d1", "export", "wrangler-d1", "--remote", "--output", "out.sql", cwd=project)
    exported = (project / "out.sql").read_text()
    assert "CREATE TABLE" in exported
    assert "x;y" in exported
    assert "wrangler-d1" in newest("d1", "info", "wrangler-d1", cwd=project).text
    newest("d1", "delete", "wrangler-d1", "-y", cwd=project)
    assert "wrangler-d1" not in newest("d1", "list", cwd=project).text
