"""Rotation of the key that secrets are sealed with. Ours, and not Cloudflare's."""

from __future__ import annotations

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler

from tenantry.control.envelope import Envelope
from tenantry.control.sealing import Sealing
from tenantry.control.threads import Threads

__all__ = ["sealing_routes"]


class RotationView(msgspec.Struct, frozen=True):
    secrets: int


def sealing_routes(sealing: Sealing, threads: Threads) -> list[HTTPRouteHandler]:
    @post("/tenantry/v1/secrets/rotate", name="rotate_secrets_key", status_code=200)
    async def rotate() -> Envelope[RotationView]:
        return Envelope(RotationView(await threads.run(sealing.rotate)))

    return [rotate]
