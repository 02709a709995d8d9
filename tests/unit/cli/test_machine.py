"""What the platform asks of the machine."""

from __future__ import annotations

import gc
import subprocess
import sys

from tenantry.cli.machine import keeping_everything

PROGRAM = """
import resource, sys
from tenantry.cli.machine import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[1])))
allow_open_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    """Open resources and connections take more than the 1,024 that most systems give."""
    output = subprocess.run([sys.executable, "-c", PROGRAM, "3000"], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["3000", "3000"]


def test_the_collector_is_off_for_a_while_and_then_as_before() -> None:
    assert gc.isenabled()
    with keeping_everything():
        assert not gc.isenabled()
        with keeping_everything():
            pass
        assert not gc.isenabled(), "whoever began it ends it"
    assert gc.isenabled()
