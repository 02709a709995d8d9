"""`DATA/dev.json`: where a running `tenantry dev` is, for scripts that drive it. It holds secrets, hence 0600.

It is there only while everything answers, so waiting for it is waiting for the platform.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tenantry.cli.deploy import Deployed

__all__ = ["Customer", "remove_devfile", "write_devfile"]

_NAME = "dev.json"


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer's Worker and the resources it is bound to, the first of each kind; None for none.

    `s3` is an access key for the bucket: `access_key_id`, `secret_access_key`, `bucket`.
    """

    worker: str
    kv: str | None
    r2: str | None
    d1: str | None
    s3: dict[str, str] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, deployed: Deployed) -> Customer:
        resources = deployed.resources
        kv, r2, d1 = (next(iter(kind), None) for kind in (resources.kv, resources.r2, resources.d1))
        return cls(deployed.name, kv, r2, d1)


def write_devfile(
    data: Path,
    *,
    gateway: str,
    control: str,
    s3: str,
    account_id: str,
    admin_token: str,
    customers: Iterable[tuple[str, Customer]],
) -> None:
    """Replace the file in one step."""
    content = {
        "gateway": gateway,
        "control": control,
        "s3": s3,
        "account_id": account_id,
        "admin_token": admin_token,
        "customers": {name: asdict(customer) for name, customer in customers},
    }
    temporary = data / f".{_NAME}.new"
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    temporary.replace(data / _NAME)


def remove_devfile(data: Path) -> None:
    (data / _NAME).unlink(missing_ok=True)
