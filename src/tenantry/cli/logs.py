"""`tenantry logs` and `tenantry tail`: what Workers said and how their invocations ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Final, Literal

import typer

from tenantry.cli import output
from tenantry.cli.client import Client
from tenantry.cli.connection import AsJson, Connection, connected_to_platform
from tenantry.cli.operator_log import harmless
from tenantry.cli.workers import Namespace, Worker

__all__ = ["follow", "logs", "tail"]

_POLL_SECONDS: Final = 0.5
_PAGE: Final = 200

Level = Annotated[
    Literal["debug", "log", "info", "warn", "error"] | None,
    typer.Option(help="From this level on.", show_default=False),
]


@connected_to_platform
def logs(
    connection: Connection,
    worker: Annotated[str | None, typer.Argument(help="Of this Worker only.", show_default=False)] = None,
    dispatch_namespace: Namespace = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From this day or time on (UTC).")] = None,
    before: Annotated[str | None, typer.Option(metavar="TIME", help="Before this day or time (UTC).")] = None,
    outcome: Annotated[
        str | None, typer.Option(metavar="WORD", help="ok, exception, canceled, exceededCpu or unknown.")
    ] = None,
    level: Level = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many at the most, the latest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show what Workers logged, and the invocations that failed, the latest last.

    What ended well and said nothing is kept only where the Worker's `observability` is enabled, or while somebody
    follows the Worker with `tenantry tail`.

    [bold]Example[/bold]

      tenantry logs my-worker --level error --since 2026-11-25
    """
    given = {"since": since, "before": before, "outcome": outcome, "level": level}
    params = {**_of(worker, dispatch_namespace), **{name: value for name, value in given.items() if value is not None}}
    with connection.open() as client:
        found = list(islice(_pages(client, params, min(count, _PAGE)), count))
    found.reverse()
    if as_json:
        output.document(found)
        return
    for entry in found:
        _show(entry)


@connected_to_platform
def tail(
    connection: Connection,
    worker: Worker,
    dispatch_namespace: Namespace = None,
    level: Level = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each invocation.")] = False,
) -> None:
    """Show a Worker's invocations and what they log, as it happens, until Ctrl-C.

    Of those that end well and say nothing up to 200 a second.

    [bold]Example[/bold]

      tenantry tail my-worker --dispatch-namespace customers
    """
    params = {"worker": worker, "namespace": dispatch_namespace or "", "follow": "true"}
    if level is not None:
        params["level"] = level
    with connection.open() as client:
        try:
            for entry in follow(client, params, lambda: time.sleep(_POLL_SECONDS)):
                if as_json:
                    print(json.dumps(entry), flush=True)  # ASCII: nothing in it steers a terminal
                else:
                    _show(entry)
        except KeyboardInterrupt:
            return


def follow(client: Client, params: dict[str, str], wait: Callable[[], None]) -> Iterator[Any]:
    """What comes from now on. `wait` is called when there is nothing new."""
    latest = client.ours("GET", "/logs", params={**params, "limit": 1})
    last = latest[0]["id"] if latest else 0
    output.say("Waiting for what it says")
    while True:
        found = client.ours("GET", "/logs", params={**params, "limit": _PAGE, "after": last})
        yield from found
        if found:
            last = found[-1]["id"]
        else:
            wait()


def _of(worker: str | None, namespace: str | None) -> dict[str, str]:
    given = {"worker": worker, "namespace": namespace}
    return {name: value for name, value in given.items() if value is not None}


def _pages(client: Client, params: dict[str, str], size: int) -> Iterator[Any]:
    """The newest first, behind every cursor."""
    before: dict[str, str] = {}
    while True:
        found = client.ours("GET", "/logs", params={**params, **before, "limit": size})
        yield from found
        if not found:
            return
        before = {"cursor": str(found[-1]["id"])}


def _show(entry: dict[str, Any]) -> None:  # Any: JSON
    """A line for the invocation, and one for each line of what it said, all of it a tenant's text."""
    at = datetime.fromtimestamp(entry["at"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    name = entry["worker"] if entry["namespace"] is None else f"{entry['namespace']}/{entry['worker']}"
    words = [at, f"[{name}]"]
    if (request := entry["request"]) is not None:
        words += [request["method"], request["url"], str(request["status"] or "-")]
    elif entry["rpc_method"] is not None:
        words += ["RPC", entry["rpc_method"]]
    if entry["wall_ms"] is not None:
        words += [entry["outcome"], f"{entry['wall_ms']} ms"]
    print(" ".join(harmless(word) for word in words))
    for log in entry["logs"]:
        _say(log["level"], log["message"])
    for exception in entry["exceptions"]:
        _say("error", exception["stack"] or f"{exception['name']}: {exception['message']}")


def _say(level: str, message: str) -> None:
    for line in message.split("\n"):
        print(f"  {level:<5} {harmless(line)}", flush=True)
