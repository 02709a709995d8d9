"""`self.env.<R2 bucket>`: what a tenant calls, made into what the host takes, and back.

Rules and their errors are the host's; here values only change their shape: keyword arguments become options, Headers
become a dict, a large body becomes a stream, and results become objects with Cloudflare's attributes (and snake_case
ones beside them). Bytes that nobody reads do not come here: `obj.body` is a handle that can be returned or put again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from workers._bindings.base import BindingStub, ReadableStream, body_stream, camel_case, options
from workers._errors import data_clone_error, type_error
from workers._web.blob import Blob
from workers._web.body import Body
from workers._web.buffers import ArrayBuffer, buffer_bytes
from workers._web.headers import combined, pairs_of
from workers._web.raw import JSNULL, Raw, js_string
from workers.rpc import JsDict, JsObject

__all__ = ["R2Bucket", "R2MultipartUpload", "R2Object", "R2ObjectBody", "R2Objects"]

_INLINE_BYTES_MAX: Final = 64 * 1024

_LENGTH_UNKNOWN: Final = (
    "Provided readable stream must have a known length (request/response body or readable half of FixedLengthStream)"
)
_CONDITION_HEADERS: Final = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})
_RANGE_HEADERS: Final = frozenset({"range"})
_METADATA_HEADERS: Final = {
    "contentType": "Content-Type",
    "contentLanguage": "Content-Language",
    "contentDisposition": "Content-Disposition",
    "contentEncoding": "Content-Encoding",
    "cacheControl": "Cache-Control",
    "cacheExpiry": "Expires",
}
_METADATA_HEADER_NAMES: Final = frozenset(name.lower() for name in _METADATA_HEADERS.values())
_CHECKSUMS: Final = ("md5", "sha1", "sha256", "sha384", "sha512")

# Any, throughout: values come from tenants and are theirs; that is what this module is about.


class R2Bucket(BindingStub):
    """An R2 bucket. Options go last, as a dict or as keywords: `put(key, value, customMetadata={...})`."""

    type_name: ClassVar[str] = "R2Bucket"
    clone_refusal: ClassVar[str] = "An R2 bucket binding cannot be serialized."

    async def head(self, key: Any, settings: Any = None, /, **keywords: Any) -> R2Object | None:
        """The object without its body; None where there is none."""
        given = _plain_options(settings, keywords)
        found = await self._call("head", _key(key), *([given] if given else []))
        return None if found is None else R2Object(found)

    async def get(self, key: Any, settings: Any = None, /, **keywords: Any) -> R2Object | None:
        """An R2ObjectBody; an R2Object without a body where `onlyIf` did not hold; None where there is no object."""
        found = await self._call("get", _key(key), _plain_options(settings, keywords))
        if found is None:
            return None
        body = found["body"]
        return R2Object(found["object"]) if body is None else R2ObjectBody(found["object"], body)

    async def put(self, key: Any, value: Any, settings: Any = None, /, **keywords: Any) -> R2Object | None:
        """Stores text, bytes, a Blob, a stream of known length, or nothing (None). None where `onlyIf` did not hold."""
        name, given = _key(key), _plain_options(settings, keywords)
        stored = await self._call("put", name, _value("put", value), given)
        return None if stored is None else R2Object(stored)

    async def delete(self, keys: Any, /) -> None:
        """Deletes one key, or a list of at most 1000. Keys that are not there are fine."""
        if isinstance(keys, (list, tuple, set)):
            await self._call("delete", [_key(key) for key in keys])
        else:
            await self._call("delete", _key(keys))

    async def list(self, settings: Any = None, /, **keywords: Any) -> R2Objects:
        """A page: `objects`, `delimitedPrefixes`, `truncated`, and `cursor` where there is more."""
        page = await self._call("list", _plain_options(settings, keywords))
        return R2Objects({**page, "objects": [R2Object(entry) for entry in page["objects"]]})

    async def createMultipartUpload(self, key: Any, settings: Any = None, /, **keywords: Any) -> R2MultipartUpload:
        upload = await self._call("createMultipartUpload", _key(key), _plain_options(settings, keywords))
        return R2MultipartUpload(self, upload["key"], upload["uploadId"])

    def resumeMultipartUpload(self, key: Any, uploadId: Any, /) -> R2MultipartUpload:
        """An upload begun elsewhere. Nothing is asked or checked until it is used."""
        return R2MultipartUpload(self, _key(key), js_string(uploadId))


class _Result(Raw):
    """What the object types share: `obj["key"]`, snake_case names, and that they stay in the Worker."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        camel = camel_case(name)
        if camel != name and not name.startswith("_"):
            return getattr(self, camel)
        raise AttributeError(f"{self.js_name!r} object has no attribute {name!r}")

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def _tenantry_value(self, capabilities: list[Any]) -> Any:
        text = f'Could not serialize object of type "{self.js_name}". This type does not support serialization.'
        raise data_clone_error(text)


