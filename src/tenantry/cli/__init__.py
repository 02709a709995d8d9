"""`tenantry …`: a client of the control plane, and the place where a host is put together."""

from tenantry.cli.app import main

__all__ = ["main"]
