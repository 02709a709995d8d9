"""`fetch()`: requests of Workers to the network, made by the host under the policy that the operator gave them."""

from tenantry.host.egress.client import Egress, EgressNetwork
from tenantry.host.egress.resolver import Lookup

__all__ = ["Egress", "EgressNetwork", "Lookup"]
