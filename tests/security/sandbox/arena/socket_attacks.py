"""What a tenant tries whose worker has sockets: TCP clients, and the one thing that they may reach is its own listener.

Each: a name, a snippet that runs sealed, and a regular expression for the whole outcome: the name of an errno or an
exception, or "= " and the repr of `result`.
"""

# ruff: noqa: E501 - a table, one attack a line

from __future__ import annotations

_REFUSED_BY_LANDLOCK = "EACCES|ECONNREFUSED"  # before Landlock knew ports, there is nobody at the others

_FILL = """
import socket, time
kept, total = [], 0
for _ in range(150):
    kept.append(socket.socket())
    kept[-1].setblocking(False)
    kept[-1].connect_ex(('127.0.0.1', 3128))
for _ in range(20):
    for one in kept:
        try: total += one.send(bytes(1 << 20))
        except OSError: pass
    time.sleep(0.01)
result = 1 << 20 < total < 48 << 20
"""

_TABLE = [
    # Where a TCP client gets to.
    ("connect to the listener", "import socket; result = socket.create_connection(('127.0.0.1', 3128)).getpeername()", r"= \('127.0.0.1', 3128\)"),
    ("connect to the listener, on the loop", "import asyncio; loop = asyncio.get_event_loop_policy().get_event_loop(); r, w = loop.run_until_complete(asyncio.open_connection('127.0.0.1', 3128)); result = w.get_extra_info('peername')", r"= \('127.0.0.1', 3128\)"),
    ("connect to a port of the host", "import socket; socket.create_connection(('127.0.0.1', host_port), 2)", _REFUSED_BY_LANDLOCK),
    ("connect to the host's own 3128", "import socket; socket.create_connection(('127.0.0.2', 3128), 2)", "ECONNREFUSED"),
    ("connect to any", "import socket; socket.create_connection(('0.0.0.0', host_port), 2)", _REFUSED_BY_LANDLOCK),
    ("connect outside", "import socket; socket.create_connection(('8.8.8.8', 3128), 2)", "ENETUNREACH"),
    ("connect inside", "import socket; socket.create_connection(('10.0.0.1', 3128), 2)", "ENETUNREACH"),
    ("connect to metadata", "import socket; socket.create_connection(('169.254.169.254', 80), 2)", "EACCES|ENETUNREACH"),
    ("connect by inet6", "import socket; socket.create_connection(('::1', 3128), 2)", "ECONNREFUSED|EADDRNOTAVAIL|EAFNOSUPPORT"),
    ("connect by inet6 to the host", "import socket; socket.create_connection(('::ffff:127.0.0.1', host_port), 2)", _REFUSED_BY_LANDLOCK),
    ("connect outside by inet6", "import socket; socket.create_connection(('2001:4860:4860::8888', 3128), 2)", "ENETUNREACH|EADDRNOTAVAIL|EAFNOSUPPORT"),
    ("connect on the link", "import socket; socket.socket(10, 1).connect(('fe80::1', 3128, 0, 1))", "ENETUNREACH|EADDRNOTAVAIL|EAFNOSUPPORT|EINVAL|EHOSTUNREACH"),
    ("open fast", "import socket; socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', host_port))", "ECONNREFUSED|EACCES|EPERM|EOPNOTSUPP"),
    ("connect the channel", "channel.connect('/x')", "ENOENT|EISCONN|EACCES"),
    ("connect the channel to an abstract name", "channel.connect(chr(0) + abstract)", "ECONNREFUSED|EPERM|EISCONN"),
    # What it cannot make.
    ("socket inet", "import socket; result = socket.socket().type", r"= <SocketKind.SOCK_STREAM: 1>"),
    ("socket inet6", "import socket; result = socket.socket(10).type", r"= <SocketKind.SOCK_STREAM: 1>"),
    *(
        (f"socket {name}", f"import socket; socket.socket({family}, {kind}, {protocol})", "EPERM")
        for name, family, kind, protocol in [
            ("inet6 udp", 10, 2, 0), ("inet raw", 2, 3, 6), ("inet6 raw", 10, 3, 58), ("ping", 2, 2, 1), ("ping6", 10, 2, 58),
            ("mptcp", 2, 1, 262), ("sctp", 2, 1, 132), ("dccp", 2, 6, 33), ("udp lite", 2, 2, 136), ("smc", 43, 1, 0),
            ("unix datagram", 1, 2, 0), ("unix seqpacket", 1, 5, 0), ("of no family", 0, 1, 0), ("of an odd type", 2, 1 | 1 << 20, 0),
            ("netlink of routes", 16, 2, 0), ("xdp", 44, 3, 0), ("bluetooth", 31, 3, 0), ("can", 29, 3, 1), ("tipc", 30, 1, 0), ("rds", 21, 5, 0),
        ]
    ),
    ("socket unix behind 32 bits", "syscall('socket', 1 | 1 << 32, 1, 0)", "EPERM"),
    ("a pair of datagrams", "import socket; socket.socketpair(type=2)", "EPERM"),
    # To be a server.
    ("bind", "import socket; socket.socket().bind(('127.0.0.1', 0))", "EPERM"),
    ("bind inet6", "import socket; socket.socket(10).bind(('::', 8080))", "EPERM"),
    ("listen without bind", "import socket; socket.socket().listen()", "EPERM"),
    ("accept", "import socket; socket.socket().accept()", "EPERM"),
    ("serve", "import asyncio; asyncio.get_event_loop_policy().get_event_loop().run_until_complete(asyncio.start_server(print, '127.0.0.1', 0))", "EPERM"),
    ("the listener is among the descriptors", "import socket\nresult = []\nfor n in range(70000):\n    try: s = socket.socket(fileno=n)\n    except OSError: continue\n    if s.getsockopt(1, 30): result.append(n)\n    s.detach()", r"= \[\]"),
    # To make more of a socket.
    *(
        (f"set {name}", f"import socket; socket.socket().setsockopt({level}, {option}, b'\\1\\0\\0\\0' * 4)", "EPERM")
        for name, level, option in [
            ("TCP_REPAIR", 6, 19), ("TCP_ULP", 6, 31), ("TCP_CONGESTION", 6, 13), ("TCP_MD5SIG", 6, 14), ("TCP_FASTOPEN_CONNECT", 6, 30),
            ("TCP_ZEROCOPY_RECEIVE", 6, 35), ("TCP_WINDOW_CLAMP", 6, 10), ("SO_ATTACH_FILTER", 1, 26), ("SO_ATTACH_BPF", 1, 50),
            ("SO_BINDTODEVICE", 1, 25), ("SO_SNDBUF", 1, 7), ("SO_RCVBUF", 1, 8), ("SO_SNDBUFFORCE", 1, 32), ("SO_ZEROCOPY", 1, 60),
            ("SO_MARK", 1, 36), ("SO_PRIORITY", 1, 12), ("SO_REUSEPORT", 1, 15), ("SO_PASSCRED", 1, 16), ("IP_TRANSPARENT", 0, 19),
            ("IP_OPTIONS", 0, 4), ("IP_SET_XTABLES", 0, 64), ("MCAST_JOIN_GROUP", 0, 42), ("IPV6_HDRINCL", 41, 36),
        ]
    ),
    *(
        (f"get {name}", f"import socket; channel.getsockopt({level}, {option}, 64)", "EPERM")
        for name, level, option in [("SO_PEERCRED", 1, 17), ("SO_PEERPIDFD", 1, 77), ("SO_PEERSEC", 1, 31), ("SO_PEERGROUPS", 1, 59), ("SO_COOKIE", 1, 57)]
    ),
    *(
        (f"ioctl {name}", f"import fcntl, socket; fcntl.ioctl(socket.socket(), {number}, bytes(40))", "EPERM")
        for name, number in [("SIOCGIFCONF", 0x8912), ("SIOCGIFFLAGS", 0x8913), ("SIOCSIFFLAGS", 0x8914), ("SIOCADDRT", 0x890B), ("SIOCSIFNAME", 0x8923), ("SIOCOUTQ", 0x5411)]
    ),
    # What lies in the buffers of sockets is memory that no rlimit counts.
    ("fill the buffers of many connections", _FILL, "= True"),
    # What is as it is without sockets.
    ("descriptors", "result = []\nfor n in range(70000):\n    try: os.fstat(n); result.append(n)\n    except OSError: pass\nresult = (result[:4], len(result))", r"= \(\[0, 1, 2, 4\], 7\)"),
    ("environment", "result = sorted(os.environ)", r"= \['HOME', 'LANG', 'TZ'\]"),
    ("the root has nothing of a system", "result = {'proc', 'sys', 'home', 'var', 'bin', 'run'} & set(os.listdir('/'))", r"= set\(\)"),
    ("the host's name", "open('/etc/hostname')", "ENOENT"),
    ("a process", "os.fork()", "EPERM"),
    # What clients need.
    ("options of a client", "import socket; s = socket.create_connection(('127.0.0.1', 3128)); [s.setsockopt(*o) for o in ((6, 1, 1), (1, 9, 1), (6, 4, 60), (6, 5, 10), (6, 6, 3), (6, 18, 1000))]; result = s.getsockopt(6, 1)", "= 1"),
    ("numeric resolution", "import socket; result = socket.getaddrinfo('127.0.0.1', 3128, type=1)[0][4]", r"= \('127.0.0.1', 3128\)"),
    ("name resolution", "import socket; socket.getaddrinfo('localhost', 80)", "gaierror"),
    ("authorities", "import ssl; result = bool(ssl.create_default_context().get_ca_certs()) or not os.path.exists(ssl.get_default_verify_paths().openssl_cafile)", "= True"),
]  # fmt: skip

ATTACKS = {name: (code, outcome) for name, code, outcome in _TABLE}
