"""What Cloudflare's API has and this platform has not: a call to it is told so, and not that the path is unknown."""

from __future__ import annotations

import re
from typing import Final

from tenantry.control.errors import NotOffered

__all__ = ["not_offered"]

_ACCOUNT: Final = "/client/v4/accounts/[^/]+/"
# Path → what it belongs to. The first that matches counts.
_PRODUCTS: Final = tuple(
    (re.compile(pattern), product)
    for pattern, product in (
        (_ACCOUNT + "workflows", "Workflows"),
        (_ACCOUNT + "vectorize/", "Vectorize"),
        (_ACCOUNT + "hyperdrive/", "Hyperdrive"),
        (_ACCOUNT + "secrets_store/", "the Secrets Store"),
        (_ACCOUNT + "mtls_certificates", "mTLS certificates"),
        (_ACCOUNT + "pipelines/", "Pipelines"),
        (_ACCOUNT + "(containers|cloudchamber)/", "Containers"),
        (_ACCOUNT + "r2-catalog/", "the R2 data catalog"),
        (_ACCOUNT + "slurper/", "R2's Super Slurper"),
        (_ACCOUNT + "event_notifications/", "R2 event notifications"),
        (_ACCOUNT + "event_subscriptions/", "event subscriptions"),
        (_ACCOUNT + "queues/[^/]+/(messages|purge|metrics)", "messages of queues"),
        (_ACCOUNT + "r2/metrics", "R2 metrics"),
        (_ACCOUNT + "r2/buckets/[^/]+/(lock|sippy|local-uploads|domains)", "this setting of a bucket"),
        (_ACCOUNT + "email/", "Email Routing"),
        (_ACCOUNT + "triggers/", "event triggers"),
        (_ACCOUNT + "ai/", "Workers AI"),
        (_ACCOUNT + "ai-search/", "AI Search"),
        (_ACCOUNT + "workers/observability/", "Workers observability queries"),
        (_ACCOUNT + "workers/durable_objects/", "Durable Objects"),
        (_ACCOUNT + "workers/account-settings", "account settings of Workers"),
        (_ACCOUNT + "workers/domains", "custom domains"),
        (_ACCOUNT + "workers/scripts/[^/]+/domains", "custom domains"),
        (_ACCOUNT + "workers/scripts/[^/]+/routes", "routes: requests reach a Worker through the gateway"),
        (_ACCOUNT + "workers/(scripts/[^/]+|subdomain)/edge-preview", "remote previews"),
        (_ACCOUNT + "workers/workers", "this call of the newer Workers API"),
        ("/client/v4/zones", "zones: requests reach a Worker through the gateway"),
        ("/client/v4/provisioning/", "temporary accounts"),
    )
)


def not_offered(path: str) -> NotOffered | None:
    """The error for a path that leads to a product of Cloudflare's; None for any other."""
    for pattern, product in _PRODUCTS:
        if pattern.match(path):
            return NotOffered(7004, f"tenantry does not offer {product}.")
    return None
