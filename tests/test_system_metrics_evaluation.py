"""When a threshold is an alert: after its hold time and samples, until the reading has come back by the hysteresis."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentgauge import Threshold
from agentgauge.notification import AlertBook
from agentgauge.system_metrics.evaluation import Evaluation, Watch
from agentgauge.system_metrics.readings import Readings, Series

PATIENCE = 60.0
STEPS = st.lists(st.tuples(st.sampled_from([1.0, 5.0, 30.0, 61.0]), st.integers(0, 10)), max_size=40)


def watched(threshold, steps):
    """Yield, after each step of time and reading, the moment, the reading and whether there is an alert."""
    watch, now = Watch(), 0.0
    for seconds, value in steps:
        now += seconds
        watch.update(threshold, value, now, PATIENCE)
        yield now, value, watch.is_firing


@settings(deadline=None)
@given(STEPS, st.sampled_from([0, 10, 40]), st.integers(1, 4), st.sampled_from([">", ">=", "<", "<="]))
@example([(1.0, 9), (61.0, 9), (5.0, 9)], 10, 1, ">")
def test_an_alert_starts_exactly_when_every_reading_of_the_hold_time_breaches_and_they_are_enough(steps, hold, samples, operator):
    threshold = Threshold("m", 5, "warning", operator, hold_seconds=hold, minimum_samples=samples)
    row, was_firing = [], False
    for now, value, is_firing in watched(threshold, steps):
        if row and now - row[-1] > PATIENCE and not was_firing:
            row = []
        is_breached = {">": value > 5, ">=": value >= 5, "<": value < 5, "<=": value <= 5}[operator]
        row = [*row, now] if is_breached else []
        held = bool(row) and now - row[0] >= hold and len(row) >= samples
        assert is_firing == (held or (was_firing and is_breached))
        was_firing = is_firing


@settings(deadline=None)
@given(STEPS, st.integers(0, 4), st.sampled_from([">", ">=", "<", "<="]))
def test_inside_the_hysteresis_band_nothing_starts_and_nothing_ends(steps, hysteresis, operator):
    threshold = Threshold("m", 5, "warning", operator, hysteresis=hysteresis)
    was_firing = False
    for _, value, is_firing in watched(threshold, steps):
        distance = (value - 5) if operator.startswith(">") else (5 - value)
        is_past = distance > 0 or (distance == 0 and "=" in operator)
        is_back = distance < -hysteresis or (distance == -hysteresis and "=" not in operator)
        assert is_firing == (is_past or (was_firing and not is_back))
        was_firing = is_firing


def passes(evaluation, readings, *, book=None):
    """Tell what is told when the evaluation takes in readings, ``{moment: {series: value}}``."""
    book = book or AlertBook()
    for now, values in readings.items():
        verdict = evaluation.update(
            Readings(
                at=now, values={Series(*key) if isinstance(key, Series) else Series(key): value for key, value in values.items()}
            ),
            now,
        )
        for each in book.update(verdict.alerts, now, verdict.reasons):
            yield now, str(each.event), each.alert.severity, each.reason or dict(each.alert.labels)


def evaluation_of(*thresholds):
    evaluation = Evaluation(PATIENCE)
    for threshold in thresholds:
        evaluation.set(threshold)
    return evaluation


SIZES = st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 10), max_size=2)


@settings(deadline=None)
@given(st.lists(SIZES, max_size=30), st.sampled_from([0, 15]), st.integers(0, 3))
def test_over_any_history_each_alert_starts_changes_and_ends_once_in_turn(history, hold, hysteresis):
    evaluation = evaluation_of(
        Threshold("m", 4, "warning", hold_seconds=hold, hysteresis=hysteresis),
        Threshold("m", 7, "critical", hold_seconds=hold, hysteresis=hysteresis),
    )
    severity = {}
    readings = {
        10.0 * number: {Series("m", (("on", name),)): value for name, value in sizes.items()}
        for number, sizes in enumerate(history, 1)
    }
    book = AlertBook()
    for now, values in readings.items():
        verdict = evaluation.update(Readings(at=now, values=values), now)
        for each in book.update(verdict.alerts, now, verdict.reasons):
            name = each.alert.labels["on"]
            assert (each.event == "started") == (name not in severity)
            assert severity.get(name) == (each.alert.severity if each.event == "ended" else each.previous_severity)
            if each.event == "ended":
                del severity[name]
            else:
                assert severity.get(name) != each.alert.severity
                severity[name] = each.alert.severity
        assert severity == {one.labels["on"]: one.severity for one in book.active}


def test_a_warning_that_becomes_critical_is_one_alert_that_changes_and_keeps_its_start():
    evaluation = evaluation_of(Threshold("m", 5), Threshold("m", 8, "critical", ">="))
    book = AlertBook()

    told = list(passes(evaluation, {1: {"m": 6}, 2: {"m": 7}, 3: {"m": 8}, 4: {"m": 6}, 5: {"m": 4}}, book=book))

    assert [(now, event, severity) for now, event, severity, _ in told] == [
        (1, "started", "warning"),
        (3, "changed", "critical"),
        (4, "changed", "warning"),
        (5, "ended", "warning"),
    ]


def test_a_limit_above_and_one_below_are_alerts_of_their_own():
    evaluation = evaluation_of(Threshold("m", 5, hysteresis=5), Threshold("m", 2, "critical", "<"))

    told = [(now, event, severity) for now, event, severity, _ in passes(evaluation, {1: {"m": 6}, 2: {"m": 1}})]

    assert told == [(1, "started", "warning"), (2, "started", "critical")]


def test_a_series_without_readings_ends_its_alert_with_the_reason_once_patience_is_over():
    evaluation = evaluation_of(Threshold("m", 5))

    told = list(passes(evaluation, {0: {"m": 6}, 30: {}, 60: {"m": math.nan}, 61: {}, 62: {}}))

    assert told == [(0, "started", "warning", {}), (61, "ended", "warning", "no reading for 61 s")]
    assert evaluation.states() == {Threshold("m", 5): None}


def test_a_gap_in_the_readings_begins_the_hold_time_anew():
    evaluation = evaluation_of(Threshold("m", 5, hold_seconds=100))

    told = list(passes(evaluation, {0: {"m": 6}, 90: {"m": 6}, 101: {"m": 6}, 150: {"m": 6}, 190: {"m": 6}}))

    assert [now for now, *_ in told] == [190]


def test_labels_say_which_series_a_threshold_is_about():
    evaluation = evaluation_of(Threshold("m", 5, labels={"path": re.compile("/data.*"), "kind": ""}))
    labels = [(("path", "/data/1"),), (("path", "/"),), (("kind", "tmpfs"), ("path", "/data")), ()]
    values = {Series("m", pairs): 6 for pairs in labels}

    assert [labels for *_, labels in passes(evaluation, {1: values})] == [{"path": "/data/1"}]


def test_what_a_counter_grows_a_second_is_compared_and_a_restart_is_no_growth():
    evaluation = evaluation_of(Threshold("errors_total", 2, per_second=True))
    totals = {0: {"errors_total": 1000}, 10: {"errors_total": 1020}, 20: {"errors_total": 1050}, 30: {"errors_total": 5}}

    told = [(now, event) for now, event, *_ in passes(evaluation, totals | {40: {"errors_total": 6}})]

    assert told == [(20, "started"), (40, "ended")]


def test_a_threshold_that_is_set_anew_keeps_its_alert_until_a_reading_is_well_by_the_new_limit():
    evaluation, book = evaluation_of(Threshold("m", 5)), AlertBook()
    assert [event for _, event, *_ in passes(evaluation, {1: {"m": 6}}, book=book)] == ["started"]
    evaluation.set(Threshold("m", 3, hold_seconds=1000))
    assert list(passes(evaluation, {2: {"m": 4}}, book=book)) == []
    evaluation.set(Threshold("m", 5, hold_seconds=1000))
    assert [event for _, event, *_ in passes(evaluation, {3: {"m": 4}}, book=book)] == ["ended"]
    evaluation.remove(Threshold("m", 9))
    assert evaluation.thresholds == ()


@pytest.mark.parametrize(
    ("threshold", "value", "summary"),
    [
        (Threshold("x_bytes", 1, unit="GiB"), 3 * 2**29, "x_bytes is 1.5 GiB, above 1 GiB"),
        (Threshold("x_ratio", 90, "warning", ">=", unit="%"), 0.95, "x_ratio is 95 %, at or above 90 %"),
        (Threshold("x", 3, "info", "<"), 1, "x is 1, below 3"),
    ],
)
def test_an_alert_says_the_reading_and_the_limit_in_the_threshold_s_unit(threshold, value, summary):
    (alert,) = evaluation_of(threshold).update(Readings(at=7.0, values={Series(threshold.metric): value}), 1.0).alerts

    assert alert.summary == summary
    assert (alert.limit, alert.unit, alert.operator, alert.started_at) == (
        threshold.value,
        threshold.unit,
        threshold.operator,
        7.0,
    )


def test_an_alert_inside_the_band_says_what_it_waits_for():
    evaluation = evaluation_of(Threshold("m", 5, hysteresis=2))
    evaluation.update(Readings(at=1, values={Series("m"): 6}), 1)

    (alert,) = evaluation.update(Readings(at=2, values={Series("m"): 4}), 2).alerts

    assert alert.summary == "m is 4: it was above 5 and has not come back by 2"


@pytest.mark.parametrize(
    ("thresholds", "readings", "ended"),
    [
        ([Threshold("m", 10)], (20, 6), (6, 10, "warning", "m is 6, no longer above 10")),
        ([Threshold("m", 10, hysteresis=3)], (20, 8, 6), (6, 10, "warning", "m is 6, no longer above 10")),
        ([Threshold("m", 2, "critical", "<=", hysteresis=1)], (1, 3, 4), (4, 2, "critical", "m is 4, no longer at or below 2")),
        # both end at once: the alert was the critical one
        ([Threshold("m", 10, "critical"), Threshold("m", 5)], (20, 1), (1, 10, "critical", "m is 1, no longer above 10")),
        ([Threshold("m", 5), Threshold("m", 10, "critical")], (20, 7, 1), (1, 5, "warning", "m is 1, no longer above 5")),
    ],
)
def test_an_alert_that_ended_says_so_with_the_reading_that_ended_it(thresholds, readings, ended):
    evaluation, book, told = evaluation_of(*thresholds), AlertBook(), []
    for now, value in enumerate(readings):
        verdict = evaluation.update(Readings(at=now, values={Series("m"): value}), now)
        told += book.update(verdict.alerts, now, verdict.reasons, verdict.endings)

    assert [str(each.event) for each in told if each.event != "changed"] == ["started", "ended"]
    alert = told[-1].alert
    assert (alert.value, alert.limit, alert.severity, alert.summary) == ended
    assert (alert.started_at, told[-1].at, told[-1].reason) == (0, len(readings) - 1, "")
