"""Queues and their consumers: made, listed, changed, deleted. Messages are not offered yet."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import msgspec
from litestar import delete, get, post, put, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.clock import now
from tenantry.control.envelope import Envelope
from tenantry.control.errors import NotFound
from tenantry.control.names import script_name_untrusted
from tenantry.control.queues import Consumer, Queue, Queues, QueueSettings
from tenantry.control.routes.account import check_account, page_info, page_untrusted
from tenantry.control.threads import Threads

__all__ = ["queue_routes"]

_CODE = 11003  # what is wrong with a body


class ConsumerView(msgspec.Struct, frozen=True):
    """`script` and `script_name` are the same: clients differ in which they read."""

    consumer_id: str
    queue_name: str
    type: str
    settings: dict[str, Any]
    created_on: str
    script: str | None
    script_name: str | None
    service: str | None
    environment: str | None
    dead_letter_queue: str | None


class QueueView(msgspec.Struct, frozen=True):
    queue_id: str
    queue_name: str
    created_on: str
    modified_on: str
    settings: QueueSettings
    consumers: list[ConsumerView]
    consumers_total_count: int
    producers: tuple[str, ...] = ()
    producers_total_count: int = 0


class _Settings(msgspec.Struct, frozen=True):
    delivery_delay: float | None = None
    delivery_paused: bool | None = None
    message_retention_period: float | None = None


class _Queue(msgspec.Struct, frozen=True):
    queue_name: str
    settings: _Settings = _Settings()


class _Change(msgspec.Struct, frozen=True):
    queue_name: str | None = None
    settings: _Settings = _Settings()


class _Consumer(msgspec.Struct, frozen=True):
    type: Literal["worker", "http_pull"]
    script_name: str | None = None
    dead_letter_queue: str | None = None
    settings: dict[str, Any] = {}


def queue_routes(queues: Queues, threads: Threads) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/queues"
    one = path + "/{queue_id:str}"

    async def change(account_id: str, queue_id: str, function: Callable[[Queue], Queue]) -> Queue:
        return await threads.run(queues.change, account_id, queue_id, function)

    @post(path, name="create_queue", status_code=200)
    async def create(request: ApiRequest, account_id: FromPath[str]) -> Envelope[QueueView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Queue, _CODE)
        settings = _merged(QueueSettings(), body.settings)
        return Envelope(_view(await threads.run(queues.create, account_id, body.queue_name, settings)))

    @get(path, name="list_queues")
    async def list_page(
        request: ApiRequest,
        account_id: FromPath[str],
        page: FromQuery[int] = 1,
        per_page: FromQuery[int] = limits.QUEUES_PER_PAGE_DEFAULT,
        name: FromQuery[list[str] | None] = None,
    ) -> Envelope[list[QueueView]]:
        check_account(request, account_id)
        part = page_untrusted(page, per_page)
        found, total = await threads.run(queues.page, account_id, part, name or ())
        return Envelope([_view(queue) for queue in found], result_info=page_info(part, len(found), total))

    @get(one, name="get_queue")
    async def get_one(request: ApiRequest, account_id: FromPath[str], queue_id: FromPath[str]) -> Envelope[QueueView]:
        check_account(request, account_id)
        return Envelope(_view(await threads.run(queues.get, account_id, queue_id)))

    @route(one, http_method=["PUT", "PATCH"], name="edit_queue", status_code=200)
    async def edit(request: ApiRequest, account_id: FromPath[str], queue_id: FromPath[str]) -> Envelope[QueueView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Change, _CODE)

        def edited(queue: Queue) -> Queue:
            return replace(queue, name=body.queue_name or queue.name, settings=_merged(queue.settings, body.settings))

        return Envelope(_view(await change(account_id, queue_id, edited)))

    @delete(one, name="delete_queue", status_code=200)
    async def remove(request: ApiRequest, account_id: FromPath[str], queue_id: FromPath[str]) -> Envelope[None]:
        check_account(request, account_id)
        await threads.run(queues.delete, account_id, queue_id)
        return Envelope(None)

    @get(one + "/consumers", name="list_consumers")
    async def list_consumers(
        request: ApiRequest, account_id: FromPath[str], queue_id: FromPath[str]
    ) -> Envelope[list[ConsumerView]]:
        check_account(request, account_id)
        return Envelope(_view(await threads.run(queues.get, account_id, queue_id)).consumers)

    @post(one + "/consumers", name="create_consumer", status_code=200)
    async def create_consumer(
        request: ApiRequest, account_id: FromPath[str], queue_id: FromPath[str]
    ) -> Envelope[ConsumerView]:
        check_account(request, account_id)
        made = _consumer(uuid.uuid4().hex, await read_json_untrusted(request, _Consumer, _CODE))
        queue = await change(account_id, queue_id, lambda queue: replace(queue, consumers=(*queue.consumers, made)))
        return Envelope(_consumer_view(queue, made))

    @put(one + "/consumers/{consumer_id:str}", name="put_consumer")
    async def put_consumer(
        request: ApiRequest, account_id: FromPath[str], queue_id: FromPath[str], consumer_id: FromPath[str]
    ) -> Envelope[ConsumerView]:
        check_account(request, account_id)
        made = _consumer(consumer_id, await read_json_untrusted(request, _Consumer, _CODE))

        def replaced(queue: Queue) -> Queue:
            _need_consumer(queue, consumer_id)
            consumers = tuple(made if each.id == consumer_id else each for each in queue.consumers)
            return replace(queue, consumers=consumers)

        return Envelope(_consumer_view(await change(account_id, queue_id, replaced), made))

    @delete(one + "/consumers/{consumer_id:str}", name="delete_consumer", status_code=200)
    async def delete_consumer(
        request: ApiRequest, account_id: FromPath[str], queue_id: FromPath[str], consumer_id: FromPath[str]
    ) -> Envelope[None]:
        check_account(request, account_id)

        def without(queue: Queue) -> Queue:
            _need_consumer(queue, consumer_id)
            return replace(queue, consumers=tuple(each for each in queue.consumers if each.id != consumer_id))

        await change(account_id, queue_id, without)
        return Envelope(None)

    return [create, list_page, get_one, edit, remove, list_consumers, create_consumer, put_consumer, delete_consumer]


def _merged(settings: QueueSettings, given: _Settings) -> QueueSettings:
    changes = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not None}
    return msgspec.structs.replace(settings, **changes)


def _consumer(consumer_id: str, body: _Consumer) -> Consumer:
    if body.script_name is not None:
        script_name_untrusted(body.script_name)
    return Consumer(consumer_id, body.type, body.script_name, body.dead_letter_queue, body.settings, now())


def _need_consumer(queue: Queue, consumer_id: str) -> None:
    if all(each.id != consumer_id for each in queue.consumers):
        raise NotFound(11000, f"This queue has no consumer {consumer_id[:80]!a}.")


def _consumer_view(queue: Queue, consumer: Consumer) -> ConsumerView:
    script = consumer.script_name
    return ConsumerView(
        consumer_id=consumer.id,
        queue_name=queue.name,
        type=consumer.kind,
        settings=consumer.settings,
        created_on=consumer.created_on,
        script=script,
        script_name=script,
        service=script,
        environment=None if script is None else "production",
        dead_letter_queue=consumer.dead_letter_queue,
    )


def _view(queue: Queue) -> QueueView:
    consumers = [_consumer_view(queue, consumer) for consumer in queue.consumers]
    return QueueView(
        queue.id, queue.name, queue.created_on, queue.modified_on, queue.settings, consumers, len(consumers)
    )
