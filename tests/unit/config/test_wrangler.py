"""A wrangler configuration is read as wrangler reads it, and what is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tenantry.config.deployment import WorkerLimits
from tenantry.config.wrangler import load_project
from tenantry.errors import ConfigError

Write = Callable[[dict[str, str | bytes]], Path]

MINIMAL = {"name": "w", "main": "src/entry.py", "compatibility_date": "2026-01-15"}

JSONC = """
// comments,
{
  "$schema": "node_modules/wrangler/config-schema.json",
  "name": "customer-worker-1", /* of both kinds, */
  "main": "src/entry.py",
  "compatibility_date": "2026-01-15",
  "compatibility_flags": ["python_workers"],
  "vars": {"GREETING": "hi", "LEVELS": [1, null, {"a": true}]},
  "kv_namespaces": [{"binding": "USER_KV", "id": "0f2ac74b498b48028cb68387c421e279", "preview_id": "x"},
                    {"binding": "B"}],
  "r2_buckets": [{"binding": "USER_R2", "bucket_name": "files"}],
  "d1_databases": [{"binding": "USER_DB", "database_name": "db", "database_id": "an-id", "migrations_dir": "m"}],
  "dispatch_namespaces": [{"binding": "DISPATCHER", "namespace": "bindings"}],
  "services": [{"binding": "AUTH", "service": "auth"}],
  "limits": {"cpu_ms": 50}, // and trailing commas
}
"""

TOML = """
name = "customer-worker-1"
main = "src/entry.py"
compatibility_date = "2026-01-15"
compatibility_flags = ["python_workers"]

[vars]
GREETING = "hi"
LEVELS = [1, 2]

[[kv_namespaces]]
binding = "USER_KV"
id = "0f2ac74b498b48028cb68387c421e279"

[[r2_buckets]]
binding = "USER_R2"
bucket_name = "files"

