"""`tenantry d1`: SQL databases."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from tenantry.cli import output
from tenantry.cli.client import ApiError, Client
from tenantry.cli.connection import AsJson, Connection, connected
from tenantry.cli.transfer import chunks_of, write_to
from tenantry.errors import ConfigError

__all__ = ["d1"]

d1 = typer.Typer(no_args_is_help=True, help="D1 databases.", rich_markup_mode="rich")

_PATH = "/d1/database"
_POLL_SECONDS = 0.2
_WORK_SECONDS_MAX = 3600.0
Database = Annotated[str, typer.Argument(help="The database, by its name or its id.")]


@d1.command()
@connected
def create(
    connection: Connection,
    name: Annotated[str, typer.Argument(help="Its name.")],
    as_json: AsJson = False,
) -> None:
    """Make a database, and print its id.

    [bold]Example[/bold]

      tenantry d1 create orders
    """
    with connection.open() as client:
        made = client.call("POST", _PATH, json={"name": name})
    if as_json:
        output.document(made)
    else:
        output.result(made["uuid"])


@d1.command("list")
@connected
def list_all(connection: Connection, as_json: AsJson = False) -> None:
    """List the databases.

    [bold]Example[/bold]

      tenantry d1 list
    """
    with connection.open() as client:
        found = list(client.pages(client.call, _PATH))
    rows = [(each["uuid"], each["name"], each["created_at"]) for each in found]
    output.listing(found, ("id", "name", "made"), rows, as_json=as_json)


@d1.command()
@connected
def delete(
    connection: Connection,
    database: Database,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a database with everything in it.

    [bold]Example[/bold]

      tenantry d1 delete orders --yes
    """
    if not yes:
        typer.confirm(f"Delete the database {database} and everything in it?", abort=True, err=True)
    with connection.open() as client:
        client.call("DELETE", _of(database))
    output.say(f"Deleted {database}")


@d1.command()
@connected
def query(
    connection: Connection,
    database: Database,
    sql: Annotated[str | None, typer.Argument(help="One or more statements.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of statements instead.")] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="VALUE", help="What a ? in SQL stands for; once for each.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run SQL, and print the rows of the last statement.

    [bold]Example[/bold]

      tenantry d1 query orders "SELECT * FROM orders WHERE id = ?" --param 7
    """
    if (sql is None) == (file is None):
        raise ConfigError("give SQL or --file, one of them")
    text = sql if sql is not None else b"".join(chunks_of(file or Path("-"))).decode()
    with connection.open() as client:
        found = client.call(
            "POST", f"{_of(database)}/query", json={"sql": text, "params": param or []}, timeout=_WORK_SECONDS_MAX
        )
    rows: list[dict[str, Any]] = found[-1].get("results") or [] if found else []
    titles = list(rows[0]) if rows else []
    output.listing(found, titles, [list(row.values()) for row in rows], as_json=as_json)


@d1.command("export")
@connected
def save(
    connection: Connection,
    database: Database,
    to: Annotated[Path, typer.Argument(metavar="FILE", help="Where the SQL goes.")],
) -> None:
    """Write a database into a file, as SQL. It can be used meanwhile.

    [bold]Example[/bold]

      tenantry d1 export orders orders.sql
    """
    with connection.open() as client:
        path = f"{_of(database)}/export"
        body: dict[str, Any] = {"output_format": "polling", "dump_options": {}}
        begun = client.call("POST", path, json=body, timeout=_WORK_SECONDS_MAX)
        done = _wait(client, path, begun, lambda answer: {**body, "current_bookmark": answer["at_bookmark"]})
        with httpx.stream("GET", done["result"]["signed_url"], timeout=60) as response:
            response.raise_for_status()
            write_to(to, response)
    output.say(f"Wrote {to}")


@d1.command("import")
@connected
def load(
    connection: Connection,
    database: Database,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The SQL.")],
) -> None:
    """Run a file of SQL in a database: whole, or not at all.

    [bold]Example[/bold]

      tenantry d1 import orders orders.sql
    """
    etag = hashlib.md5(usedforsecurity=False)
    for chunk in chunks_of(file):
        etag.update(chunk)
    with connection.open() as client:
        path = f"{_of(database)}/import"
        begun = client.call("POST", path, json={"action": "init", "etag": etag.hexdigest()})
        if "upload_url" in begun:
            length = {"content-length": str(file.stat().st_size)}
            sent = httpx.put(begun["upload_url"], content=chunks_of(file), headers=length, timeout=_WORK_SECONDS_MAX)
            sent.raise_for_status()
            body = {"action": "ingest", "etag": etag.hexdigest(), "filename": begun["filename"]}
            begun = client.call("POST", path, json=body, timeout=_WORK_SECONDS_MAX)
        done = _wait(client, path, begun, lambda answer: {"action": "poll", "current_bookmark": answer["at_bookmark"]})
    output.say(f"Ran {done['result']['num_queries']} statements of {file}")


@d1.command()
@connected
def restore(
    connection: Connection,
    database: Database,
    at: Annotated[str, typer.Argument(help="A time such as 2026-11-25T12:00:00Z, or a bookmark.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a database back to how it was. What it is now is kept too: the bookmark that is printed leads back to it.

    [bold]Example[/bold]

      tenantry d1 restore orders 2026-11-25T12:00:00Z --yes
    """
    if not yes:
        typer.confirm(f"Put {database} back to {at}?", abort=True, err=True)
    params = {"timestamp": at} if "T" in at else {"bookmark": at}
    with connection.open() as client:
        done = client.call("POST", f"{_of(database)}/time_travel/restore", params=params, timeout=_WORK_SECONDS_MAX)
    if as_json:
        output.document(done)
    else:
        output.result(done["previous_bookmark"])


def _wait(client: Client, path: str, answer: Any, following: Callable[[Any], dict[str, Any]]) -> Any:  # Any: JSON
    """Ask again until the work is done. Raises ApiError when it failed."""
    while answer.get("status") != "complete":
        if answer.get("status") == "error" or answer.get("error"):
            raise ApiError(0, 0, str(answer.get("error") or "it failed"))
        time.sleep(_POLL_SECONDS)
        answer = client.call("POST", path, json=following(answer), timeout=_WORK_SECONDS_MAX)
    return answer


def _of(database: str) -> str:
    return f"{_PATH}/{quote(database, safe='')}"
