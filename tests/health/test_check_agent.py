"""``AgentCheck``: what an agent's tasks recorded, by the difference of two looks at the books."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from agentgauge import AgentMetricsCollector, Objective, agent, task
from agentgauge.errors import ConfigurationError
from agentgauge.health.checks import AgentCheck
from agentgauge.health.status import ComponentType, Status
from agentgauge.recording.recorder import Recorder


@agent("researcher")
class Researcher:
    @task
    def research(self, error=None):
        if error is not None:
            raise error

    @task
    async def write(self, error=None):
        await asyncio.sleep(0)
        if error is not None:
            raise error

    @task(objective=Objective(latency_seconds=60))
    def hurry(self):
        pass


def work(successes=0, failures=0, error=ValueError):
    for _ in range(successes):
        Researcher().research()
    for _ in range(failures):
        with contextlib.suppress(error):
            Researcher().research(error())


def check(**settings):
    return AgentCheck(**{"name": "researcher", "agent": "researcher", **settings})


def begun(**settings):
    """Return a check whose window has begun."""
    made = check(**settings)
    made.check()
    return made


NOTHING_YET = "no task of it has been recorded yet"


def test_an_agent_that_has_had_no_work_yet_is_well_and_the_message_says_that_nothing_was_recorded(fresh):
    watched = check()
    found = watched.check()
    assert (found.status, found.condition, found.message) == (Status.HEALTHY, "", f"researcher: {NOTHING_YET}")
    assert "gen_ai_agent_name" in found.suggestions[0]
    work(successes=1)
    found = watched.check()
    assert (found.status, found.message) == (Status.HEALTHY, "researcher: 0 of 1 tasks failed in 0 s")


def test_no_calls_in_the_window_are_no_fault(fresh):
    work(failures=10)
    watched = begun()
    fresh.clock.advance(60)
    found = watched.check()
    assert (found.status, found.details["calls"]) == (Status.HEALTHY, 0)


@pytest.mark.parametrize(
    ("successes", "failures", "status"),
    [
        (10, 0, Status.HEALTHY),
        (91, 9, Status.HEALTHY),
        (90, 10, Status.WARNING),
        (51, 49, Status.WARNING),
        (5, 5, Status.CRITICAL),
        (0, 5, Status.CRITICAL),
        (0, 4, Status.HEALTHY),
    ],
)
def test_the_share_of_errors_among_enough_calls_is_judged(fresh, successes, failures, status):
    watched = begun()
    work(successes, failures)
    found = watched.check()
    assert (found.status, found.condition) == (status, "error_ratio" if status is not Status.HEALTHY else "")
    assert (found.details["calls"], found.details["failed"]) == (successes + failures, failures)


def test_failures_that_are_too_few_to_judge_are_told_as_that(fresh):
    watched = begun(minimum_calls=10)
    work(failures=4)
    assert watched.check().message == "researcher: 4 of 4 tasks failed in 0 s, too few to judge"
    work(successes=96)
    assert watched.check().message == "researcher: 4 of 100 tasks failed in 0 s"


def test_the_commonest_error_is_named(fresh):
    work(failures=20, error=KeyError)  # before the window
    watched = begun()
    work(failures=2, error=KeyError)
    work(failures=4, error=ValueError)
    found = watched.check()
    assert (found.condition, found.error_type) == ("error_ratio", "ValueError")
    assert "ValueError" in found.suggestions[0]


def test_coroutines_and_timeouts_count_and_cancellations_do_not(fresh):
    watched = begun()

    async def main():
        for error in [TimeoutError] * 3 + [asyncio.CancelledError] * 20 + [OSError] * 2:
            with contextlib.suppress(error):
                await Researcher().write(error())

    asyncio.run(main())
    found = watched.check()
    assert (found.status, found.details["calls"], found.details["failed"]) == (Status.CRITICAL, 5, 5)


def test_errors_leave_the_window_as_time_goes_on(fresh):
    watched = begun(window_seconds=300)
    work(failures=10)
    assert watched.check().condition == "error_ratio"
    for _ in range(11):
        fresh.clock.advance(30)
        found = watched.check()
    assert (found.status, found.details["calls"], found.details["window_seconds"]) == (Status.HEALTHY, 0, 300)


def test_a_window_is_never_shorter_than_it_is_set_once_it_is_full(fresh):
    watched = begun(window_seconds=100)
    for _ in range(30):
        fresh.clock.advance(45)
        work(successes=1)
        found = watched.check()
    assert 100 <= found.details["window_seconds"] < 145
    assert found.details["calls"] == 3


def test_many_checks_keep_few_marks(fresh):
    watched = begun(window_seconds=100)
    for _ in range(5000):
        fresh.clock.advance(0.1)
        watched.check()
    assert len(watched._marks) <= 103


def test_one_task_of_an_agent_can_be_looked_at_alone(fresh):
    watched, other = begun(task="research"), begun(task="write")
    work(failures=10)
    assert watched.check().condition == "error_ratio"
    assert NOTHING_YET in other.check().message


def test_another_agent_does_not_count(fresh):
    watched = begun(agent="writer")
    work(failures=10)
    assert NOTHING_YET in watched.check().message


def test_a_task_that_does_not_end_is_stuck(fresh):
    reports = AgentMetricsCollector("researcher")
    watched = begun(stuck_seconds=60)
    reports.start_task("1", "research")
    fresh.clock.advance(60)
    assert watched.check().status is Status.HEALTHY
    fresh.clock.advance(1)
    found = watched.check()
    assert (found.status, found.condition) == (Status.CRITICAL, "stuck")
    assert found.message == "researcher: 1 task is stuck, research for 61 s"
    assert found.details["oldest_task_seconds"] == 61
    assert "py-spy" in found.suggestions[0]
    reports.complete_task("1")
    assert watched.check().status is Status.HEALTHY


def test_by_default_a_task_is_stuck_by_its_objective_or_after_half_an_hour(fresh):
    reports = AgentMetricsCollector("researcher")
    watched = begun()
    reports.start_task("1", "research")
    fresh.clock.advance(1800)
    assert watched.check().status is Status.HEALTHY
    fresh.clock.advance(1)
    assert watched.check().condition == "stuck"


def test_an_agent_without_a_success_for_too_long_is_stale_calls_or_not(fresh):
    work(successes=1)
    watched = begun(max_idle_seconds=600)
    fresh.clock.advance(600)
    work(failures=1)
    assert watched.check().status is Status.HEALTHY
    fresh.clock.advance(1)
    found = watched.check()
    assert (found.status, found.condition) == (Status.CRITICAL, "stale")
    assert found.details["last_success_seconds_ago"] == 601
    work(successes=1)
    assert watched.check().status is Status.HEALTHY


def test_an_agent_that_never_succeeded_is_stale_from_the_first_check_on(fresh):
    watched = begun(max_idle_seconds=600)
    fresh.clock.advance(601)
    assert watched.check().condition == "stale"


def test_a_queue_that_is_too_long_is_a_warning(fresh):
    reports = AgentMetricsCollector("researcher")
    watched = check(max_queue_depth=10)
    reports.update_queue_size(10, "a")
    reports.update_queue_size(3, "b")
    assert watched.check().status is Status.HEALTHY
    reports.update_queue_size(11, "b")
    found = watched.check()
    assert (found.status, found.condition) == (Status.WARNING, "queue")
    assert "queue b" in found.message
    assert found.details["queues"] == {"a": 10, "b": 11}


def test_of_several_faults_the_worst_is_told_first_and_all_are_in_the_message(fresh):
    reports = AgentMetricsCollector("researcher")
    watched = begun(stuck_seconds=1, max_queue_depth=0, error_ratio_critical=1.0)
    reports.start_task("1", "research")
    reports.update_queue_size(1)
    work(successes=5, failures=5)
    fresh.clock.advance(2)
    found = watched.check()
    assert (found.status, found.condition) == (Status.CRITICAL, "stuck")
    assert "stuck" in found.message
    assert "failed" in found.message
    assert "wait" in found.message


def test_a_recorder_that_starts_anew_begins_the_window_anew(fresh):
    work(failures=10)
    watched = begun()
    fresh.recorder.reset()
    work(failures=6)
    fresh.clock.advance(1)
    assert watched.check().details["calls"] == 0
    work(failures=6)
    assert watched.check().condition == "error_ratio"


def test_a_forked_child_judges_its_own_calls(fresh):
    watched = begun()
    work(failures=9)
    assert watched.check().status is Status.CRITICAL
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            status = 0 if watched.check().details["calls"] == 0 and NOTHING_YET in watched.check().message else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_another_recorder_can_be_looked_at(fresh):
    work(successes=1)
    assert NOTHING_YET in check(recorder=Recorder()).check().message
    assert "no task ended in 0 s" in check(recorder=fresh.recorder).check().message


def test_it_is_an_agent_by_default_and_two_of_the_same_settings_are_equal():
    assert check().component_type is ComponentType.AGENT
    assert check() == check()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"agent": ""}, "agent"),
        ({"task": ""}, "task"),
        ({"window_seconds": 0}, "window_seconds"),
        ({"minimum_calls": 0}, "minimum_calls"),
        ({"error_ratio_warning": 0}, "error_ratio_warning"),
        ({"error_ratio_critical": 1.1}, "error_ratio_critical"),
        ({"error_ratio_warning": 0.6}, "comes first"),
        ({"stuck_seconds": 0}, "stuck_seconds"),
        ({"max_idle_seconds": "1"}, "max_idle_seconds"),
        ({"max_queue_depth": -1}, "max_queue_depth"),
        ({"recorder": object()}, "recorder"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix(settings, match):
    with pytest.raises(ConfigurationError, match=match):
        check(**settings)
