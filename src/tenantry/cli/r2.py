"""`tenantry r2`: buckets and the objects in them."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from tenantry.cli import output
from tenantry.cli.connection import AsJson, Connection, connected
from tenantry.cli.transfer import chunks_of, write_to

__all__ = ["r2"]

r2 = typer.Typer(no_args_is_help=True, help="R2 buckets and their objects.", rich_markup_mode="rich")

_PATH = "/r2/buckets"
Bucket = Annotated[str, typer.Argument(help="The bucket.")]
Key = Annotated[str, typer.Argument(help="The object's key.")]


@r2.command()
@connected
def create(connection: Connection, bucket: Bucket) -> None:
    """Make a bucket.

    [bold]Example[/bold]

      tenantry r2 create pictures
    """
    with connection.open() as client:
        client.create_bucket(bucket)
    output.say(f"Made {bucket}")


@r2.command("list")
@connected
def list_all(connection: Connection, as_json: AsJson = False) -> None:
    """List the buckets.

    [bold]Example[/bold]

      tenantry r2 list
    """
    with connection.open() as client:
        found = client.call("GET", _PATH, params={"per_page": 1000})["buckets"]
    rows = [(each["name"], each["creation_date"]) for each in found]
    output.listing(found, ("bucket", "made"), rows, as_json=as_json)


@r2.command()
@connected
def delete(connection: Connection, bucket: Bucket) -> None:
    """Delete an empty bucket.

    [bold]Example[/bold]

      tenantry r2 delete pictures
    """
    with connection.open() as client:
        client.call("DELETE", f"{_PATH}/{quote(bucket, safe='')}")
    output.say(f"Deleted {bucket}")


@r2.command()
@connected
def objects(
    connection: Connection,
    bucket: Bucket,
    prefix: Annotated[str, typer.Option(help="Keys that begin with this only.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the objects of a bucket.

    [bold]Example[/bold]

      tenantry r2 objects pictures --prefix 2026/
    """
    with connection.open() as client:
        found = list(
            client.by_cursor(f"{_PATH}/{quote(bucket, safe='')}/objects", {"prefix": prefix, "per_page": 1000})
        )
    rows = [(each["key"], each["size"], each["last_modified"]) for each in found]
    output.listing(found, ("key", "bytes", "changed"), rows, as_json=as_json)


@r2.command()
@connected
def get(
    connection: Connection,
    bucket: Bucket,
    key: Key,
    to: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to. Default: stdout.")
    ] = None,
) -> None:
    """Read an object.

    [bold]Example[/bold]

      tenantry r2 get pictures 2026/cat.png -o cat.png
    """
    with connection.open() as client, client.download(_object(bucket, key)) as response:
        write_to(to, response)


@r2.command()
@connected
def put(
    connection: Connection,
    bucket: Bucket,
    key: Key,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its content; - is standard input.")],
    content_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Default: by the ending of FILE.", show_default=False)
    ] = None,
) -> None:
    """Write an object.

    [bold]Example[/bold]

      tenantry r2 put pictures 2026/cat.png cat.png
    """
    kind = content_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    headers = {"content-type": kind}
    if file.is_file():
        # Of a known length, so that the other side can tell a transfer that broke off.
        headers["content-length"] = str(file.stat().st_size)
    with connection.open() as client:
        client.upload(_object(bucket, key), chunks_of(file), headers)
    output.say(f"Wrote {key}")


@r2.command()
@connected
def remove(connection: Connection, bucket: Bucket, key: Key) -> None:
    """Delete an object.

    [bold]Example[/bold]

      tenantry r2 remove pictures 2026/cat.png
    """
    with connection.open() as client:
        client.call("DELETE", _object(bucket, key))
    output.say(f"Deleted {key}")


def _object(bucket: str, key: str) -> str:
    return f"{_PATH}/{quote(bucket, safe='')}/objects/{quote(key, safe='')}"
