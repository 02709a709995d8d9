"""Which files of a folder are static assets: all but those that `.assetsignore` names, by the rules of `.gitignore`.

`_headers` and `_redirects` at its top are rules for the others, and are not served.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tenantry.config.limits import ASSET_FILE_BYTES_MAX, ASSET_FILES_MAX
from tenantry.errors import ConfigError

__all__ = ["CollectedAssets", "IgnoreRules", "collect_assets"]

_IGNORE_FILE: Final = ".assetsignore"
_HEADERS_FILE: Final = "_headers"
_REDIRECTS_FILE: Final = "_redirects"
# What wrangler leaves out before it reads anything.
_ALWAYS: Final = (f"/{_IGNORE_FILE}", f"/{_HEADERS_FILE}", f"/{_REDIRECTS_FILE}")
_RULES_BYTES_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CollectedAssets:
    """`files`: the path of each in a URL, decoded, and where it lies. `headers` and `redirects` are texts."""

    files: Mapping[str, Path]
    headers: str = ""
    redirects: str = ""


def collect_assets(folder: Path) -> CollectedAssets:
    """Read anew at each call. Links to files and folders are followed, each folder once. Raises ConfigError."""
    rules = IgnoreRules([*_ALWAYS, *_text(folder / _IGNORE_FILE).splitlines()])
    files: dict[str, Path] = {}
    seen: set[tuple[int, int]] = set()
    for here, subfolders, names in os.walk(folder, followlinks=True):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        base = Path(here).relative_to(folder).as_posix()
        prefix = "" if base == "." else f"{base}/"
        subfolders[:] = sorted(name for name in subfolders if not rules.ignores(prefix + name, is_folder=True))
        for name in sorted(names):
            file = Path(here) / name
            if rules.ignores(prefix + name) or not file.is_file():
                continue
            _check(folder, file, prefix + name, len(files))
            files[f"/{prefix}{name}"] = file
    return CollectedAssets(files, _text(folder / _HEADERS_FILE), _text(folder / _REDIRECTS_FILE))


def _check(folder: Path, file: Path, name: str, count: int) -> None:
    if name == "_worker.js":
        raise ConfigError(f"{file}: is code, not an asset: name it in {folder / _IGNORE_FILE}, or remove it")
    if count >= ASSET_FILES_MAX:
        raise ConfigError(f"{folder}: more than {ASSET_FILES_MAX} files")
    size = file.stat().st_size
    if size > ASSET_FILE_BYTES_MAX:
        raise ConfigError(
            f"{file}: has {size} bytes, and an asset may have {ASSET_FILE_BYTES_MAX}: keep it in R2, or name it in "
            f"{folder / _IGNORE_FILE}"
        )


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_RULES_BYTES_MAX + 1)
        if len(content) > _RULES_BYTES_MAX:
            raise ConfigError(f"{file}: larger than {_RULES_BYTES_MAX} bytes")
        return content.decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8: {error}") from error


class IgnoreRules:
    """Lines as `.gitignore` has them; the last that matches a path decides. What lies in an ignored folder is ignored,
    whatever the later lines say, which is up to whoever walks the folders."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._rules = [rule for rule in map(_rule, lines) if rule is not None]

    def ignores(self, path: str, *, is_folder: bool = False) -> bool:
        """`path` is relative, with slashes."""
        ignored = False
        for pattern, negated, folders_only in self._rules:
            if (is_folder or not folders_only) and pattern.fullmatch(path):
                ignored = not negated
        return ignored


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    line = line.rstrip("\r\n")
    if not line.endswith("\\ "):
        line = line.rstrip(" ")
    if not line or line.startswith("#"):
        return None
    negated = line.startswith("!")
    line = line[1:] if negated else line
    folders_only = line.endswith("/")
    line = line.rstrip("/") if folders_only else line
    anchored = "/" in line
    line = line.removeprefix("/")
    if not line:
        return None
    try:
        pattern = re.compile(("" if anchored else "(?:.*/)?") + _expression(line), re.DOTALL)
    except re.error:
        return None  # a range that is none, such as [z-a], which matches nothing
    return pattern, negated, folders_only


def _expression(glob: str) -> str:
    parts = []
    position = 0
    while position < len(glob):
        rest = glob[position:]
        if rest == "**" or rest.startswith("**/"):
            parts.append(".*" if rest == "**" else "(?:.*/)?")
            position += 3
        elif rest.startswith("/**/"):
            parts.append("/(?:.*/)?")
            position += 4
        elif rest == "/**":
            parts.append("/.*")
            position += 3
        elif rest[0] == "*":
            parts.append("[^/]*")
            position += len(rest) - len(rest.lstrip("*"))
        elif rest[0] == "?":
            parts.append("[^/]")
            position += 1
        elif rest[0] == "[" and (end := rest.find("]", 2)) > 0:
            inner = rest[1:end].replace("\\", "\\\\")
            parts.append("[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]")
            position += end + 1
        elif rest[0] == "\\" and len(rest) > 1:
            parts.append(re.escape(rest[1]))
            position += 2
        else:
            parts.append(re.escape(rest[0]))
            position += 1
    return "".join(parts)
