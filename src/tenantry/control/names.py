"""Names as they come from clients: what each kind of thing may be called."""

from __future__ import annotations

import re
import unicodedata

from tenantry.control import limits
from tenantry.control.errors import Invalid

__all__ = [
    "bucket_name_untrusted",
    "check_kv_id_untrusted",
    "database_name_untrusted",
    "kv_title_untrusted",
    "module_name_untrusted",
    "namespace_name_untrusted",
    "script_name_untrusted",
]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*", re.ASCII)
_KV_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]", re.ASCII)


def script_name_untrusted(name: str) -> str:
    """The name of a Worker. Raises Invalid (10016)."""
    if len(name) > limits.SCRIPT_NAME_CHARACTERS_MAX or not _NAME.fullmatch(name):
        raise Invalid(
            10016,
            f"{_shown(name)} is not a Worker name: letters, digits, '-' and '_', not '-' first, "
            f"at most {limits.SCRIPT_NAME_CHARACTERS_MAX} characters",
        )
    return name


def namespace_name_untrusted(name: str) -> str:
    """The name of a dispatch namespace. Raises Invalid (10021)."""
    if len(name) > limits.NAMESPACE_NAME_CHARACTERS_MAX or not _NAME.fullmatch(name):
        raise Invalid(
            10021,
            f"{_shown(name)} is not a dispatch namespace name: letters, digits, '-' and '_', not '-' first, "
            f"at most {limits.NAMESPACE_NAME_CHARACTERS_MAX} characters",
        )
    return name


def bucket_name_untrusted(name: str) -> str:
    """The name of an R2 bucket. Raises Invalid (10005)."""
    if not 3 <= len(name) <= limits.BUCKET_NAME_CHARACTERS_MAX or not _BUCKET.fullmatch(name):
        raise Invalid(
            10005,
            f"The specified bucket name is not valid: {_shown(name)}. Use 3 to {limits.BUCKET_NAME_CHARACTERS_MAX} "
            "lower-case letters, digits and '-', with a letter or digit first and last.",
        )
    return name


def database_name_untrusted(name: str) -> str:
    """The name of a D1 database. Raises Invalid (7400)."""
    if len(name) > limits.DATABASE_NAME_CHARACTERS_MAX or not _NAME.fullmatch(name):
        raise Invalid(
            7400,
            f"{_shown(name)} is not a database name: letters, digits, '-' and '_', not '-' first, "
            f"at most {limits.DATABASE_NAME_CHARACTERS_MAX} characters",
        )
    return name


def kv_title_untrusted(title: str) -> str:
    """The title of a KV namespace: any printable text. Raises Invalid (10019)."""
    size = len(title.encode("utf-8", "surrogatepass"))
    if not title.strip() or size > limits.KV_TITLE_BYTES_MAX or _has_control(title):
        raise Invalid(10019, f"a namespace title is text of 1 to {limits.KV_TITLE_BYTES_MAX} bytes on one line")
    return title


def check_kv_id_untrusted(namespace_id: str, action: str) -> None:
    """The id of a KV namespace in a path. Raises Invalid (10011), whose message begins with `action`."""
    if not _KV_ID.fullmatch(namespace_id):
        text = f"could not parse UUID from request's namespace_id: 'invalid UUID length: {len(namespace_id)}'"
        raise Invalid(10011, f"{action}: '{text}'")


def module_name_untrusted(name: str) -> str:
    """The name of a module as a relative path with `/`: the only form in which it ever meets the file system.

    A `./` in front is taken off, since clients send it. Everything else that is not plain is refused, never
    mended: what one layer mends another reads differently. Raises Invalid (10021).
    """
    plain = name.removeprefix("./")
    try:
        encoded = plain.encode("utf-8")
    except UnicodeEncodeError:
        raise Invalid(10021, f"module name {_shown(name)} is not valid Unicode") from None
    segments = plain.split("/")
    if len(encoded) > limits.MODULE_NAME_BYTES_MAX or len(segments) > limits.MODULE_NAME_SEGMENTS_MAX:
        raise Invalid(
            10021,
            f"module name {_shown(name)} is longer than {limits.MODULE_NAME_BYTES_MAX} bytes "
            f"or deeper than {limits.MODULE_NAME_SEGMENTS_MAX} folders",
        )
    if "\\" in plain or _has_control(plain):
        raise Invalid(10021, f"module name {_shown(name)} has a backslash or a control character")
    for segment in segments:
        if segment in ("", ".", ".."):
            raise Invalid(
                10021,
                f"module name {_shown(name)} is not a plain relative path (no '..', no '.', no '/' first or last)",
            )
        if len(segment.encode("utf-8")) > limits.MODULE_NAME_SEGMENT_BYTES_MAX:
            raise Invalid(
                10021,
                f"module name {_shown(name)} has a part longer than {limits.MODULE_NAME_SEGMENT_BYTES_MAX} bytes",
            )
    return plain


def _has_control(text: str) -> bool:
    # Cc: C0, DEL and C1. Cs: surrogates. Zl and Zp break lines in logs. None of them is printable, nearly all else is.
    return not text.isprintable() and any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text
    )


def _shown(name: str) -> str:
    """A hostile name in a message: quoted, escaped, short."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")
