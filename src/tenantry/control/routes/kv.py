"""KV namespaces: made, listed, renamed, deleted; and what all KV routes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec
from litestar import delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope
from tenantry.control.errors import ControlError, Invalid, Throttled, TooLarge, TooLong
from tenantry.control.resources import KvNamespace, Resources, kv_namespace_not_found
from tenantry.control.routes.account import check_account, page_info, page_untrusted
from tenantry.control.threads import Threads
from tenantry.errors import BindingError, StorageError
from tenantry.services.installed import InstalledServices
from tenantry.services.kv import KvService, Namespace, NamespaceGone, Reason, Refused
from tenantry.services.kv.limits import WRITE_SECONDS_MIN

__all__ = ["NAMESPACE_PATH", "KvNamespaces", "key_untrusted", "kv_answers", "kv_routes"]

_NAMESPACES_PATH = "/accounts/{account_id:str}/storage/kv/namespaces"
NAMESPACE_PATH = _NAMESPACES_PATH + "/{namespace_id:str}"

# Cloudflare's numbers for what the service refuses, and the kind that decides the status.
_REFUSALS: dict[Reason, tuple[type[ControlError], int]] = {
    Reason.KEY: (Invalid, 10042),
    Reason.KEY_LENGTH: (TooLong, 10030),
    Reason.VALUE: (Invalid, 10012),
    Reason.VALUE_LENGTH: (TooLarge, 10024),
    Reason.METADATA: (Invalid, 10047),
    Reason.EXPIRATION: (Invalid, 10033),
    Reason.EXPIRATION_TTL: (Invalid, 10034),
    Reason.CACHE_TTL: (Invalid, 10029),
    Reason.LIMIT: (Invalid, 10028),
    Reason.CURSOR: (Invalid, 10041),
    Reason.BULK: (Invalid, 10029),
    Reason.QUOTA: (TooLarge, 10024),
}
assert set(_REFUSALS) == set(Reason) - {Reason.RATE}


@contextmanager
def kv_answers(action: str) -> Iterator[None]:
    """What the service raises, in the words of the REST API: `get: 'key not found'`."""
    try:
        yield
    except Refused as error:
        if error.reason is Reason.RATE:
            raise Throttled(10022, f"{action}: '{error.text}'", WRITE_SECONDS_MIN) from error
        kind, code = _REFUSALS[error.reason]
        raise kind(code, f"{action}: '{error.text}'") from error
    except NamespaceGone as error:
        raise kv_namespace_not_found(action) from error
    except StorageError:
        # Ours to mend: a 507 or a 500 for the whole of the control plane.
        raise
    except BindingError as error:
        raise Invalid(10029, f"{action}: '{error.message}'") from error


def key_untrusted(key: str, action: str) -> str:
    """A key as the REST API takes it. The service checks the rest."""
    if not key:
        raise Invalid(10042, f"{action}: 'Key names must not be empty'")
    if key in (".", ".."):
        raise Invalid(10042, f"{action}: 'Illegal key name \"{key}\". Please use a different name.'")
    return key


class KvNamespaces:
    """The way from a request to the namespace that it names, if it is of the account."""

    def __init__(self, resources: Resources, services: InstalledServices, threads: Threads) -> None:
        self._resources = resources
        self._services = services
        self._threads = threads

    @property
    def service(self) -> KvService:
        service = self._services.by_name["kv"]
        assert isinstance(service, KvService), "another service under the name kv"
        return service

    async def open(self, request: ApiRequest, account_id: str, namespace_id: str, action: str) -> Namespace:
        """Raises NotFound and Invalid, with messages that begin with `action`."""
        check_account(request, account_id)
        await self._threads.run(self._resources.kv_namespace, account_id, namespace_id, action)
        return self.service.open(namespace_id).namespace


class _Title(msgspec.Struct, frozen=True):
    title: str


class KvNamespaceView(msgspec.Struct, frozen=True):
    id: str
    title: str
    supports_url_encoding: bool = True


def kv_routes(resources: Resources, kv: KvNamespaces, threads: Threads) -> list[HTTPRouteHandler]:
    def view(namespace: KvNamespace) -> KvNamespaceView:
        return KvNamespaceView(namespace.id, namespace.title)

    @post(_NAMESPACES_PATH, name="create_kv_namespace", status_code=200)
    async def create(request: ApiRequest, account_id: FromPath[str]) -> Envelope[KvNamespaceView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Title, 10019)
        return Envelope(view(await threads.run(resources.create_kv_namespace, account_id, body.title)))

    @get(_NAMESPACES_PATH, name="list_kv_namespaces")
    async def list_page(
        request: ApiRequest,
        account_id: FromPath[str],
        page: FromQuery[int] = 1,
        per_page: FromQuery[int] = limits.PAGE_ITEMS_DEFAULT,
        order: FromQuery[Literal["id", "title"]] = "id",
        direction: FromQuery[Literal["asc", "desc"]] = "asc",
    ) -> Envelope[list[KvNamespaceView]]:
        check_account(request, account_id)
        part = page_untrusted(page, per_page)
        found, total = await threads.run(
            resources.kv_namespaces, account_id, part, order, descending=direction == "desc"
        )
        return Envelope([view(item) for item in found], result_info=page_info(part, len(found), total))

    @get(NAMESPACE_PATH, name="get_kv_namespace")
    async def get_one(
        request: ApiRequest, account_id: FromPath[str], namespace_id: FromPath[str]
    ) -> Envelope[KvNamespaceView]:
        check_account(request, account_id)
        return Envelope(view(await threads.run(resources.kv_namespace, account_id, namespace_id, "get namespace")))

    @put(NAMESPACE_PATH, name="rename_kv_namespace")
    async def rename(
        request: ApiRequest, account_id: FromPath[str], namespace_id: FromPath[str]
    ) -> Envelope[KvNamespaceView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Title, 10019)
        return Envelope(view(await threads.run(resources.rename_kv_namespace, account_id, namespace_id, body.title)))

    @delete(NAMESPACE_PATH, name="delete_kv_namespace", status_code=200)
    async def remove(request: ApiRequest, account_id: FromPath[str], namespace_id: FromPath[str]) -> Envelope[None]:
        check_account(request, account_id)
        await threads.run(resources.kv_namespace, account_id, namespace_id, "remove namespace")
        # The bytes first: when this is cut short, the namespace is still listed, and to delete it again goes on.
        await kv.service.delete(namespace_id)
        await threads.run(resources.delete_kv_namespace, account_id, namespace_id)
        return Envelope(None)

    return [create, list_page, get_one, rename, remove]
