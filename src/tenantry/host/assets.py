"""Static assets of Workers, served by the host: no worker process is started for a request that a file answers.

AssetFront    a version's files and rules: what asks them
AssetsTarget  `env.ASSETS`, where the Worker itself asks
AssetPool     the pool of a version that has files: they are asked before the Worker is, whoever calls it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog

from tenantry.channel import Answered
from tenantry.config.deployment import DeployedAssets, DeployedWorker
from tenantry.errors import BindingError, WorkerCrashed
from tenantry.host.egress.request import decode_request_untrusted
from tenantry.host.pool import WorkerPool
from tenantry.host.targets import Permanent, Reply, Thing, close_streams
from tenantry.host.terms import NO_TERMS, Terms
from tenantry.services.assets import AssetReader, Site, SiteAnswer, SiteRequest
from tenantry.wire.events import InvocationKind
from tenantry.wire.values import RequestValue, ResponseValue, encode

if TYPE_CHECKING:
    from tenantry.host.invocation import Invocation
    from tenantry.host.split import VersionChoice

__all__ = ["AssetFront", "AssetPool", "AssetsTarget"]

_log = structlog.get_logger()

_FETCH: Final = "fetch"
# Cloudflare: a browser that navigates gets the fallback page from this date on, unless a flag says otherwise.
_NAVIGATION_DATE: Final = "2025-04-01"
_NAVIGATION_FLAG: Final = "assets_navigation_prefers_asset_serving"
_NO_NAVIGATION_FLAG: Final = "assets_navigation_has_no_effect"


class AssetFront:
    """The files of one version of a Worker."""

    def __init__(self, reader: AssetReader, worker: DeployedWorker, assets: DeployedAssets) -> None:
        self._reader = reader
        self._worker = worker
        self._assets = assets
        flags = worker.compatibility_flags
        self._navigations = _NAVIGATION_FLAG in flags or (
            worker.compatibility_date >= _NAVIGATION_DATE and _NO_NAVIGATION_FLAG not in flags
        )

    async def answer(self, request: RequestValue) -> Reply:
        """What the files say. Raises WorkerCrashed where they cannot be read."""
        reply = await self._answer(request, asked_by_worker=True)
        assert reply is not None, "only the Worker's own turn is passed on"
        return reply

    async def try_answer(self, request: RequestValue) -> Reply | None:
        """None: it is the Worker's turn. Raises WorkerCrashed where the files cannot be read."""
        return await self._answer(request, asked_by_worker=False)

    async def _answer(self, value: RequestValue, *, asked_by_worker: bool) -> Reply | None:
        request = SiteRequest.read_untrusted(value.method, value.url, value.headers)
        try:
            site = await self._site()
            if request is None:
                return _reply(SiteAnswer(404), b"")
            if not asked_by_worker and site.is_for_worker(request):
                return None
            return await self._reply(request, site.answer(request))
        except (OSError, ValueError) as error:
            _log.error("assets cannot be read", worker=self._worker.name, reason=str(error))
            raise WorkerCrashed("The static assets of the Worker cannot be read.") from error

    async def _site(self) -> Site:
        # By all that it is made of, so that the versions of a Worker that differ in code only have one between them.
        key = (self._assets, bool(self._worker.main_module), self._navigations)
        return await self._reader.site(key, self._assets.manifest, self._make)

    def _make(self, files: dict[str, Any]) -> Site:
        config = self._assets.config
        return Site(
            files,
            html_handling=config.html_handling,
            not_found_handling=config.not_found_handling,
            run_worker_first=config.run_worker_first,
            redirects=config.redirects,
            headers=config.headers,
            has_worker=bool(self._worker.main_module),
            navigations_prefer_files=self._navigations,
        )

    async def _reply(self, request: SiteRequest, answer: SiteAnswer) -> Reply:
        asset = answer.asset
        if asset is None:
            return _reply(answer, b"")
        if request.method == "HEAD":
            # Its own length is not what would be sent.
            answer.headers.append(("content-length", str(asset.size_bytes)))
            return _reply(answer, b"")
        if self._reader.is_small(asset):
            return _reply(answer, await self._reader.read_small(asset))
        return _reply(answer, 0, self._reader.stream(asset))


def _reply(answer: SiteAnswer, body: bytes | int, *things: Thing) -> Reply:
    value = ResponseValue(answer.status, answer.headers, None if body == b"" else body)
    return Reply(encode(value), list(things))


class AssetsTarget(Permanent):
    """A capability: whoever holds it may read the files of this version, with their rules."""

    def __init__(self, front: AssetFront) -> None:
        self._front = front

    async def call(
        self, invocation: Invocation, kind: InvocationKind, method: str, payload: bytes, things: list[Thing]
    ) -> Reply:
        try:
            if kind != InvocationKind.FETCH or method != _FETCH:
                raise BindingError("A binding of type assets has the method fetch() only.", "TypeError")
            request = decode_request_untrusted(payload)
        finally:
            await close_streams(things)  # of a request only path, query, method and headers matter
        return await self._front.answer(request)


class AssetPool(WorkerPool):
    """As a WorkerPool, with files in front of it. `front` is set once, before the first request."""

    front: AssetFront

    async def invoke(
        self,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        things: Sequence[Thing],
        depth: int = 0,
        terms: Terms = NO_TERMS,
        caller: Invocation | None = None,
        choice: VersionChoice | None = None,
    ) -> Reply:
        try:
            reply: Reply | None = None
            if kind == InvocationKind.FETCH and method == _FETCH:
                reply = await self.front.try_answer(decode_request_untrusted(payload))
            elif not self.worker.main_module:
                raise BindingError(
                    "This Worker has static assets only: it has fetch() and no other method.", "TypeError"
                )
        except BaseException:
            await close_streams(list(things))
            raise
        if reply is not None:
            await close_streams(list(things))
            return reply
        return await super().invoke(kind, method, payload, things, depth, terms, caller, choice)

    def try_ask(
        self,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        depth: int,
        terms: Terms,
        caller: Invocation | None,
        answered: Answered,
        choice: VersionChoice | None = None,
    ) -> Invocation | None:
        # What is quick here is to ask the Worker in this turn, without the files: only what cannot be theirs.
        if kind == InvocationKind.FETCH or not self.worker.main_module:
            return None
        return super().try_ask(kind, method, payload, depth, terms, caller, answered, choice)
