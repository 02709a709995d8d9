"""`tenantry tokens`: who may use the control plane, and for what."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from tenantry.cli import output
from tenantry.cli.connection import AsJson, Connection, connected
from tenantry.errors import ConfigError

__all__ = ["tokens"]

tokens = typer.Typer(no_args_is_help=True, help="API tokens: made, listed, rolled, revoked.", rich_markup_mode="rich")

_GROUPS = {
    "admin": "Account Admin",
    "read": "Account Read",
    "namespace": "Dispatch Namespace Deploy",
    "worker": "Worker Deploy",
}
_GRANTABLE = ("kv_namespace", "r2_bucket", "d1")
_RESOURCES = {"namespace": "tenantry.dispatch_namespace.", "worker": "tenantry.worker."}

TokenId = Annotated[str, typer.Argument(metavar="ID", help="As `tenantry tokens list` shows it.")]


@tokens.command()
@connected
def create(
    connection: Connection,
    name: Annotated[str, typer.Argument(help="What it is for; the audit log shows it.")],
    scope: Annotated[
        Literal["admin", "read", "namespace", "worker"],
        typer.Option(help="What it may do: everything, read, or deploy to one namespace or of one Worker."),
    ] = "read",
    resource: Annotated[
        str,
        typer.Option(metavar="NAME", help="With namespace: which. With worker: which, as `name` or `namespace/name`."),
    ] = "",
    may_bind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE:NAME",
            help="With namespace and worker: what it may bind that is not bound there yet, as `kv_namespace:ID`, "
            "`r2_bucket:NAME` or `d1:ID`. Can be given again.",
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it ends, such as 2027-01-31T00:00:00Z. Default: never.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it, this once.

    [bold]Examples[/bold]

      tenantry tokens create monitoring

      tenantry tokens create ci --scope namespace --resource bindings --expires 2027-01-31T00:00:00Z

      tenantry tokens create ci-1 --scope worker --resource bindings/customer-1 --may-bind r2_bucket:files-1
    """
    if bool(resource) != (scope in ("namespace", "worker")):
        raise ConfigError(f"--scope {scope} {'has no' if resource else 'needs a'} --resource")
    if may_bind and not resource:
        raise ConfigError(f"--scope {scope} has no --may-bind: it is not limited, or deploys nothing")
    grants = list(map(_grant, may_bind or ()))
    with connection.open() as client:
        group = next(each for each in client.call("GET", "/tokens/permission_groups") if each["name"] == _GROUPS[scope])
        named = f"{_RESOURCES[scope]}{resource}" if resource else f"com.cloudflare.api.account.{client.account_id}"
        resources = dict.fromkeys([named, *grants], "*")
        policy = {"effect": "allow", "permission_groups": [{"id": group["id"]}], "resources": resources}
        made = client.call("POST", "/tokens", json={"name": name, "policies": [policy], "expires_on": expires})
    if as_json:
        output.document(made)
        return
    output.say(f"Made the token {made['id']} ({name}). It is shown this once:")
    output.result(made["value"])


@tokens.command("list")
@connected
def list_all(connection: Connection, as_json: AsJson = False) -> None:
    """List the tokens, without their secrets.

    [bold]Example[/bold]

      tenantry tokens list
    """
    with connection.open() as client:
        found = list(client.pages(client.call, "/tokens"))
    rows = [(each["id"], each["status"], _scope(each), each["expires_on"] or "never", each["name"]) for each in found]
    output.listing(found, ("id", "status", "scope", "expires", "name"), rows, as_json=as_json)


@tokens.command()
@connected
def roll(connection: Connection, token_id: TokenId, as_json: AsJson = False) -> None:
    """Give a token another secret, and print it, this once. The one before is worthless from now on.

    [bold]Example[/bold]

      tenantry tokens roll 6e0f0bb1a0f4c9d2
    """
    with connection.open() as client:
        value = client.call("PUT", f"/tokens/{quote(token_id, safe='')}/value", json={})
    if as_json:
        output.document({"id": token_id, "value": value})
        return
    output.result(str(value))


@tokens.command()
@connected
def revoke(connection: Connection, token_id: TokenId) -> None:
    """Make a token worthless, from the next request on.

    [bold]Example[/bold]

      tenantry tokens revoke 6e0f0bb1a0f4c9d2
    """
    with connection.open() as client:
        client.call("DELETE", f"/tokens/{quote(token_id, safe='')}")
    output.say(f"Revoked {token_id}")


def _grant(text: str) -> str:
    """As a policy has it. Raises ConfigError."""
    kind, _, name = text.partition(":")
    if kind not in _GRANTABLE or not name:
        raise ConfigError(f"--may-bind {text!r} is not TYPE:NAME with one of the types {', '.join(_GRANTABLE)}")
    return f"tenantry.{kind}.{name}"


def _scope(token: dict[str, Any]) -> str:  # Any: JSON of the API
    policy = token["policies"][0]
    names = [name.removeprefix("tenantry.") for name in policy["resources"]]
    shown = "" if names[0].startswith("com.") else f" ({', '.join(names)})"
    return str(policy["permission_groups"][0]["name"]) + shown
