"""Accounts: what resources, Workers and tokens belong to."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import insert, select

from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.schema import accounts

__all__ = ["Account", "Accounts"]


@dataclass(frozen=True, slots=True)
class Account:
    """An installation may hold several; resources and Workers belong to one each."""

    id: str
    name: str
    created_on: str


class Accounts:
    """The accounts of the store. Blocks: call it from a thread."""

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
