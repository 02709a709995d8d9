from __future__ import annotations

import pytest

from tenantry.sandbox import landlock


@pytest.mark.parametrize(
    ("abi", "files", "network", "scopes"),
    [
        (1, 0x1FFF, 0, 0),
        (2, 0x3FFF, 0, 0),
        (3, 0x7FFF, 0, 0),
        (4, 0x7FFF, 3, 0),
        (5, 0xFFFF, 3, 0),
        (6, 0xFFFF, 3, 3),
        (7, 0xFFFF, 3, 3),
        (99, 0xFFFF, 3, 3),
    ],
)
def test_all_that_a_kernel_can_refuse_is_refused(abi: int, files: int, network: int, scopes: int) -> None:
    assert landlock.handled_rights(abi) == (files, network, scopes)


def test_nothing_is_executable_and_nothing_read_only_can_be_written() -> None:
    execute, write_file = 1 << 0, 1 << 1
    for rights in (landlock.READ, landlock.DEVICE, landlock.WRITE):
        assert not rights & execute
    assert not landlock.READ & write_file
