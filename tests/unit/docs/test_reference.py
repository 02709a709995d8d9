"""What the reference says of names, routes, keys and codes is what the code has."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from tenantry.cli.devfile import Customer, write_devfile
from tenantry.config import identity, installation, platform, wrangler, wrangler_keys
from tenantry.config.egress import EgressFile
from tenantry.config.kv import KvNamespaceFile
from tenantry.config.plans import PlanFile
from tenantry.config.quotas import D1QuotaFile, KvQuotaFile, QuotasFile, R2QuotaFile
from tenantry.control import BundleStore, Store, Vault, create_app, metadata
from tenantry.errors import InvocationError
from tenantry.gateway import gateway
from tenantry.services import ServiceSettings
from tenantry.services.assets import AssetStore
from tenantry.services.installed import InstalledServices
from tenantry.wire.events import InvocationKind
from tenantry.wire.frames import FrameKind
from tenantry.wire.terms import pack_terms
from tenantry.wire.values import encode


def section(text: str, heading: str) -> str:
    """The text below a heading, up to the next of its level or above."""
    level = heading.split(" ")[0]
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"no section {heading!r}"
    return found[1]


def names(text: str) -> set[str]:
    """Everything that stands in backticks, as whole words."""
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"[\w.$]+", code)}


def first_cells(text: str) -> set[str]:
    """The names in the first column of the tables."""
    return {name for line in text.splitlines() if line.startswith("| `") for name in names(line.split(" | ")[0])}


@pytest.fixture(scope="session")
def reference(root: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in (root / "docs" / "reference").glob("*.md")}


def test_the_generated_parts_are_fresh(generate: ModuleType) -> None:
    known = generate.blocks()

    used: set[str] = set()
    for path in generate.files():
        text = path.read_text()
        used.update(re.findall(r"<!-- generated: ([\w.-]+) -->", text))
        assert generate.regenerated(text, known) == text, f"{path.name} is stale: run python docs/generate.py"
    assert used == set(known)


def test_every_limits_module_is_in_the_tables(generate: ModuleType, root: Path) -> None:
    packages = root / "src"

    found = {".".join(path.relative_to(packages).with_suffix("").parts) for path in packages.rglob("limits.py")}

    assert set(generate.LIMITS.values()) == found


def test_the_keys_of_a_wrangler_configuration(reference: dict[str, str]) -> None:
    text = section(reference["settings"], "## wrangler.jsonc")
    table, refused, ignored = re.split(r"^\*\*(?:Refused|Ignored with a warning)\*\*", text, flags=re.MULTILINE)
    ignored = ignored.split("**Ignored**")[0]

    assert first_cells(table) == {field.name for field in msgspec.structs.fields(wrangler._WranglerFile)}
    assert names(refused) == wrangler_keys.MISSING
    assert names(ignored) == wrangler_keys.IGNORED


def keys_of_snippets(text: str) -> dict[str, set[str]]:
    """The keys of each table in the TOML of a page."""
    written: dict[str, set[str]] = {}

    def collect(name: str, table: Any) -> None:  # what a TOML file holds
        for each in table if isinstance(table, list) else [table]:
            if isinstance(each, dict):
                written.setdefault(name, set()).update(each)
                for key, value in each.items():
                    collect(key, value)

    for snippet in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        collect("", tomllib.loads(snippet))
    return written


def test_the_keys_of_an_installations_file(reference: dict[str, str]) -> None:
    written = keys_of_snippets(section(reference["settings"], "## serve.toml"))
    kinds: dict[str, type[msgspec.Struct]] = {
        "": installation._InstallationFile,
        "worker": installation._Worker,
        "identity": identity.IdentityFile,
        "jwt": identity._JwtFile,
        "proxy": identity._ProxyFile,
    }
    for name, kind in kinds.items():
        assert written[name] == {field.name for field in msgspec.structs.fields(kind)}


def test_the_keys_of_a_platform_file(reference: dict[str, str]) -> None:
    written = keys_of_snippets(section(reference["settings"], "## tenantry.toml"))
    kinds: dict[str, type[msgspec.Struct]] = {
        "": platform._PlatformFile,
        "gateway": platform._Gateway,
        "worker": platform._Worker,
        "egress": EgressFile,
        "limits": PlanFile,
        "kv_namespace": KvNamespaceFile,
        "quotas": QuotasFile,
        "kv": KvQuotaFile,
        "r2": R2QuotaFile,
        "d1": D1QuotaFile,
    }
    assert written == {name: {field.name for field in msgspec.structs.fields(kind)} for name, kind in kinds.items()}


def test_the_keys_of_dev_json(reference: dict[str, str], tmp_path: Path) -> None:
    shown = json.loads(re.findall(r"```json\n(.*?)```", section(reference["settings"], "## dev.json"), re.DOTALL)[0])
    customer = Customer("worker", "kv", "r2", "d1", {"access_key_id": "", "secret_access_key": "", "bucket": ""})
    write_devfile(
        tmp_path, gateway="", control="", s3="", account_id="", admin_token="", customers=[("user1", customer)]
    )
    written = json.loads((tmp_path / "dev.json").read_text())

    assert list(shown) == list(written)
    assert list(shown["customers"]["user1"]) == list(written["customers"]["user1"])
    assert list(shown["customers"]["user1"]["s3"]) == list(written["customers"]["user1"]["s3"])


WORKERS = (
    "{a}/workers/scripts/{script_name}",
    "{a}/workers/dispatch/namespaces/{namespace}/scripts/{script_name}",
)


def test_the_routes_of_the_rest_api(reference: dict[str, str], tmp_path: Path) -> None:
    rows = re.findall(r"^\| (GET|PUT|POST|DELETE|PATCH) \| `([^`]+)` \|", reference["rest-api"], re.MULTILINE)
    described = {
        (method, path.replace("{worker}", worker).replace("{a}", "/client/v4/accounts/{account_id}"))
        for method, path in rows
        for worker in WORKERS
    }

    class Nobody:
        def deployed(self, *versions: Any) -> None: ...
        def removed(self, namespace: str | None, name: str) -> None: ...
        def ready(self) -> bool:
            return True

        def processes(self) -> list[Any]:
            return []

        def metrics(self) -> bytes:
            return b""

    store = Store(tmp_path / "control.db", Vault.open(tmp_path / "secrets.keys"), durable=False)
    try:
        services = InstalledServices(ServiceSettings(tmp_path, "process"))
        nobody = Nobody()
        bundles, assets = BundleStore(tmp_path / "bundles", durable=False), AssetStore(tmp_path / "assets")
        app: Any = create_app(store, bundles, nobody, services, nobody, assets=assets)
        routes = {
            (method, re.sub(r":\w+\}", "}", route.path))
            for route in app._app.routes
            for method in route.methods
            if method not in ("OPTIONS", "HEAD")
        }
    finally:
        store.close()

    assert described == routes
    assert len(rows) == len(set(rows))


def test_the_types_of_bindings_of_an_upload(reference: dict[str, str]) -> None:
    rows = re.findall(r"^\| type of binding.*?\n\n", reference["rest-api"], re.DOTALL | re.MULTILINE)[0]

    assert first_cells(rows) == set(metadata._TYPES)


def test_the_gateways_answers(reference: dict[str, str]) -> None:
    rows = re.findall(r"^\| (\d{3}) \| `error code: (\d+)` \|", reference["errors"], re.MULTILINE)
    described = {(int(status), int(code)) for status, code in rows}

    answers = {(status, kind.code) for kind, status in gateway._STATUSES.items()}
    assert _kinds_below(InvocationError) == set(gateway._STATUSES)
    assert described == answers | {(502, 1101)}


def _kinds_below(kind: type[InvocationError]) -> set[type[InvocationError]]:
    own = {each for each in kind.__subclasses__() if each.__module__ == "tenantry.errors"}
    return own.union(*(_kinds_below(each) for each in own))


def test_the_control_planes_codes(reference: dict[str, str], root: Path) -> None:
    rows = re.findall(
        r"^\| (\d{3}) \| ([\d, ]+) \|", section(reference["errors"], "## The control plane"), re.MULTILINE
    )
    # Smaller and larger codes cannot be told from other numbers in the sources.
    described = {int(code) for _, codes in rows for code in codes.split(", ") if 7000 <= int(code) < 12_000}
    sources = [path for path in (root / "src" / "tenantry" / "control").rglob("*.py") if path.name != "limits.py"]
    used = {
        node.value
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and type(node.value) is int and 7000 <= node.value < 12_000
    }

    assert described == used


def test_the_names_of_the_workers_module(reference: dict[str, str]) -> None:
    import workers

    table = first_cells(section(reference["workers-module"], "## Names"))

    assert table == set(workers.__all__)


@pytest.mark.parametrize(
    ("heading", "module", "kind"),
    [
        ("## KV", "workers._bindings.kv", "KvNamespace"),
        ("## R2", "workers._bindings.r2", "R2Bucket"),
        ("## D1", "workers._bindings.d1", "D1Database"),
    ],
)
def test_the_methods_of_a_binding(reference: dict[str, str], heading: str, module: str, kind: str) -> None:
    bound = getattr(__import__(module, fromlist=[kind]), kind)
    methods = {
        name
        for owner in bound.__mro__
        if owner.__module__ == module
        for name, member in vars(owner).items()
        if callable(member) and not name.startswith("_")
    } - {"query"}  # there to say that D1 has none

    described = re.findall(r"^\| `(\w+)\(", section(reference["workers-module"], heading), re.MULTILINE)

    assert set(described) == methods


def test_the_names_of_the_js_module(reference: dict[str, str]) -> None:
    import js

    present, missing = section(reference["workers-module"], "## `js` and `pyodide`").split("Missing, ")
    present = present.split("natively:")[1]
    missing = missing.split("`pyodide.ffi`")[0]

    assert names(present) == set(js._WHERE)
    assert names(missing) == js._MISSING


@pytest.mark.parametrize(("heading", "kinds"), [("## A frame", FrameKind), ("## What a call delivers", InvocationKind)])
def test_the_kinds_on_the_wire(root: Path, heading: str, kinds: type[IntEnum]) -> None:
    text = section((root / "docs" / "design" / "wire.md").read_text(), heading)
    rows = re.findall(r"^\| ([\d, ]+) \| ([A-Z_, ]+) \|", text, re.MULTILINE)
    described = {
        (int(number), name)
        for numbers, named in rows
        for number, name in zip(numbers.split(", "), named.split(", "), strict=True)
    }

    assert described == {(int(kind), kind.name) for kind in kinds}


def test_the_terms_of_a_call(root: Path) -> None:
    text = section((root / "docs" / "design" / "wire.md").read_text(), "## Terms")
    shown = re.findall(r"^payload +(.*?)$", text, re.MULTILINE)[0]

    assert bytes.fromhex(shown.replace("│", "")) == pack_terms({"limits": {"cpuMs": 50}}) + encode(["color"])
