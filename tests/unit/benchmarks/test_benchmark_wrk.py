"""What wrk prints, and that nothing which it counts as failed becomes a figure."""

from __future__ import annotations

import pytest
from benchmarks.failure import BenchmarkError
from benchmarks.wrk import Sample, median_sample, parse

GOOD = """\
Running 2s test @ http://127.0.0.1:37933/data?key=a
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    56.06ms   85.13ms 423.68ms   83.09%
    Req/Sec     2.28k     1.61k    4.83k    53.33%
  Latency Distribution
     50%   12.16ms
     75%   65.84ms
     90%  202.57ms
     99%  326.82ms
  3538 requests in 2.05s, 514.81KB read
Requests/sec:   1724.89
Transfer/sec:    250.98KB
"""


def test_rate_and_percentiles_are_read() -> None:
    assert parse(GOOD) == Sample(requests=3538, requests_per_second=1724.89, p50_ms=12.16, p99_ms=326.82)


@pytest.mark.parametrize(
    ("printed", "milliseconds"),
    [("850.00us", 0.85), ("12.16ms", 12.16), ("1.05s ", 1050.0), ("1.50m ", 90_000.0), ("1.00h ", 3_600_000.0)],
)
def test_every_unit_of_wrk_becomes_milliseconds(printed: str, milliseconds: float) -> None:
    """wrk pads one-letter units with a space."""
    sample = parse(GOOD.replace("326.82ms", printed))
    assert sample.p99_ms == pytest.approx(milliseconds)


def test_answers_with_an_error_status_fail_the_run() -> None:
    with pytest.raises(BenchmarkError, match="8604 answers had an error status"):
        parse(GOOD + "  Non-2xx or 3xx responses: 8604\n")


@pytest.mark.parametrize("counts", ["connect 1, read 0, write 0, timeout 0", "connect 0, read 29, write 0, timeout 3"])
def test_broken_connections_fail_the_run(counts: str) -> None:
    with pytest.raises(BenchmarkError, match="connections failed"):
        parse(GOOD + f"  Socket errors: {counts}\n")


def test_no_answer_at_all_fails_the_run() -> None:
    nothing = GOOD.replace("3538 requests", "0 requests").replace("1724.89", "0.00")
    with pytest.raises(BenchmarkError, match="not one answer"):
        parse(nothing)


@pytest.mark.parametrize("missing", ["Requests/sec", "99%", "requests in"])
def test_output_of_another_form_fails_the_run(missing: str) -> None:
    with pytest.raises(BenchmarkError, match="something else than expected"):
        parse("\n".join(line for line in GOOD.splitlines() if missing not in line))


def test_the_median_is_taken_of_each_figure_by_itself() -> None:
    samples = [Sample(10, 100.0, 1.0, 9.0), Sample(20, 300.0, 3.0, 5.0), Sample(30, 200.0, 2.0, 50.0)]
    assert median_sample(samples) == Sample(60, 200.0, 2.0, 9.0)
