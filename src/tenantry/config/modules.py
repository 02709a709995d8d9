"""Which files of a project are uploaded, under which names and content types: wrangler's rules for Python Workers.

* The entry file, under its base name, as `text/x-python`.
* Every other file below the module root (the folder of the entry, or `base_dir`) that matches a rule, under its path
  from there. wrangler leaves out only `.wrangler` and the configuration file itself, and so does this.
* Every file below `python_modules/` of the project, under `python_modules/<path>`, as `application/octet-stream`
  whatever it is (but JavaScript in `python_modules/workers/`).
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenantry.config.limits import MODULE_BYTES_TOTAL_MAX, MODULES_MAX
from tenantry.errors import ConfigError

__all__ = ["VENDORED_FOLDER", "Module", "ModuleRule", "collect_modules"]

VENDORED_FOLDER = "python_modules"

_CONTENT_TYPES = {
    "ESModule": "application/javascript+module",
    "CommonJS": "application/javascript",
    "CompiledWasm": "application/wasm",
    "Data": "application/octet-stream",
    "Text": "text/plain",
    "PythonModule": "text/x-python",
    "PythonRequirement": "text/x-python-requirement",
}


@dataclass(frozen=True, slots=True)
class ModuleRule:
    """Files that match one of `globs` are modules of `type`. Without `fallthrough` later rules of the type are off."""

    type: str
    globs: tuple[str, ...]
    fallthrough: bool = False


@dataclass(frozen=True, slots=True)
class Module:
    """A file to upload: its name in the bundle, its content type there, and where it lies."""

    name: str
    content_type: str
    path: Path


_DEFAULT_RULES = (
    ModuleRule("PythonModule", ("**/*.py",)),
    ModuleRule("Text", ("**/*.txt", "**/*.html", "**/*.sql")),
    ModuleRule("Data", ("**/*.bin",)),
    ModuleRule("CompiledWasm", ("**/*.wasm", "**/*.wasm?module")),
)


def collect_modules(
    *,
    project: Path,
    config_file: Path,
    main: Path,
    root: Path,
    rules: tuple[ModuleRule, ...],
    vendored_exclude: tuple[str, ...],
) -> list[Module]:
    """The modules of a project, the entry first, the rest by name. Raises ConfigError."""
    vendored = project / VENDORED_FOLDER
    has_vendored = vendored.is_dir()
    if has_vendored and root != project and vendored.is_relative_to(root):
        raise ConfigError(
            f"{vendored}: lies inside the module root {root}; move the entry into a folder of its own, such as src"
        )
    modules = {main.name: Module(main.name, _CONTENT_TYPES["PythonModule"], main)}
    skipped = {project / ".wrangler", root / ".wrangler", config_file, main, vendored}
    active = _active_rules(config_file, rules)
    for name, path in _files(root, skipped):
        content_type = _match(active, name)
        if content_type is not None and modules.setdefault(name, Module(name, content_type, path)).path != path:
            raise ConfigError(f"{path}: has the same module name as the entry {main}")
    if has_vendored:
        for name, path in _files(vendored, set()):
            if not any(_glob(pattern).fullmatch(name) for pattern in vendored_exclude):
                full = f"{VENDORED_FOLDER}/{name}"
                modules[full] = Module(full, _vendored_type(name), path)
    _check_size(config_file, modules)
    entry = modules.pop(main.name)
    return [entry, *(modules[name] for name in sorted(modules))]


def _active_rules(config_file: Path, rules: tuple[ModuleRule, ...]) -> list[ModuleRule]:
    active = []
    closed: set[str] = set()
    for rule in (*rules, *_DEFAULT_RULES):
        if rule.type not in _CONTENT_TYPES:
            raise ConfigError(f"{config_file}: $.rules: {rule.type!r} is none of {', '.join(_CONTENT_TYPES)}")
        if rule.type not in closed:
            active.append(rule)
            if not rule.fallthrough:
                closed.add(rule.type)
    return active


def _match(rules: list[ModuleRule], name: str) -> str | None:
    for rule in rules:
        if any(_glob(pattern).fullmatch(name) for pattern in rule.globs):
            return _CONTENT_TYPES[rule.type]
    return None


def _vendored_type(name: str) -> str:
    if name.startswith("workers/") and name.endswith((".js", ".mjs")) and name.count("/") == 1:
        return _CONTENT_TYPES["ESModule"]
    return _CONTENT_TYPES["Data"]


def _check_size(config_file: Path, modules: dict[str, Module]) -> None:
    total = 0
    for module in modules.values():
        try:
            total += module.path.stat().st_size
        except OSError as error:
            raise ConfigError(f"{module.path}: {error.strerror}") from error
        if total > MODULE_BYTES_TOTAL_MAX:
            raise ConfigError(f"{config_file}: the Worker's files are larger than {MODULE_BYTES_TOTAL_MAX} bytes")


def _files(root: Path, skipped: set[Path]) -> Iterator[tuple[str, Path]]:
    """Every file below `root` with its name from there. Links are followed, each folder once on a way down."""
    seen: set[tuple[int, int]] = set()
    count = 0
    for folder, subfolders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        here = Path(folder)
        subfolders[:] = sorted(name for name in subfolders if here / name not in skipped)
        for file in sorted(files):
            path = here / file
            if path in skipped or not path.is_file():
                continue
            count += 1
            if count > MODULES_MAX:
                raise ConfigError(f"{root}: more than {MODULES_MAX} files")
            yield path.relative_to(root).as_posix(), path


@functools.lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    """wrangler globs (glob-to-regexp, `globstar`): `*` stays in a folder, `**/` spans any; no other is special."""
    parts = []
    position = 0
    while position < len(pattern):
        end = position
        while end < len(pattern) and pattern[end] == "*":
            end += 1
        if end == position:
            parts.append(re.escape(pattern[position]))
            position += 1
            continue
        alone = (position == 0 or pattern[position - 1] == "/") and (end == len(pattern) or pattern[end] == "/")
        if end - position > 1 and alone:
            parts.append(r"(?:[^/]*(?:/|$))*")
            position = end + 1
        else:
            parts.append("[^/]*")
            position = end
    return re.compile("".join(parts), re.DOTALL)
