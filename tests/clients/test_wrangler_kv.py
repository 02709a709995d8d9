"""KV by wrangler: namespaces, keys and bulk files, remote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def test_namespaces_keys_and_bulk(newest: Any, platform: Any, tmp_path: Path) -> None:
    created = newest("kv", "namespace", "create", "wrangler-kv").text
    namespace = re.findall(r"[0-9a-f]{32}", created)[-1]
    where = ("--namespace-id", namespace, "--remote")

    newest("kv", "key", "put", "a/b c", "value", "--metadata", '{"m": 1}', "--ttl", "3600", *where)
    assert newest("kv", "key", "get", "a/b c", "--text", *where).text.strip().endswith("value")
    (tmp_path / "pairs.json").write_text(
        json.dumps([{"key": f"k{number}", "value": str(number)} for number in range(3)])
    )
    newest("kv", "bulk", "put", str(tmp_path / "pairs.json"), *where)
    listed = newest("kv", "key", "list", *where).text
    keys = json.loads(listed[listed.index("[") :])
    assert [key["name"] for key in keys] == ["a/b c", "k0", "k1", "k2"]
    assert keys[0]["metadata"] == {"m": 1}

    (tmp_path / "keys.json").write_text(json.dumps(["k0", "k1"]))
    newest("kv", "bulk", "delete", str(tmp_path / "keys.json"), "--force", *where)
    newest("kv", "key", "delete", "k2", *where)
    assert namespace in newest("kv", "namespace", "list").text
    newest("kv", "namespace", "delete", "--namespace-id", namespace, "--skip-confirmation")
    with platform.api() as api:
        assert namespace not in api.get("/storage/kv/namespaces", params={"per_page": 100}).text
