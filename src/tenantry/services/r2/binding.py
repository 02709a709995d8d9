"""The R2 binding on the wire: plain values in, plain values out. Everything in is hostile until it has been checked.

    head(key)                                            -> object | None
    get(key, options?)                                   -> {"object", "body": bytes | stream | None} | None
    put(key, str | bytes | stream | None, options?)      -> object | None
    delete(key | [key])                                  -> None
    list(options?)                                       -> {"objects", "truncated", "delimitedPrefixes", "cursor"?}
    createMultipartUpload(key, options?)                 -> {"key", "uploadId"}
    uploadPart(key, uploadId, partNumber, value, options?) -> {"partNumber", "etag"}
    completeMultipartUpload(key, uploadId, [{"partNumber", "etag"}]) -> object
    abortMultipartUpload(key, uploadId)                  -> None

An object is `{"key", "version", "size", "etag", "uploaded", "checksums", "storageClass", "httpMetadata",
"customMetadata", "range"?, "ssecKeyMd5"?}`; a list entry has the two metadata fields only if `include` names them.
`{"object", "body": None}` is a get whose conditions failed. Options are R2's own; see `options.py` for Headers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tenantry.errors import StorageError
from tenantry.services.r2.engine import Bucket
from tenantry.services.r2.errors import BucketGone, r2_error, storage_refused, type_error
from tenantry.services.r2.limits import DELETE_KEYS_MAX, INLINE_RESULT_BYTES_MAX, SCAN_ROWS_PER_TURN
from tenantry.services.r2.model import ALGORITHMS, ObjectRecord, Window
from tenantry.services.r2.options import (
    get_options,
    list_options,
    option_mapping,
    part_number,
    parts_argument,
    put_options,
    ssec_key,
    valid_key,
    valid_token,
)
from tenantry.services.r2.service import BucketRules, Clock, system_clock
from tenantry.streams import ByteStream, is_byte_stream, read_all

__all__ = ["R2Binding"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALL_METADATA = frozenset({"httpMetadata", "customMetadata"})
_ARGUMENT_DEPTH_MAX = 8

Handler = Callable[..., Awaitable[Any]]


class R2Binding:
    """A bucket as a Worker's binding."""

    eager = False

    def __init__(self, bucket: Bucket, clock: Clock = system_clock) -> None:
        self._rules = BucketRules(bucket, clock)

    async def call(self, method: str, args: list[Any]) -> Any:
        """See `tenantry.services.Binding`."""
        try:
            entry = _METHODS.get(method)
            if entry is None:
                raise type_error(f"R2Bucket has no method {method[:64]!r}.")
            handler, fewest, most = entry
            if not fewest <= len(args) <= most:
                raise type_error(f"Failed to execute '{method}' on 'R2Bucket': wrong number of arguments.")
            return await handler(self, *args)
        except BucketGone as error:
            raise r2_error(method, 10006) from error
        except StorageError as error:
            raise storage_refused(method, error) from error
        finally:
            for stream in _streams(args):
                await stream.aclose()

    async def _head(self, key: object, options: object = None) -> Any:
        name = valid_key("head", key)
        ssec_key(option_mapping(options))  # checked, and of no effect: the record is not under the key
        record = await self._rules.head(name)
        return None if record is None else _object(record, window=Window(0, record.size))

    async def _get(self, key: object, options: object = None) -> Any:
        found = await self._rules.get(valid_key("get", key), get_options(options))
        if found is None:
            return None
        record, window, stream = found
        body: bytes | ByteStream | None = stream
        # A few bytes travel inside the result; more cost a Worker nothing until it reads them.
        if stream is not None and window is not None and window.length <= INLINE_RESULT_BYTES_MAX:
            body = await read_all(stream, INLINE_RESULT_BYTES_MAX)
        return {"object": _object(record, window=window), "body": body}

    async def _put(self, key: object, value: object = None, options: object = None) -> Any:
        name = valid_key("put", key)
        body = _body("put", value)
        record = await self._rules.put(name, body, put_options("put", options))
        return None if record is None else _object(record)

    async def _delete(self, keys: object) -> None:
        if isinstance(keys, list):
            await self._rules.delete([valid_key("delete", key) for key in keys[: DELETE_KEYS_MAX + 1]])
        else:
            await self._rules.delete([valid_key("delete", keys)])

    async def _list(self, options: object = None) -> Any:
        wanted = list_options(options)
        page = await self._rules.list(wanted)
        objects: list[dict[str, Any]] = []
        for first in range(0, len(page.objects), SCAN_ROWS_PER_TURN):
            if first:
                await asyncio.sleep(0)
            objects += [_object(record, wanted.include) for record in page.objects[first : first + SCAN_ROWS_PER_TURN]]
        result: dict[str, Any] = {
            "objects": objects,
            "truncated": page.cursor is not None,
            "delimitedPrefixes": page.prefixes,
        }
        if page.cursor is not None:
            result["cursor"] = page.cursor
        return result

    async def _create_upload(self, key: object, options: object = None) -> Any:
        action = "createMultipartUpload"
        name = valid_key(action, key)
        return {"key": name, "uploadId": await self._rules.create_upload(name, put_options(action, options))}

    async def _upload_part(
        self, key: object, upload_id: object, number: object, value: object, options: object = None
    ) -> Any:
        action = "uploadPart"
        part = part_number(number)
        name = valid_key(action, key)
        token = valid_token(action, upload_id, 10024)
        key_of_body = ssec_key(option_mapping(options))
        made = await self._rules.upload_part(name, token, part, _body(action, value), ssec_key=key_of_body)
        return {"partNumber": part, "etag": made.etag}

    async def _complete_upload(self, key: object, upload_id: object, parts: object) -> Any:
        action = "completeMultipartUpload"
        name = valid_key(action, key)
        token = valid_token(action, upload_id, 10001)
        return _object(await self._rules.complete_upload(name, token, parts_argument(parts)))

    async def _abort_upload(self, key: object, upload_id: object) -> None:
        action = "abortMultipartUpload"
        name = valid_key(action, key)
        await self._rules.abort_upload(name, valid_token(action, upload_id, 10001))


