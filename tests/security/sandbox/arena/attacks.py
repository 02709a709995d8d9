"""What a tenant tries, and what happens at the levels `strict` and `container`.

Each attack: a name, a snippet that runs sealed, the outcome at `strict`, and the outcome at `container` where it is
another (None: it means nothing there). The names of host's paths are given to the snippets: a tenant could only guess
them. An outcome is the name of an errno or an exception (a regular expression), or "= " and the repr of `result`.
"""

# ruff: noqa: E501 - a table, one attack a line

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    name: str
    code: str
    strict: str
    container: str | None


def _attack(name: str, code: str, strict: str, container: str | None = "same") -> Attack:
    return Attack(name, code, strict, strict if container == "same" else container)


_NOTHING_THERE = "ENOENT"
_LANDLOCKED = "EACCES"

# Where to look, and the errno of trying. Landlock answers EACCES where the pivoted root has nothing at all.
_READS = [
    "/etc/passwd",
    "/etc/shadow",
    "/etc/hostname",
    "/proc/self/environ",
    "/proc/1/environ",
    "/proc/self/mountinfo",
    "/proc/self/cgroup",
    "/proc/self/maps",
    "/../../../../etc/passwd",
    "../../../../../../../../etc/passwd",
]
_LISTS = ["/proc", "/sys", "/sys/fs/cgroup", "/home", "/var", "/etc", "/run", "/dev/shm", "/.tenantry"]
_HOST_PATHS = ["bundles", "source", "other_bundle", "secret"]

_FILES = [
    *(_attack(f"read {path}", f"open({path!r}).read()", _NOTHING_THERE, _LANDLOCKED) for path in _READS),
    *(
        _attack(f"list {path}", f"os.listdir({path!r})", _NOTHING_THERE, None if path == "/.tenantry" else _LANDLOCKED)
        for path in _LISTS
    ),
    # The interpreter itself may live below somebody's home: then the way there is there, and nothing beside it.
    _attack("list /root", "names = set(os.listdir('/root')) - {os.__file__.split('/')[2]}; result = names or os.listdir('/x')", _NOTHING_THERE, _LANDLOCKED),
    *(_attack(f"open host's {name}", f"os.open({name}, 0)", _NOTHING_THERE, _LANDLOCKED) for name in _HOST_PATHS),
    *(_attack(f"create in host's {name}", f"open({name} + '/x', 'w')", _NOTHING_THERE, _LANDLOCKED) for name in _HOST_PATHS[:3]),
    _attack("list the root", "result = sorted({'app', 'dev', 'sdk', 'tmp'} - set(os.listdir('/')))", "= []", None),
    _attack("the root has nothing of a system", "result = {'etc', 'proc', 'sys', 'home', 'var', 'bin', 'run', '.tenantry'} & set(os.listdir('/'))", "= set()", None),
    _attack("the devices", "result = sorted(os.listdir('/dev'))", "= ['null', 'urandom']", None),
    _attack("no site-packages of the host", "import glob, sysconfig; result = glob.glob(os.path.dirname(os.__file__) + '/*-packages/*')", "= []", None),
    _attack("other bundle beside ours", "os.listdir('/app/../other')", _NOTHING_THERE, None),
    _attack("other bundle by the parent folder", "os.chdir('..'); os.open('other', 0)", _NOTHING_THERE, _LANDLOCKED),
    _attack("host through a kept folder", "d = os.open('.', os.O_RDONLY); os.open('../../../../etc/passwd', 0, dir_fd=d)", _NOTHING_THERE, _LANDLOCKED),
    _attack("symbolic link out", "os.symlink('/etc/passwd', '/tmp/l'); open('/tmp/l')", _NOTHING_THERE, _LANDLOCKED),
    _attack("chroot", "os.mkdir('/tmp/d'); os.chroot('/tmp/d')", "EPERM", None),
    _attack("write into the bundle", "open('main.py', 'a')", _LANDLOCKED),
    _attack("create in the bundle", "open('new.py', 'w')", "EROFS", _LANDLOCKED),
    _attack("remove from the bundle", "os.unlink('main.py')", "EROFS", _LANDLOCKED),
    _attack("rename in the bundle", "os.rename('main.py', 'other.py')", "EROFS", _LANDLOCKED),
    _attack("chmod in the bundle", "os.chmod('main.py', 0o777)", "EROFS", None),  # Landlock says nothing of modes; DAC does
    _attack("link the bundle", "os.link('main.py', '/tmp/x')", "EXDEV", None),
    _attack("write the standard library", "open(os.__file__, 'a')", _LANDLOCKED),
    _attack("write the SDK", "open('/sdk/x.py', 'w')", "EROFS", None),
    _attack("write the root", "open('/x', 'w')", "EROFS", _LANDLOCKED),
    _attack("write a device's folder", "open('/dev/x', 'w')", "EROFS", _LANDLOCKED),
    _attack("make a device", "os.mknod('/tmp/d', 0o20666, os.makedev(1, 1))", "EPERM"),
    _attack("make a fifo", "os.mkfifo('/tmp/f')", "EPERM"),
    _attack("one file larger than its limit", "f = open('/tmp/f', 'wb'); f.seek(17 << 20); f.write(b'x'); f.flush()", "EFBIG", None),
    _attack("a sparse file larger than its limit", "os.truncate(os.open('/tmp/f', os.O_CREAT | os.O_RDWR), 1 << 40)", "EFBIG", None),
    _attack("more than /tmp holds", "for i in range(5): open(f'/tmp/{i}', 'wb', 0).write(b'x' * (4 << 20)) == 4 << 20 or sys.exit(os.kill)", "ENOSPC|SystemExit", None),
    _attack("allocate more than /tmp holds", "for i in range(5): os.posix_fallocate(os.open(f'/tmp/{i}', os.O_CREAT | os.O_RDWR), 0, 5 << 20)", "ENOSPC", None),
    _attack("more files than /tmp holds", "for i in range(2000): open(f'/tmp/{i}', 'w').close()", "ENOSPC", None),
    _attack("more open files than allowed", "l = [os.dup(0) for _ in range(1000)]", "EMFILE"),
    _attack("a set-uid file", "open('/tmp/s', 'w').close(); os.chmod('/tmp/s', 0o4755); os.execv('/tmp/s', ['s'])", "EPERM", None),
    _attack("a file by its handle", "syscall('open_by_handle_at', -100, None, 0)", "EPERM"),
]  # fmt: skip

