"""Secrets at rest: sealed with a key that lies beside the database, or comes from the environment.

    v1.<key id>.<base64url of nonce and AES-256-GCM ciphertext>

The context (whose secret it is, and its name) is authenticated too, so that a row cannot be moved to another Worker.
What this is for: copies of the database (a backup, a replica, a support bundle) hold no secret that can be read without
the key. It does not help against somebody who can read the whole data folder.

The key file has a line for each key, the current one first; older ones open what was sealed before a rotation.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenantry.control.limits import VAULT_FILE_BYTES_MAX
from tenantry.errors import ConfigError

__all__ = ["ENVIRONMENT_VARIABLE", "VAULT_FILE", "Vault", "VaultError"]

ENVIRONMENT_VARIABLE: Final = "TENANTRY_SECRETS_KEYS"
VAULT_FILE: Final = "secrets.keys"
"""In the data folder."""
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_LINE: Final = re.compile(r"([0-9a-f]{8}) ([A-Za-z0-9_-]{43}=)")


class VaultError(Exception):
    """Something that cannot be opened: its key is gone, or it was changed or moved."""


class Vault:
    """The keys of an installation. May be used from any thread."""

    def __init__(self, keys: dict[str, bytes], file: Path | None) -> None:
        """`keys` by id, the current one first. `file` is where they are kept; None: not by us."""
        self._keys = keys
        self._retired: dict[str, bytes] = {}
        """Dropped since the start. They still open what somebody read just before."""
        self._file = file

    @classmethod
    def open(cls, file: Path, environment: str | None = None, *, new: bool = True) -> Vault:
        """The keys of `environment`, if given, else of `file`, which is made with a new one if absent and `new`.

        Raises ConfigError, which never shows a key.
        """
        if environment:
            return cls(_parse(environment, ENVIRONMENT_VARIABLE), None)
        try:
            with file.open("rb") as opened:
                text = opened.read(VAULT_FILE_BYTES_MAX + 1).decode("ascii", "replace")
        except FileNotFoundError as error:
            if not new:
                raise ConfigError(
                    f"{file} is gone, and with it the key of the secrets in the database: put it back (a backup has "
                    f"it), or set {ENVIRONMENT_VARIABLE} to what stood in it"
                ) from error
            vault = cls(_new_key(), file)
            vault._write(vault._keys)
            return vault
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}") from error
        return cls(_parse(text, str(file)), file)

    @property
    def key_id(self) -> str:
        """Of the key that new secrets are sealed with."""
        return next(iter(self._keys))

    def derived_keys(self, purpose: str) -> dict[str, bytes]:
        """Keys for something else than secrets, by the ids of those that they are made from; the current one first."""
        keys = {**self._keys, **self._retired}
        return {key_id: hmac.digest(key, purpose.encode(), "sha256") for key_id, key in keys.items()}

    def seal(self, secret: str, context: str) -> str:
        key_id, key = next(iter(self._keys.items()))  # once: a rotation may come between
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + AESGCM(key).encrypt(nonce, secret.encode(), context.encode())
        return f"v1.{key_id}.{base64.urlsafe_b64encode(sealed).decode('ascii')}"

    def unseal(self, sealed: str, context: str) -> str:
        """Raises VaultError."""
        version, key_id, content = (*sealed.split("."), "", "")[:3]
        key = self._keys.get(key_id) or self._retired.get(key_id)
        if version != "v1" or key is None:
            raise VaultError(f"no key {key_id[:8]!a} to open a secret with: is the file of keys that of this database?")
        try:
            raw = base64.urlsafe_b64decode(content)
            return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], context.encode()).decode()
        except (binascii.Error, ValueError, InvalidTag) as error:
            raise VaultError("a secret that was changed, or belongs to something else") from error

    def opens(self, sealed: str) -> bool:
        """Whether it has the key. `sealed` may be cut after the key's id."""
        return sealed[:3] == "v1." and sealed[3:11] in self._keys

    def is_current(self, sealed: str) -> bool:
        return sealed.startswith(f"v1.{self.key_id}.")

    def add_key(self) -> None:
        """A new current key; what is sealed with the older ones can still be opened. Raises ConfigError."""
        if self._file is None:
            raise ConfigError(
                f"the keys come from {ENVIRONMENT_VARIABLE}: put a new one in front there, and start again"
            )
        keys = {**_new_key(), **self._keys}
        self._write(keys)
        self._keys = keys

    def drop_old_keys(self) -> None:
        """Once nothing is sealed with them any more."""
        keys = dict([next(iter(self._keys.items()))])
        if self._file is not None:
            self._write(keys)
        self._retired, self._keys = {**self._retired, **self._keys}, keys

    def _write(self, keys: Mapping[str, bytes]) -> None:
        """In one step, and on disk before anything is sealed with what is new in it."""
        assert self._file is not None
        temporary = self._file.with_name(f".{self._file.name}.new")
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as opened:
            for key_id, key in keys.items():
                opened.write(f"{key_id} {base64.urlsafe_b64encode(key).decode('ascii')}\n")
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _new_key() -> dict[str, bytes]:
    return {secrets.token_hex(4): secrets.token_bytes(_KEY_BYTES)}


def _parse(text: str, where: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.replace(",", "\n").splitlines(), 1):
        match = _LINE.fullmatch(line.strip())
        if match is None or len(text) > VAULT_FILE_BYTES_MAX:
            raise ConfigError(
                f"{where}, line {number}: not a key: write 8 hexadecimal digits, a space, and 32 bytes in base64url"
            )
        keys[match[1]] = base64.urlsafe_b64decode(match[2])
    if not keys:
        raise ConfigError(f"{where}: holds no key; without it the secrets in the database cannot be read")
    return keys
