"""`tenantry doctor`: what this machine can isolate, whether it holds, and whether what runs now is as it must be."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import structlog
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenantry.cli import output
from tenantry.cli.client import Client
from tenantry.errors import ConfigError

__all__ = ["doctor"]


def doctor(
    attack: Annotated[bool, typer.Option("--attack", help="Attack real worker processes on this machine.")] = False,
    live: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Look at the worker processes of a running platform, from outside."),
    ] = None,
    isolation: Annotated[
        Literal["strict", "container"], typer.Option(help="The level to attack at, and to hold what runs against.")
    ] = "strict",
    json: Annotated[bool, typer.Option("--json", help="Print JSON; docs/how-to/check-isolation.md has it.")] = False,
) -> None:
    """Print the sandbox layers of this machine and the isolation level that they allow.

    Exit status: 0 when strict isolation is possible (--attack: every attack is contained; --live: no process
    deviates), else 1.

    [bold]Examples[/bold]

      tenantry doctor

      tenantry doctor --attack --json

      tenantry doctor --live data
    """
    if attack and live is not None:
        raise ConfigError("--attack starts processes of its own; use --live without it")
    if attack:
        holds = _attack(isolation, as_json=json)
    elif live is not None:
        holds = _live(live, isolation, as_json=json)
    else:
        holds = _examine(as_json=json)
    if not holds:
        raise typer.Exit(1)


def _examine(*, as_json: bool) -> bool:
    from tenantry.doctor.machine import examine  # the host is a lot to import, for `--help` too

    found = examine()
    if as_json:
        _print_json(found)
    else:
        table = _table("layer", "", "needed for", "found")
        for layer in found.layers:
            detail = Text(layer.detail)
            if layer.advice:
                detail.append(f"\n→ {layer.advice}", "dim")
            mark = Text("yes", "green") if layer.present else Text("no", "yellow" if _optional(layer) else "red")
            table.add_row(layer.layer, mark, layer.needed_for, detail)
        Console().print(table)
        output.result(f"isolation level: {found.level}")
    if found.reason:
        output.fail(f"strict isolation is not possible here: {' '.join(found.reason.split())}")
    return found.level == "strict"


def _optional(layer: Any) -> bool:  # Any: imported late
    return layer.needed_for not in ("strict", "container")


def _attack(isolation: str, *, as_json: bool) -> bool:
    from tenantry.doctor.attacks import ATTACKS, NOT_ATTACKED
    from tenantry.doctor.suite import Verdict, run_suite

    # Every other attack makes the host say something about it.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    console = Console(stderr=True)
    with console.status("attacking …") as status:
        count = 0

        def progress(verdict: Verdict) -> None:
            nonlocal count
            count += 1
            status.update(Text(f"{count} of {len(ATTACKS)}: {verdict.attack}"))

        verdicts = run_suite(isolation, progress=progress)
    escaped = [verdict for verdict in verdicts if verdict.contained is False]
    unknown = [verdict for verdict in verdicts if verdict.contained is None]
    if as_json:
        _print_json(verdicts)
    else:
        table = _table("id", "attack", "contained", "detail")
        marks = {True: Text("yes", "green"), False: Text("NO", "bold red"), None: Text("not covered", "yellow")}
        for verdict in verdicts:
            table.add_row(verdict.id, Text(verdict.attack), marks[verdict.contained], Text(verdict.detail))
        Console().print(table)
        for row, reason in NOT_ATTACKED.items():
            output.say(f"{row} is not attacked: {reason}")
        output.result(f"{len(verdicts) - len(escaped) - len(unknown)} of {len(verdicts)} attacks are contained.")
    for verdict in escaped:
        output.fail(f"{verdict.id} {verdict.attack}: {verdict.detail}")
    return not escaped


def _live(data: Path, isolation: str, *, as_json: bool) -> bool:
    from tenantry.doctor.posture import Posture, inspect_process

    try:
        about = msgspec.json.decode((data / "dev.json").read_bytes())
        control, token, account = about["control"], about["admin_token"], about["account_id"]
    except FileNotFoundError as error:
        raise ConfigError(f"{data} has no dev.json: no platform is running on it") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{data / 'dev.json'} cannot be used: {error}") from error
    with Client(control, token, account) as client:
        processes = client.processes()
    seen: list[Posture] = []
    for process in processes:
        try:
            seen.append(inspect_process(int(process["pid"]), isolation))
        except ConfigError:
            continue  # it was retired meanwhile
    deviations = [deviation for posture in seen for deviation in posture.deviations]
    unseen = sorted({aspect for posture in seen for aspect in posture.unseen})
    if as_json:
        _print_json([{"pid": each.pid, "aspect": each.aspect, "detail": each.detail} for each in deviations])
    else:
        for deviation in deviations:
            output.result(str(deviation))
        output.result(f"{len(seen)} worker processes, {len(deviations)} deviations.")
    if unseen:
        output.warn(f"this user may not look at {', '.join(unseen)} of them: run it as root")
    return not deviations


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _print_json(value: Any) -> None:  # Any: whatever msgspec encodes
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
