"""What of the host's file system the Python runtime needs, found by asking the runtime itself.

The standard library is where `sys.path` says, at the same paths inside, so that `sys.path`, `__file__` and tracebacks
stay true. The shared libraries are those that the standard library's extension modules make the dynamic loader load,
and the few that the manylinux policies (PEP 600) promise to every wheel. What is loaded in this process already is
inherited by every child, and the loader knows it by its name: neither libc nor the interpreter needs a file in there.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from dataclasses import dataclass

_SITE_PACKAGES = ("site-packages", "dist-packages")
_TIME_ZONES = "/usr/share/zoneinfo"  # what the zoneinfo module reads

# Extension modules of the standard library that mean nothing in a Worker, and whose libraries (X11, Kerberos, curses)
# would be the larger part of the root.
_USELESS_MODULES = (
    "_tkinter",
    "readline",
    "_curses",
    "nis",
    "_gdbm",
    "_dbm",
    "_test",
    "_xxtest",
    "xxlimited",
    "ossaudio",
)

_MANYLINUX = (
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "libz.so.1",
    "libexpat.so.1",
)


@dataclass(frozen=True, slots=True)
class RuntimeFiles:
    """`folders` and `files` by the path they have inside; `masks` are folders that must be shown empty; `links` are
    symbolic links to make, by where they stand."""

    folders: tuple[str, ...]
    files: tuple[str, ...]
    masks: tuple[str, ...]
    links: tuple[tuple[str, str], ...]


def find(*, certificates: bool = False) -> RuntimeFiles:
    """Look around. To be called while the host's file system is visible and `sys.path` is the interpreter's own.

    `certificates`: with the file of authorities that the ssl module trusts by default, without which no client that
    brings none of its own could check whom it talks to.
    """
    standard = [os.path.normpath(path) for path in sys.path if os.path.exists(path)]
    folders = [path for path in standard if os.path.isdir(path)]
    # lib-dynload lies inside the standard library, and is already there when that is mounted.
    tops = [path for path in folders if not any(path.startswith(other + "/") for other in folders)]
    masks = [f"{top}/{name}" for top in tops for name in _SITE_PACKAGES if os.path.isdir(f"{top}/{name}")]
    if os.path.isdir(_TIME_ZONES):
        tops.append(_TIME_ZONES)
    libraries = _shared_libraries(folders)
    # An odd folder (/usr/local/lib) is known to the loader by /etc/ld.so.cache, which is not there: beside libc it
    # looks always.
    home = os.path.dirname(next((path for path in _loaded() if os.path.basename(path).startswith("libc.")), "/lib/."))
    links = [
        (f"{home}/{os.path.basename(path)}", path)
        for path in libraries
        if home != os.path.dirname(path) and home != "/lib"
    ]
    archives = [path for path in standard if os.path.isfile(path)]
    authorities = _authorities() if certificates else []
    return RuntimeFiles(tuple(tops), (*archives, *libraries, *authorities), tuple(masks), tuple(links))


def _authorities() -> list[str]:
    """Where OpenSSL looks, whatever the environment says: what it will find in the sandbox."""
    import _ssl  # not where nobody needs it: it loads OpenSSL

    path: str = _ssl.get_default_verify_paths()[1]
    return [path] if os.path.isfile(path) else []


def _shared_libraries(folders: list[str]) -> list[str]:
    """The libraries that extension modules pull in and that this process has not loaded.

    A child loads them all and tells what that brought: only the loader knows its own search rules, and the zygote's
    address space stays clean of them.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before = set(_loaded())
            for path in (*_extension_modules(folders), *_MANYLINUX):
                try:
                    ctypes.CDLL(path, mode=os.RTLD_LAZY | os.RTLD_LOCAL)
                except OSError:
                    continue  # its library is not installed: the module cannot be imported on the host either
            found = [path for path in _loaded() if path not in before and not path.startswith(tuple(folders))]
            with os.fdopen(writer, "w") as file:
                json.dump(found, file)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(child, 0)
    # A library whose constructor kills the process leaves nothing to read: then only what is loaded already is there.
    libraries: list[str] = json.loads(text) if text else []
    return sorted({os.path.normpath(path) for path in libraries})


def _extension_modules(folders: list[str]) -> list[str]:
    return [
        entry.path
        for folder in folders
        for entry in os.scandir(folder)
        if entry.name.endswith(".so") and not entry.name.startswith(_USELESS_MODULES)
    ]


class _ObjectInfo(ctypes.Structure):
    """The beginning of `struct dl_phdr_info`."""

    _fields_ = (("address", ctypes.c_void_p), ("name", ctypes.c_char_p))


def _loaded() -> list[str]:
    """The shared objects of this process, under the names by which the loader found them."""
    names: list[str] = []

    def collect(info: ctypes._Pointer[_ObjectInfo], _size: int, _data: int) -> int:
        name = os.fsdecode(info.contents.name or b"")
        if name.startswith("/") and os.path.exists(name):
            names.append(name)
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_ObjectInfo), ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(callback(collect), None)
    return names
