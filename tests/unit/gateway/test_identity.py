"""Who a request is from, for every credential that it can come with."""

from __future__ import annotations

import base64
import hmac
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from tenantry.config.identity import IdentityFile, IdentitySettings, parse_identity
from tenantry.errors import ConfigError
from tenantry.gateway.identity import Identity, Unidentified
from tenantry.gateway.request import RequestHead, read_request

SECRET = "a secret of thirty-two characters"
KEY = "tku_0123456789abcdef_" + "x" * 43
FOLDER = Path("/nowhere")


class Keys:
    def user_of_untrusted(self, key: str) -> str | None:
        return "user1" if key == KEY else None


def settings(folder: Path = FOLDER, **table: Any) -> IdentitySettings:
    return parse_identity(msgspec.convert(table, IdentityFile), "identity", folder)


def headers_of(identity: Identity, *headers: tuple[str, str], client: str = "192.0.2.1") -> dict[str, list[str]]:
    """What a Worker reads of a request with these headers."""
    pairs = [(b"host", b"example.com"), *((name.encode(), value.encode()) for name, value in headers)]
    head = RequestHead("GET", b"/", pairs, client)
    request = read_request(head, identity.dropped)
    found: dict[str, list[str]] = {}
    for name, value in identity.identify_untrusted(head, request.headers):
        found.setdefault(name, []).append(value)
    return found


def token(claims: dict[str, Any] | None = None, algorithm: str = "HS256", key: Any = None, **header: Any) -> str:
    everything = {"sub": "user2", "exp": int(time.time()) + 600, **(claims or {})}
    everything = {name: value for name, value in everything.items() if value is not None}
    return jwt.encode({"alg": algorithm, **header}, everything, key or OctKey.import_key(SECRET))


