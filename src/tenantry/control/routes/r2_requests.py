"""What the R2 routes share: the bucket of a request, its headers, and R2's errors as the control plane's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tenantry.control.body import ApiRequest
from tenantry.control.errors import ControlError, Invalid, NotFound, TooLarge
from tenantry.control.resources import Bucket, Resources
from tenantry.control.threads import Threads
from tenantry.errors import BindingError
from tenantry.services.r2 import R2Service
from tenantry.services.r2.errors import BucketGone, R2Error
from tenantry.services.r2.model import STORAGE_CLASSES
from tenantry.services.r2.service import BucketRules

__all__ = ["Buckets", "jurisdiction_untrusted", "r2_errors", "storage_class_untrusted"]

_JURISDICTIONS: Final = frozenset({"default", "eu", "us", "fedramp", "fedramp-high"})
_KINDS: Final[dict[int, type[ControlError]]] = {10006: NotFound, 10007: NotFound, 100100: TooLarge}
"""All other codes of R2 are requests that cannot succeed as they are."""


class Buckets:
    """Finds the bucket that a request names, for its caller."""

    def __init__(self, resources: Resources, service: R2Service, threads: Threads) -> None:
        self._resources = resources
        self._service = service
        self._threads = threads

    async def find(self, request: ApiRequest, account_id: str, name: str) -> Bucket:
        """Raises NotFound (10006)."""
        return await self._threads.run(self._resources.bucket, account_id, name, jurisdiction_untrusted(request))

    async def open(self, request: ApiRequest, account_id: str, name: str) -> BucketRules:
        """Raises NotFound (10006)."""
        return self._service.bucket((await self.find(request, account_id, name)).name)


def jurisdiction_untrusted(request: ApiRequest) -> str:
    """Raises Invalid (10001)."""
    given: str = request.headers.get("cf-r2-jurisdiction", "default")
    if given not in _JURISDICTIONS:
        raise Invalid(10001, f"cf-r2-jurisdiction is one of {', '.join(sorted(_JURISDICTIONS))}")
    return given


def storage_class_untrusted(given: str) -> str:
    """Raises Invalid (10062)."""
    if given not in STORAGE_CLASSES:
        raise Invalid(10062, "The storage class is not valid: use Standard or InfrequentAccess.")
    return given


@contextmanager
def r2_errors() -> Iterator[None]:
    """Errors of a bucket's rules as errors of the control plane."""
    try:
        yield
    except R2Error as error:
        raise _KINDS.get(error.code, Invalid)(error.code, error.text) from error
    except BindingError as error:
        raise Invalid(10001, error.message) from error
    except BucketGone as error:
        raise NotFound(10006, "The specified bucket does not exist.") from error
