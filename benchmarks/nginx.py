"""nginx, as a file server with sendfile: the fastest way there is to hand out a file."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.child import Child

__all__ = ["find_nginx", "running_nginx"]

_START_SECONDS_MAX: Final = 10.0

# One process, as our host is one. Every path is below its own folder, by `-p`.
_CONFIGURATION: Final = """\
daemon off;
master_process off;
error_log stderr error;
pid nginx.pid;
events {{ }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        root files;
    }}
}}
"""


def find_nginx() -> str | None:
    """The program; Debian keeps it where ordinary users do not look."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


@contextmanager
def running_nginx(program: str, folder: Path) -> Iterator[str]:
    """Serves the files in `folder / "files"`; whatever else it writes lies beside them. Gives the address."""
    port = _free_port()
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(port=port))
    log = folder / "nginx.log"
    child = Child("nginx", [program, "-e", log, "-p", folder, "-c", folder / "nginx.conf"], log)
    try:
        child.wait_for(lambda: _answers(port), _START_SECONDS_MAX)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stop()


def _free_port() -> int:
    # nginx cannot take "any port" and say which. Should somebody else be faster, it ends, and the run says so.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool | None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return None
    return True
