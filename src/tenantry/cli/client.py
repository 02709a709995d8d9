"""A thin client of the control plane's API: what `curl` and a token could do, with clear errors."""

from __future__ import annotations

import base64
import ipaddress
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from tenantry.errors import ConfigError, TenantryError

__all__ = ["ApiError", "Client"]

_TIMEOUT_SECONDS = 60.0
_PAGE_ITEMS = 1000


class ApiError(TenantryError):
    """The API said no. `code` is Cloudflare's number, 0 when the answer was not the API's."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{message} [code: {code}]" if code else message)
        self.status = status
        self.code = code


class _Message(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Info(msgspec.Struct, frozen=True):
    cursor: str | None = None


class _Answer(msgspec.Struct):
    success: bool
    errors: list[_Message] = []
    result: Any = None  # decoded by the caller, who knows what was asked
    result_info: _Info = _Info()


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
            # Plain HTTP has no certificate to check, and those of the world take 25 ms to read.
            verify=parts.scheme == "https" or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
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
        for namespace in self.pages(self.call, "/storage/kv/namespaces", {"order": "title"}):
            if namespace["title"] == title:
                return str(namespace["id"])
        return None

    def create_kv_namespace(self, title: str) -> str:
        return str(self.call("POST", "/storage/kv/namespaces", json={"title": title})["id"])

    def has_bucket(self, name: str) -> bool:
        found = self.call("GET", "/r2/buckets", params={"name_contains": name, "per_page": _PAGE_ITEMS})
        return any(bucket["name"] == name for bucket in found["buckets"])

    def create_bucket(self, name: str) -> None:
        self.call("POST", "/r2/buckets", json={"name": name})

    def s3_credentials(self) -> list[dict[str, Any]]:
        """The access keys for S3, without their secrets."""
        found: list[dict[str, Any]] = self.call("GET", "/r2/s3-credentials")
        return found

    def create_s3_credential(self, name: str, permission: str, bucket: str | None) -> dict[str, Any]:
        """`secret_access_key` in it is shown this once."""
        body = {"name": name, "permission": permission, "bucket": bucket}
        made: dict[str, Any] = self.call("POST", "/r2/s3-credentials", json=body)
        return made

    def revoke_s3_credential(self, access_key_id: str) -> None:
        self.call("DELETE", f"/r2/s3-credentials/{quote(access_key_id, safe='')}")

    def database(self, name: str) -> str | None:
        """The id of a D1 database by its name."""
        for database in self.call("GET", "/d1/database", params={"name": name}):
            if database["name"] == name:
                return str(database["uuid"])
        return None

    def create_database(self, name: str) -> str:
        return str(self.call("POST", "/d1/database", json={"name": name})["uuid"])

    def dispatch_namespaces(self) -> set[str]:
        return {str(entry["namespace_name"]) for entry in self.call("GET", "/workers/dispatch/namespaces")}

    def create_dispatch_namespace(self, name: str) -> None:
        self.call("POST", "/workers/dispatch/namespaces", json={"name": name})

    def put_script(
        self,
        name: str,
        namespace: str | None,
        metadata: Mapping[str, object],
        files: list[tuple[str, tuple[str, bytes, str]]],
    ) -> str:
        """Upload a Worker in the form that wrangler uses; the id of its new version."""
        # As files, metadata too: without any, httpx would not send a form.
        document = ("metadata", (None, msgspec.json.encode(metadata), "application/json"))
        result = self.call(
            "PUT",
            _script_path(name, namespace),
            params={"excludeScript": "true", "bindings_inherit": "strict"},
            files=[document, *files],
        )
        return str(result["deployment_id"])

    def begin_assets(
        self, name: str, namespace: str | None, manifest: Mapping[str, Mapping[str, object]]
    ) -> tuple[str, list[list[str]]]:
        """Begin an upload of static assets: its token, and the hashes to upload, each inner list with one request.

        With nothing to upload the token is the one for `put_script`.
        """
        path = _script_path(name, namespace) + "/assets-upload-session"
        begun = self.call("POST", path, json={"manifest": manifest})
        return str(begun["jwt"]), begun["buckets"]

    def upload_assets(self, token: str, files: Mapping[str, bytes]) -> str | None:
        """Upload files by their hashes; with the last ones comes the token for `put_script`."""
        parts = [(name, (name, base64.b64encode(content), "application/null")) for name, content in files.items()]
        headers = {"Authorization": f"Bearer {token}"}
        completion: str | None = self.call(
            "POST", "/workers/assets/upload", params={"base64": "true"}, headers=headers, files=parts
        )["jwt"]
        return completion

    def processes(self) -> list[dict[str, Any]]:
        """The live worker processes of the whole platform."""
        found: list[dict[str, Any]] = self.ours("GET", "/processes")
        return found

    def ours(self, method: str, path: str, **arguments: Any) -> Any:
        """A route that is not Cloudflare's, below `/tenantry/v1`: its result."""
        return self._call(method, f"{self.url}/tenantry/v1{path}", **arguments)

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """A route of the account, `path` being what follows its id: its result."""
        return self._call(method, f"/accounts/{quote(self.account_id, safe='')}{path}", **arguments)

    def pages(
        self, call: Callable[..., Any], path: str, params: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[Any]:
        """All items of a listing by pages; `call` is `call` or `ours`."""
        page = 1
        while True:
            items = call("GET", path, params={**params, "page": page, "per_page": _PAGE_ITEMS})
            yield from items
            if len(items) < _PAGE_ITEMS:
                return
            page += 1

    def by_cursor(self, path: str, params: Mapping[str, str | int] = MappingProxyType({})) -> Iterator[Any]:
        """All items of a listing by cursor."""
        given = dict(params)
        while True:
            answer = self._answer(self._send("GET", self._path(path), params=given))
            yield from answer.result
            cursor = answer.result_info.cursor
            if not cursor:
                return
            given["cursor"] = cursor

    @contextmanager
    def download(self, path: str) -> Iterator[httpx.Response]:
        """The raw bytes of a route of the account, to read in chunks."""
        with self._errors(), self._http.stream("GET", self._path(path)) as response:
            if response.status_code >= 400:
                response.read()
                self._answer(response)
            yield response

    def upload(self, path: str, content: Iterable[bytes] | bytes, headers: Mapping[str, str], **arguments: Any) -> Any:
        """Raw bytes as the body of a PUT; sent in chunks where they come in chunks."""
        return self._call("PUT", self._path(path), content=content, headers=dict(headers), timeout=None, **arguments)

    def _path(self, path: str) -> str:
        return f"/accounts/{quote(self.account_id, safe='')}{path}"

    # Any, here and above: httpx's own arguments, and JSON results.
    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        return self._answer(self._send(method, path, **arguments)).result

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        with self._errors():
            return self._http.request(method, path, **arguments)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise ApiError(0, 0, f"{self.url} does not answer ({error}); is the platform running there?") from error
        except httpx.HTTPError as error:
            raise ApiError(0, 0, f"{self.url}: {type(error).__name__}: {error}") from error

    def _answer(self, response: httpx.Response) -> _Answer:
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
        return answer


def _script_path(name: str, namespace: str | None) -> str:
    if namespace is None:
        return f"/workers/scripts/{quote(name, safe='')}"
    return f"/workers/dispatch/namespaces/{quote(namespace, safe='')}/scripts/{quote(name, safe='')}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
