"""The API's own description: an OpenAPI document of the typed handlers, and a page that shows it to people.

Both need no token: they are the same for every installation of a version, and a browser has no header to send.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec
from litestar import Litestar, Response, Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from tenantry.control.threads import Threads

__all__ = ["DESCRIPTION_PATH", "PAGE_PATH", "openapi_routes"]

DESCRIPTION_PATH = "/client/v4/openapi.json"
PAGE_PATH = "/client/v4/docs"

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}"
    "code{font:13px ui-monospace,monospace}summary{cursor:pointer;padding:.2rem 0}"
    "b{display:inline-block;width:4.5rem}ul{margin:.2rem 0 .8rem 4rem;padding:0}"
)
_HEADERS = {
    # A page of names from our own code; whatever else it might come to hold, nothing in it runs.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def openapi_routes(handlers: Sequence[HTTPRouteHandler], threads: Threads) -> list[HTTPRouteHandler]:
    """`handlers` are those below `/client/v4`. They are described when somebody asks for the first time."""
    describe = _describer(handlers)

    @get(DESCRIPTION_PATH, name="openapi")
    async def openapi() -> Response[bytes]:
        document = await threads.run(lambda: msgspec.json.encode(describe()))
        return Response(document, media_type="application/json")

    @get(PAGE_PATH, name="docs")
    async def docs() -> Response[str]:
        page = await threads.run(lambda: _page(describe()))
        return Response(page, media_type="text/html", headers=_HEADERS)

    return [openapi, docs]


# Any, here and below: a JSON document.
def _describer(handlers: Sequence[HTTPRouteHandler]) -> Callable[[], dict[str, Any]]:
    @cache
    def describe() -> dict[str, Any]:
        config = OpenAPIConfig(
            title="tenantry",
            version=version("tenantry"),
            description="Cloudflare's /client/v4 API, as far as tenantry has it.",
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"token": []}],
        )
        # An application of its own that serves nobody: in the real one the document would bring routes along.
        described = Litestar(
            [Router("/client/v4", route_handlers=list(handlers))], openapi_config=config, logging_config=None
        )
        document: dict[str, Any] = described.openapi_schema.to_schema()
        return document

    return describe


def _page(document: dict[str, Any]) -> str:
    rows = []
    for path, operations in sorted(document["paths"].items()):
        for method, operation in operations.items():
            parameters = "".join(
                f"<li><code>{html.escape(each['name'])}</code> in the {html.escape(each['in'])}"
                f"{'' if each['required'] else ', optional'}</li>"
                for each in operation.get("parameters", ())
            )
            rows.append(
                f"<details><summary><b>{method.upper()}</b><code>{html.escape(path)}</code></summary>"
                f"<ul><li>{html.escape(operation.get('summary', ''))}</li>{parameters}</ul></details>"
            )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>tenantry</title><style>{_STYLE}</style>"
        f"<h1>tenantry {html.escape(document['info']['version'])}</h1>"
        f"<p>{html.escape(document['info']['description'])} "
        f"As a document: <a href='{DESCRIPTION_PATH}'>openapi.json</a>.</p>{''.join(rows)}</html>"
    )
