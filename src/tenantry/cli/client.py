"""A thin client of the control plane's API: what `curl` and a token could do, with clear errors."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from tenantry.errors import ConfigError, TenantryError

__all__ = ["ApiError", "Client"]

_TIMEOUT_SECONDS = 60.0
_PAGE_ITEMS = 1000
_GROUPS = {
    "admin": "Account Admin",
    "read": "Account Read",
    "namespace": "Dispatch Namespace Deploy",
    "worker": "Worker Deploy",
}
_RESOURCES = {"namespace": "tenantry.dispatch_namespace.", "worker": "tenantry.worker."}


class ApiError(TenantryError):
    """The API said no. `code` is Cloudflare's number, 0 when the answer was not the API's."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{message} [code: {code}]" if code else message)
        self.status = status
        self.code = code


class _Message(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Answer(msgspec.Struct):
    success: bool
    errors: list[_Message] = []
    result: Any = None  # decoded by the caller, who knows what was asked


class Client:
    """Calls for one account. Blocks; closed by its owner."""

    def __init__(
        self, url: str, token: str, account_id: str | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`url` is the control plane's, also with `/client/v4`. Without `account_id`: the only one of the token."""
        base = url.rstrip("/").removesuffix("/client/v4")
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is not the address of a control plane, such as http://127.0.0.1:8788")
        self.url = base
        self._http = httpx.Client(
            base_url=f"{base}/client/v4",
            headers={"Authorization": f"Bearer {token}", "User-Agent": "tenantry"},
            timeout=_TIMEOUT_SECONDS,
            transport=transport,
            # A proxy of the environment is for the world outside, not for this machine.
            trust_env=not _is_loopback(parts.hostname),
        )
        self._account_id = account_id

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    @property
    def account_id(self) -> str:
        if self._account_id is None:
            accounts = self._call("GET", "/accounts")
            if len(accounts) != 1:
                raise ConfigError(f"the token is good for {len(accounts)} accounts: choose one with --account")
            self._account_id = str(accounts[0]["id"])
        return self._account_id

    def kv_namespace(self, title: str) -> str | None:
        """The id of a KV namespace by its title."""
        for namespace in self._pages("/storage/kv/namespaces", {"order": "title"}):
            if namespace["title"] == title:
                return str(namespace["id"])
        return None

    def create_kv_namespace(self, title: str) -> str:
        return str(self._account("POST", "/storage/kv/namespaces", json={"title": title})["id"])

    def has_bucket(self, name: str) -> bool:
        found = self._account("GET", "/r2/buckets", params={"name_contains": name, "per_page": _PAGE_ITEMS})
        return any(bucket["name"] == name for bucket in found["buckets"])

    def create_bucket(self, name: str) -> None:
        self._account("POST", "/r2/buckets", json={"name": name})

    def s3_credentials(self) -> list[dict[str, Any]]:
        """The access keys for S3, without their secrets."""
        found: list[dict[str, Any]] = self._account("GET", "/r2/s3-credentials")
        return found

    def create_s3_credential(self, name: str, permission: str, bucket: str | None) -> dict[str, Any]:
        """`secret_access_key` in it is shown this once."""
        body = {"name": name, "permission": permission, "bucket": bucket}
        made: dict[str, Any] = self._account("POST", "/r2/s3-credentials", json=body)
        return made

    def revoke_s3_credential(self, access_key_id: str) -> None:
        self._account("DELETE", f"/r2/s3-credentials/{quote(access_key_id, safe='')}")

    def database(self, name: str) -> str | None:
        """The id of a D1 database by its name."""
        for database in self._account("GET", "/d1/database", params={"name": name}):
            if database["name"] == name:
                return str(database["uuid"])
        return None

    def create_database(self, name: str) -> str:
        return str(self._account("POST", "/d1/database", json={"name": name})["uuid"])

    def dispatch_namespaces(self) -> set[str]:
        return {str(entry["namespace_name"]) for entry in self._account("GET", "/workers/dispatch/namespaces")}

    def create_dispatch_namespace(self, name: str) -> None:
        self._account("POST", "/workers/dispatch/namespaces", json={"name": name})

    def put_script(
        self,
        name: str,
        namespace: str | None,
        metadata: Mapping[str, object],
        files: list[tuple[str, tuple[str, bytes, str]]],
    ) -> str:
        """Upload a Worker in the form that wrangler uses; the id of its new version."""
        path = f"/workers/scripts/{quote(name, safe='')}"
        if namespace is not None:
            path = f"/workers/dispatch/namespaces/{quote(namespace, safe='')}/scripts/{quote(name, safe='')}"
        result = self._account(
            "PUT",
            path,
            params={"excludeScript": "true", "bindings_inherit": "strict"},
            data={"metadata": msgspec.json.encode(metadata).decode()},
            files=files,
        )
        return str(result["deployment_id"])

    def processes(self) -> list[dict[str, Any]]:
        """The live worker processes of the whole platform."""
        found: list[dict[str, Any]] = self._call("GET", f"{self.url}/tenantry/v1/processes")
        return found

    def create_token(self, name: str, scope: str, resource: str, expires_on: str | None) -> dict[str, Any]:
        """A token of a scope of `control.scopes`; `value` in it is shown this once."""
        group = next(
            each for each in self._account("GET", "/tokens/permission_groups") if each["name"] == _GROUPS[scope]
        )
        named = f"{_RESOURCES[scope]}{resource}" if resource else f"com.cloudflare.api.account.{self.account_id}"
        policy = {"effect": "allow", "permission_groups": [{"id": group["id"]}], "resources": {named: "*"}}
        made: dict[str, Any] = self._account(
            "POST", "/tokens", json={"name": name, "policies": [policy], "expires_on": expires_on}
        )
        return made

    def tokens(self) -> Iterator[dict[str, Any]]:
        return self._pages("/tokens", {})

    def roll_token(self, token_id: str) -> str:
        return str(self._account("PUT", f"/tokens/{quote(token_id, safe='')}/value", json={}))

    def revoke_token(self, token_id: str) -> None:
        self._account("DELETE", f"/tokens/{quote(token_id, safe='')}")

    def create_api_key(self, user: str) -> dict[str, str]:
        """A key for a user of the data plane; `key` in it is shown this once."""
        made: dict[str, str] = self._call("POST", f"{self.url}/tenantry/v1/api_keys", json={"user": user})
        return made

    def api_keys(self, user: str | None) -> Iterator[dict[str, str]]:
        parameters = {} if user is None else {"user": user}
        page = 1
        while True:
            items = self._call(
                "GET",
                f"{self.url}/tenantry/v1/api_keys",
                params={**parameters, "page": page, "per_page": _PAGE_ITEMS},
            )
            yield from items
            if len(items) < _PAGE_ITEMS:
                return
            page += 1

    def revoke_api_key(self, key_id: str) -> None:
        self._call("DELETE", f"{self.url}/tenantry/v1/api_keys/{quote(key_id, safe='')}")

    def _pages(self, path: str, params: dict[str, str]) -> Iterator[Any]:
        page = 1
        while True:
            items = self._account("GET", path, params={**params, "page": page, "per_page": _PAGE_ITEMS})
            yield from items
            if len(items) < _PAGE_ITEMS:
                return
            page += 1

    # Any, here and above: httpx's own arguments, and JSON results.
    def _account(self, method: str, path: str, **arguments: Any) -> Any:
        return self._call(method, f"/accounts/{quote(self.account_id, safe='')}{path}", **arguments)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.ConnectError as error:
            raise ApiError(0, 0, f"{self.url} does not answer ({error}); is the platform running there?") from error
        except httpx.HTTPError as error:
            raise ApiError(0, 0, f"{self.url}: {type(error).__name__}: {error}") from error
        try:
            answer = msgspec.json.decode(response.content, type=_Answer)
        except msgspec.DecodeError as error:
            raise ApiError(
                response.status_code,
                0,
                f"{self.url} is not a control plane: its answer ({response.status_code}) is none",
            ) from error
        if not answer.success:
            first = answer.errors[0] if answer.errors else _Message(0, f"HTTP status {response.status_code}")
            raise ApiError(response.status_code, first.code, first.message)
        return answer.result


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
