"""A real Prometheus beside the history: advice, objectives and comparisons are the same, and each query gives what it proves."""

from __future__ import annotations

import math
from dataclasses import astuple, fields, is_dataclass
from itertools import product

import pytest

from agentgauge.analytics.compare import Verdict, compare
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History
from agentgauge.analytics.prometheus import Prometheus
from agentgauge.analytics.recommend import RULES, recommend
from agentgauge.analytics.slo import slo_report
from backfilled import BEGIN, ask, backfilled, sample
from made_source import MadeSource
from test_recommend_rules import STEPS, limits, models, prompts, queue, repeats, retries, slow, tools, waste
from test_recommend_rules import TIMES as MADE
from test_slo_report import TASK, growing

pytestmark = pytest.mark.servers

TIMES = [BEGIN + 600.0 * step for step in range(STEPS + 1)]
END = int(TIMES[-1])
GRID = Grid.over(BEGIN, END, 600)


def promised():
    """Make a task that promises 99 %, fails from the 60th step to the 70th, and takes twice as long in the second half."""
    source = MadeSource()
    failed = [5.0 if 60 < step <= 70 else 0.0 for step in range(STEPS + 1)]
    source.add("agent_objective_success_ratio", MADE, [0.99] * len(MADE), **TASK)
    for outcome, by_step in (("success", [10 - few for few in failed]), ("error", failed)):
        source.add("agent_task_duration_seconds_count", MADE, growing(by_step), outcome=outcome, **TASK)
    source.add("agent_task_errors_total", MADE, growing(failed), error_type="RateLimitError", **TASK)
    for bound, late in (("0.5", 0.0), ("2.0", 10.0), ("+Inf", 10.0)):
        by_step = [10.0 if step <= STEPS // 2 else late for step in range(STEPS + 1)]
        source.add("agent_task_duration_seconds_bucket", MADE, growing(by_step), outcome="success", le=bound, **TASK)
    return source


SOURCES = (waste(), repeats(), slow(), queue(), limits(), retries(), tools(), models(), prompts(), promised())


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A history and a Prometheus with what each rule speaks of, as a job of its own, so that none disturbs another."""
    folder = tmp_path_factory.mktemp("advice")
    series: dict[str, list] = {}
    for number, source in enumerate(SOURCES):
        for name, labels, _, values in source.series:
            series.setdefault(name, []).append(({"job": f"job-{number}", **labels}, values))
    history = History(folder / "history.db", clock=lambda: END + 1)
    lines = []
    for name, found in series.items():
        for labels, values in found:
            history.write_points(name, labels, TIMES, values)
            lines += [sample(name, labels, value, at) for at, value in zip(TIMES, values, strict=True)]
    with backfilled(folder, lines) as url:
        yield history, Prometheus(url, clock=lambda: END + 3600), url
    history.close()


class Job:
    """The series of one job of a source, and none of the others."""

    def __init__(self, source, number):
        self.name, self.source, self.job = source.name, source, f"job-{number}"

    def frames(self, metric, grid, labels=None, **how):
        return self.source.frames(metric, grid, {**(labels or {}), "job": self.job}, **how)

    def extent(self):
        return self.source.extent()


def told(value):
    """Return what a result says, with its numbers to nine digits and without what tells the sources apart."""
    if is_dataclass(value):
        return {one.name: told(getattr(value, one.name)) for one in fields(value) if one.name not in {"source", "measure"}}
    if isinstance(value, dict):
        return {key: told(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [told(one) for one in value]
    if isinstance(value, float):
        return "nan" if math.isnan(value) else float(f"{value:.9g}")
    return value


def test_advice_is_the_same_from_both_and_its_query_gives_the_first_figure_of_its_evidence(both):
    history, server, url = both
    seen = set()
    late = Grid.over(BEGIN + 6000, END, 600)  # before which there was something, too
    for number, grid in product(range(len(SOURCES)), (GRID, late)):
        ours, theirs = (recommend(Job(source, number), grid) for source in (history, server))
        assert told(ours) == told(theirs)
        for one in theirs:
            seen.add(one.rule)
            query = one.query.replace("{", f'{{job="job-{number}",').replace(
                "agent_tasks_in_progress[", "agent_tasks_in_progress{}["
            )
            (answer,) = ask(url, "query", query=query, time=END + 3000)  # asked later, and of the window all the same
            assert float(answer["value"][1]) == pytest.approx(one.evidence[0].value, rel=1e-9), (one.rule, query)
    assert len(seen) == len(RULES)


def test_objectives_are_the_same_from_both_with_their_budget_incident_and_cause(both):
    history, server, _ = both
    ours, theirs = (slo_report(source, GRID) for source in (history, server))
    assert told(ours) == told(theirs)
    (result,) = theirs.results
    (incident,) = result.incidents
    assert (result.whole.calls, result.whole.bad, incident.duration_seconds) == (1440, 50, 6000)
    assert (incident.causes[0].value, result.mttr_seconds, result.budget.spent) == ("RateLimitError", 6000, 50)


def test_a_comparison_is_the_same_from_both(both):
    history, server, _ = both
    middle = BEGIN + 600 * (STEPS // 2)
    windows = Grid.over(BEGIN, middle, 600), Grid.over(middle, END, 600)
    ours, theirs = (compare(Job(source, len(SOURCES) - 1), *windows) for source in (history, server))
    assert told(ours) == told(theirs)
    verdicts = {one.measure.name: one.verdict for one in theirs.differences}
    assert verdicts["task_duration_p95"] is Verdict.WORSE
    assert astuple(theirs.differences[0].within[0]) == (0.0, 0.5)
