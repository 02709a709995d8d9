"""The errors of KV.

    BindingError                 the Worker reads it; made by the functions below, in Cloudflare's words
    StorageError (TenantryError) the engine failed: a full or broken disk, a closed engine. The Worker sees an opaque
                                 internal error, the operator its cause

An operation that the service refuses is `KV <VERB> failed: <status> <text>`; what the client's half refuses before it
asks the service is a bare TypeError.
"""

from __future__ import annotations

from tenantry.errors import BindingError, TenantryError

__all__ = ["StorageError", "argument_type_error", "refused", "type_error"]


class StorageError(TenantryError):
    """An engine could not do what it was asked. The cause is chained; the message is safe for a tenant."""


def refused(verb: str, status: int, text: str) -> BindingError:
    """`verb` is GET, PUT, DELETE or GET_BULK. A listing is a GET too."""
    return BindingError(f"KV {verb} failed: {status} {text}")


def type_error(text: str) -> BindingError:
    return BindingError(text, "TypeError")


def argument_type_error(method: str, position: int, expected: str) -> BindingError:
    """The text that workerd has for an argument of a wrong type; positions count from 1."""
    return type_error(
        f"Failed to execute '{method}' on 'KvNamespace': parameter {position} is not of type '{expected}'."
    )
