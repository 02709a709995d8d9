"""Secrets at rest: sealed, opened by whoever has the key, tied to what they belong to, and re-keyed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.control.vault import Vault, VaultError
from tenantry.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secrets.keys"


@given(st.text(), st.text())
def test_what_is_sealed_is_opened_again(secret: str, context: str) -> None:
    vault = Vault({"00000000": bytes(32)}, None)
    try:
        secret.encode()
        context.encode()
    except UnicodeEncodeError:
        return
    sealed = vault.seal(secret, context)
    assert vault.unseal(sealed, context) == secret
    assert vault.seal(secret, context) != sealed


def test_the_keys_are_found_again_and_nobody_else_may_read_them(file: Path) -> None:
    sealed = Vault.open(file).seal("canary", "w/TOKEN")
    assert "canary" not in sealed
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Vault.open(file).unseal(sealed, "w/TOKEN") == "canary"


def test_a_secret_cannot_be_moved_or_changed(file: Path) -> None:
    vault = Vault.open(file)
    sealed = vault.seal("canary", "w/TOKEN")
    for wrong, context in (
        (sealed, "other/TOKEN"),
        (sealed[:-4] + "AAA=", "w/TOKEN"),
        (sealed.replace("v1.", "v2."), "w/TOKEN"),
        ("v1.00000000.AAAA", "w/TOKEN"),
        (f"v1.{vault.key_id}.!", "w/TOKEN"),
        ("", "w/TOKEN"),
        ("canary", "w/TOKEN"),
    ):
        with pytest.raises(VaultError) as caught:
            vault.unseal(wrong, context)
        assert "canary" not in str(caught.value)


def test_a_rotation_opens_what_is_old_until_the_old_key_is_dropped(file: Path) -> None:
    vault = Vault.open(file)
    old = vault.seal("canary", "c")
    vault.add_key()
    assert not vault.is_current(old)
    again = Vault.open(file)
    assert again.unseal(old, "c") == "canary"
    new = again.seal("canary", "c")
    assert again.is_current(new)
    again.drop_old_keys()
    assert Vault.open(file).unseal(new, "c") == "canary"
    with pytest.raises(VaultError):
        Vault.open(file).unseal(old, "c")


def test_keys_of_the_environment_leave_no_file(file: Path) -> None:
    Vault.open(file)
    line = file.read_text().strip()
    file.unlink()
    vault = Vault.open(file, line)
    assert vault.unseal(vault.seal("x", "c"), "c") == "x"
    assert not file.exists()
    with pytest.raises(ConfigError, match="TENANTRY_SECRETS_KEYS"):
        vault.add_key()


@pytest.mark.parametrize("text", ["", "\n", "nonsense", "0123abcd AAAA", "0123abcd " + "A" * 44, "x" * 100_000])
def test_a_file_that_holds_no_keys_stops_the_start(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Vault.open(file)
    assert "AAAA" not in str(caught.value)
