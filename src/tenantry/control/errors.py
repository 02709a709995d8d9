"""What can go wrong in the control plane.

    TenantryError
    └── ControlError           `code` is Cloudflare's number, the message is for the caller
        ├── Unauthenticated    no token, or a wrong one
        ├── Forbidden          a good token, for other things than this
        ├── Throttled          too many failures, or too fast: wait
        ├── Invalid            the request can never succeed as it is (also: the name is taken)
        ├── NotFound           what the request names is not there, or not for this caller
        ├── TooLarge           more bytes, parts or items than the limit
        ├── TooLong            a name in the path that is longer than the limit
        └── NotOffered         a call of Cloudflare's that this platform does not have

Kinds, not statuses: `envelope.STATUS` has the table from one to the other. A taken name is `Invalid` and not a kind of
its own, because Cloudflare's clients retry a 409.
"""

from __future__ import annotations

from tenantry.errors import TenantryError

__all__ = [
    "ControlError",
    "Forbidden",
    "Invalid",
    "NotFound",
    "NotOffered",
    "Throttled",
    "TooLarge",
    "TooLong",
    "Unauthenticated",
]


class ControlError(TenantryError):
    """The root. The message is read by API clients."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Unauthenticated(ControlError):
    """9106 without credentials, 10000 with wrong ones."""


class Forbidden(ControlError):
    """The scope of the token does not cover the request."""


class Throttled(ControlError):
    """`wait_seconds` until the caller is listened to again."""

    def __init__(self, code: int, message: str, wait_seconds: float) -> None:
        super().__init__(code, message)
        self.wait_seconds = wait_seconds


class Invalid(ControlError):
    """A request that repeating does not mend."""


class NotFound(ControlError):
    """Not there, or not for this caller: the two look alike."""


class TooLarge(ControlError):
    """Over a limit of `limits.py`."""


class TooLong(ControlError):
    """A name that is too long for a path."""


class NotOffered(ControlError):
    """Cloudflare has it, this platform has not. The message says what it is."""
