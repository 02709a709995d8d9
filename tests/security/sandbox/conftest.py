"""An arena for attacks, outside of the checkout: an ordinary user has to be able to read it, whoever runs the tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenantry

_SCRIPTS = Path(__file__).parent / "arena"


@pytest.fixture(scope="session")
def arena() -> Iterator[Path]:
    """`packages` with the sandbox and what it imports, the attack scripts, two bundles, and somebody's secret."""
    package = Path(tenantry.__file__).parent
    # Not tmp_path: pytest closes its folders to other users. The name is what "objects of the zygote" looks for.
    folder = Path(tempfile.mkdtemp(prefix="arena-secret-"))
    folder.chmod(0o755)
    try:
        target = folder / "packages" / "tenantry"
        target.mkdir(parents=True)
        for name in ("__init__.py", "errors.py"):
            shutil.copyfile(package / name, target / name)
        shutil.copytree(package / "sandbox", target / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(_SCRIPTS, folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "site").mkdir()
        (folder / "secret.txt").write_text("secret")
        for bundle in ("mine", "other"):
            (folder / "bundles" / bundle).mkdir(parents=True)
            (folder / "bundles" / bundle / "main.py").write_text("X = 1\n")
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def driver(arena: Path) -> list[str]:
    return [str(arena / "scripts" / "drive.py"), str(arena)]
