"""Accounts, and the bearer tokens that act for them.

A token is `tnt_<id>_<secret>`. The id is public and finds the row; the whole token is stored as its SHA-256 only and
compared in constant time. 256 bits of randomness need no slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from tenantry.control import limits
from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.schema import accounts, tokens

__all__ = ["Account", "Accounts", "Token"]

_TOKEN = re.compile(r"tnt_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Account:
    """An installation may hold several; resources and Workers belong to one each."""

    id: str
    name: str
    created_on: str


@dataclass(frozen=True, slots=True)
class Token:
    """A verified token. Nothing in it is secret."""

    id: str
    account_id: str
    name: str


class Accounts:
    """The accounts and tokens of the store. Blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def default(self) -> Account:
        """The first account, made if there is none."""
        with self._database.write() as connection:
            row = connection.execute(select(accounts).order_by(accounts.c.created_on, accounts.c.id)).first()
            if row is not None:
                return Account(row.id, row.name, row.created_on)
            account = Account(secrets.token_hex(16), "default", now())
            connection.execute(insert(accounts).values(id=account.id, name=account.name, created_on=account.created_on))
            return account

    def get(self, account_id: str) -> Account | None:
        with self._database.read() as connection:
            row = connection.execute(select(accounts).where(accounts.c.id == account_id)).first()
        return None if row is None else Account(row.id, row.name, row.created_on)

    def issue_token(self, account_id: str, name: str) -> str:
        """A new token: the only time it is in clear."""
        token_id = secrets.token_hex(8)
        token = f"tnt_{token_id}_{secrets.token_urlsafe(32)}"
        with self._database.write() as connection:
            connection.execute(
                insert(tokens).values(
                    id=token_id, account_id=account_id, name=name, digest=_digest(token), created_on=now()
                )
            )
        return token

    def revoke_tokens(self, account_id: str, name: str) -> None:
        """All of the account's that have that name."""
        with self._database.write() as connection:
            connection.execute(delete(tokens).where(tokens.c.account_id == account_id, tokens.c.name == name))

    def verify_token_untrusted(self, token: str) -> Token | None:
        """Who a bearer token stands for; None for any that is not valid."""
        match = _TOKEN.fullmatch(token) if len(token) <= limits.TOKEN_CHARACTERS_MAX else None
        if match is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(select(tokens).where(tokens.c.id == match[1])).first()
        if row is None or not hmac.compare_digest(str(row.digest), _digest(token)):
            return None
        return Token(row.id, row.account_id, row.name)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