# Called with zeros: a call that seccomp lets pass would answer something else (EFAULT, EINVAL, ENOSYS, EBADF).
FORBIDDEN_CALLS = """
    fork vfork execve execveat ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal kcmp
    process_madvise mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick open_tree move_mount mount_setattr
    unshare setns userfaultfd bpf perf_event_open add_key request_key keyctl memfd_create memfd_secret fanotify_init
    fanotify_mark kexec_load kexec_file_load init_module finit_module delete_module quotactl quotactl_fd acct swapon swapoff
    reboot syslog lookup_dcookie io_uring_setup io_uring_enter io_uring_register io_setup io_submit io_destroy
    shmget shmat shmctl semget semop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend
    clock_settime clock_adjtime adjtimex settimeofday personality seccomp landlock_create_ruleset landlock_restrict_self
    socket socketpair connect bind listen accept accept4 setsockopt sendmmsg recvmmsg
    setuid setgid setresuid setresgid setgroups setfsuid capset setsid setpgid sethostname setdomainname
    splice tee vmsplice inotify_init1 inotify_add_watch timer_create timerfd_create signalfd4 name_to_handle_at
    setpriority sched_setaffinity sched_setscheduler sched_setattr ioprio_set setrlimit
    mlock mlockall mbind set_mempolicy migrate_pages move_pages remap_file_pages pkey_alloc
    sync syncfs vhangup nfsservctl get_robust_list rt_sigqueueinfo rt_tgsigqueueinfo tkill statfs fstatfs mincore
    chown lchown fchown fchownat mknod mknodat setxattr iopl ioperm modify_ldt uselib ustat sysfs arch_prctl futex_waitv
""".split()  # noqa: SIM905 - a hundred lines otherwise

# All of them in one process, because each is over in a microsecond: its result is a dict of the answers by name.
SWEEP = """
result = {}
for name in forbidden_calls:
    try:
        syscall(name, 0, 0, 0, 0, 0, 0)
        result[name] = "let through"
    except OSError as error:
        result[name] = __import__("errno").errorcode[error.errno]
"""

