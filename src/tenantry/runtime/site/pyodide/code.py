"""`pyodide.code`."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["run_js"]


def run_js(code: str) -> NoReturn:
    raise NotImplementedError("run_js() is not available on this platform: there is no JavaScript here")
