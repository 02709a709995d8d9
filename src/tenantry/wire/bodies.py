"""The bodies of frames: CALL, RESULT, ERROR and LOG hold an array of fields, CREDIT an integer, ABORT a text.

The arrays are exact: a field more, a field less or one of another type is a violation, and so is anything after them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, TypeVar

import msgspec

from tenantry.errors import ProtocolError
from tenantry.wire.events import InvocationKind, PeerError
from tenantry.wire.limits import ERROR_TEXT_CHARACTERS_MAX, LOG_MESSAGES_MAX, METHOD_CHARACTERS_MAX

__all__ = [
    "CallBody",
    "CapabilityBody",
    "ErrorBody",
    "LogBody",
    "ResultBody",
    "cut_text",
    "decode_call",
    "decode_error",
    "decode_integer",
    "decode_log",
    "decode_result",
    "decode_text",
    "encode_error",
    "encode_text",
    "pack",
    "read_untrusted",
]


_Text = Annotated[str, msgspec.Meta(max_length=ERROR_TEXT_CHARACTERS_MAX)]


class _Body(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    pass


class CapabilityBody(_Body):
    """The session's docstring has the types. `length` is that of a stream, where its sender knows it."""

    type: int
    identifier: int
    length: int | None


class CallBody(_Body):
    target: int
    kind: InvocationKind
    method: Annotated[str, msgspec.Meta(max_length=METHOD_CHARACTERS_MAX)]
    parent: int
    capabilities: list[CapabilityBody]
    payload: bytes


class ResultBody(_Body):
    open: bool
    capabilities: list[CapabilityBody]
    payload: bytes


class ErrorBody(_Body):
    name: _Text
    message: _Text
    code: int


class LogBody(_Body):
    level: _Text
    messages: Annotated[list[_Text], msgspec.Meta(min_length=1, max_length=LOG_MESSAGES_MAX)]


pack: Final = msgspec.msgpack.Encoder().encode
decode_call: Final = msgspec.msgpack.Decoder(CallBody).decode
decode_result: Final = msgspec.msgpack.Decoder(ResultBody).decode
decode_error: Final = msgspec.msgpack.Decoder(ErrorBody).decode
decode_log: Final = msgspec.msgpack.Decoder(LogBody).decode
decode_integer: Final = msgspec.msgpack.Decoder(int).decode
decode_text: Final = msgspec.msgpack.Decoder(_Text).decode


def cut_text(text: str) -> str:
    """Cut to what a peer accepts, and free of what UTF-8 cannot carry."""
    return text[:ERROR_TEXT_CHARACTERS_MAX].encode("utf-8", "replace").decode()


def encode_error(error: PeerError) -> bytes:
    return pack((cut_text(error.name), cut_text(error.message), error.code))


def encode_text(text: str) -> bytes:
    return pack(cut_text(text))


_B = TypeVar("_B")


def read_untrusted(decode: Callable[[bytes], _B], body: bytes) -> _B:
    """The body, by one of the decoders above. Raises only ProtocolError."""
    try:
        return decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise ProtocolError(f"a frame that cannot be read: {type(error).__name__}") from error