_KERNEL = [
    _attack("clone3, where a filter cannot see the flags", "syscall('clone3', 0, 0)", "ENOSYS"),
    _attack("fork", "os.fork()", "EPERM"),
    _attack("a process by clone", "syscall('clone', 17, 0, 0, 0, 0)", "EPERM"),
    _attack("a thread-like clone with a user namespace", "syscall('clone', 0x50F00 | 0x10000000, 0, 0, 0, 0)", "EPERM"),
    _attack("a sharing process by clone", "syscall('clone', 0x100 | 17, 0, 0, 0, 0)", "EPERM"),
    _attack("run a program", "import subprocess; subprocess.run(['/bin/true'])", "EPERM"),
    _attack("posix_spawn", "os.posix_spawn('/bin/true', ['true'], {})", "EPERM"),
    _attack("kill everyone", "os.kill(-1, 9)", "EPERM"),
    _attack("kill the group", "os.kill(0, 9)", "EPERM"),
    _attack("kill by a guessed number", "os.kill(2, 9)", "EPERM"),
    _attack("kill the host", "os.kill(host_pid, 9)", "EPERM"),
    _attack("trace the host", "syscall('ptrace', 16, host_pid, 0, 0)", "EPERM"),
    _attack("signal itself", "os.kill(os.getpid(), 0)", "= None"),
    _attack("another filter", "syscall('prctl', 22, 2, 0, 0, 0)", "EPERM"),
    _attack("memory map by prctl", "syscall('prctl', 35, 8, 0, 0, 0)", "EPERM"),
    _attack("outlive the zygote", "syscall('prctl', 1, 0, 0, 0, 0)", "EPERM"),
    _attack("be traceable", "syscall('prctl', 4, 1, 0, 0, 0)", "EPERM"),
    _attack("ambient capabilities", "syscall('prctl', 47, 2, 21, 0, 0)", "EPERM"),
    _attack("type into a terminal", "import fcntl; fcntl.ioctl(0, 0x5412, b'x')", "EPERM"),
    _attack("ask for signals on a folder", "import fcntl; fcntl.fcntl(os.open('.', 0), 1026, 1)", "EPERM"),
    _attack("send signals by a descriptor's owner", "import fcntl; fcntl.fcntl(channel.fileno(), 8, 1)", "EPERM"),
    _attack("a handle on the host", "channel.getsockopt(1, 77)", "EPERM"),
    _attack("the host's user", "channel.getsockopt(1, 17, 12)", "EPERM"),
    _attack("a filter on the channel", "channel.setsockopt(1, 26, b'x' * 16)", "EPERM"),
    _attack("limits of others", "syscall('prlimit64', host_pid, 7, 0, 0)", "EPERM"),
    _attack("raise a limit", "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))", "ValueError"),
    _attack("a priority-inheriting futex", "syscall('futex', 0, 6, 0, 0, 0, 0)", "EPERM"),
    _attack("memory that forks would share", "import mmap; mmap.mmap(-1, 1 << 20)", "EPERM"),
    _attack("a stack that grows", "syscall('mmap', 0, 1 << 20, 3, 0x122, -1, 0)", "EPERM"),
    _attack("huge pages", "syscall('mmap', 0, 1 << 21, 3, 0x40022, -1, 0)", "EPERM"),
    _attack("more memory than allowed", "bytearray(300 << 20)", "MemoryError"),
    _attack("memory made writable later", "import mmap; a = syscall('mmap', 0, 300 << 20, 1, 0x22, -1, 0); syscall('mprotect', a, 300 << 20, 3)", "ENOMEM"),
]  # fmt: skip

_SOCKETS = [
    _attack(f"socket {family}", f"import socket; socket.socket({number}, {kind})", "EPERM")
    for family, number, kind in [
        ("inet", 2, 1),
        ("inet udp", 2, 2),
        ("inet6", 10, 1),
        ("unix", 1, 1),
        ("netlink", 16, 3),
        ("packet", 17, 3),
        ("vsock", 40, 1),
        ("alg", 38, 5),
    ]
] + [
    _attack("socketpair", "import socket; socket.socketpair()", "EPERM"),
    _attack("connect the channel", "channel.connect('/x')", "EPERM"),
    _attack("a second event loop", "import asyncio; asyncio.new_event_loop()", "EPERM"),
    _attack("name resolution", "import socket; socket.getaddrinfo('localhost', 80)", "gaierror|EAI.*|EPERM|ENOENT"),
]

_STATE = [
    _attack("environment", "result = sorted(os.environ)", "= ['HOME', 'LANG', 'TZ']"),
    _attack("command line", "result = (sys.argv, sys.orig_argv, sys.executable)", "= ([''], [], '')"),
    _attack("sandbox's own modules", "result = [m for m in sys.modules if m.startswith('tenantry')]", "= []"),
    _attack("process number", "result = os.getpid()", "= 1", None),
    _attack("user", "result = (os.getuid(), os.getgid(), os.geteuid())", "= (65534, 65534, 65534)", None),
    _attack("host's name", "result = os.uname().nodename", "= 'worker'", None),
    _attack("capabilities", "b = ctypes.create_string_buffer(24); syscall('capget', b'\\x22\\x05\\x08\\x20' + bytes(4), b); result = b.raw.strip(b'\\0')", "= b''"),
    _attack("seccomp mode", "result = syscall('prctl', 21, 0, 0, 0, 0)", "= 2"),
    _attack("no new privileges", "result = syscall('prctl', 39, 0, 0, 0, 0)", "= 1"),
    _attack("dumpable", "result = syscall('prctl', 3, 0, 0, 0, 0)", "= 0"),
    _attack("core dumps", "import resource; result = resource.getrlimit(resource.RLIMIT_CORE)", "= (0, 0)"),
    # 0, 1, 2, the channel, and what `prepare` made: an epoll and a socketpair.
    _attack("descriptors", "result = []\nfor n in range(70000):\n    try: os.fstat(n); result.append(n)\n    except OSError: pass\nresult = (result[:4], len(result))", "= ([0, 1, 2, 4], 7)"),
    _attack("standard streams", "result = {os.fstat(n).st_rdev for n in (0, 1, 2)} == {os.makedev(1, 3)}", "= True"),
    _attack("working folder", "result = os.getcwd()", "= '/app'", None),
    _attack("the bundle is readable", "result = open('main.py').read()", "= 'X = 1\\n'"),
    _attack("frames below", "f = sys._getframe(2); needle = '-'.join(['arena', 'secret']); found = []\nwhile f: found += [k for k, v in f.f_locals.items() if k != 'order' and needle in repr(v)]; f = f.f_back\nresult = found", "= []"),
    # Where the operator installed us is no secret (our own modules' __file__); where tenants' bundles are stored is.
    _attack("objects of the zygote", "import gc; gc.unfreeze(); needle = '-'.join(['arena', 'secret']); result = [s for o in gc.get_objects() for s in gc.get_referents(o) if isinstance(s, str) and needle in s and not s.startswith(source) and not any(s is g for g in (needle, secret, bundles, other_bundle))][:3]", "= []", None),
]  # fmt: skip

