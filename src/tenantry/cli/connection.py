"""How every client command finds its control plane: by an option, else the environment, else a profile.

A command takes a `Connection` first, and `connected` gives it the options for one:

    @app.command()
    @connected
    def show(connection: Connection, name: Name) -> None:
        with connection.open() as client: ...
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import typer

from tenantry.cli.client import Client
from tenantry.config.profiles import Profile, Profiles, profiles_file
from tenantry.errors import ConfigError

__all__ = ["URL_DEFAULT", "AsJson", "Connection", "connected", "connected_to_platform"]

URL_DEFAULT = "http://127.0.0.1:8788"

P = ParamSpec("P")

_Url = Annotated[
    str | None,
    typer.Option(
        envvar="TENANTRY_URL",
        help=f"The control plane's address. Default: the profile's, else {URL_DEFAULT}.",
        show_default=False,
    ),
]
_Token = Annotated[
    str | None, typer.Option(envvar="TENANTRY_TOKEN", help="An API token. Default: the profile's.", show_default=False)
]
_Account = Annotated[
    str | None,
    typer.Option(
        envvar="TENANTRY_ACCOUNT",
        help="The account. Default: the profile's, else the token's only one.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of lines.")]


_OPTIONS: Final = {"url": _Url, "token": _Token, "account": _Account}


@dataclass(frozen=True, slots=True)
class Connection:
    """What the options of a command say; None where they say nothing."""

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    account: str | None = None

    def open(self) -> Client:
        """The caller closes it. TENANTRY_PROFILE names the profile for what is not given. Raises ConfigError."""
        profile = Profile("")
        if not (self.url and self.token):
            profile = Profiles(profiles_file(os.environ)).get(os.environ.get("TENANTRY_PROFILE")) or profile
        if self.url and profile.url and self.url.rstrip("/") != profile.url.rstrip("/"):
            profile = Profile(profile.url)  # its token is for its own address, and goes nowhere else
        token = self.token or profile.token
        if not token:
            raise ConfigError(
                "no API token: give --token, set TENANTRY_TOKEN (tenantry dev writes one to DATA/dev.json), "
                "or keep one with tenantry profiles add"
            )
        return Client(self.url or profile.url or URL_DEFAULT, token, self.account or profile.account)


def connected(function: Callable[Concatenate[Connection, P], None]) -> Callable[..., None]:
    """A command with the options `--url`, `--token` and `--account`, behind those of its own."""
    return _with_options(function, ("url", "token", "account"))


def connected_to_platform(function: Callable[Concatenate[Connection, P], None]) -> Callable[..., None]:
    """The same for what belongs to no account: without `--account`."""
    return _with_options(function, ("url", "token"))


def _with_options(function: Callable[Concatenate[Connection, P], None], names: tuple[str, ...]) -> Callable[..., None]:
    # Any: values of whatever types the command's own parameters have.
    def command(**given: Any) -> None:
        connection = Connection(**{name: given.pop(name) for name in names})
        function(connection, **given)  # type: ignore[call-arg]  # typer calls by name, as the signature below says

    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_OPTIONS[name])
        for name in names
    ]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + options
    command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command
