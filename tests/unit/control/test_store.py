"""The control store: migrations, tokens, and what a deploy writes."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect

from tenantry.config.deployment import BindingSpec, WorkerLimits
from tenantry.control import migrations
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.metadata import Metadata
from tenantry.control.records import Origin, ScriptRef
from tenantry.control.resources import Page
from tenantry.control.schema import METADATA
from tenantry.control.store import Store
from tenantry.control.upload import Upload
from tenantry.control.vault import Vault
from tenantry.errors import ConfigError

BUNDLE = "a" * 64
FIRST = Page(1, 100)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "control.db", Vault.open(tmp_path / "secrets.keys"), durable=False)
    yield opened
    opened.close()


@pytest.fixture
def account(store: Store) -> str:
    return store.accounts.default().id


def upload(*bindings: BindingSpec, bundle: str = BUNDLE, keep: frozenset[str] = frozenset()) -> Upload:
    metadata = Metadata("entry.py", "2026-01-15", ("python_workers",), bindings, keep, WorkerLimits(50, None))
    return Upload(metadata, bundle, {"entry.py": "text/x-python"})


def text(name: str, value: str, kind: str = "plain_text") -> BindingSpec:
    return BindingSpec(name, kind, {"text": value})


def inherit(name: str, old: str | None = None) -> BindingSpec:
    return BindingSpec(name, "inherit", {"old_name": old or name})


def deploy(store: Store, account: str, what: Upload, *, strict: bool = True, namespace: str | None = None) -> Any:
    return store.scripts.deploy(ScriptRef(account, namespace, "w"), what, Origin(), strict_inherit=strict)


def described(engine: Any) -> dict[str, Any]:
    inspector = inspect(engine)
    return {
        table: (
            [
                (column["name"], str(column["type"]), column["nullable"], bool(column["primary_key"]))
                for column in inspector.get_columns(table)
            ],
            sorted(
                (str(key["constrained_columns"]), key["referred_table"]) for key in inspector.get_foreign_keys(table)
            ),
            sorted(str(unique["column_names"]) for unique in inspector.get_unique_constraints(table)),
            sorted((str(index["name"]), str(index["column_names"])) for index in inspector.get_indexes(table)),
        )
        for table in inspector.get_table_names()
        if table != "schema_version"
    }


def test_the_migrated_schema_is_the_one_that_statements_are_built_with(store: Store, tmp_path: Path) -> None:
    declared = create_engine("sqlite://")
    METADATA.create_all(declared)
    migrated = create_engine(f"sqlite:///{tmp_path / 'control.db'}")
    try:
        assert described(migrated) == described(declared)
    finally:
        declared.dispose()
        migrated.dispose()


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, ("CREATE TABLE future (id TEXT)",)))
    Store(tmp_path / "control.db", Vault.open(tmp_path / "secrets.keys")).close()
    monkeypatch.undo()

    with pytest.raises(ConfigError, match="use a newer tenantry"):
        Store(tmp_path / "control.db", Vault.open(tmp_path / "secrets.keys"))


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_bytes(b"not a database" * 1000)

    with pytest.raises(ConfigError, match="cannot be used as the control store"):
        Store(tmp_path / "control.db", Vault.open(tmp_path / "secrets.keys"))


def test_nobody_else_may_read_the_file(store: Store, tmp_path: Path, account: str) -> None:
    for path in tmp_path.glob("control.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_default_account_is_made_once(store: Store, account: str) -> None:
    assert store.accounts.default().id == account
    assert len(account) == 32


def test_tokens_are_verified_and_never_stored_in_clear(store: Store, account: str, tmp_path: Path) -> None:
    token = store.tokens.issue(account, "dev")[1]

    verified = store.tokens.verify_untrusted(token)

    assert verified is not None
    assert verified.account_id == account
    secret = token.split("_", 2)[2].encode()
    assert all(secret not in path.read_bytes() for path in tmp_path.glob("control.db*"))


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"), lambda t: ""])
def test_a_token_that_is_nearly_right_is_wrong(store: Store, account: str, change: Any) -> None:
    assert store.tokens.verify_untrusted(change(store.tokens.issue(account, "dev")[1])) is None


def test_tokens_are_revoked_by_their_name_and_others_are_not(store: Store, account: str) -> None:
    other = store.tokens.issue(account, "ci")[1]
    old = store.tokens.issue(account, "dev")[1]
    store.tokens.revoke_named(account, "dev")
    new = store.tokens.issue(account, "dev")[1]

    assert store.tokens.verify_untrusted(old) is None
    assert store.tokens.verify_untrusted(new) is not None
    assert store.tokens.verify_untrusted(other) is not None


def test_a_deploy_is_there_after_reopening(store: Store, account: str, tmp_path: Path) -> None:
    done = deploy(store, account, upload(text("GREETING", "hi"), BindingSpec("J", "json", {"json": [1, None]})))
    store.close()

    again = Store(tmp_path / "control.db", Vault.open(tmp_path / "secrets.keys"))
    (worker,) = again.all_deployed()
    again.close()

    assert ((worker,),) == done.deployed
    assert worker.limits == WorkerLimits(50, None)
    assert [binding.name for binding in worker.bindings] == ["GREETING", "J"]


def test_the_same_upload_again_changes_nothing(store: Store, account: str) -> None:
    first = deploy(store, account, upload(text("A", "1")))
    second = deploy(store, account, upload(text("A", "1")))

    assert second.result.version.id == first.result.version.id
    assert (bool(first.deployed), bool(second.deployed)) == (True, False)


def test_another_upload_is_another_version_of_the_same_script(store: Store, account: str) -> None:
    first = deploy(store, account, upload())
    second = deploy(store, account, upload(bundle="b" * 64))

    assert second.result.id == first.result.id
    assert second.result.version.id != first.result.version.id
    assert [worker.bundle for worker in store.all_deployed()] == ["b" * 64]
    assert store.scripts.bundles() == {"a" * 64, "b" * 64}


def test_going_back_to_older_content_is_a_new_deploy(store: Store, account: str) -> None:
    deploy(store, account, upload())
    deploy(store, account, upload(bundle="b" * 64))

    assert deploy(store, account, upload()).deployed
    assert [worker.bundle for worker in store.all_deployed()] == [BUNDLE]


def test_an_inherited_binding_is_the_previous_versions(store: Store, account: str) -> None:
    deploy(store, account, upload(text("A", "1"), text("B", "2")))

    done = deploy(store, account, upload(inherit("A"), inherit("C", "B")))

    fields = {binding.name: (binding.type, dict(binding.fields)) for binding in done.deployed[0][0].bindings}
    assert fields == {"A": ("plain_text", {"text": "1"}), "C": ("plain_text", {"text": "2"})}


def test_inheriting_what_is_not_there_fails_when_strict_and_is_dropped_otherwise(store: Store, account: str) -> None:
    with pytest.raises(Invalid, match=r"^inherit binding 'A' is invalid") as raised:
        deploy(store, account, upload(inherit("A")))
    assert raised.value.code == 10057
    assert list(store.all_deployed()) == []

    assert deploy(store, account, upload(inherit("A")), strict=False).deployed[0][0].bindings == ()


def test_secrets_stay_and_variables_go_unless_kept(store: Store, account: str) -> None:
    deploy(store, account, upload(text("S", "s3cret", "secret_text"), text("V", "1")))

    def names(done: Any) -> set[str]:
        return {binding.name for binding in done.deployed[0][0].bindings}

    assert names(deploy(store, account, upload(bundle="b" * 64, keep=frozenset({"plain_text"})))) == {"S", "V"}
    assert names(deploy(store, account, upload(bundle="c" * 64))) == {"S"}
    replaced = deploy(store, account, upload(text("S", "plain")))
    assert [binding.type for binding in replaced.deployed[0][0].bindings] == ["plain_text"]


def test_secrets_do_not_show_when_a_worker_is_printed(store: Store, account: str) -> None:
    assert "s3cret" not in repr(deploy(store, account, upload(text("S", "s3cret", "secret_text"))))


def test_bindings_to_what_is_not_there_are_refused_by_type(store: Store, account: str) -> None:
    table = [
        (BindingSpec("B", "kv_namespace", {"namespace_id": "0" * 32}), 10041),
        (BindingSpec("B", "r2_bucket", {"bucket_name": "nope"}), 10085),
        (BindingSpec("B", "d1", {"id": "x", "database_id": "x"}), 10181),
        (BindingSpec("B", "dispatch_namespace", {"namespace": "nope"}), 10021),
    ]
    for binding, code in table:
        with pytest.raises(Invalid, match=r"binding B: .* not found") as raised:
            deploy(store, account, upload(binding))
        assert raised.value.code == code
    assert list(store.all_deployed()) == []


def test_workers_of_namespaces_and_ordinary_ones_do_not_meet(store: Store, account: str) -> None:
    store.resources.create_dispatch_namespace(account, "one")
    store.resources.create_dispatch_namespace(account, "two")
    for namespace in (None, "one", "two"):
        deploy(store, account, upload(text("WHERE", str(namespace))), namespace=namespace)

    assert {worker.namespace: worker.bindings[0].fields["text"] for worker in store.all_deployed()} == {
        None: "None",
        "one": "one",
        "two": "two",
    }
    store.scripts.delete(ScriptRef(account, "one", "w"))
    assert {worker.namespace for worker in store.all_deployed()} == {None, "two"}
    with pytest.raises(NotFound) as raised:
        store.scripts.get(ScriptRef(account, "one", "w"))
    assert raised.value.code == 10092


def test_a_deploy_into_an_absent_namespace_is_refused(store: Store, account: str) -> None:
    with pytest.raises(NotFound) as raised:
        deploy(store, account, upload(), namespace="nope")
    assert raised.value.code == 10007


def test_another_accounts_resources_are_not_there(store: Store, account: str) -> None:
    namespace = store.resources.create_kv_namespace(account, "mine")
    binding = BindingSpec("B", "kv_namespace", {"namespace_id": namespace.id})

    with pytest.raises(Invalid, match="not found"):
        deploy(store, "f" * 32, upload(binding))
    assert store.resources.kv_namespaces("f" * 32, FIRST, "id", descending=False) == ([], 0)


def test_pages_end(store: Store, account: str) -> None:
    for number in range(5):
        store.resources.create_kv_namespace(account, f"t{number}")

    def titles(page: Page, *, descending: bool = False) -> list[str]:
        found, total = store.resources.kv_namespaces(account, page, "title", descending=descending)
        assert total == 5
        return [namespace.title for namespace in found]

    assert titles(Page(1, 2)) == ["t0", "t1"]
    assert titles(Page(3, 2)) == ["t4"]
    assert titles(Page(4, 2)) == []
    assert titles(Page(1, 2), descending=True) == ["t4", "t3"]
