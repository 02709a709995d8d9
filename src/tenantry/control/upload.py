"""The upload form, section 7 of RFC 7578 as Cloudflare's clients speak it: bytes in, files in a staging folder out.

`UploadParser` is fed chunks as they arrive and keeps no more in memory than one chunk and the `metadata` part. It
blocks for disk writes, so it runs in a thread. Clients differ in three ways:

* wrangler: part name = file name = module name, `metadata` first, without a type;
* SDK 5.x: every module part is named `files`, the module name is the file name, `metadata` last;
* SDK 4.x, curl: part name = module name, the file name is `upload`, the name again, or absent.

So the names are settled at the end, when all parts and `main_module` are known.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from tenantry.control import limits
from tenantry.control.asset_sessions import SettledAssets
from tenantry.control.bundles import BundleStore, StagedFile
from tenantry.control.errors import Invalid, TooLarge
from tenantry.control.metadata import (
    Metadata,
    main_module_untrusted,
    parse_main_module_untrusted,
    parse_metadata_untrusted,
)
from tenantry.control.names import module_name_untrusted

__all__ = [
    "Files",
    "Upload",
    "UploadParser",
    "form_part_untrusted",
    "multipart_boundary_untrusted",
    "parse_json_form_untrusted",
]

_FILES_PART = re.compile(r"files(\[[0-9]*\])?")
_EXTENDED_FILENAME = re.compile(r";\s*filename\*\s*=\s*utf-8'[^']*'([^;\s]+)", re.IGNORECASE)
# `module.cpython-313-wasm32-emscripten.so`, and the libraries beside such modules.
_WASM_EXTENSION = re.compile(r"(wasm32|emscripten)[^/]*\.(so|whl|zip)$", re.IGNORECASE)
# The two parts that are no module: `settings` belongs to other calls and is harmless here.
_METADATA_PART = "metadata"


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a version, stored: `bundle` is their content address, `modules` maps each name to its content
    type."""

    bundle: str
    modules: dict[str, str]


@dataclass(frozen=True, slots=True)
class Upload:
    """A complete upload: its metadata, and its files as in `Files`, which are none for a Worker without code."""

    metadata: Metadata
    bundle: str
    modules: dict[str, str]
    assets: SettledAssets | None = None
    """What its completion token stands for, once that was looked up; None where it has none."""


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    filename: str | None
    content_type: str
    file: StagedFile


def multipart_boundary_untrusted(content_type: str) -> str | None:
    """The boundary of a multipart form, None for another type. Raises Invalid (10021)."""
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data":
        return None
    boundary = str(options.get("boundary", ""))
    if not 0 < len(boundary) <= limits.BOUNDARY_CHARACTERS_MAX or not boundary.isascii() or not boundary.isprintable():
        raise Invalid(10021, "the multipart boundary is missing or not valid")
    return boundary


def parse_json_form_untrusted(body: bytes) -> Metadata:
    """The form without modules, `{"metadata": {…}}`. Raises Invalid (10021)."""

    class Form(msgspec.Struct):
        metadata: msgspec.Raw

    try:
        form = msgspec.json.decode(body, type=Form)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(10021, f"the body is neither a multipart form nor JSON with metadata: {error}") from error
    return parse_metadata_untrusted(bytes(form.metadata))


def form_part_untrusted(body: bytes, boundary: str, name: str) -> bytes:
    """The content of one part of a small form, as a field or as a file. Raises Invalid (10021)."""
    content: bytearray | None = None
    inside = False
    try:
        with PushMultipartParser(boundary, max_segment_count=limits.BINDINGS_MAX) as parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    inside = event.name == name
                    if inside and content is not None:
                        raise Invalid(10021, f"the form has two parts named {name}")
                    if inside:
                        content = bytearray()
                elif event and inside and content is not None:
                    content += event
    except MultipartError as error:
        raise Invalid(10021, f"the multipart form is malformed: {error}") from error
    if content is None:
        raise Invalid(10021, f"the form has no part named {name}: send one with a JSON document")
    return bytes(content)


