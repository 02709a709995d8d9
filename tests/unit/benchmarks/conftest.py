"""`benchmarks` stands beside `src`, not in it: no test runner finds it by itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))
