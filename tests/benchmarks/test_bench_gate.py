from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bench
import whole
from bars import BARS
from rows import Row, Suite

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
FIRST, SECOND = "no SDK, sync", "unsampled child, sync"
BAR = BARS[FIRST].bar


class Figures:
    """A suite of two rows that gives the figures it was told, one after the other, and notes what it was asked for."""

    def __init__(self, **values: list[float]) -> None:
        self.values = {FIRST: values.get("first", [0.0]), SECOND: values.get("second", [0.0])}
        self.asked: list[list[str]] = []
        self.suite = Suite((FIRST, SECOND), self.measure)

    def measure(self, names, effort):
        self.asked.append(list(names))
        values = {name: self.values[name].pop(0) if len(self.values[name]) > 1 else self.values[name][0] for name in names}
        return [Row(name, value, value * 1e3, 1e3, "ns", "another") for name, value in values.items()]


def test_a_row_that_misses_its_bar_again_and_again_fails_the_check_by_name(capsys):
    figures = Figures(first=[BAR * 1.01])
    assert bench.main(["--check"], [figures.suite]) == 1
    assert re.search(rf"1 of 2 bars missed:\n  {FIRST}: ", capsys.readouterr().out)
    assert figures.asked == [[FIRST, SECOND], [FIRST], [FIRST]]


def test_a_row_that_misses_its_bar_only_once_passes(capsys):
    figures = Figures(first=[BAR * 2, BAR * 0.9])
    assert bench.main(["--check"], [figures.suite]) == 0
    assert "MISSED" not in capsys.readouterr().out
    assert figures.asked == [[FIRST, SECOND], [FIRST]]


def test_a_worse_figure_of_a_second_measurement_does_not_replace_a_better_one(tmp_path):
    figures = Figures(first=[BAR * 1.1, BAR * 3, BAR * 2])
    bench.main(["--check", "--json", str(tmp_path / "figures.json")], [figures.suite])
    written = json.loads((tmp_path / "figures.json").read_text())["results"]
    assert written[0]["is"] == pytest.approx(BAR * 1.1)
    assert [row["is_met"] for row in written] == [False, True]


def test_the_short_form_adds_a_margin_to_the_bars_and_the_full_form_none():
    figures = Figures(first=[BAR * 1.2])
    assert bench.main(["--check", "--short"], [figures.suite]) == 0
    assert bench.main(["--check"], [figures.suite]) == 1


def test_without_the_check_a_missed_bar_is_shown_and_is_no_failure(capsys):
    figures = Figures(first=[BAR * 2])
    assert bench.main([], [figures.suite]) == 0
    assert "MISSED" in capsys.readouterr().out
    assert figures.asked == [[FIRST, SECOND]]


def test_only_the_rows_that_match_are_measured_and_a_name_that_nothing_has_is_refused(capsys):
    figures = Figures(first=[BAR * 2])
    assert bench.main(["--check", "--only", "child"], [figures.suite]) == 0
    assert figures.asked == [[SECOND]]
    assert bench.main(["--only", "nothing"], [figures.suite]) == 2
    assert FIRST in capsys.readouterr().out


def test_the_shortest_call_with_under_5_percent_overhead_is_20_times_what_is_added(capsys):
    bench.main([], [Figures(first=[0.7]).suite])
    assert re.search(rf"under 5 %.*\n{FIRST} +14 µs", capsys.readouterr().out)


def test_every_bar_belongs_to_one_row_and_every_row_has_a_bar():
    names = [name for suite in (*bench.SUITES, *whole.SUITES) for name in suite.names]
    assert sorted(names) == sorted(BARS)


def test_real_rows_are_measured_and_printed_with_their_bars(tmp_path):
    rows = ["no SDK, sync", "error path, async", "import agentgauge"]
    pattern = "|".join(map(re.escape, rows))
    least = "import sys, bench; bench.SHORT = bench.SHORT.__class__(calls=200, rounds=2, trials=1, seconds=0.1); "
    run = "sys.exit(bench.main(sys.argv[1:]))"
    command = [sys.executable, "-c", least + run, "--short", "--only", pattern, "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, check=False, timeout=240)
    assert (done.returncode, done.stderr) == (0, "")
    measured = json.loads((tmp_path / "figures.json").read_text())["results"]
    assert [row["row"] for row in measured] == rows
    assert all(row["ours"] > 0 and row["reference"] > 0 for row in measured)
    assert all(line in done.stdout for line in rows)
