"""The zygote's file system, and in it the template of every tenant's.

    /                      the zygote's own root: a tmpfs
    ├── .tenantry/root     the template: a tmpfs with the runtime bound into it, read-only through and through
    │   ├── <as on the host>   the standard library and the shared libraries it needs
    │   ├── sdk, packages      policy.site and policy.worker_site
    │   ├── dev/{null,urandom} no /dev/zero: a shared mapping of it is memory that no limit counts
    │   ├── app, tmp           empty; each child mounts its own there
    ├── .tenantry/bundles  every bundle
    ├── .tenantry/preload  what the zygote imports from, gone before the first fork
    └── usr, lib, sdk, …   symbolic links into the template, so that the zygote finds its modules where tenants do

A child gets a copy of these mounts with its mount namespace, binds the template onto itself, mounts what is its own,
and pivots into it: of the rest, the bundles of others included, nothing remains.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from tenantry.errors import IsolationError
from tenantry.sandbox import mounts
from tenantry.sandbox.layers import Layer, needed_for
from tenantry.sandbox.policy import ResourceLimits, ZygotePolicy
from tenantry.sandbox.runtime_files import RuntimeFiles

SITE = "/sdk"
WORKER_SITE = "/packages"
BUNDLE = "/app"

_HOME = "/.tenantry"
_TEMPLATE = f"{_HOME}/root"
_BUNDLES = f"{_HOME}/bundles"
_PRELOAD = f"{_HOME}/preload"
_OLD = f"{_HOME}/old"
_STAGES = ("/tmp", "/run", "/mnt", "/dev")  # noqa: S108 - a folder that exists, to mount on in our own namespace
_TENANTS_OWN = (BUNDLE, "/tmp", "/dev")  # noqa: S108 - of its namespace
_DEVICES = ("/dev/null", "/dev/urandom")
_ADVICE = "Mounts inside a user namespace may be forbidden here (AppArmor, a container's seccomp profile)."

# The zygote's own two file systems hold folders and links only.
_SKELETON_BYTES = 1024 * 1024
_SKELETON_FILES = 4096


def build(policy: ZygotePolicy, files: RuntimeFiles, preload_path: list[str]) -> list[str]:
    """Leave the host's file system for the one above. Returns what `preload_path` is called in there."""
    # Symbolic links mean what they mean only while the host's root is ours.
    wanted = {path: os.path.realpath(path) for path in (*files.folders, *files.files)}
    wanted[SITE] = policy.site
    if policy.worker_site is not None:
        wanted[WORKER_SITE] = policy.worker_site
    check_places(wanted)
    stage = next(path for path in _STAGES if os.path.isdir(path))
    os.umask(0o022)
    with needed_for(Layer.ROOT, _ADVICE):
        mounts.make_private()
        _mount_skeleton(stage)
        os.makedirs(stage + _OLD)
        os.chdir(stage)
        # Not over the stage's own path: the host's files below it (bundles in /tmp, in tests) stay visible in the old
        # root.
        mounts.pivot_root(".", "." + _OLD)
        os.chdir("/")
        _build_template(wanted, files)
        os.mkdir(_BUNDLES)
        mounts.bind_read_only(_OLD + policy.bundles, _BUNDLES)
        preload = [f"{_PRELOAD}/{index}" for index in range(len(preload_path))]
        for source, target in zip(preload_path, preload, strict=True):
            os.makedirs(target)
            mounts.bind_read_only(_OLD + source, target)
        for name in os.listdir(_TEMPLATE):
            os.symlink(f"{_TEMPLATE[1:]}/{name}", f"/{name}")
        mounts.detach(_OLD)
        os.rmdir(_OLD)
    return preload


def check_places(wanted: Iterable[str]) -> None:
    """Raises IsolationError if a tenant's own folder would hide something that its interpreter needs."""
    for path in wanted:
        for own in _TENANTS_OWN:
            if f"{path}/".startswith(f"{own}/"):
                raise IsolationError(
                    Layer.ROOT, f"Python, or a library of it, is installed below {own}, which is a Worker's own there."
                )


def forget_preload(preload: list[str]) -> None:
    for path in preload:
        mounts.detach(path)
        os.rmdir(path)


def prepare(limits: ResourceLimits) -> None:
    """In a blank child with a mount namespace of its own: a root to be, all but the bundle.

    The template is bound onto itself because what came from a more privileged namespace is locked in place: the kernel
    pivots only into a mount that this namespace has made.
    """
    with needed_for(Layer.ROOT, _ADVICE):
        mounts.make_private()
        mounts.bind(_TEMPLATE, _TEMPLATE)
        mounts.mount_tmpfs(
            scratch(),
            mode=0o1777,
            bytes_max=limits.tmp_bytes_max,
            files_max=limits.tmp_files_max,
            executable=False,
        )


def template() -> str:
    """The root to be, as a blank child sees it."""
    return _TEMPLATE


def scratch() -> str:
    """The tenant's own /tmp, as a blank child sees it."""
    return f"{_TEMPLATE}/tmp"  # noqa: S108 - no other process sees it


def enter(bundle: str) -> None:
    """Make the prepared root the root, with this one bundle in it. `bundle` has been checked to be a plain name.

    The bundle is read-only because the mount that it is bound from is, and that is locked: the kernel does not let a
    less privileged namespace take such attributes off.
    """
    if bundle:
        with needed_for(
            Layer.BUNDLE, "Is there such a folder, and may everyone enter it (chmod a+x on the folder of bundles)?"
        ):
            source = f"{_BUNDLES}/{bundle}"
            if os.path.islink(source):
                raise NotADirectoryError(0, "It is a symbolic link")
            mounts.bind(source, _TEMPLATE + BUNDLE)
    with needed_for(Layer.ROOT, _ADVICE):
        mounts.enter_root(_TEMPLATE)
    with needed_for(Layer.BUNDLE, "Everyone has to be able to read a bundle: chmod -R a+rX."):
        os.chdir(BUNDLE)
        os.scandir(".").close()


def may_see_bundles() -> None:
    """Raises IsolationError if a child could not find its bundle."""
    with needed_for(
        Layer.BUNDLE, "The folder of bundles has to let the unprivileged users of workers pass: chmod a+x."
    ):
        os.stat(f"{_BUNDLES}/.")


def _build_template(wanted: dict[str, str], files: RuntimeFiles) -> None:
    os.mkdir(_TEMPLATE)
    _mount_skeleton(_TEMPLATE)
    for path, source in sorted(wanted.items()):
        _place(_OLD + source, _TEMPLATE + path)
    for path in files.masks:
        mounts.mount_tmpfs(_TEMPLATE + path, mode=0o555, bytes_max=4096, files_max=1)
    for path, target in files.links:
        os.makedirs(os.path.dirname(_TEMPLATE + path), exist_ok=True)
        if not os.path.lexists(_TEMPLATE + path):
            os.symlink(target, _TEMPLATE + path)
    for path in _TENANTS_OWN:
        os.mkdir(_TEMPLATE + path)
    for path in _DEVICES:
        _make_file(_TEMPLATE + path)
    mounts.restrict(_TEMPLATE)
    for path in _DEVICES:
        mounts.bind_read_only(_OLD + path, _TEMPLATE + path, devices=True)


def _mount_skeleton(target: str) -> None:
    mounts.mount_tmpfs(target, mode=0o755, bytes_max=_SKELETON_BYTES, files_max=_SKELETON_FILES)


def _place(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        _make_file(target)
    mounts.bind(source, target)


def _make_file(path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
