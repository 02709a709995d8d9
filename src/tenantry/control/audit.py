"""The audit log: who changed what, when, and what came of it. Rows are added and never changed.

A change has two rows, so that the log does not miss one whose answer never came:

    BEGUN    committed before the change is made
    ENDED    committed before its answer is sent, with the HTTP status

A change that has begun and not ended is one during which the host died: it may be done, or not.

What is inside of KV namespaces, buckets and databases is not in it, as on Cloudflare: their REST routes write at the
speed of data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, insert, select

from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.resources import Page
from tenantry.control.schema import audit_log

__all__ = ["Audit", "Change", "Record"]

BEGUN: Final = "begun"
ENDED: Final = "ended"


@dataclass(frozen=True, slots=True)
class Change:
    """An attempt to change something, before it is known what comes of it."""

    request_id: str
    account_id: str
    actor: str
    """The token's id."""
    actor_name: str
    address: str
    method: str
    path: str
    """As it was asked for, cut to AUDIT_PATH_CHARACTERS_MAX. Never the query or the body, where secrets may stand."""


@dataclass(frozen=True, slots=True)
class Record:
    """A change as the log has it. `status` is None where the host died during it."""

    change: Change
    at: str
    status: int | None


class Audit:
    """The log of the store. Blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, change: Change) -> None:
        self._add(change, BEGUN, None)

    def end(self, change: Change, status: int) -> None:
        self._add(change, ENDED, status)

    def page(
        self,
        account_id: str,
        page: Page,
        *,
        since: str | None,
        before: str | None,
        actor: str | None,
        oldest_first: bool,
    ) -> tuple[list[Record], int]:
        """Changes that began in [since, before), the latest first unless asked otherwise, and how many in all."""
        ended = audit_log.alias()
        query = (
            select(audit_log, ended.c.status.label("outcome"))
            .select_from(
                audit_log.outerjoin(ended, (ended.c.request_id == audit_log.c.request_id) & (ended.c.phase == ENDED))
            )
            .where(audit_log.c.account_id == account_id, audit_log.c.phase == BEGUN)
        )
        if since is not None:
            query = query.where(audit_log.c.at >= since)
        if before is not None:
            query = query.where(audit_log.c.at < before)
        if actor is not None:
            query = query.where(audit_log.c.actor == actor)
        order = audit_log.c.number if oldest_first else audit_log.c.number.desc()
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(order).limit(page.size).offset(page.offset)).all()
            total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
        return [
            Record(
                Change(row.request_id, row.account_id, row.actor, row.actor_name, row.address, row.method, row.path),
                row.at,
                row.outcome,
            )
            for row in rows
        ], total

    def _add(self, change: Change, phase: str, status: int | None) -> None:
        with self._database.write() as connection:
            connection.execute(
                insert(audit_log).values(
                    request_id=change.request_id,
                    account_id=change.account_id,
                    phase=phase,
                    at=now(),
                    actor=change.actor,
                    actor_name=change.actor_name,
                    address=change.address,
                    method=change.method,
                    path=change.path,
                    status=status,
                )
            )
