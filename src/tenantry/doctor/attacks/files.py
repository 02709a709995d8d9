"""Chapter 1: files and /proc. What is not in the tenant's root does not exist; Landlock says EACCES where it stands
alone.
"""

# ruff: noqa: E501 - a table, one attack a line

from __future__ import annotations

from typing import Final

from tenantry.doctor.attacks.model import Attack, attack
from tenantry.doctor.drives import bean, submount

__all__ = ["FILES"]

_NOTHING = "ENOENT"
_LANDLOCKED = "EACCES"
_NOT_READABLE = "EACCES|ENOENT"  # the machine may not have the path at all

# What to read, and the errno of trying.
_READS: Final = [
    ("F1", "/etc/passwd"),
    ("F1", "/etc/shadow"),
    ("F1", "/etc/hostname"),
    ("F1", "/../../../../etc/passwd"),
    ("F3", "../../../../../../../../etc/passwd"),
    ("F4", "/proc/self/environ"),
    ("F4", "/proc/1/environ"),
    ("F4", "/proc/self/maps"),
    ("F4", "/proc/self/mem"),
    ("F6", "/proc/self/mountinfo"),
    ("F6", "/proc/self/cgroup"),
    ("F7", "/sys/fs/cgroup/cgroup.procs"),
]
_LISTS: Final = [
    ("F1", "/home"),
    ("F1", "/var"),
    ("F1", "/etc"),
    ("F1", "/run"),
    ("F4", "/proc"),
    ("F6", "/proc/self/fd"),
    ("F7", "/sys"),
    ("F7", "/sys/fs/cgroup"),
    ("F10", "/dev/shm"),  # noqa: S108 - somebody else's
]
_HOST_PATHS: Final = ["bundles", "source", "other_bundle", "secret"]

