"""What the operator lets customers keep: for each resource, and for all of them together.

    [quotas.kv]
    namespace_bytes = 1_000_000_000
    namespace_keys = 1_000_000
    account_bytes = 100_000_000_000
    account_keys = 50_000_000
    namespaces = 1_000

    [quotas.r2]
    bucket_bytes = 10_000_000_000
    bucket_objects = 1_000_000
    account_bytes = 1_000_000_000_000
    account_objects = 50_000_000
    buckets = 1_000

    [quotas.d1]
    database_bytes = 500_000_000
    account_bytes = 5_000_000_000
    databases = 1_000

What is left out has no quota. Bytes are those of keys, values and metadata; of objects and parts of unfinished uploads;
of databases as `size_after` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tenantry.errors import ConfigError

__all__ = ["D1QuotaFile", "KvQuotaFile", "Quotas", "QuotasFile", "R2QuotaFile", "ServiceQuota", "parse_quotas"]


@dataclass(frozen=True, slots=True)
class ServiceQuota:
    """Of one service. None: as much as there is room."""

    resource_bytes: int | None = None
    resource_count: int | None = None
    account_bytes: int | None = None
    account_count: int | None = None
    resources: int | None = None
    """How many namespaces, buckets or databases the account may have."""


Quotas = Mapping[str, ServiceQuota]
"""By service name, those that have one."""


class KvQuotaFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    namespace_bytes: int | None = None
    namespace_keys: int | None = None
    account_bytes: int | None = None
    account_keys: int | None = None
    namespaces: int | None = None

    def quota(self) -> ServiceQuota:
        return ServiceQuota(
            self.namespace_bytes, self.namespace_keys, self.account_bytes, self.account_keys, self.namespaces
        )


class R2QuotaFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bucket_bytes: int | None = None
    bucket_objects: int | None = None
    account_bytes: int | None = None
    account_objects: int | None = None
    buckets: int | None = None

    def quota(self) -> ServiceQuota:
        return ServiceQuota(
            self.bucket_bytes, self.bucket_objects, self.account_bytes, self.account_objects, self.buckets
        )


class D1QuotaFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    database_bytes: int | None = None
    account_bytes: int | None = None
    databases: int | None = None

    def quota(self) -> ServiceQuota:
        return ServiceQuota(
            resource_bytes=self.database_bytes, account_bytes=self.account_bytes, resources=self.databases
        )


class QuotasFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table as it stands in a file."""

    kv: KvQuotaFile = KvQuotaFile()
    r2: R2QuotaFile = R2QuotaFile()
    d1: D1QuotaFile = D1QuotaFile()


def parse_quotas(given: QuotasFile, where: str) -> Quotas:
    """Raises ConfigError, which begins with `where`."""
    quotas: dict[str, ServiceQuota] = {}
    tables: tuple[tuple[str, KvQuotaFile | R2QuotaFile | D1QuotaFile], ...] = (
        ("kv", given.kv),
        ("r2", given.r2),
        ("d1", given.d1),
    )
    for service, table in tables:
        for name, value in msgspec.structs.asdict(table).items():
            if value is not None and value < 0:
                raise ConfigError(f"{where}.{service}.{name} is {value}, which is below 0")
        quota = table.quota()
        if quota != ServiceQuota():
            quotas[service] = quota
    return quotas