class R2Object(_Result):
    """An object's record. `httpMetadata` and `customMetadata` are empty in a list that did not `include` them."""

    __slots__ = (
        "_has_http_metadata",
        "checksums",
        "customMetadata",
        "etag",
        "httpEtag",
        "httpMetadata",
        "key",
        "range",
        "size",
        "ssecKeyMd5",
        "storageClass",
        "uploaded",
        "version",
    )
    js_name = "HeadResult"

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.key: str = record["key"]
        self.version: str = record["version"]
        self.size: int = record["size"]
        self.etag: str = record["etag"]
        self.httpEtag = f'"{self.etag}"'
        self.uploaded = R2Date.of(record["uploaded"])
        self.checksums = R2Checksums(record["checksums"])
        self.storageClass: str = record["storageClass"]
        self.ssecKeyMd5: str | None = record.get("ssecKeyMd5")
        self._has_http_metadata = "httpMetadata" in record
        self.httpMetadata = JsObject(
            (name, R2Date.of(value) if isinstance(value, datetime) else value)
            for name, value in record.get("httpMetadata", {}).items()
        )
        self.customMetadata = JsObject(record.get("customMetadata", {}))
        window = record.get("range")
        self.range = None if window is None else JsObject(window)

    def writeHttpMetadata(self, headers: Any, /) -> None:
        """Sets the headers that the metadata says, in js.Headers, an HTTPMessage, a dict, or whatever has `set`."""
        if not self._has_http_metadata:
            text = f"HTTP metadata unknown for key `{self.key}`."
            raise type_error(f"{text} Did you forget to add 'httpMetadata' to `include` when listing?")
        for name, value in self.httpMetadata.items():
            text = _http_date(value) if isinstance(value, datetime) else value
            _set_header(headers, _METADATA_HEADERS[name], text)


class R2ObjectBody(R2Object):
    """An object with its body, which is read once: `text()`, `json()`, `bytes()`, `arrayBuffer()`, `blob()`, `body`."""

    __slots__ = ("_content",)
    js_name = "GetResult"

    def __init__(self, record: Mapping[str, Any], body: bytes | ReadableStream) -> None:
        super().__init__(record)
        self._content = _Content(body, self.httpMetadata.get("contentType"))

    @property
    def body(self) -> ReadableStream | None:
        """The bytes as a stream, to be read or passed on."""
        return self._content.body

    @property
    def bodyUsed(self) -> bool:
        return self._content.bodyUsed

    async def arrayBuffer(self) -> ArrayBuffer:
        return await self._content.arrayBuffer()

    async def bytes(self) -> bytes:
        return await self._content.bytes()

    async def text(self) -> str:
        return await self._content.text()

    async def json(self) -> Any:
        return await self._content.json()

    async def blob(self) -> Blob:
        return await self._content.blob()


class _Content(Body):
    """The body of an object, with the rules that bodies have everywhere."""

    __slots__ = ()

    def __init__(self, body: bytes | ReadableStream, content_type: str | None) -> None:
        self._body = body
        self._pairs = [] if content_type is None else [("content-type", content_type)]
        self._used = False


