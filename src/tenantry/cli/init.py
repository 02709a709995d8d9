"""`tenantry init`: the folder, the settings and the first admin token of an installation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from tenantry.cli import output
from tenantry.cli.machine import keeping_everything
from tenantry.errors import ConfigError

__all__ = ["init"]

_FILE: Final = "serve.toml"
_SETTINGS: Final = """\
# The settings of this installation: `tenantry serve --config serve.toml` reads them. Every key is in
# docs/reference/settings.md; one that it does not know is an error.

gateway_worker = "{worker}"   # the Worker that gets the tenants' requests: deploy it with `tenantry deploy`
data = "data"
host = "127.0.0.1"
port = 8787
control_host = "127.0.0.1"    # the control plane is for operators: keep it away from tenants
control_port = 8788
s3_host = "127.0.0.1"
s3_port = 8789

[identity]                    # who a tenant's request is from
api_keys = true               # made with `tenantry keys create USER`

[egress]                      # where fetch() of the Workers may go
policy = "public"
"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the installation is to live. Made if absent.")],
    gateway_worker: Annotated[
        str, typer.Option(metavar="NAME", help="The Worker that gets the tenants' requests.")
    ] = "dispatcher",
) -> None:
    """Make an installation for `tenantry serve`, and print its first admin token, this once.

    [bold]Example[/bold]

      tenantry init /var/lib/tenantry --gateway-worker my-binding-dispatcher
    """
    if not gateway_worker.replace("-", "").replace("_", "").isalnum() or not gateway_worker.isascii():
        raise ConfigError(
            f"--gateway-worker {gateway_worker!r} is not the name of a Worker: letters, digits, '-' and '_'"
        )
    data = folder / "data"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (data / "control.db").exists():
            raise ConfigError(f"{folder} has an installation already; nothing was changed")
        # Workers of a host that root runs are other users, who have to get at their bundles below it.
        data.mkdir(mode=0o755, exist_ok=True)
        _write_settings(folder / _FILE, _SETTINGS.format(worker=gateway_worker))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot hold an installation: {error.strerror}") from error
    # Here, not above: it is a lot to import, and a refusal needs none of it.
    with keeping_everything():
        from tenantry.cli.store import open_store

    store = open_store(data)
    try:
        account = store.accounts.default()
        _, token = store.tokens.issue(account.id, "admin")
    finally:
        store.close()
    output.say(f"Made {folder / _FILE} and {data}, with the account {account.id}. Its admin token, shown this once:")
    output.result(token)
    output.say(f"Start it: tenantry serve --config {folder / _FILE}")


def _write_settings(file: Path, text: str) -> None:
    """Once: what an operator wrote is not touched. Secrets may come to stand in it, hence the mode."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        output.say(f"{file} is there already, and stays as it is")
        return
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(text)
