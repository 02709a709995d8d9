"""`tenantry audit`: who changed what."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from tenantry.cli import output
from tenantry.cli.connection import AsJson, Connection, connected

__all__ = ["audit"]


@connected
def audit(
    connection: Connection,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From this day or time on (UTC).")] = None,
    actor: Annotated[str | None, typer.Option(metavar="ID", help="What this token changed only.")] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many at the most, the latest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the changes that were made over the control plane, also those that were refused.

    [bold]Example[/bold]

      tenantry audit --since 2026-11-25
    """
    params = {name: value for name, value in (("since", since), ("actor", actor)) if value is not None}
    with connection.open() as client:
        found = list(islice(client.pages(client.call, "/audit_logs", params), count))
    rows = [
        (
            each["when"],
            each["actor"]["name"],
            each["action"]["type"],
            each["resource"]["path"],
            _outcome(each["action"]),
        )
        for each in found
    ]
    output.listing(found, ("when", "token", "", "what", "outcome"), rows, as_json=as_json)


def _outcome(action: dict[str, Any]) -> str:  # Any: JSON
    return "unknown" if action["status"] is None else str(action["status"])
