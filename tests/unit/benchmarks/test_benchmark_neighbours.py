"""Noisy neighbours: how a figure is judged, and that the street they live in can be deployed."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from benchmarks.neighbours import NEIGHBOURS, Answer, compare, make_row, render, write_platform
from benchmarks.strangers import Strangers

from tenantry.config.platform import load_platform


def test_a_figure_that_is_a_fifth_worse_is_just_good_enough() -> None:
    assert make_row("p99", "ms", 10.0, 12.0, 1.2).met
    assert not make_row("p99", "ms", 10.0, 12.1, 1.2).met


def test_figures_are_judged_before_they_are_rounded() -> None:
    row = make_row("p99", "ms", 10.0, 12.00001, 1.2)
    assert (row.ratio, row.met) == (1.2, False)


def test_an_answer_that_the_machine_disturbed_counts_in_one_of_two_figures() -> None:
    alone = [Answer(2.0, False)] * 100
    beside = [Answer(2.2, False)] * 100 + [Answer(9.0, True)] * 10
    whole, undisturbed = compare("p99", alone, beside)
    assert (whole.beside, whole.met) == (9.0, False)
    assert (undisturbed.beside, undisturbed.met) == (2.2, True)


def test_where_the_machine_disturbed_nearly_all_answers_there_is_one_figure() -> None:
    alone = [Answer(2.0, False)] * 100
    [whole] = compare("p99", alone, [Answer(2.2, False)] * 99 + [Answer(9.0, True)] * 10)
    assert whole.beside == 9.0


def watched(strangers: Strangers) -> set[int]:
    return {int(os.readlink(f"/proc/self/fd/{file}").split("/")[2]) for file in strangers._files}


def test_what_other_programs_of_the_machine_use_is_known_and_what_is_ours_is_not_theirs() -> None:
    with subprocess.Popen(["sleep", "60"]) as other, Strangers(other.pid) as strangers, Strangers(os.getpid()) as own:
        assert os.getpid() in watched(strangers)
        assert other.pid not in watched(strangers)
        assert not watched(own) & {os.getpid(), other.pid}
        assert watched(own) & watched(strangers)
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
        assert strangers.used_ms() > 100
        other.kill()


def test_the_table_has_a_line_for_each_figure() -> None:
    table = render([make_row("p99", "ms", 10.0, 11.0, 1.2), make_row("memory", "MiB", 100.0, 300.0, 1.64)])
    heads, _, *lines = table.splitlines()
    assert heads.split()[1:4:2] == ["figure", "unit"]
    assert [line.split()[-2] for line in lines] == ["yes", "no"]
    assert len({len(line) for line in table.splitlines()}) == 1


def test_every_neighbour_has_a_worker_of_its_own_beside_the_quiet_one(tmp_path: Path) -> None:
    write_platform(tmp_path / "street")
    platform = load_platform(tmp_path / "street")
    assert {worker.project.name for worker in platform.workers} == {"dispatcher", "quiet", *NEIGHBOURS}
    source = (tmp_path / "street" / "crash" / "entry.py").read_text()
    assert all(f"async def {habit}(" in source for habit in NEIGHBOURS)