class R2Objects(JsDict):
    """A page of a listing."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(camel_case(name))


class R2Checksums(_Result):
    """`md5`, `sha1`, `sha256`, `sha384`, `sha512`: an ArrayBuffer where it is known, else None."""

    __slots__ = (*_CHECKSUMS,)
    js_name = "Checksums"

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        for name in _CHECKSUMS:
            digest = digests.get(name)
            setattr(self, name, None if digest is None else ArrayBuffer(digest))

    def toJSON(self) -> JsObject:
        """Those that are known, in hex."""
        known = ((name, getattr(self, name)) for name in _CHECKSUMS)
        return JsObject((name, digest.hex()) for name, digest in known if digest is not None)


class R2MultipartUpload(_Result):
    """An upload in parts. Part numbers begin at 1; all parts but the last have the same size, of at least 5 MiB."""

    __slots__ = ("_bucket", "key", "uploadId")
    js_name = "R2MultipartUpload"

    def __init__(self, bucket: R2Bucket, key: str, upload_id: str) -> None:
        self._bucket = bucket
        self.key = key
        self.uploadId = upload_id

    async def uploadPart(self, partNumber: Any, value: Any, settings: Any = None, /, **keywords: Any) -> JsDict:
        """`{partNumber, etag}`, which `complete` wants back."""
        given = _plain_options(settings, keywords)
        body = _value("uploadPart", value)
        part = await self._bucket._call("uploadPart", self.key, self.uploadId, partNumber, body, given)
        return JsDict(part)

    async def complete(self, uploadedParts: Any, /) -> R2Object:
        parts = [_uploaded_part(part) for part in uploadedParts]
        return R2Object(await self._bucket._call("completeMultipartUpload", self.key, self.uploadId, parts))

    async def abort(self) -> None:
        await self._bucket._call("abortMultipartUpload", self.key, self.uploadId)


class R2Date(datetime):
    """A Date: a naive datetime in UTC, as all times in a Worker, with the methods of JavaScript's."""

    @classmethod
    def of(cls, moment: datetime) -> R2Date:
        utc = moment.astimezone(UTC)
        return cls.combine(utc.date(), utc.time())

    def getTime(self) -> int:
        return round(self.replace(tzinfo=UTC).timestamp() * 1000)

    valueOf = getTime

    def toISOString(self) -> str:
        return f"{self.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"

    toJSON = toISOString

    def toUTCString(self) -> str:
        return _http_date(self)

    def to_py(self, **_options: Any) -> datetime:
        return datetime.combine(self.date(), self.time())


