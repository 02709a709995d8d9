"""Secrets at rest: sealed with a key, which can be rotated at any time, and without which nothing starts."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tenantry.cli.backup import backup as run_backup
from tenantry.cli.store import open_store
from tenantry.control import Vault
from tenantry.control.scopes import RULES
from tenantry.errors import ConfigError

CANARIES = ("canary-of-a-binding", "canary-of-a-secret", '{"kty": "canary"}')


async def fill(control: Any) -> tuple[str, str]:
    """A Worker with secrets, and an S3 access key and a customer's API key, whose secrets are returned."""
    binding = {"type": "secret_text", "name": "B", "text": CANARIES[0]}
    assert (await control.deploy("w", bindings=[binding])).status_code == 200
    for name, text in (("S", CANARIES[1]), ("J", CANARIES[2])):
        body = {"name": name, "text": text, "type": "secret_text"}
        assert (await control.call("PUT", "/workers/scripts/w/secrets", json=body)).status_code == 200
    body = {"name": "k", "permission": "admin-read-write"}
    made = (await control.call("POST", "/r2/s3-credentials", json=body)).json()["result"]
    key = (await control.http.post("/tenantry/v1/api_keys", json={"user": "user1"})).json()["result"]["key"]
    return str(made["secret_access_key"]), str(key).split("_", 2)[2]  # which may hold more of them


def with_names(path: str, known: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], "f" * 32), path)


def values(control: Any) -> dict[str, str]:
    worker = control.deployments.workers[(None, "w")]
    return {binding.name: binding.fields["text"] for binding in worker.bindings}


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def rotate(control: Any) -> Any:
    return await control.http.post("/tenantry/v1/secrets/rotate")


async def test_no_file_of_the_data_folder_or_of_a_backup_holds_a_secret_or_a_token(
    control: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backup = tmp_path_factory.mktemp("backup")
    made = await fill(control)
    other = (await control.call("GET", "/r2/s3-credentials")).json()["result"]
    assert other
    assert values(control) == {"B": CANARIES[0], "S": CANARIES[1], "J": CANARIES[2]}
    assert (control.data / "control.db-wal").stat().st_size > 0, "what is not checkpointed is looked at too"

    found = written(control.data)
    run_backup(backup, control.data)
    copied = written(backup)

    assert b"w/secrets" in found or b"scripts/w" in found, "the audit log lies in clear: this sees what is written"
    assert b"scripts/w" in copied
    for canary in (*CANARIES, *made, control.token.split("_", 2)[2]):
        assert canary.encode() not in found
        assert canary.encode() not in copied
    assert (backup / "secrets.keys").stat().st_mode & 0o777 == 0o600, (
        "what opens them lies beside them, for the owner alone"
    )


async def test_no_answer_holds_a_secret_or_a_token(control: Any) -> None:
    made = await fill(control)
    versions = (await control.call("GET", "/workers/scripts/w/versions")).json()["result"]["items"]
    token = (await control.call("GET", "/tokens")).json()["result"][0]["id"]
    shown = 0
    for version in versions:
        known = {
            "account_id": control.account,
            "script_name": "w",
            "secret_name": "S",
            "version_id": version["id"],
            "token_id": token,
        }
        for method, path in RULES:
            if method == "GET":
                filled = with_names(path, known)
                response = await control.http.get(filled)
                shown += response.status_code == 200
                for canary in (*CANARIES, *made, control.token.split("_", 2)[2]):
                    assert canary not in response.text, filled
    assert shown > 20 * len(versions), "most of them answered"


async def test_a_rotation_changes_no_secret_and_makes_the_old_key_worthless(control: Any) -> None:
    s3_secret, _ = await fill(control)
    access_key = (await control.call("GET", "/r2/s3-credentials")).json()["result"][0]["access_key_id"]
    old_key = (control.data / "secrets.keys").read_text().strip()

    response = await rotate(control)

    assert response.json()["result"] == {"secrets": 4}
    assert old_key not in (control.data / "secrets.keys").read_text()
    await control.deploy("w", bindings=[{"type": "inherit", "name": "B"}], files={"entry.py": b"# other"})
    assert values(control)["B"] == CANARIES[0]
    control.store.close()
    again = open_store(control.data)
    found = again.s3_credentials.find_untrusted(control.account, access_key)
    again.close()
    assert found is not None
    assert found.secret_access_key == s3_secret


@pytest.mark.parametrize("at", ["before the secrets are sealed again", "before the old key is dropped"])
async def test_a_rotation_that_was_cut_off_is_made_good_by_the_next(
    control: Any, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    await fill(control)

    def die(*_: object) -> None:
        raise SystemError("the host dies here")

    name = "sealing.reseal_s3_secrets" if "sealed" in at else "vault.Vault.drop_old_keys"
    with monkeypatch.context() as cut:
        cut.setattr(f"tenantry.control.{name}", die)
        with suppress(SystemError):
            control.store.sealing.rotate()
    control.store.close()

    again = open_store(control.data)
    try:
        assert len((control.data / "secrets.keys").read_text().splitlines()) == 2
        (worker,) = again.all_deployed()
        assert {each.fields["text"] for each in worker.bindings} == set(CANARIES)
        assert again.sealing.rotate() == 4
        assert len((control.data / "secrets.keys").read_text().splitlines()) == 1
        (worker,) = again.all_deployed()
        assert {each.fields["text"] for each in worker.bindings} == set(CANARIES)
    finally:
        again.close()


async def test_keys_of_the_environment_are_rotated_there(control: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(control)
    control.store.close()
    file = control.data / "secrets.keys"
    line = file.read_text()
    file.unlink()
    new = Vault.open(control.data / "other")
    both = (control.data / "other").read_text() + line

    monkeypatch.setenv("TENANTRY_SECRETS_KEYS", both)
    again = open_store(control.data)
    with pytest.raises(Exception, match="TENANTRY_SECRETS_KEYS"):
        again.sealing.rotate()
    (worker,) = again.all_deployed()
    again.close()

    assert new.key_id in both
    assert {each.fields["text"] for each in worker.bindings} == set(CANARIES)
    assert not file.exists()


async def test_a_platform_does_not_start_without_the_keys(control: Any) -> None:
    await fill(control)
    control.store.close()
    file = control.data / "secrets.keys"
    keys = file.read_bytes()

    file.unlink()
    with pytest.raises(ConfigError, match="is gone, and with it the key"):
        open_store(control.data)
    assert not file.exists(), "no other key takes its place"
    Vault.open(file)
    with pytest.raises(ConfigError, match="not those of this database"):
        open_store(control.data)
    file.write_bytes(keys)
    open_store(control.data).close()


async def test_the_same_secret_again_makes_no_version(control: Any) -> None:
    await fill(control)
    before = (await control.call("GET", "/workers/scripts/w/versions")).json()["result"]
    body = {"name": "S", "text": CANARIES[1], "type": "secret_text"}
    assert (await control.call("PUT", "/workers/scripts/w/secrets", json=body)).status_code == 200
    assert (await control.call("GET", "/workers/scripts/w/versions")).json()["result"] == before


def test_nobody_else_may_read_the_keys(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    assert os.stat(tmp_path / "secrets.keys").st_mode & 0o077 == 0
