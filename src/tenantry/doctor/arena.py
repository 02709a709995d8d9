"""Where attacks take place: a real host with its zygote and services, attackers, and a bystander with secrets.

Canaries (texts that nobody can guess) lie where a tenant must not read: in the host's environment, in a file beside the
bundles, in another bundle, and with the bystander as a secret and as a stored value. An attack whose outcome holds one
has not been contained, whatever else it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tenantry
from tenantry.config.deployment import BindingSpec, DeployedWorker, WorkerLimits
from tenantry.doctor import limits
from tenantry.doctor.attacks.model import Attack, refused
from tenantry.errors import TenantryError
from tenantry.host import Answer, Host, LogEvent, PythonRuntime
from tenantry.host.runtime import python_policy
from tenantry.sandbox import CgroupTree
from tenantry.sandbox.syscalls import this_machine
from tenantry.services import ServiceSettings
from tenantry.services.installed import InstalledServices
from tenantry.streams import ByteStream, read_all
from tenantry.wire.values import RequestValue

__all__ = ["Arena", "Attacker", "open_arena"]

_INSIDE = Path(__file__).parent / "inside"
_CANARY_PREFIX = "canary-"
_CANARY_VARIABLE = "TENANTRY_DOCTOR_CANARY"
_ANSWER_BYTES_MAX = 64 * 1024 * 1024
BYSTANDER = "bystander"
NAMESPACE = "arena"


@dataclass(frozen=True, slots=True)
class Attacker:
    """A Worker that carries out one attack."""

    name: str
    attack: Attack


@dataclass(slots=True)
class Arena:
    host: Host
    folder: Path  # somebody's, with a secret in it
    data: Path  # the host's
    isolation: str
    canary: str
    logs: list[LogEvent] = field(default_factory=list)
    _serial: int = 0
    _fingerprint: str = ""
    _sweeper: Attacker | None = None

    # Attackers -----------------------------------------------------------------------------------------------------

    def deploy(self, attack: Attack, *, namespace: str | None = None, name: str | None = None) -> Attacker:
        """A Worker of its own for an attack."""
        self._serial += 1
        name = name or f"attacker-{self._serial}"
        bundle = "attacker"
        if attack.at_import:
            bundle = f"attacker-{self._serial}"
            self._make_bundle(bundle, attack.at_import)
        bindings = (
            BindingSpec("KV", "kv_namespace", {"namespace_id": name}),
            BindingSpec("R2", "r2_bucket", {"bucket_name": name}),
            BindingSpec("D1", "d1", {"id": _uuid(name), "database_id": _uuid(name)}),
            BindingSpec("NS", "dispatch_namespace", {"namespace": NAMESPACE}),
        )
        self._deploy(name, bundle, bindings, WorkerLimits(attack.cpu_ms, attack.subrequests), namespace)
        return Attacker(name, attack)

    def remove(self, attacker: Attacker) -> None:
        for namespace in (None, NAMESPACE):
            self.host.removed(namespace, attacker.name)

    def sweeper(self) -> Attacker:
        """An attacker for what leaves its process as it was."""
        if self._sweeper is None:
            self._sweeper = self.deploy(Attack(id="", name="sweeper"))
        return self._sweeper

    def remove_sweeper(self) -> None:
        if self._sweeper is not None:
            self.remove(self._sweeper)
            self._sweeper = None

    async def answer(self, attacker: Attacker, code: str | None = None, body: ByteStream | None = None) -> Answer:
        """Send the attack to its Worker. Raises InvocationError."""
        code = attacker.attack.code if code is None else code
        request = RequestValue("POST", "http://arena.test/", [("x-code", json.dumps(code))])
        return await self.host.fetch(attacker.name, request, body)

    async def outcome(self, attacker: Attacker, code: str | None = None, body: ByteStream | None = None) -> str:
        """Send the attack, and read what came of it."""
        try:
            async with asyncio.timeout(limits.ANSWER_SECONDS_MAX):
                return await read_answer(await self.answer(attacker, code, body))
        except TimeoutError:
            return f"! no outcome within {limits.ANSWER_SECONDS_MAX:g} s"
        except TenantryError as error:
            return refused(error)

    def pids(self, attacker: Attacker | str) -> list[int]:
        name = attacker if isinstance(attacker, str) else attacker.name
        return [int(process["pid"]) for process in self.host.processes() if process["worker"] == name]

    # The bystander -------------------------------------------------------------------------------------------------

    async def ask_bystander(self) -> str | None:
        """What is wrong with it; None when it answers as it should."""
        try:
            async with asyncio.timeout(limits.BYSTANDER_SECONDS_MAX):
                answer = await self.host.fetch(BYSTANDER, RequestValue("GET", "http://arena.test/", []))
                text = await read_answer(answer)
        except (TenantryError, TimeoutError) as error:
            return f"the bystander was hurt: {type(error).__name__}: {error}"
        return None if text == "fine" else f"the bystander answered {text[:80]!r}"

    def leak(self, text: str) -> str | None:
        return "it read a secret that is not its own" if self.canary in text else None

    def damage(self) -> str | None:
        """Whether any file that is not an attacker's to write has changed."""
        return None if self._take_fingerprint() == self._fingerprint else "files of the host were changed"

    # Making it -----------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        self._make_bundle("attacker", "")
        # Beside the attackers', by a name that they are told: what is private is private by more than its name.
        other = self.data / "bundles" / "other"
        other.mkdir()
        shutil.copyfile(_INSIDE / "bystander.py", other / "entry.py")
        (other / "secret.txt").write_text(self.canary)
        (self.folder / "secret.txt").write_text(self.canary)
        for path in (self.folder / "secret.txt", *other.iterdir()):
            path.chmod(0o644)  # so that nothing but the sandbox is in the way
        other.chmod(0o755)
        bindings = (
            BindingSpec("SECRET", "secret_text", {"text": self.canary}),
            BindingSpec("KV", "kv_namespace", {"namespace_id": BYSTANDER}),
        )
        for namespace in (None, NAMESPACE):
            self._deploy(BYSTANDER, "other", bindings, WorkerLimits(), namespace)
        if (wrong := await self.ask_bystander()) is not None:
            raise TenantryError(wrong)
        self._fingerprint = self._take_fingerprint()

    def _deploy(
        self, name: str, bundle: str, bindings: tuple[BindingSpec, ...], worker_limits: WorkerLimits, space: str | None
    ) -> None:
        self.host.deployed(
            DeployedWorker(
                namespace=space,
                name=name,
                version_id=f"{name}-{secrets.token_hex(4)}",
                bundle=bundle,
                main_module="entry.py",
                compatibility_date="2026-09-01",
                compatibility_flags=("python_workers",),
                bindings=bindings,
                limits=worker_limits,
            )
        )

    def _make_bundle(self, name: str, at_import: str) -> None:
        folder = self.data / "bundles" / name
        folder.mkdir(exist_ok=True)
        source = (_INSIDE / "entry.py").read_text()
        (folder / "entry.py").write_text(f"{source}\n{at_import}\n")
        (folder / "attack.json").write_text(json.dumps({"numbers": this_machine().numbers, "given": self._given()}))
        folder.chmod(0o755)
        for path in folder.glob("*.*"):
            path.chmod(0o644)

    def _given(self) -> dict[str, Any]:
        """What a tenant could only guess, told to it: containment must not rest on guessing. JSON."""
        return {
            "host_pid": os.getpid(),
            "bundles": str(self.data / "bundles"),
            "other_bundle": str(self.data / "bundles" / "other"),
            "source": str(Path(tenantry.__file__).parent),
            "secret": str(self.folder / "secret.txt"),
            "bystander": BYSTANDER,
        }

    def _take_fingerprint(self) -> str:
        """Of every file that tenants must not write: the SDK's, the bystander's, the first attackers' bundle."""
        found: list[tuple[str, int, int, int]] = []

        def look(folder: str) -> None:
            # By scandir: this is done after each attack, and pathlib would take a quarter of the suite's own time.
            with os.scandir(folder) as entries:
                for entry in entries:
                    # What the host itself keeps there (its data, its interpreter's caches) is no damage.
                    if entry.name == "__pycache__" or entry.path == str(self.data):
                        continue
                    about = entry.stat()
                    is_file = stat.S_ISREG(about.st_mode)
                    found.append((entry.path, about.st_mode, about.st_size, about.st_mtime_ns if is_file else 0))
                    if entry.is_dir(follow_symlinks=False):
                        look(entry.path)

        site = Path(tenantry.__file__).parent / "runtime" / "site"
        for folder in (site, self.data / "bundles" / "attacker", self.data / "bundles" / "other", self.folder):
            look(str(folder))
        return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


