"""The platform's own file: every mistake is named with its path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tenantry.config.platform import deploy_order, load_platform
from tenantry.errors import ConfigError

Write = Callable[[dict[str, str | bytes]], Path]

DISPATCHER = '[gateway]\nworker = "dispatcher"\n[[worker]]\npath = "dispatcher"\n'


def projects(*names: str) -> dict[str, str | bytes]:
    files: dict[str, str | bytes] = {}
    for name in names:
        config = {"name": name, "main": "entry.py", "compatibility_date": "2026-01-15"}
        files[f"{name}/wrangler.jsonc"] = json.dumps(config)
        files[f"{name}/entry.py"] = ""
    return files


def test_a_platform_of_several_workers(write: Write) -> None:
    more = '[[worker]]\npath = "one"\nnamespace = "bindings"\ncustomer = "user1"\n'
    folder = write({"tenantry.toml": DISPATCHER + more, **projects("dispatcher", "one")})

    platform = load_platform(folder)

    assert platform.gateway_worker == "dispatcher"
    assert [(worker.project.name, worker.namespace, worker.customer) for worker in platform.workers] == [
        ("dispatcher", None, None),
        ("one", "bindings", "user1"),
    ]
    assert platform.file == folder / "tenantry.toml"


def test_the_memory_of_all_processes_is_the_operators_to_set(write: Write) -> None:
    files = projects("dispatcher")
    assert load_platform(write({"tenantry.toml": DISPATCHER, **files})).memory_mib_total is None
    folder = write({"tenantry.toml": "memory_mib_total = 4096\n" + DISPATCHER, **files})
    assert load_platform(folder).memory_mib_total == 4096


def test_a_folder_with_one_wrangler_configuration_is_a_platform_of_it(write: Write) -> None:
    folder = write(projects("only"))

    platform = load_platform(folder / "only")

    assert platform.gateway_worker == "only"
    assert platform.file is None
    assert len(platform.workers) == 1


def test_what_is_set_for_a_kv_namespace(write: Write) -> None:
    entries = """
[[kv_namespace]]
title = "dispatcher-SESSIONS"
consistency = "cloudflare_like"
[[kv_namespace]]
id = "8064ea93cddf93a68581f760690d7345"
consistency = "strong"
"""
    kv = load_platform(write({"tenantry.toml": DISPATCHER + entries, **projects("dispatcher")})).kv

    assert kv.of("0" * 32, "dispatcher-SESSIONS") == {"consistency": "cloudflare_like"}
    assert kv.of("8064ea93cddf93a68581f760690d7345", "dispatcher-SESSIONS") == {"consistency": "strong"}
    assert kv.of("0" * 32, "other") == {}
    assert kv.of("0" * 32, None) == {}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (DISPATCHER + "[[kv_namespace]]", "$.kv_namespace[0] needs either a title or an id"),
        (DISPATCHER + '[[kv_namespace]]\nid = "a"\ntitle = "b"', "$.kv_namespace[0] needs either a title or an id"),
        (DISPATCHER + '[[kv_namespace]]\ntitle = " "', "$.kv_namespace[0] has an empty name"),
        (DISPATCHER + '[[kv_namespace]]\ntitle = "t"\n' * 2, "$.kv_namespace[1] is a second entry for 't'"),
        (DISPATCHER + '[[kv_namespace]]\ntitle = "t"\nconsistency = "weak"', "$.kv_namespace[0].consistency"),
        ("", "missing required field `gateway`"),
        ("[gateway]", "worker"),
        ('[gateway]\nworker = "dispatcher"', "missing required field `worker`"),
        (DISPATCHER + 'color = "red"', "unknown field `color` - at `$.worker[0]`"),
        ("memory_mib_total = 1\n" + DISPATCHER, "$.memory_mib_total"),
        ("[gateways]\n" + DISPATCHER, "unknown field `gateways`"),
        ('[gateway]\nworker = 1\n[[worker]]\npath = "dispatcher"', "$.gateway.worker"),
        (DISPATCHER + '[[worker]]\npath = "absent"', "$.worker[1].path"),
        (DISPATCHER + '[[worker]]\npath = "one"\nnamespace = ""', "$.worker[1].namespace is empty"),
        (DISPATCHER + '[[worker]]\npath = "dispatcher"', "second Worker with the name 'dispatcher'"),
        (
            DISPATCHER
            + '[[worker]]\npath="one"\nnamespace="a"\ncustomer="u"\n'
            + '[[worker]]\npath="one"\nnamespace="b"\ncustomer="u"',
            "$.worker[2].customer 'u' stands there twice",
        ),
        ('[gateway]\nworker = "one"\n[[worker]]\npath = "one"\nnamespace = "x"', "$.gateway.worker is 'one'"),
        ("[gateway", "tenantry.toml"),
        (DISPATCHER + '[egress]\nallow = ["https://a.b"]', "$.egress.allow[0]"),
        (DISPATCHER + '[worker.egress]\npolicy = "deny"\nallow = ["a.b"]', "$.worker[0].egress"),
        (DISPATCHER + '[egress]\npolicy = "open"', "$.egress.policy"),
        (DISPATCHER + "[egress]\nports = []", "unknown field `ports`"),
    ],
)
def test_mistakes_name_the_file_and_the_path(write: Write, content: str, problem: str) -> None:
    folder = write({"tenantry.toml": content, **projects("dispatcher", "one")})

    with pytest.raises(ConfigError) as raised:
        load_platform(folder)

    assert problem in str(raised.value)
    assert "tenantry.toml" in str(raised.value)


def test_where_workers_may_go(write: Write) -> None:
    egress = '[worker.egress]\npolicy = "deny"\n[egress]\npolicy = "allow"\nallow = ["api.example.com"]\n'
    folder = write({"tenantry.toml": DISPATCHER + egress, **projects("dispatcher", "one")})

    policies = load_platform(folder).egress

    assert policies.of(None, "dispatcher").mode == "deny"
    assert policies.of("bindings", "one").names == {"api.example.com"}


def test_a_folder_that_is_no_platform_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds neither tenantry\.toml nor a wrangler configuration"):
        load_platform(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        load_platform(tmp_path / "absent")


def test_a_worker_is_deployed_behind_those_that_it_calls(write: Write) -> None:
    calls = {"front": ["back", "absent"], "back": ["store"], "store": [], "round": ["about"], "about": ["round"]}
    files = {"tenantry.toml": '[gateway]\nworker = "front"\n'}
    for name, services in calls.items():
        files["tenantry.toml"] += f'[[worker]]\npath = "{name}"\n'
        bound = [{"binding": f"S{index}", "service": service} for index, service in enumerate(services)]
        config = {"name": name, "main": "entry.py", "compatibility_date": "2026-01-15", "services": bound}
        files.update({f"{name}/wrangler.jsonc": json.dumps(config), f"{name}/entry.py": ""})
    # A customer's Worker is nobody's service, whatever its name.
    files["tenantry.toml"] += '[[worker]]\npath = "back"\nnamespace = "customers"\n'

    platform = load_platform(write({**files}))

    ordered = [(worker.namespace, worker.project.name) for worker in deploy_order(platform.workers)]
    assert ordered == [
        (None, "store"),
        ("customers", "back"),
        (None, "back"),
        (None, "front"),
        (None, "about"),
        (None, "round"),
    ]
