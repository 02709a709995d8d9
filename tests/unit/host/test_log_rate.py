"""How fast a Worker may fill its log."""

from __future__ import annotations

from tenantry.host.limits import LOG_BURST_BYTES, LOG_BYTES_PER_SECOND
from tenantry.host.logs import LogRate


def test_a_burst_and_then_so_much_a_second() -> None:
    rate = LogRate()
    assert rate.take(LOG_BURST_BYTES, 1000.0) == LOG_BURST_BYTES
    assert rate.take(1, 1000.0) == 0
    assert rate.take(LOG_BYTES_PER_SECOND, 1000.5) == LOG_BYTES_PER_SECOND // 2
    assert rate.take(1000, 1000.75) == 1000
    assert rate.take(LOG_BYTES_PER_SECOND, 1000.75) == LOG_BYTES_PER_SECOND // 4 - 1000


def test_what_was_not_said_is_saved_up_to_a_burst() -> None:
    rate = LogRate()
    assert rate.take(LOG_BURST_BYTES, 1000.0) == LOG_BURST_BYTES
    assert rate.take(2 * LOG_BURST_BYTES, 1_000_000.0) == LOG_BURST_BYTES


def test_what_is_left_out_is_told_once_a_second() -> None:
    rate = LogRate()
    assert [rate.may_tell(now) for now in (5.0, 5.5, 5.99, 6.0, 6.5)] == [True, False, False, True, False]