_METHODS: Final[dict[str, tuple[Handler, int, int]]] = {
    "head": (R2Binding._head, 1, 2),
    "get": (R2Binding._get, 1, 2),
    "put": (R2Binding._put, 1, 3),
    "delete": (R2Binding._delete, 1, 1),
    "list": (R2Binding._list, 0, 1),
    "createMultipartUpload": (R2Binding._create_upload, 1, 2),
    "uploadPart": (R2Binding._upload_part, 4, 5),
    "completeMultipartUpload": (R2Binding._complete_upload, 3, 3),
    "abortMultipartUpload": (R2Binding._abort_upload, 2, 2),
}
"""Each with the fewest and the most arguments that it takes."""


def _body(action: str, value: object) -> bytes | ByteStream:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if is_byte_stream(value):
        return value
    raise type_error(
        f"Failed to execute '{action}' on 'R2Bucket': the value is not a ReadableStream, ArrayBuffer, "
        "ArrayBufferView, string or Blob."
    )


def _object(
    record: ObjectRecord, include: frozenset[str] = _ALL_METADATA, window: Window | None = None
) -> dict[str, Any]:
    metadata = record.metadata
    result: dict[str, Any] = {
        "key": record.key,
        "version": record.version,
        "size": record.size,
        "etag": record.etag,
        "uploaded": _date(record.uploaded_ms),
        "checksums": {name: value for name, value in metadata.checksums.items() if name in ALGORITHMS},
        "storageClass": metadata.storage_class,
    }
    if "httpMetadata" in include:
        result["httpMetadata"] = {
            name: _date(value) if isinstance(value, int) else value for name, value in metadata.http.items()
        }
    if "customMetadata" in include:
        result["customMetadata"] = dict(metadata.custom)
    if window is not None:
        result["range"] = {"offset": window.offset, "length": window.length}
    if record.ssec_key_md5 is not None:
        result["ssecKeyMd5"] = record.ssec_key_md5
    return result


def _date(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _streams(value: object, depth: int = 0) -> list[ByteStream]:
    """The streams in arguments, also where none belongs: they are ours to close all the same."""
    if value is None or isinstance(value, (str, bytes, int, float)) or depth > _ARGUMENT_DEPTH_MAX:
        return []
    if isinstance(value, dict):
        return [stream for item in value.values() for stream in _streams(item, depth + 1)]
    if isinstance(value, (list, set)):
        return [stream for item in value for stream in _streams(item, depth + 1)]
    return [value] if is_byte_stream(value) else []
