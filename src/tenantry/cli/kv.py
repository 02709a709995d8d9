"""`tenantry kv`: KV namespaces and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from tenantry.cli import output
from tenantry.cli.client import Client
from tenantry.cli.connection import AsJson, Connection, connected
from tenantry.cli.transfer import chunks_of, write_to
from tenantry.errors import ConfigError

__all__ = ["kv"]

kv = typer.Typer(no_args_is_help=True, help="KV namespaces, their keys and values.", rich_markup_mode="rich")

_PATH = "/storage/kv/namespaces"
Title = Annotated[str, typer.Argument(help="The namespace's title.")]
Namespace = Annotated[str, typer.Argument(metavar="NAMESPACE", help="The namespace, by its title or its id.")]
Key = Annotated[str, typer.Argument(help="The key.")]


@kv.command()
@connected
def create(connection: Connection, title: Title, as_json: AsJson = False) -> None:
    """Make a namespace, and print its id.

    [bold]Example[/bold]

      tenantry kv create sessions
    """
    with connection.open() as client:
        made = client.call("POST", _PATH, json={"title": title})
    if as_json:
        output.document(made)
    else:
        output.result(made["id"])


@kv.command("list")
@connected
def list_all(connection: Connection, as_json: AsJson = False) -> None:
    """List the namespaces.

    [bold]Example[/bold]

      tenantry kv list
    """
    with connection.open() as client:
        found = list(client.pages(client.call, _PATH, {"order": "title"}))
    output.listing(found, ("id", "title"), [(each["id"], each["title"]) for each in found], as_json=as_json)


@kv.command()
@connected
def rename(connection: Connection, namespace: Namespace, title: Title) -> None:
    """Give a namespace another title. Bindings go by its id, and do not notice.

    [bold]Example[/bold]

      tenantry kv rename sessions old-sessions
    """
    with connection.open() as client:
        client.call("PUT", _of(client, namespace), json={"title": title})
    output.say(f"Renamed {namespace} to {title}")


@kv.command()
@connected
def delete(
    connection: Connection,
    namespace: Namespace,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a namespace with everything in it.

    [bold]Example[/bold]

      tenantry kv delete old-sessions --yes
    """
    if not yes:
        typer.confirm(f"Delete the KV namespace {namespace} and everything in it?", abort=True, err=True)
    with connection.open() as client:
        client.call("DELETE", _of(client, namespace))
    output.say(f"Deleted {namespace}")


@kv.command()
@connected
def keys(
    connection: Connection,
    namespace: Namespace,
    prefix: Annotated[str, typer.Option(help="Keys that begin with this only.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the keys of a namespace.

    [bold]Example[/bold]

      tenantry kv keys sessions --prefix user1:
    """
    with connection.open() as client:
        found = list(client.by_cursor(f"{_of(client, namespace)}/keys", {"prefix": prefix, "limit": 1000}))
    rows = [(each["name"], each.get("expiration", "")) for each in found]
    output.listing(found, ("key", "expires"), rows, as_json=as_json)


@kv.command()
@connected
def get(
    connection: Connection,
    namespace: Namespace,
    key: Key,
    to: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to. Default: stdout.")
    ] = None,
) -> None:
    """Read a value.

    [bold]Example[/bold]

      tenantry kv get sessions user1:1
    """
    with connection.open() as client, client.download(_value(client, namespace, key)) as response:
        write_to(to, response)


@kv.command()
@connected
def put(
    connection: Connection,
    namespace: Namespace,
    key: Key,
    value: Annotated[str | None, typer.Argument(help="The value. Default: standard input.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="The file whose content is the value.")] = None,
    ttl: Annotated[int | None, typer.Option(metavar="SECONDS", help="How long it lives; 60 at least.")] = None,
) -> None:
    """Write a value.

    [bold]Examples[/bold]

      tenantry kv put sessions user1:1 open --ttl 3600

      tenantry kv put sessions picture --file picture.png
    """
    if value is not None and file is not None:
        raise ConfigError("a value and --file are two values: give one")
    content: Any = value.encode() if value is not None else chunks_of(file or Path("-"))
    params = {} if ttl is None else {"expiration_ttl": ttl}
    headers = {"content-type": "application/octet-stream"}
    with connection.open() as client:
        client.upload(_value(client, namespace, key), content, headers, params=params)
    output.say(f"Wrote {key}")


@kv.command()
@connected
def remove(connection: Connection, namespace: Namespace, key: Key) -> None:
    """Delete a key.

    [bold]Example[/bold]

      tenantry kv remove sessions user1:1
    """
    with connection.open() as client:
        client.call("DELETE", _value(client, namespace, key))
    output.say(f"Deleted {key}")


@kv.command()
@connected
def load(
    connection: Connection,
    namespace: Namespace,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help='JSON: a list of {"key", "value", "expiration_ttl"?, "base64"?}; - is stdin.'
        ),
    ],
) -> None:
    """Write many values, 10,000 in one request.

    [bold]Example[/bold]

      tenantry kv load sessions pairs.json
    """
    try:
        pairs = msgspec.json.decode(b"".join(chunks_of(file)), type=list[dict[str, Any]])
    except msgspec.DecodeError as error:
        raise ConfigError(f"{file}: {error}") from error
    with connection.open() as client:
        path = _of(client, namespace)
        for start in range(0, len(pairs), _BULK_PAIRS):
            client.call("PUT", f"{path}/bulk", json=pairs[start : start + _BULK_PAIRS], timeout=None)
            output.say(f"Wrote {min(start + _BULK_PAIRS, len(pairs))} of {len(pairs)}")


_BULK_PAIRS = 10_000


def _of(client: Client, namespace: str) -> str:
    """The path of a namespace; a title wins over an id."""
    return f"{_PATH}/{quote(client.kv_namespace(namespace) or namespace, safe='')}"


def _value(client: Client, namespace: str, key: str) -> str:
    return f"{_of(client, namespace)}/values/{quote(key, safe='')}"
