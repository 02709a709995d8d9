"""The options by which every client command finds its control plane."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantry.cli.client import Client
from tenantry.errors import ConfigError

__all__ = ["URL_DEFAULT", "Account", "Token", "Url", "connect"]

URL_DEFAULT = "http://127.0.0.1:8788"

Url = Annotated[str, typer.Option(envvar="TENANTRY_URL", help="The control plane's address.")]
Token = Annotated[str, typer.Option(envvar="TENANTRY_TOKEN", help="An API token.", show_default=False)]
Account = Annotated[
    str | None, typer.Option(envvar="TENANTRY_ACCOUNT", help="The account; not needed when there is one.")
]


def connect(url: str, token: str, account: str | None = None) -> Client:
    """The caller closes it. Raises ConfigError."""
    if not token:
        raise ConfigError("no API token: give --token or set TENANTRY_TOKEN (tenantry dev writes one to DATA/dev.json)")
    return Client(url, token, account)
