"""Which silent invocations are kept: a share, or all while somebody looks, and never more than the bounds."""

from __future__ import annotations

from tenantry.host.keeping import Keeping
from tenantry.host.limits import ATTENDED_PER_SECOND_MAX, ATTENDED_WORKERS_MAX, KEPT_PER_SECOND_MAX, KEPT_TOTAL_MAX


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Draws:
    """0.0, 0.1, … 0.9, and again."""

    count = -1

    def __call__(self) -> float:
        self.count += 1
        return self.count % 10 / 10


def admitted(keeping: Keeping, place: tuple[str | None, str], count: int) -> int:
    return sum(keeping.admits(place) for _ in range(count))


W = (None, "w")


def test_nothing_is_kept_that_nobody_asked_for() -> None:
    keeping = Keeping(Clock())
    assert not keeping
    assert not keeping.admits(W)
    keeping.sample(W, 0)
    assert not keeping


def test_a_share_is_kept_up_to_a_rate() -> None:
    clock = Clock()
    keeping = Keeping(clock, Draws())
    keeping.sample(W, 0.3)
    assert keeping
    assert admitted(keeping, W, 10) == 3
    assert not keeping.admits(("ns", "w")), "that is another Worker"
    assert admitted(keeping, W, 1000) == KEPT_PER_SECOND_MAX - 3
    clock.now += 0.5
    assert admitted(keeping, W, 1000) == KEPT_PER_SECOND_MAX / 2
    keeping.sample(W, 0)
    assert not keeping


def test_all_are_kept_while_somebody_looks() -> None:
    clock = Clock()
    keeping = Keeping(clock)
    keeping.attend(W, 10)
    assert admitted(keeping, W, 1000) == ATTENDED_PER_SECOND_MAX
    clock.now += 9.9
    assert keeping.admits(W)
    clock.now += 0.1
    assert not keeping.admits(W)
    assert not keeping, "and nothing is left of it"


def test_a_share_is_what_it_was_once_nobody_looks_any_more() -> None:
    clock = Clock()
    keeping = Keeping(clock, Draws())
    keeping.sample(W, 0.1)
    keeping.attend(W, 10)
    assert admitted(keeping, W, 10) == 10
    clock.now += 10
    assert admitted(keeping, W, 10) == 1


def test_all_workers_together_have_a_bound() -> None:
    keeping = Keeping(Clock())
    places = [("ns", f"w{number}") for number in range(KEPT_TOTAL_MAX)]
    for place in places:
        keeping.sample(place, 1)
    assert sum(admitted(keeping, place, 5) for place in places) == KEPT_TOTAL_MAX


def test_names_that_are_followed_cost_bounded_memory() -> None:
    clock = Clock()
    keeping = Keeping(clock)
    for number in range(ATTENDED_WORKERS_MAX):
        keeping.attend((None, f"n{number}"), 10)
    keeping.attend(W, 10)
    assert not keeping.admits(W)
    clock.now += 10
    keeping.attend(W, 10)
    assert keeping.admits(W)
