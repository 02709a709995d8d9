"""Who a tenant's request is from, and by what it is proved: `[identity]` of an installation's file.

    [identity]
    required = true                       # false: a request without a credential passes, as nobody's
    header = "X-User-ID"                  # what tells the Workers; a client's own is dropped
    api_keys = true                       # Authorization: Bearer tku_..., made with `tenantry keys create`

    [identity.jwt]                        # Authorization: Bearer <JWT>
    jwks_url = "https://login.example.com/jwks.json"     # or jwks_file, or secret
    issuer = "https://login.example.com"
    audience = "tenantry"

    [identity.proxy]                      # a header that a named proxy sets, after mutual TLS for example
    addresses = ["10.0.0.0/24"]
    header = "X-Client-CN"

`trust_user_header = true` takes a client's word for who it is: for a machine that only a trusted network reaches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from tenantry.config.limits import JWT_SECRET_BYTES_MIN
from tenantry.errors import ConfigError

__all__ = ["IdentityFile", "IdentitySettings", "JwtSettings", "ProxySettings", "parse_identity"]

SECRET_ALGORITHMS: Final = ("HS256", "HS384", "HS512")
KEY_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Kept apart: a public key that is taken for a shared secret lets anybody sign."""

_HEADER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """Exactly one of `secret`, `jwks_file` and `jwks_url` is set."""

    algorithms: tuple[str, ...]
    claim: str
    issuer: str | None
    audience: str | None
    secret: str | None = field(default=None, repr=False)
    jwks_file: Path | None = None
    jwks_url: str | None = None


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """`header` (in lower case) is believed when it comes from one of `networks`."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    header: str


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """`header` is in lower case. At least one way to prove an identity is set, or `trust_user_header`."""

    header: str = "x-user-id"
    required: bool = True
    trust_user_header: bool = False
    api_keys: bool = False
    jwt: JwtSettings | None = None
    proxy: ProxySettings | None = None


class _JwtFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    secret: str | None = None
    jwks_file: str | None = None
    jwks_url: str | None = None
    algorithms: list[str] | None = None
    issuer: str | None = None
    audience: str | None = None
    claim: str = "sub"


class _ProxyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    addresses: list[str]
    header: str = "X-User-ID"


class IdentityFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table as it stands in a file."""

    header: str = "X-User-ID"
    required: bool = True
    trust_user_header: bool = False
    api_keys: bool = False
    jwt: _JwtFile | None = None
    proxy: _ProxyFile | None = None


def parse_identity(content: IdentityFile, where: str, folder: Path) -> IdentitySettings:
    """What a file asks for; paths in it are relative to `folder`. Raises ConfigError, naming `where` it stands."""
    if not (content.trust_user_header or content.api_keys or content.jwt or content.proxy):
        raise ConfigError(
            f"{where} says of no way to prove who a request is from: set api_keys = true, [identity.jwt] or "
            "[identity.proxy]; or trust_user_header = true, when only trusted machines reach the port"
        )
    if content.trust_user_header and (content.api_keys or content.jwt or content.proxy):
        raise ConfigError(f"{where}.trust_user_header takes anybody's word; nothing else beside it can prove anything")
    return IdentitySettings(
        header=_header(content.header, f"{where}.header"),
        required=content.required,
        trust_user_header=content.trust_user_header,
        api_keys=content.api_keys,
        jwt=None if content.jwt is None else _jwt(content.jwt, f"{where}.jwt", folder),
        proxy=None if content.proxy is None else _proxy(content.proxy, f"{where}.proxy"),
    )


def _jwt(content: _JwtFile, where: str, folder: Path) -> JwtSettings:
    sources = [name for name in ("secret", "jwks_file", "jwks_url") if getattr(content, name) is not None]
    if len(sources) != 1:
        raise ConfigError(
            f"{where} needs one of secret, jwks_file and jwks_url, and has {' and '.join(sources) or 'none'}"
        )
    known = SECRET_ALGORITHMS if content.secret is not None else KEY_ALGORITHMS
    algorithms = tuple(content.algorithms if content.algorithms is not None else (known[0],))
    for algorithm in algorithms:
        if algorithm not in known:
            raise ConfigError(
                f"{where}.algorithms: with {sources[0]} it is one of {', '.join(known)}, not {algorithm!r}"
            )
    if not algorithms:
        raise ConfigError(f"{where}.algorithms is empty; leave it out for {known[0]}")
    if content.secret is not None and len(content.secret.encode()) < JWT_SECRET_BYTES_MIN:
        raise ConfigError(f"{where}.secret has less than {JWT_SECRET_BYTES_MIN} bytes: that can be guessed")
    if content.jwks_url is not None and urlsplit(content.jwks_url).scheme not in ("https", "http"):
        raise ConfigError(
            f"{where}.jwks_url is not the address of a key set, such as https://login.example.com/jwks.json"
        )
    return JwtSettings(
        algorithms=algorithms,
        claim=content.claim,
        issuer=content.issuer,
        audience=content.audience,
        secret=content.secret,
        jwks_file=None if content.jwks_file is None else folder / content.jwks_file,
        jwks_url=content.jwks_url,
    )


def _proxy(content: _ProxyFile, where: str) -> ProxySettings:
    networks: list[IPv4Network | IPv6Network] = []
    for index, address in enumerate(content.addresses):
        try:
            networks.append(ip_network(address.strip()))
        except ValueError as error:
            raise ConfigError(
                f"{where}.addresses[{index}] is {address!r}: write the proxy's address or range, as 10.0.0.0/24"
            ) from error
    if not networks:
        raise ConfigError(f"{where}.addresses is empty: name the proxies that may say who a request is from")
    return ProxySettings(tuple(networks), _header(content.header, f"{where}.header"))


def _header(name: str, where: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ConfigError(f"{where} is {name!r}, which is not the name of a header")
    return name.lower()
