"""`pyodide.webloop`: the loop is asyncio's own."""

from __future__ import annotations

import asyncio

__all__ = ["WebLoop"]


class WebLoop(asyncio.AbstractEventLoop):
    """No loop is one: the class is here to be asked about."""
