"""`kill -9` of the host before each change that a command makes to a file, and before each answer; then it runs again.

The result is as if it had run once: what its users see, what the control store holds, and the files of the data folder.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest
from injection.commands import BY_PROGRAM, BY_REST, Command, Unfinished
from injection.effort import ROUNDS, SEED, STRIDE
from injection.installation import Installation
from injection.moments import ANSWER, why_not

MOMENTS_MAX = 2000
COMMANDS = (*BY_REST, *BY_PROGRAM) if ROUNDS else [command for command in BY_REST if command.is_short]

pytestmark = pytest.mark.xdist_group("kill moments")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    made = Installation(tmp_path_factory.mktemp("moments") / "installation")
    made.start()
    try:
        yield made
    finally:
        made.kill()


class Trial:
    """One command on one target after the other: what each leaves is to be what the first left."""

    def __init__(self, installation: Installation, command: Command, numbers: Iterator[int]) -> None:
        self._installation = installation
        self._command = command
        self._numbers = numbers

    def undisturbed(self) -> list[str]:
        """Sets the example. Gives the moments of the command, in their order."""
        target, before = self._prepared()
        with self._installation.killed_at(MOMENTS_MAX) as moments:
            self._command.run(self._installation, target)
        self._example = self._outcome(target, before)
        return moments.names

    def killed_at(self, nth: int, of: str = "") -> str | None:
        """Where the host was killed; None if the command has fewer moments."""
        target, before = self._prepared()
        try:
            with self._installation.killed_at(nth, of) as moments:
                self._command.run(self._installation, target)
        except Unfinished:
            assert moments.killed_at is not None
        if moments.killed_at is not None:
            where = f"{self._command.name}, killed at moment {nth}, {moments.killed_at}"
            self._installation.kill()
            self._installation.start()
            try:
                self._command.run(self._installation, target)
            except Unfinished as error:
                pytest.fail(f"{where}: the same command again: {error}")
        else:
            where = f"{self._command.name}, not killed"
        for got, wanted, what in zip(
            self._outcome(target, before), self._example, ("seen", "rows", "files"), strict=True
        ):
            assert got == wanted, f"{where}: {what}"
        return moments.killed_at

    def _prepared(self) -> tuple[str, tuple[Counter[str], Counter[str]]]:
        target = self._command.prepare(self._installation, next(self._numbers))
        return target, (self._installation.rows(), self._installation.files())

    def _outcome(self, target: str, before: tuple[Counter[str], Counter[str]]) -> tuple[object, ...]:
        found = self._command.found(self._installation, target)
        rows, files = self._installation.rows(), self._installation.files()
        rows.subtract(before[0])
        files.subtract(before[1])
        return found, {name: n for name, n in rows.items() if n}, {name: n for name, n in files.items() if n}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_that_was_killed_anywhere_and_repeated_is_as_if_it_had_run_once(
    command: Command, installation: Installation
) -> None:
    trial = Trial(installation, command, NUMBERS)
    moments = trial.undisturbed()
    if not ROUNDS:
        # The one that tells most: everything is done, and nobody was told.
        assert moments.count(ANSWER) >= command.answers
        assert trial.killed_at(command.answers, ANSWER) == ANSWER
        return
    kills = 0
    for nth in itertools.count(1 + (SEED - 1) % STRIDE, STRIDE):
        assert nth < MOMENTS_MAX
        where = trial.killed_at(nth)
        if where is None:
            break
        kills += 1
        print(f"{command.name}: killed at moment {nth}, {where}; the same again: as if it had run once", flush=True)
    print(
        f"{command.name}: killed at {kills} moments, one of every {STRIDE}; each time as if it had run once", flush=True
    )
    assert kills


NUMBERS = itertools.count()
"""No target is used twice."""
