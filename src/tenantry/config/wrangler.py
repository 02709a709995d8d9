"""A Worker's project as wrangler reads it: `wrangler.json`, `wrangler.jsonc` or `wrangler.toml` in its folder.

Only what a Worker here can have is decoded, and strictly: a wrong type is an error that names file and path. What
wrangler knows and this platform does not is either a warning (routes, placement: the Worker runs without) or an error
(a queue binding: it would not). Keys that nobody knows are warned about, as wrangler does.

`main` may point out of the folder, so that several Workers share one source.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import json5
import msgspec

from tenantry.config import wrangler_keys
from tenantry.config.deployment import WorkerLimits
from tenantry.config.files import read_config_file
from tenantry.config.modules import Module, ModuleRule, collect_modules
from tenantry.errors import ConfigError

__all__ = [
    "CONFIG_NAMES",
    "D1Database",
    "DispatchNamespace",
    "KvNamespace",
    "ProjectAssets",
    "R2Bucket",
    "ServiceBinding",
    "WorkerProject",
    "find_config",
    "load_project",
]

# In wrangler's order of preference.
CONFIG_NAMES = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")

_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]*", re.ASCII)


class KvNamespace(msgspec.Struct, frozen=True):
    """A KV namespace; without `id` it is found, or made, by the title `<worker>-<binding>`."""

    binding: str
    id: str | None = None


class R2Bucket(msgspec.Struct, frozen=True):
    """A bucket; without `bucket_name` its name is `<worker>-<binding>`."""

    binding: str
    bucket_name: str | None = None
    jurisdiction: str | None = None


class D1Database(msgspec.Struct, frozen=True):
    """A database; without `database_id` it is found, or made, by `database_name`, or `<worker>-<binding>`."""

    binding: str
    database_name: str | None = None
    database_id: str | None = None


class OutboundWorker(msgspec.Struct, frozen=True):
    """The Worker that sees the fetches of a namespace's user Workers first, and what `get()` may tell it."""

    service: str
    parameters: list[str] = []
    environment: str | None = None
    entrypoint: str | None = None


class DispatchNamespace(msgspec.Struct, frozen=True):
    """A namespace of user Workers that this one dispatches to."""

    binding: str
    namespace: str
    outbound: OutboundWorker | None = None


class ServiceBinding(msgspec.Struct, frozen=True):
    """Another Worker to call."""

    binding: str
    service: str
    entrypoint: str | None = None
    environment: str | None = None


class _Assets(msgspec.Struct, frozen=True):
    directory: str
    binding: str | None = None
    html_handling: Literal["auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"] | None = None
    not_found_handling: Literal["none", "404-page", "single-page-application"] | None = None
    run_worker_first: bool | list[str] | None = None


class _Limits(msgspec.Struct, frozen=True):
    cpu_ms: int | None = None
    subrequests: int | None = None


class _Rule(msgspec.Struct, frozen=True):
    type: str
    globs: list[str]
    fallthrough: bool = False


class _PythonModules(msgspec.Struct, frozen=True):
    exclude: list[str] | None = None


class _WranglerFile(msgspec.Struct, frozen=True):
    name: str | None = None
    main: str | None = None
    compatibility_date: str | None = None
    compatibility_flags: list[str] = []
    vars: dict[str, Any] = {}  # any JSON value
    kv_namespaces: list[KvNamespace] = []
    r2_buckets: list[R2Bucket] = []
    d1_databases: list[D1Database] = []
    dispatch_namespaces: list[DispatchNamespace] = []
    services: list[ServiceBinding] = []
    assets: _Assets | None = None
    limits: _Limits | None = None
    base_dir: str | None = None
    rules: list[_Rule] = []
    python_modules: _PythonModules | None = None