def part(value: dict[str, Any] | bytes) -> str:
    """A part of a token that nobody's library would make."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def bearer(credential: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {credential}")


async def opened(**table: Any) -> Identity:
    identity = Identity(settings(**table), Keys())
    await identity.open()
    return identity


async def test_an_api_key_proves_its_user_and_no_worker_sees_it() -> None:
    seen = headers_of(await opened(api_keys=True), bearer(KEY))
    assert seen["x-user-id"] == ["user1"]
    assert "authorization" not in seen


async def test_what_a_client_says_itself_is_dropped() -> None:
    identity = await opened(api_keys=True)
    assert headers_of(identity, bearer(KEY), ("x-user-id", "admin"))["x-user-id"] == ["user1"]
    with pytest.raises(Unidentified):
        headers_of(identity, ("x-user-id", "admin"))


async def test_a_client_does_not_choose_the_version_that_it_meets() -> None:
    for identity in (await opened(api_keys=True), await opened(trust_user_header=True)):
        assert "cloudflare-workers-version-overrides" not in headers_of(
            identity, bearer(KEY), ("cloudflare-workers-version-overrides", 'front="1"')
        )


async def test_who_need_not_say_is_nobody() -> None:
    identity = await opened(api_keys=True, required=False)
    assert "x-user-id" not in headers_of(identity, ("x-user-id", "admin"))
    with pytest.raises(Unidentified, match="not valid"):
        headers_of(identity, bearer(KEY[:-1] + "y"))


async def test_other_schemes_are_the_workers_own_business() -> None:
    identity = await opened(api_keys=True, required=False)
    assert headers_of(identity, ("authorization", "Basic abc"))["authorization"] == ["Basic abc"]


async def test_two_credentials_are_refused() -> None:
    with pytest.raises(Unidentified, match="more than once"):
        headers_of(await opened(api_keys=True), bearer(KEY), bearer(KEY))


async def test_a_jwt_proves_its_claim_and_stays_for_the_workers() -> None:
    given = token()
    seen = headers_of(await opened(jwt={"secret": SECRET}), bearer(given))
    assert seen["x-user-id"] == ["user2"]
    assert seen["authorization"] == [f"Bearer {given}"]


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"nbf": 2**33},
        {"sub": None},
        {"sub": 7},
        {"sub": ""},
        {"sub": "a\r\nx-admin: 1"},
        {"sub": "x" * 257},
        {"iss": "somebody else"},
        {"aud": "another platform"},
        {"iss": None},
    ],
    ids=str,
)
async def test_a_jwt_that_does_not_hold_is_refused(claims: dict[str, Any]) -> None:
    identity = await opened(jwt={"secret": SECRET, "issuer": "us", "audience": "tenantry"})
    good = {"iss": "us", "aud": "tenantry"}
    assert headers_of(identity, bearer(token(good)))["x-user-id"] == ["user2"]
    with pytest.raises(Unidentified):
        headers_of(identity, bearer(token({**good, **claims})))


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given[:-4] + "AAAA",
        lambda given: given.rsplit(".", 1)[0] + ".",
        lambda given: "e30." + given.split(".", 1)[1],
        lambda given: ".." + given,
        lambda given: "a.b.c",
        lambda given: given + "A" * 9000,
    ],
    ids=["another signature", "no signature", "another header", "more parts", "no token", "a long one"],
)
async def test_a_jwt_that_was_changed_is_refused(change: Any) -> None:
    with pytest.raises(Unidentified):
        headers_of(await opened(jwt={"secret": SECRET}), bearer(change(token())))


async def test_an_unsigned_jwt_is_refused() -> None:
    unsigned = f"{part({'alg': 'none'})}.{part({'sub': 'user2', 'exp': 2**33})}."
    with pytest.raises(Unidentified):
        headers_of(await opened(jwt={"secret": SECRET}), bearer(unsigned))


async def test_a_verified_jwt_ends_when_it_expires() -> None:
    now = [1_000_000.0]
    identity = Identity(settings(jwt={"secret": SECRET}), Keys(), lambda: now[0])
    await identity.open()
    given = token({"exp": 1_000_100})
    assert headers_of(identity, bearer(given))["x-user-id"] == ["user2"]
    now[0] += 50
    assert headers_of(identity, bearer(given))["x-user-id"] == ["user2"]
    now[0] += 500
    with pytest.raises(Unidentified):
        headers_of(identity, bearer(given))


async def test_a_key_set_verifies_what_its_private_keys_sign(tmp_path: Path) -> None:
    rsa, curve = RSAKey.generate_key(2048, {"kid": "a", "use": "sig"}), ECKey.generate_key("P-256", {"kid": "b"})
    (tmp_path / "keys.json").write_text(json.dumps(KeySet([rsa, curve]).as_dict(private=False)))
    identity = await opened(folder=tmp_path, jwt={"jwks_file": "keys.json", "algorithms": ["RS256", "ES256"]})
    try:
        for algorithm, key, kid in (("RS256", rsa, "a"), ("ES256", curve, "b")):
            given = token(algorithm=algorithm, key=key, kid=kid)
            assert headers_of(identity, bearer(given))["x-user-id"] == ["user2"]
        with pytest.raises(Unidentified, match="not known"):
            headers_of(identity, bearer(token(algorithm="RS256", key=rsa, kid="c")))
        # A public key is no shared secret, whatever a token says of its algorithm.
        signed = f"{part({'alg': 'HS256', 'kid': 'a'})}.{part({'sub': 'user2', 'exp': 2**33})}"
        mac = hmac.digest(rsa.as_pem(private=False), signed.encode(), "sha256")
        with pytest.raises(Unidentified):
            headers_of(identity, bearer(f"{signed}.{part(mac)}"))
    finally:
        await identity.aclose()


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAA"}]}']
)
async def test_keys_that_cannot_be_used_stop_the_start(tmp_path: Path, document: bytes) -> None:
    (tmp_path / "keys.json").write_bytes(document)
    with pytest.raises(ConfigError, match=r"keys\.json"):
        await opened(folder=tmp_path, jwt={"jwks_file": "keys.json"})
    with pytest.raises(ConfigError, match="No such file"):
        await opened(folder=tmp_path, jwt={"jwks_file": "absent.json"})


async def test_a_named_proxy_is_believed_and_others_are_not() -> None:
    identity = await opened(proxy={"addresses": ["10.0.0.0/24"], "header": "X-Client-CN"})
    seen = headers_of(identity, ("x-client-cn", "user3"), client="10.0.0.9")
    assert seen["x-user-id"] == ["user3"]
    assert "x-client-cn" not in seen
    for client in ("10.0.1.9", "::1"):
        with pytest.raises(Unidentified, match="proxy"):
            headers_of(identity, ("x-client-cn", "user3"), client=client)
    with pytest.raises(Unidentified):
        headers_of(identity, ("x-client-cn", "a"), ("x-client-cn", "b"), client="10.0.0.9")


async def test_a_users_word_is_taken_where_that_was_asked_for() -> None:
    assert headers_of(await opened(trust_user_header=True), ("x-user-id", "user1"))["x-user-id"] == ["user1"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "no way to prove"),
        ({"trust_user_header": True, "api_keys": True}, "anybody's word"),
        ({"jwt": {}}, "needs one of"),
        ({"jwt": {"secret": SECRET, "jwks_file": "x"}}, "secret and jwks_file"),
        ({"jwt": {"secret": "short"}}, "guessed"),
        ({"jwt": {"secret": SECRET, "algorithms": ["RS256"]}}, "RS256"),
        ({"jwt": {"jwks_file": "x", "algorithms": ["HS256"]}}, "HS256"),
        ({"jwt": {"jwks_file": "x", "algorithms": ["none"]}}, "none"),
        ({"jwt": {"jwks_url": "file:///etc/passwd"}}, "address of a key set"),
        ({"proxy": {"addresses": []}}, "empty"),
        ({"proxy": {"addresses": ["10.0.0.1/24"]}}, "10.0.0.1/24"),
        ({"api_keys": True, "header": "not a header"}, "header"),
    ],
    ids=str,
)
def test_settings_that_prove_nothing_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**table)


def test_a_secret_is_not_shown() -> None:
    assert SECRET not in repr(settings(jwt={"secret": SECRET}))
