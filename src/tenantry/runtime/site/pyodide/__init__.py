"""What programs ask of pyodide. There is no pyodide here: Python is native."""

from __future__ import annotations

__version__ = "0.28.2"
