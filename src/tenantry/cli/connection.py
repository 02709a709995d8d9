"""How every client command finds its control plane: by an option, else the environment, else a profile."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from tenantry.cli.client import Client
from tenantry.config.profiles import Profile, Profiles, profiles_file
from tenantry.errors import ConfigError

__all__ = ["URL_DEFAULT", "Account", "AsJson", "Token", "Url", "connect"]

URL_DEFAULT = "http://127.0.0.1:8788"

Url = Annotated[
    str | None,
    typer.Option(
        envvar="TENANTRY_URL",
        help=f"The control plane's address. Default: the profile's, else {URL_DEFAULT}.",
        show_default=False,
    ),
]
Token = Annotated[
    str | None, typer.Option(envvar="TENANTRY_TOKEN", help="An API token. Default: the profile's.", show_default=False)
]
Account = Annotated[
    str | None,
    typer.Option(
        envvar="TENANTRY_ACCOUNT",
        help="The account. Default: the profile's, else the token's only one.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")]


def connect(url: str | None, token: str | None, account: str | None = None) -> Client:
    """The caller closes it. TENANTRY_PROFILE names the profile for what is not given. Raises ConfigError."""
    profile = Profile("")
    if not (url and token):
        profile = Profiles(profiles_file(os.environ)).get(os.environ.get("TENANTRY_PROFILE")) or profile
    if url and profile.url and url.rstrip("/") != profile.url.rstrip("/"):
        profile = Profile(profile.url)  # its token is for its own address, and goes nowhere else
    token = token or profile.token
    if not token:
        raise ConfigError(
            "no API token: give --token, set TENANTRY_TOKEN (tenantry dev writes one to DATA/dev.json), "
            "or keep one with tenantry profiles add"
        )
    return Client(url or profile.url or URL_DEFAULT, token, account or profile.account)
