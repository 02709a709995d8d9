"""Which version takes a request: shares that hold, one version for one request, overrides of what is deployed only."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from tenantry.host.split import Split, VersionChoice, read_choice_untrusted


def pool(version: str) -> Any:
    return SimpleNamespace(worker=SimpleNamespace(version_id=version))


def split(*shares: tuple[str, float], name: str = "w") -> Split:
    return Split(name, [(pool(version), percentage) for version, percentage in shares])


def chosen(of: Split, choice: VersionChoice) -> str:
    version: str = of.choose(choice).worker.version_id
    return version


def test_shares_are_what_was_asked_for() -> None:
    of = split(("a", 90), ("b", 10))
    counts = Counter(chosen(of, VersionChoice(f"key {number}")) for number in range(10_000))

    assert 8_800 < counts["a"] < 9_200, "a fixed set of keys: the same at every run"


@pytest.mark.parametrize(("shares", "only"), [((100, 0), "a"), ((0, 100), "b")])
def test_a_version_with_no_share_gets_nothing(shares: tuple[float, float], only: str) -> None:
    of = split(("a", shares[0]), ("b", shares[1]))

    assert {chosen(of, VersionChoice(str(number))) for number in range(1000)} == {only}


def test_the_same_key_meets_the_same_version() -> None:
    of = split(("a", 50), ("b", 50))
    for number in range(100):
        choice = VersionChoice(str(number))
        assert len({chosen(of, choice) for _ in range(3)}) == 1


def test_two_workers_that_are_split_do_not_send_the_same_requests_to_their_new_versions() -> None:
    one, two = split(("a", 50), ("b", 50), name="one"), split(("a", 50), ("b", 50), name="two")
    choices = [VersionChoice(str(number)) for number in range(1000)]

    assert 400 < sum(chosen(one, choice) == chosen(two, choice) for choice in choices) < 600


def test_more_of_a_version_takes_no_request_away_from_it() -> None:
    """Raising a share moves requests one way: who had the growing version still has it."""
    few, many = split(("a", 90), ("b", 10)), split(("a", 60), ("b", 40))
    choices = [VersionChoice(str(number)) for number in range(1000)]

    assert all(chosen(many, choice) == "b" for choice in choices if chosen(few, choice) == "b")


def test_an_override_counts_for_what_is_deployed_and_for_its_worker() -> None:
    of = split(("a", 100), ("b", 0))

    assert chosen(of, VersionChoice("k", {"w": "b"})) == "b"
    assert chosen(of, VersionChoice("k", {"w": "gone"})) == "a"
    assert chosen(of, VersionChoice("k", {"other": "b"})) == "a"


@pytest.mark.parametrize(
    ("headers", "key", "overrides"),
    [
        ([("Cloudflare-Workers-Version-Key", "user-1")], "user-1", {}),
        (
            [("cloudflare-workers-version-overrides", 'w="12-ab", v="0"')],
            None,
            {"w": "12-ab", "v": "0"},
        ),
        ([("cloudflare-workers-version-overrides", 'w="1", nonsense, x=2, ="3", y="a b"')], None, {"w": "1"}),
    ],
)
def test_headers_that_choose(headers: list[tuple[str, str]], key: str | None, overrides: dict[str, str]) -> None:
    choice = read_choice_untrusted(headers)

    assert choice is not None
    assert choice.overrides == overrides
    assert key is None or choice.key == key


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-other", "1")],
        [("cloudflare-workers-version-key", "")],
        [("cloudflare-workers-version-key", "k" * 5000)],
        [("cloudflare-workers-version-overrides", "=,,=")],
        [("cloudflare-workers-version-overrides", 'w="1",' * 2000)],
    ],
)
def test_headers_that_choose_nothing(headers: list[tuple[str, str]]) -> None:
    assert read_choice_untrusted(headers) is None


def test_a_key_that_is_no_text_for_utf8_is_a_key() -> None:
    assert chosen(split(("a", 50), ("b", 50)), VersionChoice("\udcff")) in "ab"
