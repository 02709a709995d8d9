"""The control store: what the platform knows of accounts, tokens, Workers and resources, in one database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tenantry.config.deployment import DeployedWorker
from tenantry.config.quotas import Quotas
from tenantry.control.accounts import Accounts
from tenantry.control.api_keys import ApiKeys
from tenantry.control.asset_sessions import AssetSessions
from tenantry.control.asset_tokens import AssetTokens
from tenantry.control.audit import Audit
from tenantry.control.database import Database
from tenantry.control.dispatch_namespaces import DispatchNamespaces
from tenantry.control.queues import Queues
from tenantry.control.resources import Resources
from tenantry.control.s3_credentials import S3Credentials
from tenantry.control.scripts import Scripts
from tenantry.control.sealing import Sealing
from tenantry.control.tokens import Tokens
from tenantry.control.vault import Vault
from tenantry.control.versions import Versions
from tenantry.errors import ConfigError

__all__ = ["Store"]


class Store:
    """One room for each noun, over one database. All calls block; they may come from any thread."""

    def __init__(self, file: Path, vault: Vault, *, durable: bool = True, quotas: Quotas | None = None) -> None:
        """Open or make the database at `file`. `durable`: commits survive a power cut. `vault` seals its secrets.

        Raises ConfigError.
        """
        self._database = Database(file, vault, durable=durable)
        self.sealing = Sealing(self._database, vault)
        try:
            self.sealing.check()
        except ConfigError:
            self._database.close()
            raise
        self.accounts = Accounts(self._database)
        self.tokens = Tokens(self._database)
        self.audit = Audit(self._database)
        self.api_keys = ApiKeys(self._database)
        self.resources = Resources(self._database, quotas or {})
        self.s3_credentials = S3Credentials(self._database)
        self.dispatch_namespaces = DispatchNamespaces(self._database)
        self.queues = Queues(self._database)
        self.scripts = Scripts(self._database)
        self.versions = Versions(self._database)
        self.asset_sessions = AssetSessions(self._database, AssetTokens(vault))

    def all_deployed(self) -> Iterator[DeployedWorker]:
        """Every version that gets requests, for the data plane's start. Exhaust it soon: it holds a view open."""
        return self.scripts.all_deployed()

    def close(self) -> None:
        self._database.close()
