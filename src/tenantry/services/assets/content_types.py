"""What a file is, by the extension of its name: one table, so that it does not depend on the machine."""

from __future__ import annotations

import mimetypes
from typing import Final

__all__ = ["content_type"]

_NEWER: Final = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".cjs": "application/node",
    ".json": "application/json",
    ".map": "application/json",
    ".webmanifest": "application/manifest+json",
    ".jsonld": "application/ld+json",
    ".md": "text/markdown",
    ".ico": "image/vnd.microsoft.icon",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".ttf": "font/ttf",
    ".otf": "font/otf",
    ".wasm": "application/wasm",
    ".xml": "text/xml",
    ".rss": "application/rss+xml",
    ".atom": "application/atom+xml",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".ogg": "audio/ogg",
    ".gz": "application/gzip",
    ".zip": "application/zip",
    ".pdf": "application/pdf",
    ".toml": "application/toml",
    ".yaml": "text/yaml",
    ".yml": "text/yaml",
}
_TABLE: Final = {**mimetypes.MimeTypes(filenames=()).types_map[True], **_NEWER}


def content_type(path: str) -> str | None:
    """The value of a Content-Type header, None where nothing is known of the extension."""
    name = path.rpartition("/")[2].lower()
    dot = name.rfind(".")
    kind = _TABLE.get(name[dot:]) if dot >= 0 else None
    return f"{kind}; charset=utf-8" if kind is not None and kind.startswith("text/") else kind
