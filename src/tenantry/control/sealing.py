"""All that lies sealed in the store: that it can be opened, and its rotation to a new key."""

from __future__ import annotations

import threading
from typing import Final

from sqlalchemy import func, select

from tenantry.control.database import Database
from tenantry.control.errors import Invalid
from tenantry.control.s3_credentials import reseal_s3_secrets
from tenantry.control.schema import s3_credentials, script_secrets
from tenantry.control.secret_values import reseal_values
from tenantry.control.vault import Vault, VaultError
from tenantry.errors import ConfigError

__all__ = ["Sealing"]

_PREFIX_CHARACTERS: Final = 12
"""`v1.<key id>.` of something sealed."""


class Sealing:
    """Blocks: call it from a thread."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._rotating = threading.Lock()

    def check(self) -> None:
        """Raises ConfigError where a key is missing that something is sealed with."""
        with self._database.read() as connection:
            for column in (script_secrets.c.value, s3_credentials.c.secret):
                prefixes = select(func.substr(column, 1, _PREFIX_CHARACTERS)).distinct()
                for prefix in connection.execute(prefixes).scalars():
                    if not self._vault.opens(prefix):
                        raise ConfigError(
                            f"the keys are not those of this database: secrets in it are sealed with the key "
                            f"{prefix[3:11]!a}, which is not among them; put the file of keys that belongs to it back"
                        )

    def rotate(self) -> int:
        """Seal everything with a new key, and forget the old ones. Gives how many secrets there are.

        At whatever point the process dies, the file has the key of everything that is in the database: the new key is
        on disk before anything is sealed with it, and the old ones go after what they sealed has gone. Raises Invalid
        (10001) where the keys are not ours to write, or where something cannot be opened; then nothing has changed.
        """
        with self._rotating:
            try:
                self._vault.add_key()
                with self._database.write() as connection:
                    count = reseal_values(connection) + reseal_s3_secrets(connection)
            except (ConfigError, VaultError) as error:
                raise Invalid(10001, str(error)) from error
            if self._database.flush():
                self._vault.drop_old_keys()
            return count
