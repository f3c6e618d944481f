"""Explaining: a ratio of few calls, which a handful of errors moves, against one of many; judged as scipy does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from agentgauge.analytics.explain import explain
from agentgauge.analytics.explain.calls import chance_of_calls
from agentgauge.analytics.explain.moves import Move, p_value
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.signals import read
from made_program import add_calls
from made_source import MadeSource

BEGIN, BEFORE, WINDOW, ONSET = 1_700_006_400, 120, 30, 138
TIMES = [float(BEGIN + 60 * minute) for minute in range(BEFORE + WINDOW + 1)]
BY_NAME = {measure.name: measure for measure in MEASURES}
TOOL = "gen_ai_execute_tool_duration_seconds_count"
WHOSE = {"gen_ai_agent_name": "researcher", "job": "swarm", "instance": "a:9464"}


def minutes(first, count):
    return Grid(BEGIN + first * 60, 60, count)


def tool(source, calls, failed):
    """Have a tool called so often a minute, with so many errors in each."""
    errors = np.array(failed)
    for counts, error in ((calls - errors, {}), (errors, {"error_type": "TimeoutError"})):
        source.add(TOOL, TIMES, np.cumsum([0, *counts]).astype(float).tolist(), gen_ai_tool_name="search", **WHOSE, **error)
    return source


def with_a_slow_model():
    """A model that gets six times slower, and the tasks that wait for it."""
    random, source = np.random.default_rng(1), MadeSource()
    calls = [random.lognormal(-2, 0.5, 20) * (6 if minute > ONSET else 1) for minute in range(len(TIMES))]
    model = {"gen_ai_provider_name": "fake", "gen_ai_request_model": "big"}
    add_calls(source, "gen_ai_client_operation_duration_seconds", TIMES, calls, **model)
    add_calls(source, "agent_task_duration_seconds", TIMES, calls, agent_task="search", outcome="success", **WHOSE)
    source.add("agent_cost_usd_total", TIMES, [0.01 * at for at in range(len(TIMES))], gen_ai_request_model="big", **WHOSE)
    return source


@pytest.mark.parametrize("before", [None, minutes(11, 100)])
def test_a_tool_with_an_error_a_minute_of_fourteen_calls_is_no_cause_but_with_ten_times_as_many_it_moved(before):
    """The minutes before had an error in every fourth: step by step that is as sure a jump as any, from 0 to 7 %."""
    failed = [int(minute % 4 == 0 or ONSET <= minute < ONSET + 10) for minute in range(BEFORE + WINDOW)]
    for times, moved in ((1, set()), (10, {"tool_error_ratio"})):
        source = tool(with_a_slow_model(), 14 * times, [times * one for one in failed])
        found = explain(source, minutes(BEFORE + 1, WINDOW), before=before)
        assert found.causes[0].signal.title.endswith("of fake, big")
        assert {one.signal.measure.name for one in found.moved if "gen_ai_tool_name" in one.labels} == moved


@pytest.mark.parametrize(("earlier", "later"), [(1, 3), (3, 1), (16, 19), (19, 16), (2, 2), (0, 5), (20, 0)])
def test_the_chance_is_that_of_a_binomial_test_of_the_rarer_of_errors_and_successes(earlier, later):
    since = 10  # then all is as it was
    failed = [earlier] * ONSET + [later] * since + [earlier] * (BEFORE + WINDOW - ONSET - since)
    source, before, window = tool(MadeSource(), 20, failed), minutes(1, BEFORE), minutes(BEFORE + 1, WINDOW)
    [signal] = read(BY_NAME["tool_error_ratio"], source, minutes(1, BEFORE + WINDOW))
    move = Move(ONSET, ONSET + since - 1, earlier / 20, later / 20, 1.0, 9.0, 0, 1e-9)
    rarer = (earlier, later) if earlier * ONSET + later * since <= 10 * (ONSET + since) else (20 - earlier, 20 - later)
    # the first step has no growth: what its counter counted before is not known
    whole = rarer[0] * (ONSET - 1) + rarer[1] * since
    way = "greater" if rarer[1] > rarer[0] else "less"
    exact = stats.binomtest(rarer[1] * since, whole, since / (ONSET - 1 + since), alternative=way).pvalue
    expected = min(1.0, 2 * exact * (WINDOW / since) ** 2)
    assert chance_of_calls(signal, move, source, before, window) == pytest.approx(expected)


def test_what_is_no_ratio_of_calls_is_not_judged_by_them():
    source, before, window = with_a_slow_model(), minutes(1, BEFORE), minutes(BEFORE + 1, WINDOW)
    for name in ("task_duration_mean", "lm_duration_p95", "cost_rate"):
        [signal] = read(BY_NAME[name], source, minutes(1, BEFORE + WINDOW))
        move = Move(ONSET, BEFORE + WINDOW - 1, 1.0, 6.0, 1.0, 9.0, 0, 1e-9)
        assert chance_of_calls(signal, move, source, before, window) == 0.0


@pytest.mark.parametrize("sign", [1, -1])
def test_of_values_that_are_mostly_zero_the_chance_is_that_of_how_many_are_not(sign):
    """Four steps with an error where one of ten has one: one in thousands, and not in millions."""
    before = [sign * float(minute % 10 == 0) * (1 + minute / 1000) for minute in range(200)]
    after = [sign * each for each in (1.01, 1.02, 1.03, 1.04)]
    exact = stats.fisher_exact([[4, 0], [20, 180]], alternative="greater").pvalue
    assert p_value(after, before, places=4) == pytest.approx(2 * exact)
    assert exact > 100 * stats.mannwhitneyu(after, before).pvalue