[limits]
cpu_ms = 50
"""


def test_jsonc_with_comments_and_trailing_commas_is_read(write: Write) -> None:
    folder = write({"wrangler.jsonc": JSONC, "src/entry.py": ""})

    project = load_project(folder)

    assert project.name == "customer-worker-1"
    assert project.main == folder / "src/entry.py"
    assert project.main_module == "entry.py"
    assert project.module_root == folder / "src"
    assert project.compatibility_flags == ("python_workers",)
    assert project.vars == {"GREETING": "hi", "LEVELS": [1, None, {"a": True}]}
    assert [(entry.binding, entry.id) for entry in project.kv_namespaces] == [
        ("USER_KV", "0f2ac74b498b48028cb68387c421e279"),
        ("B", None),
    ]
    assert [(entry.binding, entry.bucket_name) for entry in project.r2_buckets] == [("USER_R2", "files")]
    assert [(entry.database_name, entry.database_id) for entry in project.d1_databases] == [("db", "an-id")]
    assert project.dispatch_namespaces[0].namespace == "bindings"
    assert project.services[0].service == "auth"
    assert project.limits == WorkerLimits(cpu_ms=50)
    assert project.warnings == ()


def test_toml_is_read_alike(write: Write) -> None:
    folder = write({"wrangler.toml": TOML, "src/entry.py": ""})

    project = load_project(folder)

    assert project.name == "customer-worker-1"
    assert project.vars == {"GREETING": "hi", "LEVELS": [1, 2]}
    assert project.kv_namespaces[0].binding == "USER_KV"
    assert project.limits == WorkerLimits(cpu_ms=50)


def test_json_comes_before_jsonc_before_toml(write: Write) -> None:
    named = {kind: json.dumps({**MINIMAL, "name": kind}) for kind in ("json", "jsonc")}
    folder = write({"wrangler.toml": TOML, "wrangler.jsonc": named["jsonc"], "src/entry.py": ""})
    assert load_project(folder).name == "jsonc"

    write({"wrangler.json": named["json"]})
    assert load_project(folder).name == "json"


def test_a_configuration_file_may_be_given_itself(write: Write) -> None:
    folder = write({"other.jsonc": json.dumps(MINIMAL), "src/entry.py": ""})

    assert load_project(folder / "other.jsonc").name == "w"


def test_main_may_point_out_of_the_folder(write: Write) -> None:
    config = {**MINIMAL, "main": "../user-worker/src/entry.py"}
    folder = write({"one/wrangler.jsonc": json.dumps(config), "user-worker/src/entry.py": ""})

    project = load_project(folder / "one")

    assert project.main == folder / "user-worker/src/entry.py"
    assert project.module_root == folder / "user-worker/src"


def test_vars_are_not_shown_when_the_project_is_printed(write: Write) -> None:
    folder = write({"wrangler.jsonc": json.dumps({**MINIMAL, "vars": {"KEY": "s3cret"}}), "src/entry.py": ""})

    assert "s3cret" not in repr(load_project(folder))


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"naem": "x"}, 'unexpected field "naem"'),
        ({"routes": ["example.com/*"]}, '"routes" has no effect here yet'),
    ],
)
def test_what_has_no_effect_is_a_warning(write: Write, change: dict[str, object], warning: str) -> None:
    folder = write({"wrangler.jsonc": json.dumps({**MINIMAL, **change}), "src/entry.py": ""})

    (only,) = load_project(folder).warnings

    assert warning in only
    assert only.startswith(str(folder / "wrangler.jsonc"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": 3}, "$.name"),
        ({"name": None}, '"name" is missing'),
        ({"name": "Über"}, "$.name is 'Über'"),
        ({"name": "a/b"}, "$.name"),
        ({"name": "-a"}, "$.name"),
        ({"main": None}, '"main" is missing'),
        ({"main": "src/absent.py"}, "no such file"),
        ({"main": "src"}, "ends in .py"),
        ({"main": "src/index.js"}, "this platform runs Python Workers"),
        ({"compatibility_date": None}, '"compatibility_date" is missing'),
        ({"compatibility_flags": "python_workers"}, "$.compatibility_flags"),
        ({"vars": []}, "$.vars"),
        ({"kv_namespaces": {}}, "$.kv_namespaces"),
        ({"kv_namespaces": [{"id": "x"}]}, "$.kv_namespaces[0]"),
        ({"kv_namespaces": [{"binding": "A", "id": 7}]}, "$.kv_namespaces[0].id"),
        ({"kv_namespaces": [{"binding": ""}]}, "without a name"),
        ({"r2_buckets": [{"binding": "A"}, "x"]}, "$.r2_buckets[1]"),
        ({"dispatch_namespaces": [{"binding": "A"}]}, "$.dispatch_namespaces[0]"),
        ({"vars": {"A": 1}, "r2_buckets": [{"binding": "A"}]}, '"A" is bound twice'),
        ({"limits": {"cpu_ms": "50"}}, "$.limits.cpu_ms"),
        ({"base_dir": "absent"}, "$.base_dir"),
        ({"queues": {"producers": [{"binding": "Q"}]}}, '"queues" is not supported yet'),
        ({"durable_objects": {"bindings": [{}]}}, '"durable_objects" is not supported yet'),
    ],
)
def test_what_is_wrong_names_file_and_path(write: Write, change: dict[str, object], problem: str) -> None:
    folder = write({"wrangler.jsonc": json.dumps({**MINIMAL, **change}), "src/entry.py": "", "src/index.js": ""})

    with pytest.raises(ConfigError) as raised:
        load_project(folder)

    assert problem in str(raised.value)
    assert str(folder / "wrangler.jsonc") in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("wrangler.jsonc", "{"),
        ("wrangler.jsonc", "[]"),
        ("wrangler.jsonc", b"\xff\xfe{}"),
        ("wrangler.jsonc", "[" * 100_000),
        ("wrangler.jsonc", " " * (1024 * 1024 + 1)),
        ("wrangler.toml", "name = "),
    ],
)
def test_a_file_that_is_no_configuration_is_a_clear_error(write: Write, name: str, content: str | bytes) -> None:
    folder = write({name: content})

    with pytest.raises(ConfigError, match=name):
        load_project(folder)


def test_a_folder_without_configuration_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no wrangler configuration"):
        load_project(tmp_path)
    with pytest.raises(ConfigError, match="no such file or folder"):
        load_project(tmp_path / "absent")
