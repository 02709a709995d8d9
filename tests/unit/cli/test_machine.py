"""What the platform asks of the machine."""

from __future__ import annotations

import subprocess
import sys

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
