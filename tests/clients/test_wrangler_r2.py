"""R2 by wrangler: buckets and objects, remote."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_buckets_and_objects(newest: Any, platform: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "in").write_bytes(content)

    newest("r2", "bucket", "create", "wrangler-r2")
    assert "wrangler-r2" in newest("r2", "bucket", "list").text
    newest("r2", "object", "put", "wrangler-r2/a/b.bin", "--file", str(tmp_path / "in"), "--remote")
    newest("r2", "object", "get", "wrangler-r2/a/b.bin", "--file", str(tmp_path / "out"), "--remote")
    assert (tmp_path / "out").read_bytes() == content

    newest("r2", "object", "delete", "wrangler-r2/a/b.bin", "--remote")
    newest("r2", "object", "get", "wrangler-r2/a/b.bin", "--file", str(tmp_path / "gone"), "--remote", fails=True)
    newest("r2", "bucket", "delete", "wrangler-r2")
    with platform.api() as api:
        assert api.get("/r2/buckets/wrangler-r2").status_code == 404
