"""The control store of a data folder, with the keys of its secrets: from the environment, or the file beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tenantry.config.quotas import Quotas
from tenantry.control import ENVIRONMENT_VARIABLE, VAULT_FILE, Store, Vault

__all__ = ["open_store"]

_STORE: Final = "control.db"


def open_store(data: Path, *, durable: bool = True, quotas: Quotas | None = None) -> Store:
    """Open or make it. Keys are made only together with it. Raises ConfigError, also where they are gone."""
    file = data / _STORE
    vault = Vault.open(data / VAULT_FILE, os.environ.get(ENVIRONMENT_VARIABLE), new=not file.exists())
    return Store(file, vault, durable=durable, quotas=quotas)
