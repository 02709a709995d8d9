"""What a blank worker is told to become. The host encodes it, the runtime decodes it; both trust it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = [
    "START_FAILED_CODE",
    "WORKER_ROOT",
    "Assignment",
    "BindingStubSpec",
    "Compilation",
    "decode_assignment",
    "encode_assignment",
]

WORKER_ROOT: Final = 1
"""The export of a worker that its entrypoints answer at: the first thing that it exports."""

START_FAILED_CODE: Final = 10021
"""The code of a PeerError when the Worker's module could not be imported. Cloudflare: script validation failed."""


class BindingStubSpec(msgspec.Struct, array_like=True):
    """One name in `env`. Either `target`, the number of a capability of the host, or `value`, which is all there is."""

    name: str
    type: str
    target: int = 0
    value: Any = None  # a text or any JSON


class Assignment(msgspec.Struct, array_like=True, tag="worker"):
    """Become a Worker."""

    main_module: str
    bindings: list[BindingStubSpec]
    fetch_target: int
    forms_target: int
    compatibility_date: str = ""
    compatibility_flags: list[str] = []
    proxy: str = ""
    """The URL of the process's own proxy, where it has sockets."""
    trial: bool = False
    """Only to see whether it can be imported: the first call is answered with that, and no other comes."""


class Compilation(msgspec.Struct, array_like=True, tag="compilation"):
    """Compile the modules of the bundle, none of which is run, and answer one call with them."""

    source_bytes_max: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Assignment | Compilation).decode


def encode_assignment(assignment: Assignment | Compilation) -> bytes:
    return _encode(assignment)


def decode_assignment(data: bytes) -> Assignment | Compilation:
    decoded: Assignment | Compilation = _decode(data)
    return decoded
