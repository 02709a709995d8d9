"""The bearer tokens of the control plane: made, verified, rolled, revoked.

A token is `tnt_<id>_<secret>`. The id is public and finds the row; the whole token is stored as its SHA-256 only and
compared in constant time. 256 bits of randomness need no slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update

from tenantry.control import limits
from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.errors import NotFound
from tenantry.control.records import Grant, Reach
from tenantry.control.resources import Page
from tenantry.control.schema import tokens
from tenantry.control.scopes import Scope

__all__ = ["Token", "Tokens"]

_TOKEN = re.compile(r"tnt_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """What a token is good for. Nothing in it is secret. `resource` is empty for scopes that have none.

    `expires_on` is an ISO 8601 time in UTC, or None for never.
    """

    id: str
    account_id: str
    name: str
    scope: Scope
    resource: str
    created_on: str
    modified_on: str
    expires_on: str | None
    granted: frozenset[Grant] = frozenset()
    """What it may bind to its Workers beside what they are bound to."""

    @property
    def reach(self) -> Reach | None:
        """What it may bind; None: everything that its account has."""
        if self.scope is Scope.NAMESPACE:
            return Reach(self.resource, None, self.granted)
        if self.scope is Scope.WORKER:
            namespace, _, name = self.resource.rpartition("/")
            return Reach(namespace or None, name, self.granted)
        return None

    def is_expired(self, moment: str) -> bool:
        # Times of one form compare as texts do.
        return self.expires_on is not None and self.expires_on <= moment


class Tokens:
    """The tokens of the store. Blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def issue(
        self,
        account_id: str,
        name: str,
        scope: Scope = Scope.ADMIN,
        resource: str = "",
        expires_on: str | None = None,
        granted: frozenset[Grant] = frozenset(),
    ) -> tuple[Token, str]:
        """A new token, and the whole of it: the only time that it is in clear."""
        token_id, moment = secrets.token_hex(8), now()
        made = Token(token_id, account_id, name, scope, resource, moment, moment, expires_on, granted)
        value = _value(token_id)
        with self._database.write() as connection:
            connection.execute(
                insert(tokens).values(
                    id=made.id,
                    account_id=made.account_id,
                    name=made.name,
                    scope=made.scope.value,
                    resource=made.resource,
                    granted=msgspec.json.encode(sorted(granted)).decode(),
                    digest=_digest(value),
                    created_on=made.created_on,
                    modified_on=made.modified_on,
                    expires_on=made.expires_on,
                )
            )
        return made, value

    def page(self, account_id: str, page: Page) -> tuple[list[Token], int]:
        """Tokens in the order of their making, and how many there are in all."""
        query = select(*_COLUMNS).where(tokens.c.account_id == account_id)
        ordered = query.order_by(tokens.c.created_on, tokens.c.id).limit(page.size).offset(page.offset)
        with self._database.read() as connection:
            found = [_token(row) for row in connection.execute(ordered)]
            total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
        return found, total

    def get(self, account_id: str, token_id: str) -> Token:
        """Raises NotFound (1003)."""
        with self._database.read() as connection:
            row = connection.execute(
                select(*_COLUMNS).where(tokens.c.account_id == account_id, tokens.c.id == token_id)
            ).first()
        if row is None:
            raise _absent(token_id)
        return _token(row)

    def update(self, account_id: str, token_id: str, name: str, expires_on: str | None) -> Token:
        """Its scope stays what it is: make another token for another one. Raises NotFound."""
        self._change(account_id, token_id, name=name, expires_on=expires_on)
        return self.get(account_id, token_id)

    def roll(self, account_id: str, token_id: str) -> str:
        """Another secret for the same token; the one before is worthless from now on. Raises NotFound."""
        value = _value(token_id)
        self._change(account_id, token_id, digest=_digest(value))
        return value

    def revoke(self, account_id: str, token_id: str) -> None:
        """Raises NotFound."""
        with self._database.write() as connection:
            done = connection.execute(delete(tokens).where(tokens.c.account_id == account_id, tokens.c.id == token_id))
        if not done.rowcount:
            raise _absent(token_id)

    def revoke_named(self, account_id: str, name: str) -> None:
        """All of the account's that have that name, if any."""
        with self._database.write() as connection:
            connection.execute(delete(tokens).where(tokens.c.account_id == account_id, tokens.c.name == name))

    def verify_untrusted(self, value: str) -> Token | None:
        """What a bearer token is good for; None for one that is not valid, or not any more."""
        match = _TOKEN.fullmatch(value) if len(value) <= limits.TOKEN_CHARACTERS_MAX else None
        if match is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(select(*_COLUMNS, tokens.c.digest).where(tokens.c.id == match[1])).first()
        if row is None or not hmac.compare_digest(str(row.digest), _digest(value)):
            return None
        token = _token(row)
        return None if token.is_expired(now()) else token

    def _change(self, account_id: str, token_id: str, **values: str | None) -> None:
        with self._database.write() as connection:
            done = connection.execute(
                update(tokens)
                .where(tokens.c.account_id == account_id, tokens.c.id == token_id)
                .values(modified_on=now(), **values)
            )
        if not done.rowcount:
            raise _absent(token_id)


# Any, twice: SQLAlchemy's type of a row would spell out eight columns.
_COLUMNS: tuple[Any, ...] = (
    tokens.c.id,
    tokens.c.account_id,
    tokens.c.name,
    tokens.c.scope,
    tokens.c.resource,
    tokens.c.created_on,
    tokens.c.modified_on,
    tokens.c.expires_on,
    tokens.c.granted,
)


def _token(row: Row[*tuple[Any, ...]]) -> Token:
    return Token(
        row.id,
        row.account_id,
        row.name,
        Scope(row.scope),
        row.resource,
        row.created_on,
        row.modified_on,
        row.expires_on,
        msgspec.json.decode(row.granted, type=frozenset[tuple[str, str]]),
    )


def _absent(token_id: str) -> NotFound:
    return NotFound(1003, f"API token {token_id[:40]!a} not found")


def _value(token_id: str) -> str:
    return f"tnt_{token_id}_{secrets.token_urlsafe(32)}"


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