def _http_date(moment: datetime) -> str:
    """RFC 9110's date. `email.utils` has it too, and costs a Worker that import."""
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[moment.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT"


# What goes to the host.


def _key(key: Any) -> Any:
    """A key as JavaScript would pass it. What is neither text nor number goes on as it is: the host refuses it."""
    if isinstance(key, str):
        return key if key.isascii() else _well_formed(key)
    return js_string(key) if isinstance(key, (int, float)) else key


def _well_formed(text: str) -> str:
    """JavaScript's `toWellFormed()`, which UTF-8 implies: half a surrogate pair becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _value(action: str, value: Any) -> Any:
    """A body: bytes, or a stream for what is large or somewhere else."""
    if value is None or value is JSNULL:
        return None
    if isinstance(value, str):
        value = value.encode("utf-8", "replace")
    raw = getattr(value, "js_object", value)
    data = raw.data if isinstance(raw, Blob) else buffer_bytes(value)
    if data is not None and len(data) <= _INLINE_BYTES_MAX:
        return data
    stream = body_stream(value if data is None else data)
    if stream is not None:
        return stream
    if hasattr(value, "__aiter__") or hasattr(value, "__next__"):
        raise type_error(_LENGTH_UNKNOWN)
    raise type_error(
        f"Failed to execute '{action}' on 'R2Bucket': parameter 2 is not of type 'ReadableStream or ArrayBuffer or "
        "ArrayBufferView or string or Blob'."
    )


def _plain_options(settings: Any, keywords: dict[str, Any]) -> dict[str, Any]:
    """The options with their own objects made plain. Names that nobody knows are left to the host."""
    given = options(None if settings is JSNULL else settings, keywords)
    for name in [name for name, value in given.items() if value is JSNULL]:
        del given[name]
    for name, convert in _OPTION_FORMS.items():
        if name in given:
            given[name] = convert(given[name])
    return given


def _headers_form(value: Any, names: Iterable[str]) -> dict[str, Any] | None:
    """Headers, in any of their forms, as the host takes them; None for what is an options object.

    js.Headers and HTTPMessage are Headers; a dict is when one of its keys is such a header.
    """
    if isinstance(value, dict):
        wanted = frozenset(names)
        if not any(isinstance(name, str) and name.lower() in wanted for name in value):
            return None
    elif not hasattr(value, "items"):
        return None
    known = frozenset(names)
    return {"headers": {name: text for name, text in combined(pairs_of(value)) if name in known}}


def _only_if(value: Any) -> Any:
    return _headers_form(value, _CONDITION_HEADERS) or _plain_object(value)


def _range(value: Any) -> Any:
    return _headers_form(value, _RANGE_HEADERS) or _plain_object(value)


def _http_metadata(value: Any) -> Any:
    return _headers_form(value, _METADATA_HEADER_NAMES) or _plain_object(value)


def _plain_object(value: Any) -> Any:
    """An options object inside the options: names in camelCase, Dates as datetimes. None means absent."""
    if not isinstance(value, dict):
        return value
    return {camel_case(str(name)): _plain_item(item) for name, item in value.items() if item is not None}


def _plain_item(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    get_time = getattr(value, "getTime", None)
    if get_time is not None:
        return datetime.fromtimestamp(get_time() / 1000, UTC)
    return list(value) if isinstance(value, (tuple, set)) else value


def _custom_metadata(value: Any) -> Any:
    """Values become text, as JavaScript would make them."""
    if not isinstance(value, dict):
        return value
    return {
        str(name): js_string(text) if text is None or isinstance(text, (int, float)) else text
        for name, text in value.items()
    }


def _bytes_or_text(value: Any) -> Any:
    return value if isinstance(value, str) else buffer_bytes(value)


def _include(value: Any) -> Any:
    if not isinstance(value, (list, tuple, set)):
        return value
    return [camel_case(entry) if isinstance(entry, str) else entry for entry in value]


def _uploaded_part(part: Any) -> Any:
    """What `uploadPart` returned, or a dict of the same shape that was kept somewhere meanwhile."""
    if isinstance(part, dict):
        return {camel_case(str(name)): item for name, item in part.items()}
    return {"partNumber": getattr(part, "partNumber", None), "etag": getattr(part, "etag", None)}


_OPTION_FORMS: Final = {
    "onlyIf": _only_if,
    "range": _range,
    "httpMetadata": _http_metadata,
    "customMetadata": _custom_metadata,
    "include": _include,
    "ssecKey": _bytes_or_text,
    **dict.fromkeys(_CHECKSUMS, _bytes_or_text),
}


def _set_header(headers: Any, name: str, value: str) -> None:
    if isinstance(headers, dict):
        for known in [known for known in headers if isinstance(known, str) and known.lower() == name.lower()]:
            del headers[known]
        headers[name] = value
    elif hasattr(headers, "set"):
        headers.set(name, value)
    elif hasattr(headers, "__setitem__"):
        # An HTTPMessage appends on assignment, and says nothing when there is nothing to delete.
        if hasattr(headers, "__delitem__") and name in headers:
            del headers[name]
        headers[name] = value
    else:
        raise type_error("writeHttpMetadata() needs a Headers object.")
