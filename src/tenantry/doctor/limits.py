"""The numbers of the doctor."""

from __future__ import annotations

from typing import Final

ATTACKS_AT_ONCE: Final = 4
"""Enough to keep two cores busy, few enough that a slow machine does not run into the time limits below."""

ANSWER_SECONDS_MAX: Final = 30.0
"""An attack that has no outcome after this long is one that the host did not end."""

BYSTANDER_SECONDS_MAX: Final = 10.0
"""The bystander has to answer within this, whatever its neighbours do. Not a latency figure: benchmarks/ has those."""

END_SECONDS_MAX: Final = 10.0
"""What was killed has to be gone after this."""

OUTCOME_CHARACTERS_MAX: Final = 200
"""Of an outcome in a report."""

PROBE_SECONDS_MAX: Final = 20.0
