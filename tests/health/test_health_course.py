"""What findings come to, without a thread: thresholds, staleness, flapping, uptime, and when checks are due."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgauge.health import Finding, Schedule, Status
from agentgauge.health.course import Course, stale_after
from agentgauge.health.flapping import WINDOW, Flapping
from agentgauge.health.timetable import Timetable

H, W, C, D, U = Status
SCALE = [H, W, C, D]
KNOWN = st.sampled_from(SCALE)


def statuses(found, *, interval=1.0, **thresholds):
    """Return the status after each finding."""
    course = Course(Schedule(interval_seconds=interval, **thresholds), 100, at=0)
    seen = []
    for second, status in enumerate(found):
        course.take(Finding(status=status), second, second, 0.1)
        seen.append(course.standing.status)
    return seen


def test_the_first_finding_is_the_status_at_once_whatever_the_thresholds():
    assert [statuses([status], failure_threshold=9, success_threshold=9) for status in SCALE] == [[H], [W], [C], [D]]


def test_a_status_gets_bad_with_the_threshold_of_bad_findings_in_a_row_and_a_good_one_in_between_begins_anew():
    assert statuses([H, D, D, H, D, D, D], failure_threshold=3) == [H, H, H, H, H, H, D]


def test_a_status_gets_well_with_the_threshold_of_good_findings_in_a_row():
    assert statuses([D, H, D, H, H, H], failure_threshold=3, success_threshold=3) == [D, D, D, D, D, H]


def test_bad_findings_of_several_kinds_count_together_and_come_to_what_all_of_them_reach():
    assert statuses([H, D, W, C, C, C], failure_threshold=3) == [H, H, H, W, W, C]


def test_one_timeout_among_warnings_is_no_outage():
    assert statuses([W, W, D, W], failure_threshold=2) == [W, W, W, W]


def test_a_component_that_is_down_and_found_critical_is_critical_with_the_threshold_of_successes():
    assert statuses([D, C, C], success_threshold=2) == [D, D, C]


def test_a_condition_is_confirmed_with_the_threshold_of_bad_findings_of_it_in_a_row():
    course, seen = Course(Schedule(interval_seconds=10, failure_threshold=2), 100, at=0), []
    for second, (status, condition) in enumerate([(D, "a"), (W, "a"), (D, "b"), (U, ""), (C, "b"), (H, ""), (D, "b")]):
        course.take(Finding(status=status, condition=condition), second, second, 0.1)
        seen.append((course.standing.cause_in_a_row, course.standing.is_cause_confirmed))
    assert seen == [(1, False), (2, True), (1, False), (1, False), (2, True), (0, False), (1, False)]
    course.take(Finding(status=D, condition="b"), 8, 8, 0.1)
    assert course.standing.is_cause_confirmed
    assert course.expire(1000)
    assert (course.standing.cause_in_a_row, course.standing.is_cause_confirmed) == (0, False)


@given(st.lists(KNOWN, min_size=1, max_size=30), st.integers(1, 5), st.integers(1, 5))
def test_on_a_scale_of_two_the_thresholds_are_those_of_kubernetes(found, failures, successes):
    found = [D if status is D else H for status in found]
    expected, run, last = [], 0, None
    for status in found:  # prober/worker.go: a result counts once it came as often in a row as its threshold says
        run = run + 1 if status is last else 1
        last = status
        is_enough = run >= (failures if status is D else successes)
        expected.append(status if not expected or is_enough else expected[-1])

    assert statuses(found, failure_threshold=failures, success_threshold=successes) == expected


@given(st.lists(KNOWN, min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_a_status_is_between_the_least_and_the_worst_that_the_last_findings_agree_on(found, failures, successes):
    expected = [SCALE.index(found[0])]
    ranks = [SCALE.index(status) for status in found]
    for end in range(2, len(ranks) + 1):
        held, so_far = expected[-1], ranks[:end]
        if end >= failures:
            held = max(held, min(so_far[-failures:]))
        if end >= successes:
            held = min(held, max(so_far[-successes:]))
        expected.append(held)

    seen = statuses(found, failure_threshold=failures, success_threshold=successes)

    assert seen == [SCALE[rank] for rank in expected]


def test_a_finding_that_knows_nothing_counts_in_no_row_and_breaks_none():
    assert statuses([H, D, U, D, U, U, D], failure_threshold=3) == [H, H, H, H, H, H, D]


def test_without_a_finding_for_three_intervals_and_a_time_limit_nothing_is_known():
    schedule = Schedule(interval_seconds=10, jitter_ratio=0.1, timeout_seconds=5)
    course = Course(schedule, 10, at=0)
    course.take(Finding(status=H), 100, 1100, 0.1)

    assert stale_after(schedule) == pytest.approx(3 * 11 + 5)
    assert not course.expire(137.9)
    assert course.standing.status_at(137.9) is H
    assert course.standing.status_at(138.1) is U, "also where nobody has noticed yet"
    assert course.expire(138.1)
    assert not course.expire(139)
    assert (course.standing.status, course.standing.since) == (U, pytest.approx(1138))


def test_findings_that_know_nothing_keep_no_status_fresh():
    course = Course(Schedule(interval_seconds=1, jitter_ratio=0, timeout_seconds=1), 10, at=0)
    course.take(Finding(status=H), 0, 0, 0.1)
    for second in range(1, 5):
        course.take(Finding(status=U, message="nonsense"), second, second, 0.1)

    assert course.standing.status is U
    assert course.standing.found.message == "nonsense"


def test_after_it_was_stale_the_first_finding_counts_at_once_and_the_row_begins_anew():
    course = Course(Schedule(interval_seconds=1, jitter_ratio=0, timeout_seconds=1, failure_threshold=2), 10, at=0)
    for second in (0, 1, 100):
        course.take(Finding(status=D), second, second, 0.1)
        assert course.standing.status is D
    assert not course.standing.is_confirmed, "one finding since nothing was known"
    course.take(Finding(status=D), 101, 101, 0.1)
    assert course.standing.is_confirmed


@given(st.lists(KNOWN, min_size=1, max_size=30), st.integers(1, 4), st.integers(1, 3))
def test_a_bad_status_is_confirmed_by_the_threshold_of_bad_findings_in_a_row_until_it_is_well(found, failures, successes):
    schedule = Schedule(failure_threshold=failures, success_threshold=successes, interval_seconds=1)
    course = Course(schedule, 100, at=0)
    confirmed, row = False, 0
    for second, status in enumerate(found):
        course.take(Finding(status=status), second, second, 0.1)
        row = row + 1 if status is not H else 0
        confirmed = course.standing.status is not H and (confirmed or row >= failures)
        assert (course.standing.is_confirmed, course.standing.bad_in_a_row) == (confirmed, row)


def test_what_a_bad_status_came_from_is_the_last_bad_finding_and_of_a_good_one_the_last():
    course = Course(Schedule(failure_threshold=1, success_threshold=2), 10, at=0)
    course.take(Finding(status=D, message="refused"), 0, 0, 0.1)
    course.take(Finding(status=H, message="fine"), 1, 1, 0.1)
    assert (course.standing.cause.message, course.standing.found.message) == ("refused", "fine")
    course.take(Finding(status=H, message="fine"), 2, 2, 0.1)
    assert course.standing.cause.message == "fine"


def test_the_history_is_bounded_and_its_times_have_a_zone():
    course = Course(Schedule(failure_threshold=2), 3, at=0)
    for second in range(5):
        course.take(Finding(status=D if second else H, condition="refused"), second, 1_000_000 + second, 0.25)

    records = [record for _, record in course.history]
    assert [record.at for record in records] == [
        datetime.fromtimestamp(1_000_000, UTC) + timedelta(seconds=second) for second in (2, 3, 4)
    ]
    assert {(record.found, record.status, record.condition, record.duration_seconds) for record in records} == {
        (D, D, "refused", 0.25)
    }


def test_uptime_is_the_share_of_the_time_in_which_the_status_was_known_and_healthy_or_warning():
    course = Course(Schedule(interval_seconds=10, jitter_ratio=0, timeout_seconds=10, failure_threshold=1), 10, at=0)
    assert course.uptime(50).ratio is None
    for second, status in ((100, H), (110, W), (120, C), (130, D), (140, H)):
        course.take(Finding(status=status), second, second, 0.1)

    assert course.uptime(150).ratio == pytest.approx(30 / 50)
    assert course.uptime(150).known_seconds == 50
    assert course.uptime(1000).known_seconds == 80, "40 s after the last finding nothing was known"
    course.take(Finding(status=H), 2000, 2000, 0.1)
    assert course.uptime(2010).known_seconds == 90


@given(st.lists(st.tuples(KNOWN, st.floats(0.1, 100)), min_size=1, max_size=20), st.lists(st.floats(0, 2000), max_size=5))
def test_uptime_does_not_depend_on_when_it_is_asked_for(found, asked):
    def take_all(moments):
        course, now = Course(Schedule(interval_seconds=10, failure_threshold=1), 50, at=0), 0.0
        for status, seconds in found:
            course.take(Finding(status=status), now, now, 0.1)
            for moment in sorted(moments):
                if now <= moment < now + seconds:
                    course.uptime(moment)
            now += seconds
        return course.uptime(now)

    assert take_all(asked).up_seconds == pytest.approx(take_all([]).up_seconds)
    assert take_all(asked).known_seconds == pytest.approx(take_all([]).known_seconds)


# --- flapping -----------------------------------------------------------------------------------------------------------------


def test_it_flaps_when_more_than_half_of_the_last_20_findings_changed_and_until_a_quarter_or_less_did():
    flapping, changes_when_on, changes_when_off = Flapping(), None, None
    for number in range(WINDOW):
        flapping.take(D if number % 2 else H)
        if flapping.is_on and changes_when_on is None:
            changes_when_on = flapping.changes
    assert changes_when_on == 11
    for _ in range(WINDOW):
        flapping.take(D)
        if not flapping.is_on and changes_when_off is None:
            changes_when_off = flapping.changes
    assert changes_when_off == 5


@given(st.lists(KNOWN, max_size=80))
def test_flapping_is_that_of_a_model_that_counts_anew_every_time(found):
    flapping, is_on = Flapping(), False
    for end in range(1, len(found) + 1):
        flapping.take(found[end - 1])
        recent = found[max(0, end - 21) : end]
        changes = sum(left is not right for left, right in itertools.pairwise(recent))
        is_on = changes > (5 if is_on else 10)
        assert (flapping.changes, flapping.is_on) == (changes, is_on)


# --- when checks are due --------------------------------------------------------------------------------------------------------


def test_everything_is_due_at_once_and_then_an_interval_after_its_start_or_later_by_the_jitter():
    timetable = Timetable(random=lambda: 0.5)
    timetable.add("a", Schedule(interval_seconds=10, jitter_ratio=0.2), now=100)
    timetable.add("b", Schedule(interval_seconds=10, jitter_ratio=0), now=100)

    assert timetable.due(100) == ["a", "b"]
    assert timetable.next_due() is None, "both run"
    timetable.ended("a")
    timetable.ended("b")
    assert timetable.next_due() == 110
    assert timetable.due(110) == ["b"]
    assert timetable.due(110.9) == []
    assert timetable.due(111) == ["a"]


def test_no_component_is_due_while_its_check_goes_on_and_it_is_at_once_when_that_took_longer_than_the_interval():
    timetable = Timetable(random=lambda: 0)
    timetable.add("slow", Schedule(interval_seconds=1), now=0)

    assert timetable.due(0) == ["slow"]
    assert timetable.due(5) == []
    timetable.ended("slow")
    assert timetable.due(5) == ["slow"]


def test_what_was_missed_is_not_made_up_for():
    timetable = Timetable(random=lambda: 0)
    timetable.add("a", Schedule(interval_seconds=1), now=0)
    timetable.due(0)
    timetable.ended("a")

    assert timetable.due(1000) == ["a"]
    timetable.ended("a")
    assert timetable.due(1000.9) == []
    assert timetable.due(1001) == ["a"]


def test_what_was_removed_is_due_no_more_be_it_in_the_middle_of_a_check():
    timetable = Timetable(random=lambda: 0)
    timetable.add("a", Schedule(interval_seconds=1), now=0)
    timetable.due(0)
    timetable.remove("a")
    timetable.ended("a")
    timetable.remove("a")

    assert (timetable.due(100), timetable.next_due()) == ([], None)


@given(st.floats(0, 1, exclude_max=True), st.floats(0.5, 100), st.floats(0, 1), st.lists(st.floats(0.01, 50), max_size=20))
def test_two_starts_of_a_component_are_never_nearer_than_its_interval(chance, interval, jitter, steps):
    timetable = Timetable(random=lambda: chance)
    timetable.add("a", Schedule(interval_seconds=interval, jitter_ratio=jitter), now=0)
    now, starts = 0.0, []
    for step in (0, *steps):
        now += step
        starts += [now for _ in timetable.due(now)]
        timetable.ended("a")
        due = timetable.next_due()
        assert starts[-1] + interval <= due <= starts[-1] + interval * (1 + jitter)

    assert all(later - before >= interval * (1 - 1e-9) for before, later in itertools.pairwise(starts))
