"""Rows: ratios that read the same way for rates and times, targets, and the tables."""

from __future__ import annotations

import msgspec
import pytest
from benchmarks.percentile import percentile
from benchmarks.rows import Comparison, Target, make_row, rows_of
from benchmarks.table import render, render_loads, render_rows
from benchmarks.wrk import Sample


def test_a_higher_rate_and_a_shorter_time_both_give_a_ratio_above_one() -> None:
    assert make_row("r", "requests/s", 300.0, 100.0).ratio == 3
    assert make_row("t", "ms", 2.0, 10.0, less_is_better=True).ratio == 5


def test_without_a_peer_there_is_no_ratio() -> None:
    row = make_row("r", "requests/s", 300.0)
    assert (row.peer, row.ratio) == (None, None)


def test_division_by_nothing_gives_no_ratio() -> None:
    assert make_row("r", "requests/s", 300.0, 0.0).ratio is None


@pytest.mark.parametrize(
    ("target", "ours", "peer", "met"),
    [
        (Target("ours", ">=", 20_000), 20_000.0, 1.0, True),
        (Target("ours", ">=", 20_000), 19_999.0, None, False),
        (Target("ours", "<=", 5), 5.0, None, True),
        (Target("ours", "<=", 5), 5.01, None, False),
        (Target("ratio", ">=", 10), 1000.0, 100.0, True),
        (Target("ratio", ">=", 10), 999.0, 100.0, False),
        (Target("ratio", ">=", 10), 999.0, None, None),
        (None, 999.0, 100.0, None),
    ],
)
def test_whether_a_target_is_met(target: Target | None, ours: float, peer: float | None, met: bool | None) -> None:
    assert make_row("x", "u", ours, peer, target).met is met


def test_a_target_is_not_met_by_rounding() -> None:
    row = make_row("x", "requests/s", 19_999.6, None, Target("ours", ">=", 20_000))
    assert (row.ours, row.met) == (20_000, False)


def test_a_ratio_just_below_its_target_does_not_meet_it_by_rounding() -> None:
    assert make_row("x", "u", 999.99, 100.0, Target("ratio", ">=", 10)).met is False


def test_a_row_is_written_with_the_seven_documented_names() -> None:
    row = make_row("GET /data", "requests/s", 1000.0, 50.0, Target("ratio", ">=", 10))
    assert msgspec.json.decode(msgspec.json.encode(row)) == {
        "name": "GET /data",
        "unit": "requests/s",
        "ours": 1000.0,
        "peer": 50.0,
        "ratio": 20.0,
        "target": "ratio >= 10",
        "met": True,
    }


def test_a_load_becomes_a_rate_and_two_latencies() -> None:
    rows = rows_of(Comparison("hello", Sample(1, 100.0, 1.0, 4.0), Sample(1, 50.0, 3.0, 2.0), None))
    assert [(row.name, row.unit, row.ours, row.peer, row.ratio) for row in rows] == [
        ("hello", "requests/s", 100.0, 50.0, 2.0),
        ("hello, p50", "ms", 1.0, 3.0, 3.0),
        ("hello, p99", "ms", 4.0, 2.0, 0.5),
    ]


def test_the_table_of_loads_has_a_line_for_each_and_dashes_for_what_is_not_known() -> None:
    both = Comparison(
        "GET /data", Sample(1, 17_250.4, 1.0, 40.6), Sample(1, 1725.0, 12.3, 470.0), Target("ratio", ">=", 10)
    )
    alone = Comparison("hello", Sample(1, 99.0, 0.5, 2.0), None)
    assert render_loads([both, alone]) == (
        "| load      | requests/s |  peer | ratio | p50 ms | peer | p99 ms | peer | target      | met |\n"
        "| --------- | ---------: | ----: | ----: | -----: | ---: | -----: | ---: | ----------- | --- |\n"
        "| GET /data |     17,250 | 1,725 |  10.0 |   1.00 | 12.3 |   40.6 |  470 | ratio >= 10 | yes |\n"
        "| hello     |       99.0 |     – |     – |   0.50 |    – |   2.00 |    – | –           | –   |"
    )


def test_the_table_of_figures_says_what_is_not_met() -> None:
    table = render_rows([make_row("private memory of a live tenant", "MB", 6.56, target=Target("ours", "<=", 3))])
    assert (
        table.splitlines()[-1] == "| private memory of a live tenant | MB   | 6.56 |    – |     – | ours <= 3 | no  |"
    )


def test_an_empty_table_is_left_out() -> None:
    assert render([], []) == ""
    assert "load" not in render([], [make_row("x", "ms", 1.0)])


@pytest.mark.parametrize(("percent", "figure"), [(0.5, 1.0), (1, 2.0), (50, 100.0), (99, 198.0), (100, 200.0)])
def test_a_percentile_is_one_of_the_figures(percent: float, figure: float) -> None:
    assert percentile([float(number) for number in range(200, 0, -1)], percent) == figure


def test_percentiles_of_one_figure_are_that_figure() -> None:
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0
