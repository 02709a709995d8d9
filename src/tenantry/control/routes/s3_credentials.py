"""Access keys for the S3 endpoint: made, listed and revoked. Ours: on Cloudflare they are API tokens."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope
from tenantry.control.routes.account import check_account
from tenantry.control.s3_credentials import S3Credential, S3Credentials
from tenantry.control.threads import Threads

__all__ = ["s3_credential_routes"]


class _New(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    permission: str
    bucket: str | None = None


class S3CredentialView(msgspec.Struct, frozen=True, kw_only=True):
    access_key_id: str
    name: str
    permission: str
    bucket: str | None
    created_on: str


class NewS3CredentialView(S3CredentialView, frozen=True, kw_only=True):
    """`secret_access_key` is shown this once."""

    secret_access_key: str


class RevokedView(msgspec.Struct, frozen=True):
    access_key_id: str


def _view(credential: S3Credential) -> S3CredentialView:
    return S3CredentialView(
        access_key_id=credential.access_key_id,
        name=credential.name,
        permission=credential.permission,
        bucket=credential.bucket,
        created_on=credential.created_on,
    )


def s3_credential_routes(credentials: S3Credentials, threads: Threads) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/r2/s3-credentials"

    @post(path, name="create_s3_credential", status_code=200)
    async def create(request: ApiRequest, account_id: FromPath[str]) -> Envelope[NewS3CredentialView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _New, 10001)
        made = await threads.run(credentials.create_untrusted, account_id, body.name, body.permission, body.bucket)
        view = msgspec.structs.asdict(_view(made))
        return Envelope(NewS3CredentialView(**view, secret_access_key=made.secret_access_key))

    @get(path, name="list_s3_credentials")
    async def list_all(request: ApiRequest, account_id: FromPath[str]) -> Envelope[list[S3CredentialView]]:
        check_account(request, account_id)
        found = await threads.run(credentials.all, account_id)
        return Envelope([_view(credential) for credential in found])

    @delete(path + "/{access_key_id:str}", name="revoke_s3_credential", status_code=200)
    async def revoke(
        request: ApiRequest, account_id: FromPath[str], access_key_id: FromPath[str]
    ) -> Envelope[RevokedView]:
        check_account(request, account_id)
        await threads.run(credentials.revoke, account_id, access_key_id)
        return Envelope(RevokedView(access_key_id))

    return [create, list_all, revoke]
