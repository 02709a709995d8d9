"""Bytes between files and the API, in chunks, with a bar that shows how far they are at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from tenantry.errors import ConfigError

__all__ = ["chunks_of", "write_to"]

_CHUNK_BYTES = 256 * 1024


def chunks_of(path: Path) -> Iterator[bytes]:
    """The content of a file, `-` for standard input. Raises ConfigError."""
    if str(path) == "-":
        yield from _read(sys.stdin.buffer)
        return
    try:
        with path.open("rb") as file, _bar(path.name, path.stat().st_size) as bar:
            for chunk in _read(file):
                yield chunk
                bar.update(bar.task_ids[0], advance=len(chunk))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def write_to(path: Path | None, response: httpx.Response) -> None:
    """A body into a file, or to standard output. A file that was there stays until the new one is whole."""
    if path is None:
        for chunk in response.iter_bytes(_CHUNK_BYTES):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    length = response.headers.get("content-length")
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file, _bar(path.name, int(length) if length else None) as bar:
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                file.write(chunk)
                bar.update(bar.task_ids[0], advance=len(chunk))
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


@contextmanager
def _bar(name: str, total: int | None) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    shown = name if name.isprintable() else "file"
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        progress.add_task(shown, total=total)
        yield progress
