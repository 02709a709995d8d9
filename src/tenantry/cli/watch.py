"""Which Workers are concerned when files change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from tenantry.config.platform import Platform, PlatformWorker

__all__ = ["affected", "watch"]


async def watch(platform: Platform, ignored: Sequence[Path], stop: asyncio.Event) -> AsyncIterator[set[Path]]:
    """The files that changed, in batches, until `stop` is set. Raises OSError.

    Below `ignored` nothing is watched: the data folder may lie in the platform's.
    """
    only = _Filter(ignored)
    async for changes in awatch(*_roots(platform), watch_filter=only, stop_event=stop):
        yield {Path(path) for _, path in changes}


def affected(platform: Platform, changed: Iterable[Path]) -> list[PlatformWorker]:
    """The Workers that have one of these files, in the platform's order."""
    files = [file.resolve() for file in changed]
    return [
        worker
        for worker in platform.workers
        if any(file.is_relative_to(root) for file in files for root in map(Path.resolve, worker.project.watched))
    ]


class _Filter(DefaultFilter):
    def __init__(self, ignored: Sequence[Path]) -> None:
        super().__init__(ignore_paths=list(ignored))

    def __call__(self, change: Change, path: str) -> bool:
        return ".wrangler" not in Path(path).parts and super().__call__(change, path)


def _roots(platform: Platform) -> set[Path]:
    """The folders to watch, without those that another one holds."""
    roots = {platform.folder} | {root.resolve() for worker in platform.workers for root in worker.project.watched}
    return {root for root in roots if not any(root != other and root.is_relative_to(other) for other in roots)}