@dataclass(frozen=True, slots=True)
class ProjectAssets:
    """Static assets as their author keeps them: a folder that exists, absolute, and Cloudflare's words for the rules.

    `config` has what the author wrote of html_handling, not_found_handling and run_worker_first.
    """

    directory: Path
    binding: str | None = None
    config: Mapping[str, str | bool | list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerProject:
    """A Worker as its author keeps it. Paths are absolute; `main` is a file that exists; None: it has only assets."""

    file: Path
    folder: Path
    name: str
    main: Path | None
    module_root: Path
    compatibility_date: str
    compatibility_flags: tuple[str, ...] = ()
    # JSON values; people put secrets into vars, so they stay out of what gets printed.
    vars: Mapping[str, Any] = field(default_factory=dict, repr=False)
    kv_namespaces: tuple[KvNamespace, ...] = ()
    r2_buckets: tuple[R2Bucket, ...] = ()
    d1_databases: tuple[D1Database, ...] = ()
    dispatch_namespaces: tuple[DispatchNamespace, ...] = ()
    services: tuple[ServiceBinding, ...] = ()
    assets: ProjectAssets | None = None
    limits: WorkerLimits = field(default_factory=WorkerLimits)
    rules: tuple[ModuleRule, ...] = ()
    python_modules_exclude: tuple[str, ...] = ("**/*.pyc",)
    warnings: tuple[str, ...] = ()

    @property
    def main_module(self) -> str | None:
        """The name that the entry file is uploaded under."""
        return None if self.main is None else self.main.name

    @property
    def watched(self) -> tuple[Path, ...]:
        """The folders whose files make a difference."""
        folders = (self.folder, self.module_root)
        return folders if self.assets is None else (*folders, self.assets.directory)

    def modules(self) -> list[Module]:
        """The files to upload, the entry first. Read anew at each call; raises ConfigError."""
        if self.main is None:
            return []
        return collect_modules(
            project=self.folder,
            config_file=self.file,
            main=self.main,
            root=self.module_root,
            rules=self.rules,
            vendored_exclude=self.python_modules_exclude,
        )


def find_config(folder: Path) -> Path | None:
    """The wrangler configuration in `folder`, None when it has none."""
    return next((folder / name for name in CONFIG_NAMES if (folder / name).is_file()), None)


def load_project(path: Path) -> WorkerProject:
    """The project at `path`: its folder, or its configuration file. Raises ConfigError."""
    file: Path | None = path
    if path.is_dir():
        file = find_config(path)
    elif not path.is_file():
        raise ConfigError(f"{path}: no such file or folder")
    if file is None:
        raise ConfigError(f"{path}: holds no wrangler configuration ({', '.join(CONFIG_NAMES)})")
    file = file.resolve()
    raw = _parse(file)
    try:
        content = msgspec.convert(raw, _WranglerFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {error}") from error
    return _project(file, content, _warnings(file, raw))


def _parse(file: Path) -> dict[str, Any]:  # Any: JSON, before it is decoded
    text = read_config_file(file)
    raw: object
    try:
        raw = tomllib.loads(text) if file.suffix == ".toml" else json5.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: holds no object")
    return raw


def _warnings(file: Path, raw: Mapping[str, object]) -> tuple[str, ...]:
    known = {info.name for info in msgspec.structs.fields(_WranglerFile)} | wrangler_keys.HARMLESS
    warnings = []
    for key, value in raw.items():
        if key in wrangler_keys.MISSING and value not in ([], {}, None, ""):
            raise ConfigError(f'{file}: "{key}" is not supported yet; the Worker would run without it')
        if key in wrangler_keys.IGNORED:
            warnings.append(f'{file}: "{key}" has no effect here yet')
        elif key not in known and key not in wrangler_keys.MISSING:
            warnings.append(f'{file}: unexpected field "{key}"')
    return tuple(warnings)


def _project(file: Path, content: _WranglerFile, warnings: tuple[str, ...]) -> WorkerProject:
    if content.name is None:
        raise ConfigError(f'{file}: "name" is missing: the name that the Worker is deployed under')
    if not _NAME.fullmatch(content.name):
        raise ConfigError(
            f'{file}: $.name is {content.name!r}; a name has lower-case letters, digits, "-" and "_" only'
        )
    if content.compatibility_date is None:
        raise ConfigError(f'{file}: "compatibility_date" is missing, for example "2026-01-15"')
    _check_bindings(file, content)
    if content.main is None and content.assets is not None and content.assets.binding is not None:
        raise ConfigError(f'{file}: "assets.binding" is for the code of a Worker, and there is no "main"')
    assets = None if content.assets is None else _assets(file, content.assets)
    main = None if content.main is None and assets is not None else _main(file, content.main)
    return WorkerProject(
        file=file,
        folder=file.parent,
        name=content.name,
        main=main,
        module_root=file.parent if main is None else _module_root(file, main, content.base_dir),
        compatibility_date=content.compatibility_date,
        compatibility_flags=tuple(content.compatibility_flags),
        vars=content.vars,
        kv_namespaces=tuple(content.kv_namespaces),
        r2_buckets=tuple(content.r2_buckets),
        d1_databases=tuple(content.d1_databases),
        dispatch_namespaces=tuple(content.dispatch_namespaces),
        services=tuple(content.services),
        assets=assets,
        limits=WorkerLimits(content.limits.cpu_ms, content.limits.subrequests) if content.limits else WorkerLimits(),
        rules=tuple(ModuleRule(rule.type, tuple(rule.globs), rule.fallthrough) for rule in content.rules),
        python_modules_exclude=_vendored_exclude(content.python_modules),
        warnings=warnings,
    )


def _assets(file: Path, content: _Assets) -> ProjectAssets:
    directory = Path(os.path.normpath(file.parent / content.directory))
    if not content.directory or not directory.is_dir():
        raise ConfigError(f"{file}: $.assets.directory is {content.directory!r}: no such folder")
    given = {name: getattr(content, name) for name in ("html_handling", "not_found_handling", "run_worker_first")}
    return ProjectAssets(
        directory, content.binding, {name: value for name, value in given.items() if value is not None}
    )


def _vendored_exclude(setting: _PythonModules | None) -> tuple[str, ...]:
    if setting is None or setting.exclude is None:
        return ("**/*.pyc",)
    return tuple(setting.exclude)


def _main(file: Path, main: str | None) -> Path:
    if not main:
        raise ConfigError(f'{file}: "main" is missing: the file with the Worker\'s entry, for example "src/entry.py"')
    # normpath, not resolve: a link keeps the name that its author gave it.
    path = Path(os.path.normpath(file.parent / main))
    if path.suffix != ".py":
        raise ConfigError(f"{file}: $.main is {main!r}: this platform runs Python Workers, whose entry ends in .py")
    if not path.is_file():
        raise ConfigError(f"{file}: $.main is {main!r}: no such file")
    return path


def _module_root(file: Path, main: Path, base_dir: str | None) -> Path:
    if base_dir is None:
        return main.parent
    root = Path(os.path.normpath(file.parent / base_dir))
    if not root.is_dir():
        raise ConfigError(f"{file}: $.base_dir is {base_dir!r}: no such folder")
    return root


def _check_bindings(file: Path, content: _WranglerFile) -> None:
    """Names are unique in a Worker's environment, whatever they bind to."""
    seen: dict[str, str] = {}
    kinds: tuple[tuple[str, list[str]], ...] = (
        ("vars", list(content.vars)),
        ("kv_namespaces", [entry.binding for entry in content.kv_namespaces]),
        ("r2_buckets", [entry.binding for entry in content.r2_buckets]),
        ("d1_databases", [entry.binding for entry in content.d1_databases]),
        ("dispatch_namespaces", [entry.binding for entry in content.dispatch_namespaces]),
        ("services", [entry.binding for entry in content.services]),
        ("assets", [content.assets.binding] if content.assets and content.assets.binding is not None else []),
    )
    for kind, names in kinds:
        for name in names:
            if not name:
                raise ConfigError(f"{file}: $.{kind} has a binding without a name")
            if name in seen:
                raise ConfigError(f'{file}: "{name}" is bound twice, in {seen[name]} and in {kind}')
            seen[name] = kind
