"""SLO reports: what was kept, the budget, and incidents, from series whose truth is known."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agentgauge.analytics.frames import Grid
from agentgauge.analytics.slo import Kept, Promise, agreement, slo_report
from agentgauge.analytics.slo.periods import periods
from agentgauge.errors import ConfigurationError
from agentgauge.targets import Objective
from made_source import MadeSource

DAY = datetime(2026, 3, 2, tzinfo=UTC).timestamp()  # a Monday
TASK = {"gen_ai_agent_name": "researcher", "agent_task": "search"}


def growing(by_step):
    total, values = 0.0, []
    for value in by_step:
        total += value
        values.append(total)
    return values


def a_day(bad=(), *, calls=10, objective=0.99, hours=24, source=None, **labels):
    """Make one program's day: so many calls a minute, with ``bad`` by minute, as (from, to, outcome, how many)."""
    source = source or MadeSource()
    minutes = hours * 60 + 1
    times = [DAY + 60 * minute for minute in range(minutes)]
    failed = {outcome: [0.0] * minutes for outcome in ("error", "timeout", "cancelled")}
    for first, last, outcome, many in bad:
        for minute in range(first + 1, last + 1):
            failed[outcome][minute] += many
    good = [calls - failed["error"][minute] - failed["timeout"][minute] for minute in range(minutes)]
    for outcome, grown in {"success": good, **failed}.items():
        source.add("agent_task_duration_seconds_count", times, growing(grown), outcome=outcome, **TASK, **labels)
    source.add("agent_task_errors_total", times, growing(failed["error"]), error_type="RateLimitError", **TASK, **labels)
    if objective:
        source.add("agent_objective_success_ratio", times, [objective] * minutes, **TASK, **labels)
    return source


def report(source, hours=24, **how):
    return slo_report(source, Grid.over(DAY, DAY + 3600 * hours, 60), **how)


def test_an_objective_is_kept_while_no_more_calls_are_bad_than_it_allows():
    (result,) = report(a_day([(600, 601, "error", 9)])).results
    assert result.promise is Promise.SUCCESS
    assert result.labels == TASK
    assert result.whole.kept is Kept.KEPT
    assert result.whole.calls == 24 * 600
    assert result.whole.ratio == pytest.approx(1 - 9 / 14400)
    assert result.budget.spent_ratio == pytest.approx(9 / 144)
    assert result.budget.remaining_ratio == pytest.approx(1 - 9 / 144)


@pytest.mark.parametrize(("bad", "kept"), [(144, Kept.KEPT), (145, Kept.MISSED)])
def test_an_objective_holds_up_to_the_last_call_that_it_allows(bad, kept):
    (result,) = report(a_day([(100, 100 + bad, "error", 1)])).results
    assert (result.whole.kept, result.whole.bad) == (kept, bad)


def test_cancelled_calls_count_in_neither_part():
    (result,) = report(a_day([(0, 1440, "cancelled", 10)])).results
    assert (result.whole.calls, result.whole.bad, result.whole.kept) == (14400, 0, Kept.KEPT)


def test_no_calls_are_neither_kept_nor_missed():
    source = a_day(calls=0)
    (result,) = report(source).results
    assert result.whole.kept is Kept.NO_DATA
    assert result.whole.interval is None
    assert all(math.isnan(value) for value in (result.whole.ratio, result.budget.burn_rate, result.budget.spent_ratio))
    assert result.incidents == ()
    assert [row.credit_percent for row in agreement(report(source), [(0.99, 10)])] == [0.0]


def test_an_incident_has_its_beginning_end_and_cause():
    source = a_day([(600, 620, "error", 5), (1000, 1001, "timeout", 1)])
    times = [DAY + 60 * minute for minute in range(1441)]
    for model, many in {"large": 4.0, "small": 1.0}.items():
        failed = growing([many if 600 < minute <= 620 else 0.0 for minute in range(1441)])
        source.add(
            "gen_ai_client_operation_duration_seconds_count",
            times,
            failed,
            gen_ai_request_model=model,
            error_type="RateLimitError",
        )
    (result,) = report(source).results
    (incident,) = result.incidents
    assert incident.start == datetime.fromtimestamp(DAY + 600 * 60, UTC)
    assert incident.end == datetime.fromtimestamp(DAY + 620 * 60, UTC)
    assert (incident.bad, incident.calls, incident.worst_ratio, incident.is_open) == (100, 200, 0.5, False)
    assert incident.burn_rate == pytest.approx(50)
    assert incident.budget_ratio == pytest.approx(100 / 144)
    assert [(cause.label, cause.value, cause.share) for cause in incident.causes] == [
        ("error_type", "RateLimitError", 1.0),
        ("outcome", "error", 1.0),
        ("gen_ai_request_model", "large", 0.8),
    ]
    assert incident.causes[2].sentence == "the model large had 80% of the 100 failed LM calls of all agents meanwhile"
    assert result.mttr_seconds == 1200
    assert result.mtbf_seconds == 86400 - 1200
    assert result.whole.down_seconds == 1200


def test_faults_close_together_are_one_incident_and_others_two():
    (result,) = report(a_day([(100, 110, "error", 5), (113, 120, "error", 5), (300, 340, "timeout", 5)])).results
    assert [incident.duration_seconds for incident in result.incidents] == [1200, 2400]
    assert result.mttr_seconds == 1800
    assert result.mtbf_seconds == (86400 - 3600) / 2
    assert result.incidents[1].causes[0].value == "timeout"


