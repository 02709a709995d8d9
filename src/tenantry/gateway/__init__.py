"""The data plane's HTTP: a request in, the Worker that answers it, its response out."""

from tenantry.gateway.app import Gateway

__all__ = ["Gateway"]