FILES: Final[tuple[Attack, ...]] = (
    *(attack(row, f"read {path}", f"open({path!r}).read()", _NOTHING, _NOT_READABLE) for row, path in _READS),
    *(attack(row, f"list {path}", f"os.listdir({path!r})", _NOTHING, _NOT_READABLE) for row, path in _LISTS),
    attack("F4", "read the host's environment by its number", "open(f'/proc/{host_pid}/environ').read()", _NOTHING, _LANDLOCKED),
    # The interpreter itself may live below somebody's home: then the way there is there, and nothing beside it.
    attack("F1", "list /root", "names = set(os.listdir('/root')) - {os.__file__.split('/')[2]}; result = names or os.listdir('/x')", _NOTHING, _LANDLOCKED),
    attack("F1", "list the root", "result = sorted({'etc', 'proc', 'sys', 'home', 'var', 'bin', 'sbin', 'run', '.tenantry'} & set(os.listdir('/')))", "= []", None),
    attack("F1", "list the devices", "result = sorted(os.listdir('/dev'))", "= ['null', 'urandom']", None),
    *(attack("F2", f"open the host's {name}", f"os.open({name}, 0)", _NOTHING, _LANDLOCKED) for name in _HOST_PATHS),
    *(attack("F2", f"create in the host's {name}", f"open({name} + '/x', 'w')", _NOTHING, _LANDLOCKED) for name in _HOST_PATHS[:3]),
    attack("F2", "read another tenant's bundle", "result = open(other_bundle + '/secret.txt').read()", _NOTHING, _LANDLOCKED),
    attack("F2", "find another tenant's bundle beside ours", "os.listdir('/app/../other')", _NOTHING, None),
    attack("F2", "find the zygote's own root", "os.listdir('/.tenantry')", _NOTHING, None),
    attack("F2", "import the platform's host", "import tenantry.host", "ModuleNotFoundError"),
    attack("F2", "import the sandbox", "import tenantry.sandbox.recipe", "ModuleNotFoundError"),
    attack("F2", "import the host's dependencies", "import apsw, granian, structlog", "ModuleNotFoundError"),
    attack("F2", "find the host's site-packages", "import glob; result = glob.glob(os.path.dirname(os.__file__) + '/*-packages/*')", "= []", None),
    attack("F2", "everything on sys.path is read-only", "result = [p for p in sys.path if os.access(p, os.W_OK)]", "= []"),
    attack("F3", "another bundle by the parent folder", "os.chdir('..'); os.open('other', 0)", _NOTHING, _LANDLOCKED),
    attack("F3", "the host through a kept folder", "d = os.open('.', os.O_RDONLY); os.open('../../../../etc/passwd', 0, dir_fd=d)", _NOTHING, _NOT_READABLE),
    attack("F3", "a symbolic link out", "os.symlink('/etc/passwd', '/tmp/l'); open('/tmp/l')", _NOTHING, _LANDLOCKED),
    attack("F3", "chroot, and fchdir back", "d = os.open('/', 0); os.mkdir('/tmp/d'); os.chroot('/tmp/d'); os.fchdir(d)", "EPERM", None),
    attack("F3", "a file by its handle", "syscall('open_by_handle_at', -100, None, 0)", "EPERM"),
    attack("F9", "write into the bundle", "open('entry.py', 'a')", "EACCES|EROFS"),
    attack("F9", "create in the bundle", "open('new.py', 'w')", "EROFS", _LANDLOCKED),
    attack("F9", "a poisoned __pycache__ in the bundle", "os.mkdir('__pycache__')", "EROFS", _LANDLOCKED),
    attack("F9", "remove from the bundle", "os.unlink('entry.py')", "EROFS", _LANDLOCKED),
    attack("F9", "rename in the bundle", "os.rename('entry.py', 'other.py')", "EROFS", _LANDLOCKED),
    attack("F9", "chmod in the bundle", "os.chmod('entry.py', 0o777)", "EROFS", "EPERM|EROFS|= None"),  # Landlock says nothing of modes; the owner does
    attack("F9", "link the bundle", "os.link('entry.py', '/tmp/x')", "EXDEV", None),
    attack("F9", "write the standard library", "open(os.__file__, 'a')", _LANDLOCKED),
    attack("F9", "truncate the standard library", "os.truncate(os.__file__, 0)", "EACCES|EROFS"),
    attack("F9", "write the SDK", "import workers; open(workers.__file__, 'a')", _LANDLOCKED),
    attack("F9", "create in the SDK", "import workers; open(os.path.dirname(workers.__file__) + '/x.py', 'w')", "EROFS", _LANDLOCKED),
    attack("F9", "write the root", "open('/x', 'w')", "EROFS", _LANDLOCKED),
    attack("F9", "write the devices' folder", "open('/dev/x', 'w')", "EROFS", _LANDLOCKED),
    attack("F9", "make a device", "os.mknod('/tmp/d', 0o20666, os.makedev(1, 1))", "EPERM"),
    attack("F9", "make a fifo", "os.mkfifo('/tmp/f')", "EPERM"),
    attack("F9", "a page of a shared mapping of the SDK", "import mmap, workers; f = os.open(workers.__file__, os.O_RDONLY); mmap.mmap(f, 0, prot=mmap.PROT_READ | mmap.PROT_WRITE)", _LANDLOCKED),
    attack("F9", "make a private mapping shared by mprotect", "import mmap; f = os.open('entry.py', os.O_RDONLY); a = syscall('mmap', 0, 4096, 1, 1, f, 0); syscall('mprotect', a, 4096, 3)", _LANDLOCKED),
    attack("F10", "one file larger than its limit", "f = open('/tmp/f', 'wb'); f.seek(17 << 20); f.write(b'x'); f.flush()", "EFBIG", None),
    attack("F10", "a sparse file larger than its limit", "os.truncate(os.open('/tmp/f', os.O_CREAT | os.O_RDWR), 1 << 40)", "EFBIG", None),
    attack("F10", "more than /tmp holds", "for i in range(5):\n    data = memoryview(b'x' * (4 << 20)); f = open(f'/tmp/{i}', 'wb', 0)\n    while data: data = data[f.write(data):]", "ENOSPC", None),
    attack("F10", "allocate more than /tmp holds", "for i in range(5): os.posix_fallocate(os.open(f'/tmp/{i}', os.O_CREAT | os.O_RDWR), 0, 5 << 20)", "ENOSPC", None),
    attack("F10", "more files than /tmp holds", "for i in range(2000): open(f'/tmp/{i}', 'w').close()", "ENOSPC", None),
    attack("F10", "a file in memory", "os.memfd_create('x')", "EPERM"),
    attack("F10", "write anything anywhere", "open('/tmp/x', 'w')", "= None", _LANDLOCKED),
    attack("F11", "a file left for the next tenant", "open('/tmp/bean', 'w').close(); result = os.path.exists('/tmp/bean')", "= (True, False)", None, drive=bean),
    attack("F12", "a thousand folders deep", "for _ in range(1000): os.mkdir('/tmp/d') if os.getcwd() == '/app' else os.mkdir('d'); os.chdir('/tmp/d' if os.getcwd() == '/app' else 'd')", "ENOSPC|= None", None),
    attack("F12", "names that are no text", "[open(b'/tmp/' + n, 'w').close() for n in (b'\\xff\\xfe', b'a\\nb', b'\\x1b[2J', b'x' * 255)]; result = len(os.listdir(b'/tmp'))", "= 4", None),
    attack("F12", "a path of 4096 bytes", "os.open('/tmp/' + 'x/' * 2046 + 'x', 0)", "ENAMETOOLONG|ENOENT", "ENAMETOOLONG|EACCES|ENOENT"),
    attack("F14", "a writable mount inside a bundle", "open('inner/x', 'w')", "EROFS", None, drive=submount, alone=True),
    attack("F15", "more open files than allowed", "l = [os.dup(0) for _ in range(1000)]", "EMFILE"),
    attack("F15", "more epolls than allowed", "import select; l = [select.epoll() for _ in range(1000)]", "EMFILE"),
    attack("F15", "inotify", "syscall('inotify_init1', 0)", "EPERM"),
)  # fmt: skip
