"""`tenantry new`: a project that is complete, and never in the place of something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry.cli import main
from tenantry.config.platform import load_platform


def new(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["new", *words])
    return int(ended.value.code or 0)


def test_a_worker(tmp_path: Path) -> None:
    assert new(str(tmp_path / "my-worker")) == 0
    platform = load_platform(tmp_path / "my-worker")
    assert platform.gateway_worker == "my-worker"


def test_a_platform(tmp_path: Path) -> None:
    assert new(str(tmp_path / "mine"), "--template", "platform") == 0
    platform = load_platform(tmp_path / "mine")
    assert platform.gateway_worker == "mine-dispatcher"
    assert [(worker.project.name, worker.namespace) for worker in platform.workers] == [
        ("mine-dispatcher", None),
        ("mine-customer", "mine"),
    ]
    assert not any("__NAME__" in file.read_text() for file in (tmp_path / "mine").rglob("*") if file.is_file())


def test_what_is_there_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    assert new(str(tmp_path / "mine")) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("name", ["My-Worker", "a b", "x" * 53, "-a"])
def test_a_folder_whose_name_is_no_workers(tmp_path: Path, name: str) -> None:
    # Behind `--`, as a name that begins with a dash has to be.
    assert new("--", str(tmp_path / name)) == 1
    assert list(tmp_path.iterdir()) == []
