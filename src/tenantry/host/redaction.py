"""The values of a Worker's secrets, taken out of what it says.

What is said in pieces, or not in clear, is not found: this is for accidents, and holds no Worker that wants to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.config.deployment import SECRET_TYPES
from tenantry.host.limits import REDACTED_CHARACTERS_MIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantry.config.deployment import DeployedWorker

__all__ = ["REDACTED", "redactor"]

REDACTED = "[redacted]"


def redactor(worker: DeployedWorker) -> Callable[[str], str] | None:
    """What makes a text of this version fit to be shown; None where it has no secret to hide."""
    found = {
        value
        for binding in worker.bindings
        if binding.type in SECRET_TYPES
        and isinstance(value := binding.fields.get("text"), str)
        and len(value) >= REDACTED_CHARACTERS_MIN
    }
    if not found:
        return None
    # As it is, and as the repr of what holds it shows it. A secret within another comes after it.
    values = sorted({*found, *(repr(value)[1:-1] for value in found)}, key=len, reverse=True)

    def redact(text: str) -> str:
        for value in values:
            if value in text:
                text = text.replace(value, REDACTED)
        return text

    return redact
