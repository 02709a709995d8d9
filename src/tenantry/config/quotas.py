"""What the operator lets customers keep: for each resource, and for all of them together.

    [quotas.kv]
    namespace_bytes = 1_000_000_000
    namespace_keys = 1_000_000
    account_bytes = 100_000_000_000
    account_keys = 50_000_000

What is left out has no quota. Bytes are those of keys, values and metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tenantry.errors import ConfigError

__all__ = ["KvQuotaFile", "Quotas", "QuotasFile", "ServiceQuota", "parse_quotas"]


@dataclass(frozen=True, slots=True)
class ServiceQuota:
    """Of one service. None: as much as there is room."""

    resource_bytes: int | None = None
    resource_count: int | None = None
    account_bytes: int | None = None
    account_count: int | None = None


Quotas = Mapping[str, ServiceQuota]
"""By service name, those that have one."""


class KvQuotaFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    namespace_bytes: int | None = None
    namespace_keys: int | None = None
    account_bytes: int | None = None
    account_keys: int | None = None


class QuotasFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table as it stands in a file."""

    kv: KvQuotaFile = KvQuotaFile()


def parse_quotas(given: QuotasFile, where: str) -> Quotas:
    """Raises ConfigError, which begins with `where`."""
    quotas: dict[str, ServiceQuota] = {}
    for service, table in (("kv", given.kv),):
        values = msgspec.structs.astuple(table)
        for name, value in zip(table.__struct_fields__, values, strict=True):
            if value is not None and value < 0:
                raise ConfigError(f"{where}.{service}.{name} is {value}, which is below 0")
        if any(value is not None for value in values):
            quotas[service] = ServiceQuota(*values)
    return quotas
