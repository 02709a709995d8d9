"""What `tenantry dev` says when everything answers."""

from __future__ import annotations

import shlex
from typing import Protocol

from rich.text import Text

__all__ = ["banner"]


class Addresses(Protocol):
    """Where a started platform answers."""

    @property
    def gateway_url(self) -> str: ...
    @property
    def control_url(self) -> str: ...
    @property
    def s3_url(self) -> str: ...


def banner(at: Addresses, customer: str | None) -> Text:
    """The addresses, and lines to try: for `customer` if the platform has one."""
    text = Text("\n  tenantry is running\n\n", style="bold green")
    for name, url in (("tenants", at.gateway_url), ("control plane", at.control_url), ("S3", at.s3_url)):
        text.append(f"    {name:<15}", style="default not bold")
        text.append(f"{url}\n", style="bold cyan")
    text.append("\n  Try:\n\n", style="default not bold")
    for line in _tour(at.gateway_url, at.control_url, customer):
        text.append(f"    {line}\n", style="default not bold")
    text.append(
        "\n  Ctrl-C stops it. A Worker is deployed anew when its source changes.\n", style="dim not bold default"
    )
    return text


def _tour(gateway_url: str, control_url: str, customer: str | None) -> list[str]:
    if customer is None:
        return [f"curl -i {gateway_url}/", f"curl {control_url}/healthz"]
    user = f"-H {shlex.quote(f'X-User-ID: {customer}')}"
    body = shlex.quote('{"key": "greeting", "value": "hello"}')
    return [
        f"curl -X POST {gateway_url}/data {user} -H 'Content-Type: application/json' -d {body}",
        f"curl '{gateway_url}/data?key=greeting' {user}",
        f"curl {gateway_url}/stats {user}",
    ]
