"""The data plane's HTTP: a request in, the Worker that answers it, its response out."""

from tenantry.gateway.gateway import Gateway
from tenantry.gateway.server import listening
from tenantry.gateway.stats import SECONDS_BOUNDS, RequestStats

__all__ = ["SECONDS_BOUNDS", "Gateway", "RequestStats", "listening"]
