"""`workers.FormData`, `Blob` and `File`: Python's views of forms and files."""

from __future__ import annotations

from collections.abc import Generator, MutableMapping
from enum import StrEnum
from typing import Any

from workers._errors import JsException
from workers._web.blob import Blob as RawBlob
from workers._web.blob import File as RawFile
from workers._web.body import Body
from workers._web.buffers import buffer_bytes
from workers._web.form_data import FormData as RawFormData

__all__ = ["Blob", "BlobEnding", "File", "FormData", "read_form"]


class BlobEnding(StrEnum):
    TRANSPARENT = "transparent"
    NATIVE = "native"


def _parts(parts: Any) -> tuple[list[Any], str]:
    """(parts, content type that they bring along)."""
    if isinstance(parts, (list, tuple)):
        return [_part(part) for part in parts], ""
    part = _part(parts)
    return [part], part.type if isinstance(part, RawBlob) else ""


def _part(part: Any) -> Any:
    raw = getattr(part, "js_object", part)
    if isinstance(raw, (str, RawBlob)):
        return raw
    data = buffer_bytes(part)
    if data is None:
        raise TypeError(f"Don't know how to handle {type(part)} for Blob()")
    return data


class Blob:
    """Bytes with a content type."""

    __slots__ = ("__weakref__", "_js_blob")
    _js_blob: RawBlob

    def __init__(self, blob: Any, content_type: str | None = None, endings: BlobEnding | str | None = None) -> None:
        if isinstance(blob, RawBlob) and content_type is None and endings is None:
            self._js_blob = blob
            return
        parts, inherited = _parts(blob)
        self._js_blob = RawBlob(parts, {"type": content_type or inherited, "endings": endings and str(endings)})

    @staticmethod
    def _wrap(raw: RawBlob) -> Blob:
        kind = File if isinstance(raw, RawFile) else Blob
        blob: Blob = kind.__new__(kind)
        blob._js_blob = raw
        return blob

    @property
    def js_object(self) -> RawBlob:
        return self._js_blob

    @property
    def size(self) -> int:
        return self._js_blob.size

    @property
    def content_type(self) -> str:
        return self._js_blob.type

    async def text(self) -> str:
        return await self._js_blob.text()

    async def bytes(self) -> bytes:
        return await self._js_blob.read()

    def slice(self, start: int | None = None, end: int | None = None, content_type: str | None = None) -> Blob:
        return Blob._wrap(self._js_blob.slice(start, end, content_type))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return getattr(self._js_blob, name)
        except AttributeError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __repr__(self) -> str:
        return f"Blob(size={self.size}, content_type={self.content_type!r})"

    def _tenantry_value(self, capabilities: list[Any]) -> Any:
        return self._js_blob._tenantry_value(capabilities)


class File(Blob):
    """A Blob with a name."""

    __slots__ = ()
    _js_blob: RawFile

    def __init__(
        self,
        blob: Any,
        filename: str,
        content_type: str | None = None,
        endings: BlobEnding | str | None = None,
        last_modified: int | None = None,
    ) -> None:
        parts, inherited = _parts(blob)
        self._js_blob = RawFile(
            parts,
            filename,
            {
                "type": content_type or inherited,
                "endings": endings and str(endings),
                "lastModified": last_modified,
            },
        )

    @property
    def name(self) -> str:
        return self._js_blob.name

    @property
    def last_modified(self) -> int:
        return self._js_blob.lastModified

    def __repr__(self) -> str:
        return f"File(name={self.name!r}, size={self.size}, content_type={self.content_type!r})"


async def read_form(body: Body) -> FormData:
    """The form in a body. Raises TypeError, Python's own, for what is not one."""
    try:
        return FormData._wrap(await body.formData())
    except JsException as error:
        if isinstance(error, TypeError):
            raise TypeError(error.message) from error
        raise


def _from_raw(value: Any) -> Any:
    return Blob._wrap(value) if isinstance(value, RawBlob) else value


class FormData(MutableMapping[str, Any]):
    """A form: a mapping whose keys may repeat. `[key]` is the first value, None where there is none."""

    __slots__ = ("__weakref__", "_js_form")

    def __init__(self, form_data: Any = None) -> None:
        if isinstance(form_data, RawFormData):
            self._js_form = form_data
        elif form_data is None or isinstance(form_data, dict):
            self._js_form = RawFormData()
            for key, value in (form_data or {}).items():
                self._js_form.append(key, value)
        else:
            raise TypeError("Expected form_data to be a dict or an instance of FormData")

    @classmethod
    def _wrap(cls, raw: RawFormData) -> FormData:
        form = cls.__new__(cls)
        form._js_form = raw
        return form

    @property
    def js_object(self) -> RawFormData:
        return self._js_form

    def __getitem__(self, key: str) -> Any:
        return _from_raw(self._js_form.get(key))

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, list):
            raise TypeError("Expected single item in arguments to FormData.__setitem__")
        self._js_form.set(key, value)

    def __delitem__(self, key: str) -> None:
        self._js_form.delete(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._js_form.has(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if self._js_form.has(key) else default

    def append(self, key: str, value: Any, filename: str | None = None) -> None:
        self._js_form.append(key, value, filename)

    def delete(self, key: str) -> None:
        self._js_form.delete(key)

    def get_all(self, key: str) -> list[Any]:
        return [_from_raw(value) for value in self._js_form.getAll(key)]

    def keys(self) -> Generator[str, None, None]:  # type: ignore[override]  # generators with repeats, as upstream
        yield from self._js_form.keys()

    def values(self) -> Generator[Any, None, None]:  # type: ignore[override]
        for value in self._js_form.values():
            yield _from_raw(value)

    def items(self) -> Generator[tuple[str, Any], None, None]:  # type: ignore[override]
        for key, value in self._js_form.entries():
            yield key, _from_raw(value)

    def __iter__(self) -> Generator[str, None, None]:
        yield from self._js_form.keys()

    def __len__(self) -> int:
        """The number of pairs. Upstream raises TypeError here."""
        return len(self._js_form.pairs)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"FormData({self._js_form.pairs!r})"

    def _tenantry_value(self, capabilities: list[Any]) -> Any:
        return self._js_form._tenantry_value(capabilities)
