"""Which file a path shows, and by which path a file wants to be asked for: Cloudflare's `html_handling`.

Each mode is a list of steps for a path. A step serves a file, or sends the client to another path where that file is
shown; the first that can be done is. Sending it there can be done when no file has that very name, and the path does
show the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from tenantry.services.assets.model import Asset

__all__ = ["HTML_HANDLING", "NOT_FOUND_HANDLING", "Served", "resolve"]

NOT_FOUND_HANDLING: Final = ("none", "404-page", "single-page-application")


class Served(NamedTuple):
    """Either a file, by its path in the manifest, or where to send the client. `status` goes with the file."""

    file: str | None
    redirect: str | None = None
    status: int = 200


class _Step(NamedTuple):
    file: str
    redirect: str | None = None


def _auto(path: str) -> Iterator[_Step]:
    """`/foo.html` is `/foo`, `/foo/index.html` is `/foo/`."""
    if path.endswith("/index"):
        stem = path.removesuffix("/index")
        yield _Step(path)
        yield _Step(f"{path}.html", f"{stem}/")
        yield _Step(f"{stem}.html", stem)
    elif path.endswith("/index.html"):
        stem = path.removesuffix("/index.html")
        yield _Step(path, f"{stem}/")
        yield _Step(f"{stem}.html", stem)
    elif path.endswith("/"):
        stem = path.removesuffix("/")
        yield _Step(f"{path}index.html")
        yield _Step(f"{stem}.html", stem)
    elif path.endswith(".html"):
        stem = path.removesuffix(".html")
        yield _Step(path, stem)
        yield _Step(f"{stem}/index.html", f"{stem}/")
    yield _Step(path)
    yield _Step(f"{path}.html")
    yield _Step(f"{path}/index.html", f"{path}/")


def _force(path: str) -> Iterator[_Step]:
    """Both are `/foo/`."""
    if path.endswith("/index"):
        stem = path.removesuffix("index")
        yield _Step(path)
        yield _Step(f"{path}.html", stem)
        yield _Step(f"{stem.removesuffix('/')}.html", stem)
    elif path.endswith("/index.html"):
        stem = path.removesuffix("index.html")
        yield _Step(path, stem)
        yield _Step(f"{stem.removesuffix('/')}.html", stem)
    elif path.endswith("/"):
        yield _Step(f"{path}index.html")
        yield _Step(f"{path.removesuffix('/')}.html")
    elif path.endswith(".html"):
        stem = path.removesuffix(".html")
        yield _Step(path, f"{stem}/")
        yield _Step(path)
        yield _Step(f"{stem}/index.html", f"{stem}/")
    yield _Step(path)
    yield _Step(f"{path}.html", f"{path}/")
    yield _Step(f"{path}/index.html", f"{path}/")


def _drop(path: str) -> Iterator[_Step]:
    """Both are `/foo`; only the root keeps its slash."""
    if path in ("/index", "/index.html", "/"):
        if path == "/index":
            yield _Step(path)
        yield _Step("/index.html", None if path == "/" else "/")
    elif path.endswith("/index"):
        stem = path.removesuffix("/index")
        yield _Step(path)
        yield _Step(f"{stem}.html", stem)
        yield _Step(f"{path}.html", stem)
    elif path.endswith("/index.html"):
        stem = path.removesuffix("/index.html")
        yield _Step(path, stem)
        yield _Step(path)
        yield _Step(f"{stem}.html", stem)
    elif path.endswith("/"):
        stem = path.removesuffix("/")
        yield _Step(f"{stem}.html", stem)
        yield _Step(f"{stem}/index.html", stem)
    elif path.endswith(".html"):
        stem = path.removesuffix(".html")
        yield _Step(path, stem)
        yield _Step(f"{stem}/index.html", stem)
    yield _Step(path)
    yield _Step(f"{path}.html")
    yield _Step(f"{path}/index.html")


def _none(path: str) -> Iterator[_Step]:
    """A file is its name."""
    yield _Step(path)


HTML_HANDLING: Final[Mapping[str, Callable[[str], Iterator[_Step]]]] = {
    "auto-trailing-slash": _auto,
    "force-trailing-slash": _force,
    "drop-trailing-slash": _drop,
    "none": _none,
}


def resolve(files: Mapping[str, Asset], path: str, html_handling: str, not_found_handling: str) -> Served | None:
    """What a decoded path leads to, None for nothing."""
    steps = HTML_HANDLING[html_handling]
    for step in steps(path):
        if step.redirect is None:
            if step.file in files:
                return Served(step.file)
        elif step.file in files and step.redirect not in files:
            shown = _shown(files, step.redirect, steps, not_found_handling)
            if shown is not None and files[shown].hash == files[step.file].hash:
                return Served(None, step.redirect)
    return _not_found(files, path, not_found_handling)


def _shown(
    files: Mapping[str, Asset], path: str, steps: Callable[[str], Iterator[_Step]], not_found_handling: str
) -> str | None:
    """The file that a path shows without sending the client anywhere."""
    found = next((step.file for step in steps(path) if step.redirect is None and step.file in files), None)
    if found is None:
        fallback = _not_found(files, path, not_found_handling)
        found = fallback.file if fallback is not None else None
    return found


def _not_found(files: Mapping[str, Asset], path: str, handling: str) -> Served | None:
    if handling == "single-page-application" and "/index.html" in files:
        return Served("/index.html")
    if handling == "404-page":
        folder = path
        while folder:
            folder = folder[: folder.rfind("/")] if "/" in folder else ""
            if f"{folder}/404.html" in files:
                return Served(f"{folder}/404.html", None, 404)
    return None
