"""Chapter 2: what a process inherits. Environment, descriptors, memory of the zygote."""

# ruff: noqa: E501 - a table, one attack a line

from __future__ import annotations

from typing import Final

from tenantry.doctor.attacks.model import Attack, attack
from tenantry.doctor.drives import posture

__all__ = ["STATE"]

_CANARY: Final = "'canary' + '-[0-9a-f]{32}'"
"""How the secrets look that the suite has put elsewhere; written so that the snippet does not find itself."""

# Every readable page near anything that Python has allocated: write(2) from an address that is not mapped says EFAULT,
# and so a pipe reads one's own memory without a map of it. The planted text shows that it finds what there is.
_SCAN_MEMORY: Final = f"""
import gc, re
gc.unfreeze()
planted = bytes(bytearray(b'planted-' + b'0123456789abcdef' * 2))
libc = ctypes.CDLL(None, use_errno=True)
libc.sbrk.restype = ctypes.c_void_p
r, w = os.pipe()
os.set_blocking(r, False)
def pages(first, last):
    found = b''
    for at in range(first, last, 4096):
        size = libc.write(w, ctypes.c_void_p(at), 4096)
        if size > 0:
            found += os.read(r, size)
    return found
pattern = re.compile(({_CANARY} + '|planted-[0-9a-f]{{32}}').encode())
places = {{id(thing) >> 20 for thing in gc.get_objects()}} | {{id(planted) >> 20}}
top = libc.sbrk(0) or 0
places |= {{place for place in range((top - (48 << 20)) >> 20, (top >> 20) + 1)}}
found = set()
for place in places:
    found |= set(pattern.findall(pages(place << 20, (place + 1) << 20)))
result = sorted(text[:7] for text in found)
"""

STATE: Final[tuple[Attack, ...]] = (
    attack("S1", "environment", "result = sorted(os.environ)", "= ['HOME', 'LANG', 'TZ']"),
    attack("S1", "command line", "result = (sys.argv, sys.orig_argv, sys.executable)", "= ([''], [], '')"),
    attack("S1", "modules of the platform", "result = sorted(m for m in sys.modules if m.startswith('tenantry.') and m.split('.')[1] not in {'runtime', 'wire', 'channel', 'errors', 'streams'})", "= []"),
    attack("S1", "secrets among the objects", f"import gc, re; gc.unfreeze(); pattern = re.compile({_CANARY}); result = [s for o in gc.get_objects() for s in gc.get_referents(o) if isinstance(s, str) and pattern.search(s)]", "= []"),
    # Where the operator installed us is no secret (our own modules' __file__); where tenants' bundles are stored is.
    attack("S1", "storage locations among the objects", "import gc; gc.unfreeze(); known = globals(); result = [s for o in gc.get_objects() for s in gc.get_referents(o) if isinstance(s, str) and s.startswith(bundles) and not any(s is g for g in known.values())][:3]", "= []", None),
    attack("S2", "every descriptor", "result = []\nfor n in range(70000):\n    try: os.fstat(n); result.append(n)\n    except OSError: pass\nresult = (result[:4], len(result))", "= ([0, 1, 2, 4], 7)"),
    attack("S2", "standard streams", "result = {os.fstat(n).st_rdev for n in (0, 1, 2)} == {os.makedev(1, 3)}", "= True"),
    attack("S2", "what each descriptor is", "import stat\nresult = []\nfor n in range(300):\n    try: m = os.fstat(n).st_mode\n    except OSError: continue\n    if not (stat.S_ISCHR(m) or stat.S_ISSOCK(m) or stat.S_IFMT(m) == 0): result.append((n, oct(m)))", "= []"),
    attack("S2", "descriptors, seen from outside", "", "= None", drive=posture("descriptors", "sockets")),
    attack("S4", "leftovers in the zygote's memory", _SCAN_MEMORY, "= [b'planted']"),
    attack("S4", "leftovers in fresh memory", f"import re; libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; result = [re.findall(({_CANARY}).encode(), ctypes.string_at(libc.malloc(size), size)) for size in [64, 512, 4096, 65536] * 50]; result = [r for r in result if r]", "= []"),
    attack("S4", "randomness shared with a sibling", "import random; result = random.random() == random.Random(0).random()", "= False"),
    attack("S8", "core dumps allowed", "import resource; result = resource.getrlimit(resource.RLIMIT_CORE)", "= (0, 0)"),
    attack("S8", "core dumps raised", "import resource; resource.setrlimit(resource.RLIMIT_CORE, (1, 1))", "ValueError"),
    attack("S8", "dumpable", "result = syscall('prctl', 3, 0, 0, 0, 0)", "= 0"),
    attack("S8", "be dumpable", "syscall('prctl', 4, 1, 0, 0, 0)", "EPERM"),
    attack("S8", "dumpable, seen from outside", "", "= None", drive=posture("dumpable", "limits")),
    attack("S10", "a set-uid file of one's own", "open('/tmp/s', 'w').close(); os.chmod('/tmp/s', 0o4755); os.execv('/tmp/s', ['s'])", "EPERM", None),
    attack("S10", "set-uid files that are there", "result = [p for d, _, n in os.walk('/') for p in (os.path.join(d, x) for x in n) if os.path.isfile(p) and os.stat(p).st_mode & 0o6000]", "= []", None),
    attack("S10", "no new privileges", "result = syscall('prctl', 39, 0, 0, 0, 0)", "= 1"),
    attack("S10", "capabilities", "b = ctypes.create_string_buffer(24); syscall('capget', b'\\x22\\x05\\x08\\x20' + bytes(4), b); result = b.raw.strip(b'\\0')", "= b''"),
    attack("S10", "be another user", "os.setuid(0)", "EPERM"),
    attack("S10", "who one is", "result = (os.getuid(), os.getgid(), os.geteuid(), os.getegid())", "= (65534, 65534, 65534, 65534)", r"=\s\((?!0,).*\)"),
    attack("S10", "privileges and mounts, seen from outside", "", "= None", drive=posture("privileges", "mounts", "environment")),
)  # fmt: skip
