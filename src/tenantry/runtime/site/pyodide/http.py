"""`pyodide.http`."""

from __future__ import annotations

from typing import Any

from workers._errors import HttpStatusError
from workers._fetch import fetch
from workers._response import FetchResponse

__all__ = ["FetchResponse", "HttpStatusError", "pyfetch"]


async def pyfetch(url: str, **options: Any) -> FetchResponse:
    options.pop("signal", None)
    options.pop("fetcher", None)
    return await fetch(url, **options)
