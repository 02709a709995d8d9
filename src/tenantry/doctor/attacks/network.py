"""Chapter 9: the network, as a Worker without `sockets` and under the default policy has it: `fetch()` and nothing else.

What an attack must not reach is there: a server of the host's own, on its loopback interface.
"""

# ruff: noqa: E501 - a table, one attack a line

from __future__ import annotations

from typing import Final

from tenantry.doctor.attacks.model import Attack, attack
from tenantry.doctor.drives import inner_service

__all__ = ["NETWORK"]

# The URLs that were answered, and those of which it was not said that they are no URL or that the policy refuses them.
_FETCH: Final = """
from workers import fetch
result = []
for url in URLS:
    try:
        answer = await fetch(url.replace('PORT', str(port)))
        result.append((url, answer.status))
    except Exception as error:
        if not any(word in str(error) for word in ('not permitted', 'Invalid URL')): result.append((url, str(error)))
"""
_ANY: Final = _FETCH.partition("        if not any")[0] + "        pass\n"
_NOTHING: Final = "= []"

_LOOPBACK: Final = (
    "127.0.0.1 localhost LOCALHOST. a.localhost [::1] 0.0.0.0 0 127.1 127.0.1 2130706433 0x7f.1 0x7f000001 017700000001 "
    "0177.0.0.1 127.000.000.001 [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [0:0:0:0:0:0:0:1] [::] 127.255.255.254 "
    "user:pass@127.0.0.1 1.1.1.1@127.0.0.1 %31%32%37.0.0.1"
)
_INSIDE: Final = (
    "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 169.254.1.1 192.0.0.8 192.0.2.1 198.18.0.1 "
    "198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 [fe80::1] [fc00::1] [fd12:3456::1] [ff02::1] "
    "[::ffff:10.0.0.1] [64:ff9b::10.0.0.1] [64:ff9b::a00:1] [2002:a00:1::1] [2001:0:a00:1::1] [2001:db8::1] [fec0::1]"
)
_METADATA: Final = "169.254.169.254 [fd00:ec2::254] [::ffff:169.254.169.254] 2852039166 0xa9fea9fe 100.100.100.200 168.63.129.16 169.254.170.2"
_SCHEMES: Final = "file:///etc/passwd gopher://127.0.0.1:PORT/ ftp://127.0.0.1:PORT/ unix:/run/x dict://127.0.0.1:PORT/ data:text/plain,x http+unix://x/ //127.0.0.1:PORT/"


def _urls(hosts: str, port: str = ":PORT") -> str:
    return repr([f"http://{host}{port}/" for host in hosts.split()])


def _fetch(urls: str) -> str:
    return _FETCH.replace("URLS", urls)


NETWORK: Final[tuple[Attack, ...]] = (
    attack("N1", "a connection to a port of the host", "import socket; socket.create_connection(('127.0.0.1', port))", "EPERM", drive=inner_service),
    attack("N1", "urllib, which does not know of fetch()", "import urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{port}/')", "URLError.*", drive=inner_service),
    attack("N2", "every spelling of the loopback interface", _fetch(_urls(_LOOPBACK)), _NOTHING, drive=inner_service),
    attack("N2", "the loopback interface by https", _fetch(repr(["https://127.0.0.1:PORT/", "https://localhost:PORT/"])), _NOTHING, drive=inner_service),
    attack("N3", "networks that are not the public Internet", _fetch(_urls(_INSIDE, "")), _NOTHING, drive=inner_service),
    attack("N4", "metadata of clouds", _fetch(_urls(_METADATA, "")), _NOTHING, drive=inner_service),
    attack("N4", "metadata of clouds, by name", "from workers import fetch; await fetch('http://metadata.google.internal/computeMetadata/v1/', headers={'Metadata-Flavor': 'Google'})", "Network connection lost.*|.*Error.*|E[A-Z]+", drive=inner_service),
    attack("N6", "schemes that are not HTTP", _ANY.replace("URLS", repr(_SCHEMES.split())), _NOTHING, drive=inner_service),
    attack("N8", "headers that end the head", "from workers import fetch\nresult = []\nfor pair in (('a', 'b\\r\\nc: d'), ('a\\r\\nb', 'c'), ('a', 'b\\0c'), ('a b', 'c'), ('', 'c')):\n    try: await fetch('http://example.com/', headers=dict([pair])); result.append(pair)\n    except Exception as error:\n        if 'resolve' in str(error): result.append(pair)", _NOTHING, drive=inner_service),
    attack("N8", "a method that ends its line", "from workers import fetch\nresult = []\nfor method in ('GET / HTTP/1.1\\r\\nx: ', 'G ET', 'GET\\0', 'CONNECT', 'TRACE', ''):\n    try: await fetch(f'http://127.0.0.1:{port}/', method=method); result.append(method)\n    except Exception: pass", _NOTHING, drive=inner_service),
    attack("N13", "a mail server", _fetch(repr([f"http://1.1.1.1:{port}/" for port in (25, 465, 587)])), _NOTHING, drive=inner_service),
)  # fmt: skip
