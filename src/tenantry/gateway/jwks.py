"""The keys that JWTs are verified with: a shared secret, or a key set from a file or an address, read now and then.

open() ──► keys ──► (every JWKS_SECONDS, or a token names a key that is not there) ──► read again
                                                                   a failure keeps the keys that there are
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey

from tenantry.config.identity import JwtSettings
from tenantry.errors import ConfigError
from tenantry.gateway.limits import JWKS_BYTES_MAX, JWKS_FETCH_SECONDS_MAX, JWKS_SECONDS, JWKS_SECONDS_MIN

__all__ = ["JwtKeys"]

_log = structlog.get_logger()
_SIGNING: Final = (None, "sig")


class JwtKeys:
    """`current` is what to verify with. `open` before use, `aclose` after it."""

    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        self.current: OctKey | KeySet | None = None
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises ConfigError when there are no keys to begin with: every request would be refused."""
        if self._settings.secret is not None:
            self.current = OctKey.import_key(self._settings.secret)
            return
        self.current = await self._read()
        self._task = asyncio.get_running_loop().create_task(self._keep_fresh())

    def want_more(self) -> None:
        """A token names a key that is not known: perhaps the issuer has a new one."""
        self._wanted.set()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_fresh(self) -> None:
        while True:
            # Strangers can name keys as fast as they like: reading again has a pace of its own.
            await asyncio.sleep(JWKS_SECONDS_MIN)
            try:
                async with asyncio.timeout(JWKS_SECONDS - JWKS_SECONDS_MIN):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                self.current = await self._read()
            except ConfigError as error:
                _log.error("the keys for JWTs could not be read again; the ones before stay", reason=str(error))

    async def _read(self) -> KeySet:
        if self._settings.jwks_file is not None:
            return _key_set(await asyncio.to_thread(_file, self._settings.jwks_file), str(self._settings.jwks_file))
        url = self._settings.jwks_url
        assert url is not None
        return _key_set(await _fetch(url), url)


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(JWKS_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


async def _fetch(url: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=JWKS_FETCH_SECONDS_MAX)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            if response.status != 200:
                raise ConfigError(f"{url}: answered {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(64 * 1024):
                body += chunk
                if len(body) > JWKS_BYTES_MAX:
                    break
            return bytes(body)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ConfigError(f"{url}: cannot be read: {error or type(error).__name__}") from error


def _key_set(document: bytes, where: str) -> KeySet:
    """Raises ConfigError. Keys for encryption, and shared secrets, are not for verifying here."""
    if len(document) > JWKS_BYTES_MAX:
        raise ConfigError(f"{where}: larger than {JWKS_BYTES_MAX} bytes")
    try:
        found = KeySet.import_key_set(msgspec.json.decode(document))
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(f"{where}: not a JSON Web Key Set: {error}") from error
    keys = [key for key in found.keys if key.key_type != "oct" and key.get("use") in _SIGNING]
    if not keys:
        raise ConfigError(f"{where}: holds no public key to verify signatures with")
    return KeySet(keys)
