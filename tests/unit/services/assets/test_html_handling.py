"""Which file a path shows: one table for each mode, with the same files."""

from __future__ import annotations

import pytest

from tenantry.services.assets.html_handling import resolve
from tenantry.services.assets.model import Asset

FILES = {
    path: Asset(f"{number:032x}", f"{number:064x}", number)
    for number, path in enumerate(
        [
            "/index.html",
            "/file.html",
            "/folder/index.html",
            "/both.html",
            "/both/index.html",
            "/binary",
            "/a/b/404.html",
        ]
    )
}

# path → by mode: the file it shows, or `>` and where it sends the client, or None
TABLE = {
    "/": ("/index.html", "/index.html", "/index.html", None),
    "/index": (">/", ">/", ">/", None),
    "/index.html": (">/", ">/", ">/", "/index.html"),
    "/file": ("/file.html", ">/file/", "/file.html", None),
    "/file/": (">/file", "/file.html", ">/file", None),
    "/file.html": (">/file", ">/file/", ">/file", "/file.html"),
    "/file/index": (">/file", ">/file/", ">/file", None),
    "/file/index.html": (">/file", ">/file/", ">/file", None),
    "/folder": (">/folder/", ">/folder/", "/folder/index.html", None),
    "/folder/": ("/folder/index.html", "/folder/index.html", ">/folder", None),
    "/folder.html": (">/folder/", ">/folder/", ">/folder", None),
    "/folder/index": (">/folder/", ">/folder/", ">/folder", None),
    "/folder/index.html": (">/folder/", ">/folder/", ">/folder", "/folder/index.html"),
    "/both": ("/both.html", ">/both/", "/both.html", None),
    "/both/": ("/both/index.html", "/both/index.html", ">/both", None),
    "/both.html": (">/both", "/both.html", ">/both", "/both.html"),
    "/both/index.html": (">/both/", ">/both/", "/both/index.html", "/both/index.html"),
    "/binary": ("/binary", "/binary", "/binary", "/binary"),
    "/binary/": (None, None, None, None),
    "/FILE": (None, None, None, None),
    "/../binary": (None, None, None, None),
    "/none": (None, None, None, None),
}
MODES = ("auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none")


@pytest.mark.parametrize("column", range(4), ids=MODES)
def test_the_table_of_paths(column: int) -> None:
    for path, row in TABLE.items():
        served = resolve(FILES, path, MODES[column], "none")
        shown = None if served is None else served.file or f">{served.redirect}"
        assert shown == row[column], path


@pytest.mark.parametrize(
    ("handling", "path", "file", "status"),
    [
        ("none", "/a/b/c/d", None, 0),
        ("404-page", "/a/b/c/d", "/a/b/404.html", 404),
        ("404-page", "/a/x", None, 0),
        ("single-page-application", "/a/b/c/d", "/index.html", 200),
        ("single-page-application", "/binary", "/binary", 200),
    ],
)
def test_the_table_of_what_is_not_there(handling: str, path: str, file: str | None, status: int) -> None:
    served = resolve(FILES, path, "auto-trailing-slash", handling)
    assert (file, status) == (None, 0) if served is None else (served.file, served.status) == (file, status)
