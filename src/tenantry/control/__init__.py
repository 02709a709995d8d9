"""The control plane: Cloudflare's `/client/v4` REST API over a store of accounts, Workers and resources."""

from tenantry.control.app import create_app
from tenantry.control.bundles import BundleStore
from tenantry.control.deployer import Deployments
from tenantry.control.log_ring import LogRing
from tenantry.control.store import Store
from tenantry.control.tail_server import TailServer
from tenantry.control.tails import Tails
from tenantry.control.vault import ENVIRONMENT_VARIABLE, VAULT_FILE, Vault

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "VAULT_FILE",
    "BundleStore",
    "Deployments",
    "LogRing",
    "Store",
    "TailServer",
    "Tails",
    "Vault",
    "create_app",
]
