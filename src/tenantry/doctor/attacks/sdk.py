"""Chapter 6: the SDK inside the sandbox, and tricks of Python. All checks that count are the host's."""

# ruff: noqa: E501 - a table, one attack a line

from __future__ import annotations

from typing import Final

from tenantry.doctor.attacks.model import Attack, attack
from tenantry.doctor.drives import then_fresh

__all__ = ["SDK"]

_PATCH: Final = """
import asyncio, builtins, json, socket, workers
workers.Response = workers.WorkerEntrypoint = json.dumps = json.loads = asyncio.sleep = None
builtins.open = builtins.print = lambda *_: None
socket.socket = socket.create_connection = None
import tenantry.wire.limits as limits
for name in dir(limits):
    if name.isupper(): setattr(limits, name, 1 << 62)
"""

_HOOK: Final = """
import importlib.abc, importlib.machinery
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, None)
sys.meta_path.insert(0, Finder())
sys.path.insert(0, '/tmp')
import tenantry.wire.values as values
values.poisoned = True
result = 1
"""

# Who walks up the stack, or through all that refers to anything, finds no host and no other tenant.
_FRAMES: Final = """
import re
pattern = re.compile('canary' + '-[0-9a-f]{32}')
frame, found = sys._getframe(), []
while frame:
    for key, value in {**frame.f_globals, **frame.f_locals}.items():
        text = repr(value)[:10000]
        if pattern.search(text) or (bundles in text and key not in globals() and key not in ('_ATTACK', 'names')):
            found.append(key)
    frame = frame.f_back
result = found
"""

_METHODS: Final = """
from tenantry.runtime.stub import Stub
from tenantry.wire.events import InvocationKind
result = []
for method in ('_private', '__init__', '__class__', '__getattribute__', 'env', 'ctx', 'constructor', 'dup', 'remember.__globals__', 'a/b', '', '__dict__', 'SECRET'):
    try:
        await Stub(ctx._invocation.worker, 6).call(InvocationKind.RPC, f'{bystander}/{method}', [])
        result.append(method)
    except Exception:
        pass
"""

_THREW: Final = "! WorkerThrew"
_CRASHED: Final = "! WorkerCrashed"

SDK: Final[tuple[Attack, ...]] = (
    attack("Y1", "patch everything", _PATCH, ".*"),
    attack("Y1", "patches that the next process would see", _PATCH + "result = 1", r".* \| = \[True, True\]", drive=then_fresh("import json, workers; result = [json.loads is not None, workers.Response is not None]")),
    attack("Y3", "the interpreter's flags", "result = (sys.flags.isolated, sys.flags.no_site, sys.flags.ignore_environment, sys.flags.no_user_site)", "= (1, 1, 1, 1)"),
    attack("Y3", "import hooks that the next process would see", _HOOK, "= 1 | = [False, False]", drive=then_fresh("import tenantry.wire.values as values; result = [hasattr(values, 'poisoned'), '/tmp' in sys.path]")),
    attack("Y3", "a .pth file beside the SDK", "import workers; open(os.path.dirname(os.path.dirname(workers.__file__)) + '/x.pth', 'w')", "EROFS", "EACCES"),
    attack("Y3", "a poisoned __pycache__ of the SDK", "import workers; open(os.path.dirname(workers.__file__) + '/__pycache__/x.pyc', 'w')", "EROFS|ENOENT", "EACCES"),
    attack("Y4", "frames and their variables", _FRAMES, "= []", None),
    attack("Y4", "requests of others", "import gc; gc.collect(); result = [type(o).__name__ for o in gc.get_objects() if type(o).__name__ in ('Host', 'WorkerPool', 'WorkerProcess', 'CapabilityTable', 'Zygote', '_Zygote', 'Recipe', 'SandboxPolicy')]", "= []"),
    attack("Y6", "methods that a Worker has not declared", _METHODS, "= []"),
    attack("Y6", "a module whose every name is there", "", "! WorkerThrew|! WorkerCrashed|= None", at_import="class Default:\n    pass\ndef __getattr__(name): return lambda *a: 1"),
    attack("Y6", "an entrypoint with a metaclass", "", "! WorkerThrew|! WorkerCrashed|= None", at_import="class Meta(type):\n    def __getattribute__(cls, name): raise SystemExit\nclass Default(WorkerEntrypoint, metaclass=Meta):\n    pass"),
    attack("Y8", "an answer that is none", "response = 5", _THREW),
    attack("Y8", "an answer that is a coroutine", "import asyncio; response = asyncio.sleep(0)", f"{_THREW}|"),
    attack("Y8", "an answer that is the class", "response = Response", _THREW),
    attack("Y8", "a body that breaks off", "def body():\n    yield b'x' * 100\n    raise RuntimeError\nresponse = Response(body())", "! StreamError"),
    attack("Y8", "a body that ends its process midway", "def body():\n    for _ in range(10): yield b'x' * 100_000\n    os._exit(0)\nresponse = Response(body())", "! StreamError|! WorkerCrashed"),
    attack("Y8", "a body that is no bytes", "def body():\n    yield 5\nresponse = Response(body())", "! StreamError|TypeError"),
    attack("Y9", "waitUntil without end", "import asyncio\nfor _ in range(10 ** 6): ctx.waitUntil(asyncio.Event().wait())", "RuntimeError"),
    attack("Y10", "leave", "os._exit(0)", _CRASHED),
    attack("Y10", "abort", "os.abort()", _CRASHED),
    attack("Y10", "exit", "raise SystemExit(4)", "SystemExit"),
    attack("Y10", "an alarm", "import asyncio, signal; signal.setitimer(signal.ITIMER_REAL, 0.01); await asyncio.sleep(0.1)", f"{_CRASHED}|= None"),
    attack("Y10", "stop the loop", "import asyncio; asyncio.get_running_loop().stop(); await asyncio.sleep(0)", f"{_CRASHED}|= None"),
)  # fmt: skip