# A sandbox in which nothing works is safe and of no use.
_WORKS = [
    _attack("the standard library", "import ssl, sqlite3, ctypes, lzma, bz2, zlib, uuid, hashlib, decimal, xml.etree.ElementTree, json, csv, email.message; result = ssl.create_default_context().check_hostname", "= True"),
    _attack("threads", "import threading; l = []; t = threading.Thread(target=l.append, args=(1,)); t.start(); t.join(); result = l", "= [1]"),
    _attack("a pool of threads", "from concurrent.futures import ThreadPoolExecutor as P\nwith P(8) as p: result = sum(p.map(len, ['a'] * 100))", "= 100"),
    _attack("the prepared event loop", "import asyncio; result = asyncio.get_event_loop_policy().get_event_loop().run_until_complete(asyncio.sleep(0.001, 5))", "= 5"),
    _attack("temporary files", "import tempfile; f = tempfile.TemporaryFile(); f.write(b'x'); f.flush(); result = f.tell()", "= 1", None),
    _attack("a database in /tmp", "import sqlite3; c = sqlite3.connect('/tmp/x'); c.execute('pragma journal_mode=wal'); c.execute('create table t(x)'); c.commit(); result = c.execute('select count(*) from t').fetchone()", "= (0,)", None),
    _attack("copy a tree", "import shutil; shutil.copytree('.', '/tmp/copy'); result = os.listdir('/tmp/copy')", "= ['main.py']", None),
    _attack("time zones", "import zoneinfo; result = str(zoneinfo.ZoneInfo('Europe/Berlin')) if os.path.isdir('/usr/share/zoneinfo') else 'Europe/Berlin'", "= 'Europe/Berlin'"),
    _attack("randomness", "import secrets; result = len(secrets.token_bytes(8))", "= 8"),
    _attack("pipes", "r, w = os.pipe(); os.write(w, b'x'); result = os.read(r, 1)", "= b'x'"),
    _attack("wide memory", "result = len(bytearray(100 << 20)) >> 20", "= 100"),
    _attack("/dev/null", "result = open('/dev/null', 'w').write('x')", "= 1"),
    _attack("/dev/urandom", "result = len(open('/dev/urandom', 'rb').read(4))", "= 4"),
]  # fmt: skip

# These end the process: its exit code, as subprocess would say it.
_DEATHS = [
    _attack("read address 0", "ctypes.string_at(0)", "died -11"),
    _attack("abort", "os.abort()", "died -(6|11)"),  # PID 1 ignores a SIGABRT that it sends itself; glibc then traps
    _attack("leave", "os._exit(3)", "died 3"),
    _attack("exit", "raise SystemExit(4)", "SystemExit"),
    _attack("a number of the x32 ABI", "libc = ctypes.CDLL(None); libc.syscall(ctypes.c_long(0x40000000 + 39)) if os.uname().machine == 'x86_64' else os.kill(os.getpid(), 9)", "died -(31|9)"),
    _attack("endless recursion", "sys.setrecursionlimit(10**9)\ndef f(): return [f() for _ in (1,)]\nf()", "died -11|MemoryError|RecursionError|SystemError"),
    _attack("a bomb of threads", "import threading, time\nfor _ in range(200): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "RuntimeError"),
]  # fmt: skip

ATTACKS: dict[str, Attack] = {
    attack.name: attack for attack in (*_FILES, *_KERNEL, *_SOCKETS, *_STATE, *_WORKS, *_DEATHS)
}
