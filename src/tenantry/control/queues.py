"""Queues as far as they are known so far: names, settings and consumers, stored. Nothing is sent through one yet."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tenantry.control import limits
from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.names import database_name_untrusted
from tenantry.control.resources import Page
from tenantry.control.schema import queues

__all__ = ["Consumer", "Queue", "QueueSettings", "Queues"]


class QueueSettings(msgspec.Struct, frozen=True):
    """Seconds. Cloudflare's defaults."""

    delivery_delay: float = 0
    delivery_paused: bool = False
    message_retention_period: float = 345_600


class Consumer(msgspec.Struct, frozen=True):
    """`kind` is worker or http_pull. `settings` is JSON, stored and shown as it came."""

    id: str
    kind: str
    script_name: str | None
    dead_letter_queue: str | None
    settings: dict[str, Any]
    created_on: str


@dataclass(frozen=True, slots=True)
class Queue:
    id: str
    name: str
    settings: QueueSettings
    consumers: tuple[Consumer, ...]
    created_on: str
    modified_on: str


class Queues:
    """The queues of all accounts. Blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, account_id: str, name: str, settings: QueueSettings) -> Queue:
        """Raises Invalid: 11009 for a name that is taken, 7400 for one that is none."""
        moment = now()
        made = Queue(uuid.uuid4().hex, database_name_untrusted(name), settings, (), moment, moment)
        try:
            with self._database.write() as connection:
                connection.execute(
                    insert(queues).values(
                        id=made.id,
                        account_id=account_id,
                        name=name,
                        settings=msgspec.json.encode(settings).decode(),
                        consumers="[]",
                        created_on=moment,
                        modified_on=moment,
                    )
                )
        except IntegrityError as error:
            raise Invalid(11009, f"Queue name '{name}' is already taken. Please use a different name.") from error
        return made

    def get(self, account_id: str, queue_id: str) -> Queue:
        """Raises NotFound (11000)."""
        with self._database.read() as connection:
            return _need(connection, account_id, queue_id)

    def page(self, account_id: str, page: Page, names: Collection[str]) -> tuple[list[Queue], int]:
        """One page, of the queues with exactly these names if any is given, and how many there are in all."""
        query = select(queues).where(queues.c.account_id == account_id)
        if names:
            query = query.where(queues.c.name.in_(names))
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
            rows = connection.execute(query.order_by(queues.c.name).limit(page.size).offset(page.offset)).all()
        return [_queue(row) for row in rows], total

    def change(self, account_id: str, queue_id: str, function: Callable[[Queue], Queue]) -> Queue:
        """Raises NotFound, Invalid for a name, and what `function` raises."""
        with self._database.write() as connection:
            before = _need(connection, account_id, queue_id)
            after = function(before)
            if len(after.consumers) > limits.QUEUE_CONSUMERS_MAX:
                raise Invalid(11004, f"A queue has at most {limits.QUEUE_CONSUMERS_MAX} consumers.")
            values = {
                "name": database_name_untrusted(after.name),
                "settings": msgspec.json.encode(after.settings).decode(),
                "consumers": msgspec.json.encode(after.consumers).decode(),
                "modified_on": now(),
            }
            try:
                connection.execute(update(queues).where(queues.c.id == queue_id).values(**values))
            except IntegrityError as error:
                raise Invalid(11009, f"Queue name '{after.name}' is already taken.") from error
            return _need(connection, account_id, queue_id)

    def delete(self, account_id: str, queue_id: str) -> None:
        """Raises NotFound (11000)."""
        with self._database.write() as connection:
            _need(connection, account_id, queue_id)
            connection.execute(delete(queues).where(queues.c.id == queue_id))


def _need(connection: Connection, account_id: str, queue_id: str) -> Queue:
    query = select(queues).where(queues.c.account_id == account_id, queues.c.id == queue_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(11000, f"Queue {queue_id[:80]!a} does not exist.")
    return _queue(row)


def _queue(row: Row[Any]) -> Queue:  # Any: see records
    return Queue(
        row.id,
        row.name,
        msgspec.json.decode(row.settings, type=QueueSettings),
        msgspec.json.decode(row.consumers, type=tuple[Consumer, ...]),
        row.created_on,
        row.modified_on,
    )
