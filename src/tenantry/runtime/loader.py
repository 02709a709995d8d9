"""From a bundle to entrypoints: `sys.path`, the import of the main module, and what it exports."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

import workers

__all__ = ["import_main"]


def import_main(main_module: str, bundle: str) -> ModuleType:
    """Import the main module of a bundle. Raises whatever its code raises."""
    if not main_module.endswith(".py"):
        raise ImportError('Main module needs to end with a ".py" file extension')
    # The SDK stays first: a copy of it among the vendored packages is written for another interpreter.
    sdk = os.path.dirname(os.path.dirname(workers.__file__))
    if sys.path[0] != sdk:
        sys.path[:] = [sdk, *(path for path in sys.path if path != sdk)]
    sys.path[1:1] = [bundle, f"{bundle}/python_modules", f"{bundle}/vendor"]
    return importlib.import_module(main_module.removesuffix(".py").replace("/", "."))
