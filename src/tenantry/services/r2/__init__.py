"""R2: buckets of objects."""

from __future__ import annotations

import re
from typing import Final

from tenantry.errors import ConfigError
from tenantry.services import Binding, ServiceSettings
from tenantry.services.r2.binding import R2Binding
from tenantry.services.r2.engine import Engine
from tenantry.services.r2.engines.files import FilesEngine
from tenantry.services.r2.service import BucketRules

__all__ = ["SERVICE", "R2Service", "R2ServiceFactory"]

_RESOURCE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class R2Service:
    """The buckets of one account."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def open(self, resource_id: str) -> Binding:
        return R2Binding(self.engine.bucket(_checked(resource_id)))

    def rules(self, resource_id: str) -> BucketRules:
        """The bucket for those who speak another protocol in front of the same rules."""
        return BucketRules(self.engine.bucket(_checked(resource_id)))

    async def delete(self, resource_id: str) -> None:
        await self.engine.delete_bucket(_checked(resource_id))

    async def aclose(self) -> None:
        await self.engine.aclose()


def _checked(resource_id: str) -> str:
    if not isinstance(resource_id, str) or _RESOURCE_ID.fullmatch(resource_id) is None:
        raise ConfigError(
            f"the bucket name {resource_id!r} cannot be used: it begins with a letter or a digit, has letters, digits, "
            "'.', '_' and '-', and at most 128 of them"
        )
    return resource_id


class R2ServiceFactory:
    """What the entry point names."""

    name = "r2"
    binding_types: dict[str, str] = {"r2_bucket": "bucket_name"}  # noqa: RUF012 - the protocol says dict

    def __call__(self, settings: ServiceSettings) -> R2Service:
        return R2Service(FilesEngine(settings.folder / self.name, durable=settings.durability == "full"))


SERVICE: Final = R2ServiceFactory()
