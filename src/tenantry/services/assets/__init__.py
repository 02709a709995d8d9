"""Static assets: the files of a Worker that the host serves, their rules, and where they lie.

No service with bindings of its own like KV: a version of a Worker has its files, as it has its code.
"""

from tenantry.services.assets.backup import back_up
from tenantry.services.assets.manifest import (
    BadManifest,
    Digest,
    Entry,
    ManifestTooLarge,
    check_manifest_untrusted,
    extension_of,
)
from tenantry.services.assets.model import Asset
from tenantry.services.assets.reading import AssetReader
from tenantry.services.assets.site import Site, SiteAnswer, SiteRequest
from tenantry.services.assets.store import AccountAssets, AssetStore, StagedBlob
from tenantry.services.assets.worker_first import BadRules, check_worker_first_untrusted

__all__ = [
    "AccountAssets",
    "Asset",
    "AssetReader",
    "AssetStore",
    "BadManifest",
    "BadRules",
    "Digest",
    "Entry",
    "ManifestTooLarge",
    "Site",
    "SiteAnswer",
    "SiteRequest",
    "StagedBlob",
    "back_up",
    "check_manifest_untrusted",
    "check_worker_first_untrusted",
    "extension_of",
]
