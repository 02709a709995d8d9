"""Who a request is from. The gateway tells the Worker in one header, and drops what a client itself wrote there.

    credential                                       proves
    Authorization: Bearer tku_<id>_<secret>          the user that the key was made for
    Authorization: Bearer <JWT>                      a claim of it, `sub` by default
    a header that a named proxy sets                 what it says
    none                                             nobody: refused, or passed on without the header

A credential that is there and not valid is refused, whatever else there is.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final, Protocol

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError

from tenantry.config.identity import IdentitySettings, JwtSettings
from tenantry.gateway.jwks import JwtKeys
from tenantry.gateway.limits import (
    JWT_CACHE_TOKENS,
    JWT_CHARACTERS_MAX,
    JWT_LEEWAY_SECONDS,
    USER_CHARACTERS_MAX,
)
from tenantry.gateway.request import BadRequest, RequestHead

__all__ = ["ApiKeys", "Identity", "Unidentified"]

API_KEY_PREFIX: Final = "tku_"
_OPERATORS_HEADERS: Final = ("cloudflare-workers-version-overrides",)
"""Visitors of an installation do not choose among its versions; who develops with `tenantry dev` does."""


class Unidentified(BadRequest):
    """A request that does not prove who it is from."""

    def __init__(self, reason: str) -> None:
        super().__init__(401, reason)


class ApiKeys(Protocol):
    """The keys that were made for users."""

    def user_of_untrusted(self, key: str) -> str | None:
        """Whose key it is, None when it is nobody's. Does not block."""


class Identity:
    """How an installation finds out. Made, opened and used on one event loop."""

    def __init__(self, settings: IdentitySettings, api_keys: ApiKeys, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._api_keys = api_keys if settings.api_keys else None
        self._jwt = None if settings.jwt is None else _JwtVerifier(settings.jwt, clock)
        own = set() if settings.trust_user_header else {settings.header}
        if settings.proxy is not None:
            own.add(settings.proxy.header)
        self.dropped = frozenset(name.encode("ascii") for name in (*own, *_OPERATORS_HEADERS))
        """Headers of a client that nobody behind the gateway sees: what they say is not the client's to say."""
        if settings.proxy is not None:
            # The same few peers, all the time.
            self._is_proxy = lru_cache(maxsize=1024)(self._is_proxy_address)

    async def open(self) -> None:
        """Raises ConfigError when the keys for JWTs cannot be read."""
        if self._jwt is not None:
            await self._jwt.keys.open()

    async def aclose(self) -> None:
        if self._jwt is not None:
            await self._jwt.keys.aclose()

    def identify_untrusted(self, head: RequestHead, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """`headers` as a Worker may see them: without proofs that are only for us, and with the user.

        `headers` came without those in `dropped`. Raises Unidentified.
        """
        if self._settings.trust_user_header:
            return headers
        proxied = self._of_proxy(head)
        credentials = [value for name, value in headers if name == "authorization"]
        user = proxied
        if user is None and credentials:
            user, headers = self._of_credentials(credentials, headers)
        if user is None:
            if self._settings.required:
                raise Unidentified("This request does not say who it is from. " + self._advice())
            return headers
        if (
            not 0 < len(user) <= USER_CHARACTERS_MAX
            or not user.isprintable()
            or not user.isascii()
            or user != user.strip()
        ):
            raise Unidentified("The credential names a user that cannot be one.")
        return [*headers, (self._settings.header, user)]

    def _of_proxy(self, head: RequestHead) -> str | None:
        proxy = self._settings.proxy
        if proxy is None:
            return None
        name = proxy.header.encode("ascii")
        values = [value for key, value in head.headers if key == name]
        if not values or not self._is_proxy(head.client):
            return None
        if len(values) > 1:
            raise Unidentified(f"The header {proxy.header} is there more than once.")
        return str(values[0].decode("latin-1")) or None

    def _is_proxy_address(self, address: str) -> bool:
        assert self._settings.proxy is not None
        found = ip_address(address)
        return any(found in network for network in self._settings.proxy.networks)

    def _of_credentials(
        self, credentials: Sequence[str], headers: list[tuple[str, str]]
    ) -> tuple[str | None, list[tuple[str, str]]]:
        if len(credentials) > 1:
            raise Unidentified("The header Authorization is there more than once.")
        scheme, _, token = credentials[0].partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer":
            return None, headers  # the Workers' own business
        if token.startswith(API_KEY_PREFIX) and self._api_keys is not None:
            user = self._api_keys.user_of_untrusted(token)
            if user is None:
                raise Unidentified("The API key is not valid.")
            # The key opens everything of this user's: no Worker gets to see it.
            return user, [(name, value) for name, value in headers if name != "authorization"]
        if self._jwt is not None and token.count(".") == 2:
            return self._jwt.user_of_untrusted(token), headers
        return None, headers

    def _advice(self) -> str:
        ways = []
        if self._api_keys is not None:
            ways.append("an API key")
        if self._jwt is not None:
            ways.append("a JWT")
        return (
            f"Send {' or '.join(ways)} as 'Authorization: Bearer ...'." if ways else "It has to come through the proxy."
        )


class _JwtVerifier:
    """Compact JWS only. What was verified is remembered until it expires, for a signature costs more than a request."""

    def __init__(self, settings: JwtSettings, clock: Callable[[], float]) -> None:
        self.keys = JwtKeys(settings)
        self._settings = settings
        self._clock = clock
        self._known: dict[bytes, tuple[str, float, object]] = {}
        # `Any`: joserfc's options.
        essential: dict[str, Any] = {"exp": {"essential": True}, settings.claim: {"essential": True}}
        if settings.issuer is not None:
            essential["iss"] = {"essential": True, "value": settings.issuer}
        if settings.audience is not None:
            essential["aud"] = {"essential": True, "value": settings.audience}
        self._claims = jwt.JWTClaimsRegistry(now=lambda: int(clock()), leeway=JWT_LEEWAY_SECONDS, **essential)

    def user_of_untrusted(self, token: str) -> str:
        """Raises Unidentified."""
        if len(token) > JWT_CHARACTERS_MAX:
            raise Unidentified("The token is too long.")
        name = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(name)
        keys = self.keys.current
        # `keys`: what was signed with a key that is no longer in the set is verified anew, and refused.
        if known is not None and known[2] is keys and self._clock() < known[1]:
            return known[0]
        user, expires = self._verify(token)
        if len(self._known) >= JWT_CACHE_TOKENS:
            del self._known[next(iter(self._known))]
        self._known[name] = (user, expires, keys)
        return user

    def _verify(self, token: str) -> tuple[str, float]:
        keys = self.keys.current
        assert keys is not None, "not opened"
        try:
            decoded = jwt.decode(token, keys, algorithms=list(self._settings.algorithms))
            claims = decoded.claims
            self._claims.validate(claims)
            user, expires = claims[self._settings.claim], claims["exp"]
        except InvalidKeyIdError as error:
            self.keys.want_more()
            raise Unidentified("The token is signed with a key that is not known.") from error
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise Unidentified("The token is not valid.") from error
        if not isinstance(user, str):
            raise Unidentified(f"The token's claim {self._settings.claim!r} is not a text.")
        return user, float(expires)
