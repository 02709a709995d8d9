"""The Worker that is attacked: it holds a secret, answers, and must never notice its neighbours."""

from __future__ import annotations

from typing import Any

from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request: Any) -> Any:
        return Response("fine")

    async def remember(self) -> None:
        """Put its secret where a neighbour might look for it."""
        await self.env.KV.put("secret", self.env.SECRET)

    def _private(self) -> str:
        return str(self.env.SECRET)