class UploadParser:
    """Feed it the body, then `finish` it; `close` it in any case. Safe to close while another thread feeds it.

    `feed` and `finish` raise Invalid (10021) and TooLarge (10027), after which only `close` may follow.
    """

    def __init__(self, bundles: BundleStore, boundary: str) -> None:
        self._parser = PushMultipartParser(boundary, max_segment_count=limits.UPLOAD_PARTS_MAX)
        self._staging = bundles.stage()
        self._lock = threading.Lock()
        self._closed = False
        self._total_bytes = 0
        self._module_bytes = 0
        self._parts: list[_Part] = []
        self._segment: MultipartSegment | None = None
        self._metadata: bytearray | None = None

    def feed(self, chunk: bytes) -> None:
        with self._lock:
            if self._closed or not chunk:
                return
            self._total_bytes += len(chunk)
            if self._total_bytes > limits.UPLOAD_BYTES_MAX:
                raise TooLarge(10027, f"the upload is larger than {limits.UPLOAD_BYTES_MAX} bytes")
            try:
                for event in self._parser.parse(chunk):
                    self._on_event(event)
            except ParserLimitReached as error:
                raise TooLarge(
                    10027, f"the multipart form has too many or too large headers or parts: {error}"
                ) from error
            except MultipartError as error:
                raise Invalid(10021, f"the multipart form is malformed: {error}") from error

    def finish(self) -> Upload:
        """The upload, its bundle durable."""
        with self._lock:
            content = self._end_form()
            if content is None:
                raise Invalid(10021, "the form has no part named metadata")
            metadata = parse_metadata_untrusted(content)
            files = self._commit(metadata.main_module)
            return Upload(metadata, files.bundle, files.modules)

    def finish_files(self, main_module: str | None) -> tuple[str, Files]:
        """For a form that brings code only: the name of the main module, and the files, durable.

        `main_module` is what the request's header says; without one, `metadata` has to say it.
        """
        with self._lock:
            content = self._end_form()
            if not main_module:
                main_module = parse_main_module_untrusted(b"{}" if content is None else content)
            main_module = main_module_untrusted(main_module)
            return main_module, self._commit(main_module)

    def _end_form(self) -> bytes | None:
        """The content of `metadata`."""
        try:
            self._parser.close()
        except MultipartError as error:
            raise Invalid(10021, f"the multipart form is malformed: {error}") from error
        return None if self._metadata is None else bytes(self._metadata)

    def _commit(self, main_module: str) -> Files:
        if not main_module:
            if self._parts:
                raise Invalid(10021, "metadata: main_module is missing: which of the form's modules is the entry?")
            return Files("", {})
        parts = _name_parts(self._parts, main_module)
        check_modules(parts)
        try:
            bundle = self._staging.commit({name: part.file for name, part in parts.items()})
        except ValueError as error:
            raise Invalid(10021, f"module names collide: {error}") from error
        return Files(bundle, {name: part.content_type for name, part in parts.items()})

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._staging.close()

    def _on_event(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is None:
            self._end()
        else:
            self._data(bytes(event))

    def _begin(self, segment: MultipartSegment) -> None:
        if not segment.name:
            raise Invalid(10021, "a part of the form has no name")
        self._segment = segment
        if segment.name == _METADATA_PART:
            if self._metadata is not None:
                raise Invalid(10021, "the form has two parts named metadata")
            self._metadata = bytearray()
        else:
            if len(self._parts) >= limits.MODULES_MAX:
                raise TooLarge(10027, f"more than {limits.MODULES_MAX} modules")
            self._staging.begin_file()

    def _data(self, data: bytes) -> None:
        assert self._segment is not None, "data outside a part"
        if self._segment.name == _METADATA_PART:
            assert self._metadata is not None, "begun with the part"
            self._metadata += data
            if len(self._metadata) > limits.METADATA_BYTES_MAX:
                raise TooLarge(10027, f"metadata is larger than {limits.METADATA_BYTES_MAX} bytes")
            return
        self._module_bytes += len(data)
        if self._module_bytes > limits.MODULE_BYTES_TOTAL_MAX:
            raise TooLarge(10027, f"the modules are larger than {limits.MODULE_BYTES_TOTAL_MAX} bytes together")
        self._staging.write(data)

    def _end(self) -> None:
        segment = self._segment
        assert segment is not None, "the end of no part"
        self._segment = None
        if segment.name == _METADATA_PART:
            return
        assert segment.name, "checked at its begin"
        content_type = segment.content_type or "application/octet-stream"
        if len(content_type) > 200 or not content_type.isascii() or not content_type.isprintable():
            raise Invalid(10021, "a part of the form has a content type that is not valid")
        self._parts.append(_Part(segment.name, _filename(segment), content_type, self._staging.end_file()))


def check_modules(names: Iterable[str]) -> None:
    """Raises Invalid (10021) for files that no CPython on Linux can load, and says what to upload instead."""
    for name in names:
        if _WASM_EXTENSION.search(name):
            package = name.removeprefix("python_modules/").partition("/")[0]
            raise Invalid(
                10021,
                f"{name[:200]!a} is built for WebAssembly (wasm32, from Pyodide's index), and this platform runs "
                f"CPython on Linux. Vendor the package as PyPI has it: "
                f"pip install --target python_modules --upgrade {package[:80]}",
            )


def _filename(segment: MultipartSegment) -> str | None:
    """The file name; the extended spelling of RFC 5987 wins, which the parser does not read."""
    extended = _EXTENDED_FILENAME.search(segment.header("Content-Disposition", ""))
    if extended is None:
        filename: str | None = segment.filename
        return filename
    try:
        return unquote(extended.group(1), errors="strict")
    except UnicodeDecodeError as error:
        raise Invalid(10021, "a part of the form has a file name that is not UTF-8") from error


def _name_parts(parts: list[_Part], main_module: str) -> dict[str, _Part]:
    """Module name → part, by the rules at the top. Raises Invalid (10021)."""
    named = _unique([(_module_name(part), part) for part in parts])
    if main_module in named:
        return named
    if any(part.filename == main_module or part.filename == f"./{main_module}" for part in parts):
        return _unique([(part.filename or part.name, part) for part in parts])
    raise Invalid(10021, f"No such module {main_module!a}: main_module must be the name of one of the form's parts")


def _module_name(part: _Part) -> str:
    if _FILES_PART.fullmatch(part.name) and part.filename:
        return part.filename
    return part.name


def _unique(named: list[tuple[str, _Part]]) -> dict[str, _Part]:
    modules: dict[str, _Part] = {}
    for raw, part in named:
        name = module_name_untrusted(raw)
        if name in modules:
            raise Invalid(10021, f"two modules have the name {name[:100]!a}")
        modules[name] = part
    return modules
