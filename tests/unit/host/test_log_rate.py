"""How fast a Worker may fill its log."""

from __future__ import annotations

from tenantry.host.limits import LOG_BURST_BYTES, LOG_BYTES_PER_SECOND
from tenantry.host.logs import LogRate


def test_a_burst_and_then_so_much_a_second() -> None:
    rate = LogRate()
    assert rate.admit(LOG_BURST_BYTES, 1000.0)
    assert not rate.admit(1, 1000.0)
    assert rate.admit(LOG_BYTES_PER_SECOND // 2, 1000.5)
    assert not rate.admit(LOG_BYTES_PER_SECOND // 2, 1000.75)
    assert rate.admit(LOG_BYTES_PER_SECOND // 4, 1000.75)


def test_what_was_not_said_is_saved_up_to_a_burst() -> None:
    rate = LogRate()
    assert rate.admit(LOG_BURST_BYTES, 1000.0)
    assert not rate.admit(LOG_BURST_BYTES + 1, 1_000_000.0)
    assert rate.admit(LOG_BURST_BYTES, 1_000_000.0)


def test_what_is_left_out_is_told_once_a_second() -> None:
    rate = LogRate()
    assert [rate.may_tell(now) for now in (5.0, 5.5, 5.99, 6.0, 6.5)] == [True, False, False, True, False]