def test_a_few_bad_calls_are_no_incident():
    (result,) = report(a_day([(100, 101, "error", 2), (500, 502, "error", 1)])).results
    assert result.incidents == ()


def test_an_incident_that_reaches_the_windows_end_is_open_and_has_no_time_to_repair():
    (result,) = report(a_day([(1400, 1440, "error", 10)])).results
    (incident,) = result.incidents
    assert incident.is_open
    assert math.isnan(result.mttr_seconds)
    assert result.budget.burn_rate == pytest.approx(400 / 600 / 0.01)


def test_a_latency_is_missed_when_over_five_in_a_hundred_successes_took_longer():
    times = [DAY + 60 * minute for minute in range(1441)]
    for slow, kept in ((0.5, Kept.KEPT), (0.51, Kept.MISSED)):
        source = a_day(objective=None)
        source.add("agent_objective_latency_seconds", times, [5.0] * 1441, **TASK)
        source.add("agent_objective_latency_missed_total", times, growing([slow] * 1441), **TASK)
        (result,) = report(source).results
        assert (result.promise, result.latency_seconds, result.objective) == (Promise.LATENCY, 5.0, 0.95)
        assert result.whole.kept is kept


def test_a_latency_that_nobody_counted_is_not_judged():
    given = {("researcher", "search"): Objective(success_ratio=0.9, latency_seconds=1)}
    assert [result.promise for result in report(a_day(), objectives=given).results] == [Promise.SUCCESS]


def test_instances_are_added_up_and_the_stricter_promise_holds():
    source = a_day([(0, 1440, "error", 1)], objective=0.9, job="a", instance="1")
    a_day(objective=0.99, source=source, job="a", instance="2")
    a_day(objective=0.5, source=source, job="b", instance="3")
    first, second = report(source).results
    assert (first.labels["job"], first.objective, first.whole.calls, first.whole.ratio) == ("a", 0.99, 28800, pytest.approx(0.95))
    assert (second.labels["job"], second.whole.ratio) == ("b", 1.0)


def test_a_program_that_restarts_loses_no_more_than_it_had_not_shown():
    times = [DAY + 60 * minute for minute in range(121)]
    source = MadeSource().add("agent_objective_success_ratio", times, [0.9] * 121, **TASK)
    for outcome, by_minute in {"success": 9, "error": 1}.items():
        values = [by_minute * (minute if minute < 60 else minute - 60 + 1) for minute in range(121)]
        source.add("agent_task_duration_seconds_count", times, values, outcome=outcome, **TASK)
    (result,) = report(source, hours=2).results
    assert (result.whole.calls, result.whole.kept) == (1200, Kept.KEPT)


def test_objectives_that_are_given_replace_those_of_the_series():
    source = a_day([(100, 200, "error", 1)])
    (result,) = report(source, objectives={("researcher", "search"): Objective(success_ratio=0.999)}).results
    assert (result.objective, result.whole.kept) == (0.999, Kept.MISSED)
    assert report(a_day(objective=None)).without_objective == (("researcher", "search"),)


def test_days_are_those_of_the_calendar_of_the_time_zone():
    source = a_day(hours=72, bad=[(23 * 60, 24 * 60, "error", 10)])
    (result,) = report(source, hours=72).results
    assert [part.kept for part in result.periods] == [Kept.MISSED, Kept.KEPT, Kept.KEPT]
    assert [part.is_whole for part in result.periods] == [True] * 3
    assert [part.down_seconds for part in result.periods] == [3600, 0, 0]
    (result,) = report(source, hours=72, timezone=ZoneInfo("Europe/Berlin")).results
    assert [part.kept for part in result.periods] == [Kept.KEPT, Kept.MISSED, Kept.KEPT, Kept.KEPT]
    assert [part.is_whole for part in result.periods] == [False, True, True, False]
    assert result.periods[1].start.utcoffset() == timedelta(hours=1)


def test_a_day_in_which_the_clocks_are_changed_is_as_long_as_it_is():
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 28, tzinfo=berlin).timestamp()
    lengths = [(end - begin) / 3600 for begin, end in periods(start, start + 3 * 86400 - 3600, "day", berlin)]
    assert lengths == [24, 23, 24]
    months = [datetime.fromtimestamp(begin, UTC).month for begin, _ in periods(DAY, DAY + 70 * 86400, "month")]
    assert months == [3, 4, 5]
    assert [datetime.fromtimestamp(begin, UTC).weekday() for begin, _ in periods(DAY + 5, DAY + 9 * 86400, "week")] == [0, 0]


def test_an_agreement_gives_the_greatest_credit_that_applies_to_whole_periods():
    source = a_day(hours=36, bad=[(100, 400, "error", 4), (1500, 1600, "error", 10)])
    rows = agreement(report(source, hours=36), [(0.999, 5), (0.95, 25), (0.9, 50)])
    assert [(row.kept, row.is_whole, row.credit_percent) for row in rows] == [
        (Kept.MISSED, True, 25),
        (Kept.MISSED, False, 0),
    ]
    assert rows[0].availability == pytest.approx(1 - 1200 / 14400)
    with pytest.raises(ConfigurationError, match="credits_below"):
        agreement(report(source), [(99, 10)])


@pytest.mark.parametrize(
    "setting",
    [
        {"period": "year"},
        {"incident_burn_rate": 0},
        {"incident_least_bad": 0},
        {"incident_apart_seconds": -1},
        {"burn_seconds": 0},
    ],
)
def test_a_setting_of_the_report_that_cannot_work_is_refused(setting):
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        report(a_day(hours=1), hours=1, **setting)
