"""What the kernel says of the machine and of processes, as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.machine import cpu_model, filesystem_of, memory_bytes
from benchmarks.memory import private_bytes

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/vdb /srv/with\\040space xfs rw 0 0
/dev/vdc /srv/twice ext4 rw 0 0
tmpfs /srv/twice tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/someone", "ext4"),
        ("/tmp/run-1", "tmpfs"),
        ("/tmpfiles", "ext4"),
        ("/srv/with space/data", "xfs"),
        ("/srv/twice", "tmpfs"),
    ],
)
def test_the_filesystem_of_a_path_is_that_of_the_innermost_mount(path: str, kind: str) -> None:
    assert filesystem_of(Path(path), MOUNTS) == kind


def test_a_machine_without_mounts_to_read_has_an_unknown_filesystem() -> None:
    assert filesystem_of(Path("/"), "") == "unknown"


def test_the_first_processor_names_the_machine() -> None:
    assert (
        cpu_model("processor\t: 0\nmodel name\t: A Fast One @ 3.00GHz\nmodel name\t: Another\n")
        == "A Fast One @ 3.00GHz"
    )
    assert cpu_model("processor\t: 0\nCPU part\t: 0xd0c\n") is None


def test_memory_is_the_total() -> None:
    assert memory_bytes("MemTotal:       24689444 kB\nMemFree:        100 kB\n") == 24_689_444 * 1024


def test_private_memory_counts_clean_dirty_and_huge_pages_and_nothing_shared() -> None:
    rollup = (
        "55d0a1c00000-7ffd3e1f2000 ---p 00000000 00:00 0    [rollup]\n"
        "Rss:               20132 kB\n"
        "Pss:                7321 kB\n"
        "Shared_Clean:       9000 kB\n"
        "Shared_Dirty:       4500 kB\n"
        "Private_Clean:       100 kB\n"
        "Private_Dirty:      6532 kB\n"
        "Private_Hugetlb:       4 kB\n"
    )
    assert private_bytes(rollup) == (100 + 6532 + 4) * 1024
