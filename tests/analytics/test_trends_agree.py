"""A real Prometheus and the local history: of the same samples, trends, forecasts and the quality of data are the same."""

from __future__ import annotations

import math
from dataclasses import asdict
from random import Random

import pytest

from agentgauge.analytics.analysis.forecast import Method
from agentgauge.analytics.data_quality import check_quality
from agentgauge.analytics.forecasts import make_forecasts, plan_capacity
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.prometheus import Prometheus
from agentgauge.analytics.trends import find_trends
from backfilled import BEGIN, backfilled, sample

pytestmark = pytest.mark.servers

STEP, COUNT = 120, 480  # 16 hours
TIMES = [BEGIN - 8 * 3600 + STEP * at for at in range(COUNT)]
CALLS = {"agent_task": "search", "gen_ai_agent_name": "researcher", "outcome": "success"}


def made():
    """Name, labels, and value or None by number of sample."""
    chance, done, spent = Random(5), [0.0], [0.0]
    for at in range(1, COUNT):
        calls = round(60 + 30 * math.sin(2 * math.pi * at / 60) + chance.gauss(0, 3))
        done.append(done[-1] + calls)
        spent.append(spent[-1] + calls * (2 if at < 240 else 5) * chance.uniform(0.9, 1.1))
    memory = [2e8 * (1 + at / COUNT) * chance.gauss(1, 0.01) for at in range(COUNT)]
    yield "agentgauge_build_info", {"version": "1"}, [None if 100 <= at < 130 else 1.0 for at in range(COUNT)]
    yield "agent_task_duration_seconds_count", CALLS, done
    yield "agent_task_duration_seconds_sum", CALLS, spent
    yield "process_resident_memory_bytes", {}, memory
    yield "agent_task_oldest_start_timestamp_seconds", {}, [float(BEGIN) if at % 9 == 0 else None for at in range(COUNT)]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two sources with the same samples."""
    folder = tmp_path_factory.mktemp("both")
    lines = []
    with History(folder / "history.db", clock=lambda: TIMES[-1] + 1) as history:
        for name, labels, values in made():
            known = [(at, value) for at, value in zip(TIMES, values, strict=True) if value is not None]
            lines += [sample(name, labels, value, at) for at, value in known]
            history.write_points(name, tuple(sorted(labels.items())), [at for at, _ in known], [value for _, value in known])
        with backfilled(folder, lines) as url:
            yield history, Prometheus(url)


def test_a_prometheus_and_a_history_are_told_the_same_of(both):
    grid = Grid.over(TIMES[0], TIMES[-1], 2 * STEP)
    rate = [measure for measure in MEASURES if measure.name == "task_rate"]
    told = []
    for source in both:
        ahead = make_forecasts(source, grid, horizon_seconds=3600, measures=rate)
        plans = plan_capacity(source, grid, horizon_seconds=3600, concurrency_per_replica=4, forecasts=ahead)
        quality = check_quality(source, grid)
        told.append(
            (
                [(one.sentence, one.size, one.p_value) for one in find_trends(source, grid)],
                [(one.sentence, one.forecast.values, one.forecast.high) for one in ahead],
                [one.sentence for one in plans],
                [(one.sentence, asdict(one.quality)) for one in quality],
            )
        )
        assert ahead[0].forecast.method is not Method.NONE
        assert ahead[0].forecast.period == 30  # two hours
    trends, forecasts, plans, quality = told[0]
    assert told[1] == told[0]
    assert [sentence.split(" of ")[0] for sentence, *_ in trends] == ["mean duration", "memory"]
    assert "rose from 2" in trends[0][0]
    assert (len(forecasts), len(plans)) == (1, 1)
    assert quality[0][0].startswith("agentgauge_build_info of 1: 9")
    assert [sentence.split(":")[0] for sentence, _ in quality[1:]] == ["process_resident_memory_bytes"]
    assert quality[1][1]["score"] == 1
