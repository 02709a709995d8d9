"""`tenantry serve`: a platform for production. Nothing is deployed by it, reloaded, or taken on anybody's word."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from tenantry.cli import output
from tenantry.cli.machine import check_port, data_folder, keeping_everything
from tenantry.cli.signals import exit_on_signals, stop_on_signals
from tenantry.config.installation import load_installation
from tenantry.config.platform import PlatformSettings
from tenantry.errors import ConfigError

if TYPE_CHECKING:
    from tenantry.cli.compose import RunningPlatform

__all__ = ["serve"]


def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar="TENANTRY_CONFIG",
            help="The installation's file, as `tenantry init` makes it.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Run an installation that `tenantry init` has made.

    Each setting can also come from the environment: TENANTRY_PORT=80, TENANTRY_IDENTITY__API_KEYS=true. SIGTERM lets
    requests in flight end first.

    [bold]Example[/bold]

      tenantry serve --config /var/lib/tenantry/serve.toml
    """
    exit_on_signals()
    settings = load_installation(config, os.environ)
    if not (settings.data / "control.db").is_file():
        raise ConfigError(f"{settings.data} is not the data folder of an installation: make one with tenantry init")
    with data_folder(settings.data):
        check_port(settings.host, settings.port, "port")
        check_port(settings.control_host or settings.host, settings.control_port, "control_port")
        check_port(settings.s3_host or settings.host, settings.s3_port, "s3_port")
        check_port(settings.control_host or settings.host, settings.tail_port, "tail_port")
        # Here, not above: the host is a lot to import, and the other commands need none of it.
        with keeping_everything():
            from tenantry.cli import compose

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(settings, compose.serving))


async def _until_signal(
    settings: PlatformSettings, serving: Callable[[PlatformSettings], AbstractAsyncContextManager[RunningPlatform]]
) -> None:
    stop = stop_on_signals()
    async with serving(settings) as started:
        if settings.identity is not None and settings.identity.trust_user_header:
            output.warn(f"trust_user_header is set: whoever reaches {started.gateway_url} is whoever they say")
        output.say(f"tenants {started.gateway_url}, control plane {started.control_url}, S3 {started.s3_url}")
        await stop.wait()
        output.say(f"Stopping: requests in flight have {settings.drain_seconds:g} s.")
        await started.drain(settings.drain_notice_seconds)
    output.say("Stopped.")
