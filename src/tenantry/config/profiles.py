"""Profiles: the installations that a person's client commands talk to, by name, in a file of the person's own.

    default = "prod"

    [profile.prod]
    url = "https://control.example.com"
    token = "tnt_..."
    account = "22560f3742e34c891658042091053266"

It lies in `$XDG_CONFIG_HOME/tenantry/profiles.toml`, by default below `~/.config`, readable by its owner only.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from tenantry.config.files import read_config_file
from tenantry.errors import ConfigError

__all__ = ["Profile", "Profiles", "profiles_file"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Profile:
    url: str
    token: str = field(default="", repr=False)
    account: str | None = None


class _ProfileFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    token: str = ""
    account: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default: str | None = None
    profile: dict[str, _ProfileFile] = {}


def profiles_file(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or "~").expanduser() / ".config"
    return Path(base) / "tenantry" / "profiles.toml"


class Profiles:
    """The profiles of a file. `save` writes what was changed."""

    def __init__(self, file: Path) -> None:
        """A file that is not there has none. Raises ConfigError."""
        self._file = file
        self.default: str | None = None
        self.by_name: dict[str, Profile] = {}
        if not file.exists():
            return
        try:
            content = msgspec.convert(tomllib.loads(read_config_file(file)), _File)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise ConfigError(f"{file}: {error}") from error
        self.default = content.default
        self.by_name = {name: Profile(each.url, each.token, each.account) for name, each in content.profile.items()}

    def get(self, name: str | None) -> Profile | None:
        """The profile of a name, or the default one. Raises ConfigError for a name that is not there."""
        wanted = name or self.default
        if wanted is None:
            return None
        found = self.by_name.get(wanted)
        if found is None:
            known = ", ".join(sorted(self.by_name)) or "none"
            raise ConfigError(f"{self._file}: no profile {wanted!r}; there are: {known}")
        return found

    def put(self, name: str, profile: Profile) -> None:
        """The first one becomes the default. Raises ConfigError for what is no name."""
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is not a profile's name: letters, digits, '-' and '_', 64 at most")
        self.by_name[name] = profile
        self.default = self.default or name

    def remove(self, name: str) -> None:
        """Raises ConfigError for one that is not there."""
        self.get(name)
        del self.by_name[name]
        if self.default == name:
            self.default = None

    def save(self) -> None:
        """In one step, for the owner only: it holds tokens. Raises ConfigError."""
        lines = [f"default = {_text(self.default)}\n"] if self.default is not None else []
        for name, profile in sorted(self.by_name.items()):
            lines.append(f"\n[profile.{name}]\nurl = {_text(profile.url)}\ntoken = {_text(profile.token)}\n")
            if profile.account is not None:
                lines.append(f"account = {_text(profile.account)}\n")
        temporary = self._file.with_name(f".{self._file.name}.new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.unlink(missing_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                opened.writelines(lines)
            temporary.replace(self._file)
        except OSError as error:
            raise ConfigError(f"{self._file}: {error.strerror}") from error


def _text(value: str) -> str:
    """A TOML basic string; JSON's escapes are among TOML's, but for those of surrogates and DEL, which no value has."""
    return msgspec.json.encode(value).decode()
