"""Runs attacks and judges them: what each left of the bystander, of the host's files and of the canaries counts more
than what it says of itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

import msgspec

from tenantry.doctor import limits
from tenantry.doctor.arena import Arena, Attacker, open_arena
from tenantry.doctor.attacks import ATTACKS, Attack, NotCovered
from tenantry.doctor.clock import SkippingLoop, skipped
from tenantry.doctor.drives import one_request

__all__ = ["Verdict", "run_suite"]


class Verdict(msgspec.Struct, frozen=True):
    """One line of `tenantry doctor --attack`, and of its `--json`.

    `contained` is None where this machine cannot show it; `detail` then says why.
    """

    id: str
    attack: str
    contained: bool | None
    detail: str


Progress = Callable[[Verdict], None]


def run_suite(isolation: str, attacks: Sequence[Attack] = ATTACKS, progress: Progress | None = None) -> list[Verdict]:
    """Run the attacks against this machine's kernel, in the order of the table. Raises IsolationError.

    The loop is of its own kind because some attacks wait for minutes, on a clock that the suite turns on.
    """
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(_run(isolation, attacks, progress or (lambda _: None)))


async def _run(isolation: str, attacks: Sequence[Attack], progress: Progress) -> list[Verdict]:
    meant = [attack for attack in attacks if attack.expected(isolation) is not None]
    verdicts: dict[str, Verdict] = {}
    async with open_arena(isolation) as arena:
        free = asyncio.Semaphore(limits.ATTACKS_AT_ONCE)

        async def one(attack: Attack) -> None:
            async with free:
                verdicts[attack.name] = verdict = await _carry_out(arena, attack)
            progress(verdict)

        async with asyncio.TaskGroup() as group:
            for attack in meant:
                if not attack.alone:
                    group.create_task(one(attack))
        for attack in meant:
            if attack.alone:
                await one(attack)
    return [verdicts[attack.name] for attack in meant]


async def _carry_out(arena: Arena, attack: Attack) -> Verdict:
    attacker = arena.deploy(attack)
    before = set(arena.pids("bystander"))
    clock = skipped()
    try:
        outcome = await (attack.drive or one_request)(arena, attacker, attack)
        problem = await _problem(arena, attacker, outcome)
        # One that was idle for a minute is retired; when the clock was turned on that says nothing.
        if problem is None and clock == skipped() and not before <= set(arena.pids("bystander")):
            problem = "the bystander's process died"
    except NotCovered as reason:
        return Verdict(attack.id, attack.name, None, f"not covered: {reason}")
    finally:
        arena.remove(attacker)
    detail = problem or _shown(outcome)
    return Verdict(attack.id, attack.name, problem is None, detail)


async def _problem(arena: Arena, attacker: Attacker, outcome: str) -> str | None:
    """The first thing that is not as containment demands, or None."""
    if (leaked := arena.leak(outcome)) is not None:
        return leaked
    expected = attacker.attack.expected(arena.isolation)
    assert expected is not None
    if not matches(expected, outcome):
        return f"{_shown(outcome)}, where {_shown(expected)} was due"
    if attacker.attack.outside is not None and (seen := await attacker.attack.outside(arena, attacker)) is not None:
        return seen
    if (hurt := await arena.ask_bystander()) is not None:
        return hurt
    return arena.damage()


def matches(expected: str, outcome: str) -> bool:
    """Whether an outcome is the expected one; an exception's class stands for whatever its text is."""
    if expected.startswith("= "):
        return outcome == expected
    return re.fullmatch(f"(?:{expected})(?:: .*)?", outcome, re.DOTALL) is not None


def _shown(text: str) -> str:
    """Fit for a table: one line, bounded, without control characters."""
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= limits.OUTCOME_CHARACTERS_MAX else text[: limits.OUTCOME_CHARACTERS_MAX - 1] + "…"
