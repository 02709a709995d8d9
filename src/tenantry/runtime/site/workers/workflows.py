"""What a workflow imports."""

from __future__ import annotations

__all__ = ["NonRetryableError"]


class NonRetryableError(Exception):
    """A step that raises it is not tried again."""
