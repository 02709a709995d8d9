"""The two tokens of an upload of assets, as Cloudflare's clients carry them: JWTs, signed by us and read by us only.

    session       opens the upload of the files of one session, and nothing else
    completion    in the metadata of a deploy, says that they are all there

They name a session of the store, which knows whose it is; what a token says beside that is for people who look. The key
is made from the vault's, so that it is as secret as secrets are, and a rotation lets tokens under way be good to their
end.

What signs them is slow to import, and many platforms have no assets: it is imported with the first token.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final, Literal

from tenantry.control.limits import ASSET_TOKEN_CHARACTERS_MAX
from tenantry.control.vault import Vault

__all__ = ["AssetTokens", "Kind"]

Kind = Literal["assets-session", "assets-completion"]

_ALGORITHM: Final = "HS256"
_PURPOSE: Final = "tokens of asset uploads"
_SESSION: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class AssetTokens:
    """May be used from any thread."""

    def __init__(self, vault: Vault, clock: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._clock = clock

    def issue(self, kind: Kind, session_id: str, expires_at: int) -> str:
        """`expires_at` is in seconds since 1970."""
        from joserfc import jwt
        from joserfc.jwk import OctKey

        key_id, key = next(iter(self._vault.derived_keys(_PURPOSE).items()))
        claims = {"aud": kind, "sub": session_id, "exp": expires_at}
        return jwt.encode({"alg": _ALGORITHM, "kid": key_id}, claims, OctKey.import_key(key))

    def session_of_untrusted(self, kind: Kind, token: str) -> str | None:
        """The session that a token is for; None for one that is not ours, not of this kind, or too old."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import OctKey

        if len(token) > ASSET_TOKEN_CHARACTERS_MAX or not token.isascii():
            return None
        # All keys, whichever the token names: they are few.
        for key in self._vault.derived_keys(_PURPOSE).values():
            try:
                decoded = jwt.decode(token, OctKey.import_key(key), algorithms=[_ALGORITHM])
            except (JoseError, ValueError, RecursionError):
                continue
            claims = decoded.claims
            session_id, expires_at = claims.get("sub"), claims.get("exp")
            if (
                claims.get("aud") != kind
                or not isinstance(expires_at, int)
                or expires_at <= self._clock()
                or not isinstance(session_id, str)
                or not _SESSION.fullmatch(session_id)
            ):
                return None
            return session_id
        return None
