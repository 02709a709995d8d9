"""What the root of a worker has no place for is refused with a reason."""

from __future__ import annotations

import pytest

from tenantry.errors import IsolationError
from tenantry.sandbox.roots import check_places


@pytest.mark.parametrize("path", ["/tmp", "/tmp/python/lib/python3.11", "/dev/shm/python"])
def test_an_interpreter_below_a_workers_own_folder_is_refused_by_name(path: str) -> None:
    with pytest.raises(IsolationError, match=f"pivoted root: .* installed below /{path.split('/')[1]}, which"):
        check_places(["/usr/lib", path])


def test_one_that_is_called_alike_is_not() -> None:
    check_places(["/usr/lib/python3.11", "/tmpfs/python", "/opt/tmp"])
