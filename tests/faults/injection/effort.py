"""How much is done: a little in `make test`, as much as is asked for in `make faults`. All randomness is seeded."""

from __future__ import annotations

import os
import random

__all__ = ["ROUNDS", "SEED", "STRIDE", "randomness", "rounds"]

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "0"))
"""0 in `make test`."""
SEED = int(os.environ.get("FAULT_SEED", "1"))
STRIDE = int(os.environ.get("FAULT_STRIDE", "1" if ROUNDS else "11"))
"""Of how many operations one is made to fail."""


def rounds(few: int) -> int:
    return ROUNDS or few


def randomness(of: str) -> random.Random:
    """The same for the same seed, whatever else runs."""
    return random.Random(f"{SEED}/{of}")
