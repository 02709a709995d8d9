"""Keys by which end users' requests prove on the data plane who they are from.

A key is `tku_<id>_<secret>`, stored as a token is: its SHA-256, compared in constant time. All of them are held in
memory too, about 200 bytes each, because the gateway asks for every request and does not wait for a disk.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select

from tenantry.control import limits
from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.resources import Page
from tenantry.control.schema import api_keys

__all__ = ["ApiKey", "ApiKeys"]

_KEY = re.compile(r"tku_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)
_USER = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    id: str
    user: str
    created_on: str


class ApiKeys:
    """The keys of the store. Blocks, but for `user_of_untrusted`; comes from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[bytes, str]] = {}
        """By id: digest and user. Replaced item by item, which every thread sees whole."""

    def load(self) -> None:
        """Read all of them, before the first request."""
        with self._database.read() as connection:
            for row in connection.execute(select(api_keys.c.id, api_keys.c.digest, api_keys.c.user_name)):
                self._known[row.id] = (bytes.fromhex(row.digest), row.user_name)

    def create_untrusted(self, account_id: str, user: str) -> tuple[ApiKey, str]:
        """A key for a user, and the whole of it: the only time that it is in clear. Raises Invalid (10001)."""
        if not _USER.fullmatch(user):
            raise Invalid(
                10001, "user is 1 to 256 printable ASCII characters, without a space at either end: it becomes a header"
            )
        made = ApiKey(secrets.token_hex(8), user, now())
        key = f"tku_{made.id}_{secrets.token_urlsafe(32)}"
        digest = _digest(key)
        with self._database.write() as connection:
            connection.execute(
                insert(api_keys).values(
                    id=made.id,
                    account_id=account_id,
                    user_name=user,
                    digest=digest.hex(),
                    created_on=made.created_on,
                )
            )
        self._known[made.id] = (digest, user)
        return made, key

    def page(self, account_id: str, page: Page, user: str | None) -> tuple[list[ApiKey], int]:
        """Keys in the order of their making, of one user only if given, and how many there are in all."""
        query = select(api_keys.c.id, api_keys.c.user_name, api_keys.c.created_on).where(
            api_keys.c.account_id == account_id
        )
        if user is not None:
            query = query.where(api_keys.c.user_name == user)
        ordered = query.order_by(api_keys.c.created_on, api_keys.c.id).limit(page.size).offset(page.offset)
        with self._database.read() as connection:
            found = [ApiKey(*row) for row in connection.execute(ordered)]
            total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
        return found, total

    def revoke(self, account_id: str, key_id: str) -> None:
        """From the next request on it is not valid. Raises NotFound (10007)."""
        with self._database.write() as connection:
            done = connection.execute(
                delete(api_keys).where(api_keys.c.account_id == account_id, api_keys.c.id == key_id)
            )
        if not done.rowcount:
            raise NotFound(10007, f"API key {key_id[:40]!a} not found")
        self._known.pop(key_id, None)

    def user_of_untrusted(self, key: str) -> str | None:
        match = _KEY.fullmatch(key) if len(key) <= limits.TOKEN_CHARACTERS_MAX else None
        known = None if match is None else self._known.get(match[1])
        if known is None or not hmac.compare_digest(known[0], _digest(key)):
            return None
        return known[1]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
