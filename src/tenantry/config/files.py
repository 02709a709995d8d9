"""Reading a configuration file: bounded, and with errors that name it."""

from __future__ import annotations

from pathlib import Path

from tenantry.config.limits import CONFIG_FILE_BYTES_MAX
from tenantry.errors import ConfigError


def read_config_file(file: Path) -> str:
    """The text of `file`. Raises ConfigError when it cannot be read, is too large or not UTF-8."""
    try:
        with file.open("rb") as handle:
            content = handle.read(CONFIG_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    if len(content) > CONFIG_FILE_BYTES_MAX:
        raise ConfigError(f"{file}: larger than {CONFIG_FILE_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 ({error.reason} at byte {error.start})") from error
