"""js.console: lines in the Worker's log, each with its level."""

from __future__ import annotations

import json
from typing import Any

from tenantry.runtime.invocation import current

__all__ = ["console"]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        try:
            return json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError):
            return repr(value)
    return str(value)


def _log(level: str, values: tuple[Any, ...]) -> None:
    line = " ".join(map(_text, values))
    try:
        invocation = current()
    except RuntimeError:
        print(line)  # global scope: the log of the process
        return
    invocation.log(level, line)


class _Console:
    def log(self, *values: Any) -> None:
        _log("log", values)

    def info(self, *values: Any) -> None:
        _log("info", values)

    def debug(self, *values: Any) -> None:
        _log("debug", values)

    def warn(self, *values: Any) -> None:
        _log("warn", values)

    def error(self, *values: Any) -> None:
        _log("error", values)

    trace = debug


console = _Console()
