"""Values that a gauge or a counter may legally have and nobody can calculate with: every command answers all the same."""

from __future__ import annotations

import math
import random

import pytest

from agentgauge import cli
from agentgauge.analytics.frames import Fold, Grid, sane
from agentgauge.analytics.history import History, file
from agentgauge.analytics.report.document import Chart, Series, Unit
from agentgauge.analytics.report.sparkline import sparkline, summary
from made_day import Counters, work

START, STEP, SWEEPS = 1_700_000_100, 15, 120
ODD = (math.inf, -math.inf, math.nan, 1e308, -1e308, 5e-324, 1e200)
RESEARCHER = (("agent_task", "search"), ("gen_ai_agent_name", "researcher"))
GAUGES = {
    ("agent_objective_success_ratio", RESEARCHER): 0.95,
    ("agent_queue_depth", (("gen_ai_agent_name", "researcher"), ("queue", "q"))): 3.0,
    ("agent_tasks_in_progress", RESEARCHER): 2.0,
    ("process_resident_memory_bytes", ()): 5e7,
    ("process_start_time_seconds", ()): START - 60.0,
    ("system_memory_utilization_ratio", ()): 0.5,
}
COMMANDS = {
    "report": ("--format", "json"),
    "trends": (),
    "anomalies": (),
    "forecast": ("--horizon", "8m"),
    "explain": (),
    "recommend": (),
    "slo": (),
    "compare": ("--at", f"{START + STEP * SWEEPS // 2}"),
    "top": ("--once",),
}
PLACES = {
    "here and there": lambda series, sweep: (5 * sweep + series) % 11 == 0,
    "for a while": lambda series, sweep: series % 3 > 0 and 40 <= sweep < 60,
}


@pytest.fixture(scope="module", params=PLACES)
def odd(request, tmp_path_factory):
    """Write what a program leaves behind, with odd values in its gauges and counters."""
    path, chance, counters = tmp_path_factory.mktemp("odd") / "history.db", random.Random(8300), Counters()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "_SYNCHRONOUS", "OFF")
        with History(path) as history:
            for sweep in range(SWEEPS):
                for _ in range(chance.randrange(4, 8)):
                    work(counters, "researcher", chance.lognormvariate(0, 0.5), is_bad=chance.random() < 0.1)
                values = {**counters.values, **{key: level * chance.uniform(1, 1.01) for key, level in GAUGES.items()}}
                samples = [
                    (name, labels, ODD[(series + sweep // 3) % len(ODD)] if PLACES[request.param](series, sweep) else value)
                    for series, ((name, labels), value) in enumerate(values.items())
                ]
                history.write(START + STEP * sweep, [("agentgauge_build_info", (), 1.0), *samples])
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_odd_values_in_gauges_and_counters_end_no_command(command, odd, capsys):
    assert cli.main([command, *COMMANDS[command], "--source", str(odd), *_since(command)]) in {0, 1}
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "nan" not in shown.out.lower().replace("nano", "").split()


def _since(command: str) -> tuple[str, ...]:
    return () if command == "top" else ("--since", str(START), "--until", str(START + STEP * SWEEPS))


def test_what_cannot_be_calculated_with_is_not_known_in_a_frame_and_what_is_next_to_nothing_is_zero(tmp_path):
    with History(tmp_path / "h.db") as history:
        for index, value in enumerate((1.0, math.inf, -1e308, 1e-200, -0.5)):
            history.write(START + STEP * index, [("depth", (), value), ("always", (), math.inf)])
        grid = Grid(START // STEP * STEP, STEP, 5)
        (depth,) = history.frames("depth", grid)
        assert list(map(str, depth.values)) == ["1.0", "nan", "nan", "0.0", "-0.5"]
        assert history.frames("always", grid) == []  # nor is there a series of which nothing is known
        assert history.frames("depth", grid, fold=Fold.COUNT)
    assert sane(depth.values) is depth.values


def test_a_line_between_the_least_and_the_greatest_float_is_drawn_and_has_a_mean():
    values = [-1e308, 1e308, 1.7e308, math.inf, math.nan]
    assert sparkline(values, 5) == "▁▆█  "
    assert sparkline(values[1:3], 1) == "▁"
    (row,) = summary(Chart("c", "c", Unit.NUMBER, (1, 2, 3, 4, 5), (Series("one", tuple(values)),))).rows
    assert row[1:] == pytest.approx((-1e308, 1.7e308, -1e308, 1.7e308 / 3, 1.7e308))