async def read_answer(answer: Answer) -> str:
    if answer.stream is not None:
        return (await read_all(answer.stream, _ANSWER_BYTES_MAX)).decode(errors="replace")
    body = answer.response.body
    return body.decode(errors="replace") if isinstance(body, bytes) else ""


@asynccontextmanager
async def open_arena(
    isolation: str, staged: Callable[[Path], AbstractContextManager[None]] = lambda _: nullcontext()
) -> AsyncIterator[Arena]:
    """A host at this level of isolation. Raises IsolationError when the machine does not allow it.

    `staged` is entered with the attackers' bundle, which is still empty, before the zygote starts.
    """
    canary = _CANARY_PREFIX + secrets.token_hex(16)
    folder = Path(tempfile.mkdtemp(prefix="tenantry-doctor-"))
    # Workers of a host that root runs are other users, who have to get at their bundles.
    data = folder / "data"
    data.mkdir(mode=0o755)
    for path in (folder, data):
        path.chmod(0o755)
    os.environ[_CANARY_VARIABLE] = canary
    stack = ExitStack()
    try:
        (data / "bundles" / "attacker").mkdir(parents=True)
        stack.enter_context(staged(data / "bundles" / "attacker"))
        (data / "bundles").chmod(0o755)
        cgroups = CgroupTree.try_claim()
        if cgroups is not None:
            stack.callback(cgroups.close)
        runtime = PythonRuntime(python_policy(data, isolation), cgroups)
        await runtime.open()
        made: list[Arena] = []
        services = InstalledServices(ServiceSettings(data / "accounts" / "doctor", "process"))
        host = Host(data, services, runtime, lambda event: made[0].logs.append(event))
        try:
            arena = Arena(host, folder, data, isolation, canary)
            made.append(arena)
            await arena.prepare()
            yield arena
        finally:
            await host.aclose()
            await services.aclose()
    finally:
        del os.environ[_CANARY_VARIABLE]
        stack.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def _uuid(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
