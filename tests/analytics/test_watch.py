"""The thread that states as series what is out of the ordinary, and what is needed."""

from __future__ import annotations

import os
import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

import agentgauge
from agentgauge import ConfigurationError
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.own_history import OwnHistory
from agentgauge.analytics.watch import AnalysisWatch
from agentgauge.catalogue.analytics import ANALYSIS_INTERVAL, MOST_MEASURES
from agentgauge.config import Config
from agentgauge.errors import SourceError, contained_errors
from agentgauge.recording.default import default_recorder
from agentgauge.testing import FakeClock, isolated
from made_source import MadeSource

NOW = 1_700_000_000.0
MINUTE = 60.0
LOOKED_AT = {"tasks_in_progress", "task_rate", "task_error_ratio"}


@pytest.fixture
def isolation():
    with isolated() as isolation:
        yield isolation


def _source(*last: float) -> MadeSource:
    values = [10.0 + minute % 3 for minute in range(200)] + list(last)
    times = [NOW - MINUTE * (len(values) - 1 - index) for index in range(len(values))]
    source = MadeSource().add("agent_tasks_in_progress", times, values, gen_ai_agent_name="r", agent_task="t")
    done = [10.0 * index for index in range(len(values))]
    for suffix, factor in (("count", 1), ("sum", 3)):
        name = f"agent_task_duration_seconds_{suffix}"
        source.add(name, times, [factor * each for each in done], gen_ai_agent_name="r", agent_task="t", outcome="success")
    return source


def _watch(source, **settings) -> AnalysisWatch:
    return AnalysisWatch(lambda: nullcontext(source), clock=FakeClock(NOW), **settings)


def _values(isolation, name: str) -> dict[str, float]:
    found = {}
    for metric in isolation.registry.collect():
        for sample in metric.samples:
            if sample.name == name:
                found[",".join(sample.labels.values())] = sample.value
    return found


def test_a_look_states_how_far_out_each_measure_is(isolation):
    _watch(_source()).look()
    assert _values(isolation, "agentgauge_anomaly_score")["tasks_in_progress,r,t"] < 1
    _watch(_source(900.0, 900.0)).look()
    assert _values(isolation, "agentgauge_anomaly_score")["tasks_in_progress,r,t"] > 1
    assert _values(isolation, "agentgauge_analysis_last_run_timestamp_seconds") == {"": NOW}
    assert _values(isolation, "agentgauge_analysis_interval_seconds") == {"": MINUTE}
    assert _values(isolation, "agentgauge_analysis_signals")["judged"] > 2


def test_who_looks_at_more_measures_is_as_seldom_wrong_and_is_told_less_of_each(isolation):
    chosen = tuple(measure for measure in MEASURES if measure.name == "tasks_in_progress")
    scores = []
    for measures in (chosen, MEASURES):
        _watch(_source(16.0, 16.0), measures=measures).look()
        scores.append(_values(isolation, "agentgauge_anomaly_score")["tasks_in_progress,r,t"])
    assert scores[0] > 1.1 * scores[1]


def test_every_name_has_room_for_a_score_of_each_measure(isolation, monkeypatch):
    monkeypatch.setattr(default_recorder(), "series_limit", 1)
    _watch(_source()).look()
    assert len(_values(isolation, "agentgauge_anomaly_score")) > 2
    assert "agentgauge_anomaly_score" not in _values(isolation, "agentgauge_series_overflowed_total")
    assert len(MEASURES) <= MOST_MEASURES


def test_a_look_states_what_will_be_needed_not_rounded_so_that_instances_add_up(isolation):
    _watch(_source(), concurrency_per_replica=4, target_utilization=0.5).look()
    rate, load = (_values(isolation, f"agent_capacity_predicted_{what}")["r,t"] for what in ("tasks_per_second", "concurrency"))
    assert rate == pytest.approx(10 / 60, rel=0.2)
    assert load >= 3 * rate * 0.99  # three seconds each, or as many as were in progress
    assert _values(isolation, "agent_capacity_replicas")["r,t"] == pytest.approx(load / 0.5 / 4)


def _young(minutes: float, every: float = 15.0) -> MadeSource:
    """A program that began so long ago, as it is swept by default: three tasks at once, and a task each second."""
    times = [NOW - minutes * MINUTE + every * index for index in range(int(minutes * MINUTE / every) + 1)]
    source = MadeSource().add("agentgauge_build_info", times, [1.0] * len(times))
    source.add(
        "agent_tasks_in_progress", times, [3.0 + at % 3 for at in range(len(times))], gen_ai_agent_name="r", agent_task="t"
    )
    done = [every * index + index % 3 for index in range(len(times))]
    return source.add("agent_task_duration_seconds_count", times, done, gen_ai_agent_name="r", agent_task="t", outcome="success")


@pytest.mark.parametrize(("minutes", "judged", "step"), [(25, 0, 30), (33, 3, 30), (78, 3, 30), (81, 3, 60), (600, 3, 60)])
def test_a_program_that_is_swept_each_15_s_is_judged_after_33_minutes(isolation, minutes, judged, step):
    watch, grids = _watch(_young(minutes), measures=[one for one in MEASURES if one.name in LOOKED_AT]), []
    judge = watch._judged
    watch._judged = lambda source, grid: grids.append(grid) or judge(source, grid)
    watch.look()
    assert _values(isolation, "agentgauge_analysis_signals") == {"judged": judged, "too_short": 3 - judged}
    assert len(_values(isolation, "agentgauge_anomaly_score")) == judged
    assert {grid.step_seconds for grid in grids} == {step}


def test_traffic_that_has_ceased_is_stated_where_too_little_else_is_known(isolation):
    times = [NOW - MINUTE * index for index in reversed(range(100))]
    random = np.random.default_rng(3)
    done = np.cumsum(np.where(np.arange(100) < 40, random.poisson(50, 100), 0)).astype(float).tolist()
    source = MadeSource().add("agent_task_duration_seconds_count", times, done, gen_ai_agent_name="r", agent_task="t")
    _watch(source).look()
    assert _values(isolation, "agentgauge_anomaly_score")["task_rate,r,t"] > 1


def test_a_history_that_is_not_written_just_now_is_no_silence(isolation):
    source = _young(600, every=60.0)
    AnalysisWatch(lambda: nullcontext(source), clock=FakeClock(NOW + 4 * MINUTE)).look()
    assert _values(isolation, "agentgauge_anomaly_score")["task_rate,r,t"] < 1
    assert _values(isolation, "agentgauge_analysis_last_run_timestamp_seconds") == {"": NOW + 4 * MINUTE}


@pytest.mark.parametrize("is_another_programs", [False, True])
def test_nothing_is_stated_of_a_history_that_says_nothing_of_now(isolation, is_another_programs):
    clock, opened = FakeClock(NOW), [nullcontext(_young(600, every=60.0))]
    watch = AnalysisWatch(lambda: opened[0], clock=clock)
    watch.look()
    assert _values(isolation, "agentgauge_anomaly_score")
    if is_another_programs:
        opened[0] = None
        clock.advance(MINUTE)
    else:
        clock.advance(6 * MINUTE)
    watch.look()
    for name in ("anomaly_score", "analysis_signals", "analysis_duration_seconds"):
        assert _values(isolation, f"agentgauge_{name}") == {}
    assert _values(isolation, "agentgauge_analysis_last_run_timestamp_seconds") == {"": NOW}
    assert _values(isolation, "agentgauge_analysis_interval_seconds") == {"": MINUTE}


def test_looks_become_rarer_where_they_would_take_too_much_of_a_core(isolation, monkeypatch):
    spent = iter([1.0, 4.0, 10.0, 10.5])
    clock = SimpleNamespace(monotonic=time.monotonic, thread_time=lambda: next(spent))
    monkeypatch.setattr("agentgauge.analytics.watch.time", clock)
    watch, waited = _watch(_source()), []

    class Wake:
        def get(self, timeout: float) -> None:
            waited.append(timeout)
            watch._is_stopping = len(waited) == 2

    watch._wake = Wake()
    watch._run()
    assert waited == [3.0 / 0.02, MINUTE]  # 150 s for a look of 3 s; one of half a second is allowed each minute
    assert _values(isolation, "agentgauge_analysis_interval_seconds") == {"": MINUTE}
    watch.stop()


def _fail() -> None:
    raise SourceError("gone")


def test_looks_that_fail_are_as_rare_as_others_and_soon_come_again_where_they_cost_nothing(isolation, monkeypatch):
    del isolation
    spent = iter([1.0, 4.0, 10.0, 10.0])
    clock = SimpleNamespace(monotonic=time.monotonic, thread_time=lambda: next(spent))
    monkeypatch.setattr("agentgauge.analytics.watch.time", clock)
    watch, waited = AnalysisWatch(_fail), []

    class Wake:
        def get(self, timeout: float) -> None:
            waited.append(timeout)
            watch._is_stopping = len(waited) == 2

    watch._wake = Wake()
    watch._run()
    assert waited == [3.0 / 0.02, 1.0]


def test_what_was_found_is_taken_away_where_no_look_succeeds_for_long(isolation):
    clock = FakeClock(NOW)
    watch = AnalysisWatch(lambda: nullcontext(_young(600, every=60.0)), clock=clock)
    watch.look()
    watch._open_source = _fail
    for minutes, is_stated in ((4, True), (2, False)):
        clock.advance(minutes * MINUTE)
        with pytest.raises(SourceError):
            watch.look()
        assert bool(_values(isolation, "agentgauge_anomaly_score")) is is_stated
    assert _values(isolation, "agentgauge_analysis_last_run_timestamp_seconds") == {"": NOW}


def test_what_was_found_is_taken_away_where_no_look_succeeds_after_the_clock_went_back(isolation):
    clock = FakeClock(NOW)
    watch = AnalysisWatch(lambda: nullcontext(_young(600, every=60.0)), clock=clock)
    watch.look()
    watch._open_source = _fail
    for seconds, is_stated in ((-2, True), (-60 * MINUTE, False)):
        clock.advance(seconds)
        with pytest.raises(SourceError):
            watch.look()
        assert bool(_values(isolation, "agentgauge_anomaly_score")) is is_stated


def test_a_clock_that_went_back_before_the_history_began_is_no_fault(isolation):
    AnalysisWatch(lambda: nullcontext(_young(100)), clock=FakeClock(NOW - 600 * MINUTE)).look()
    assert _values(isolation, "agentgauge_analysis_signals")["judged"] == 0


def test_a_look_that_stop_has_left_behind_states_nothing(isolation, monkeypatch):
    monkeypatch.setattr("agentgauge.analytics.watch._STOP_SECONDS", 0.01)
    source, is_in, may_go_on = _young(100), threading.Event(), threading.Event()

    def plan(*_args, **_settings):
        is_in.set()
        assert may_go_on.wait(60)
        return []

    monkeypatch.setattr("agentgauge.analytics.watch.plan_capacity", plan)
    watch = _watch(source)
    watch._state({(ANALYSIS_INTERVAL, ()): 1.0})
    watch.start()
    thread = watch._thread
    assert is_in.wait(60)
    watch.stop()
    assert thread.is_alive()
    may_go_on.set()
    thread.join(60)
    watch._state({(ANALYSIS_INTERVAL, ()): 2.0})  # as the look would, had it asked whether to stop a moment earlier
    assert _values(isolation, "agentgauge_analysis_interval_seconds") == {}
    assert _values(isolation, "agentgauge_anomaly_score") == {}


def test_what_is_gone_is_taken_away(isolation):
    sources = [_source(), MadeSource().add("process_threads", [NOW - MINUTE, NOW], [1, 2])]
    watch = AnalysisWatch(lambda: nullcontext(sources[0]), clock=FakeClock(NOW))
    watch.look()
    assert _values(isolation, "agentgauge_anomaly_score")
    sources.pop(0)
    watch.look()
    assert _values(isolation, "agentgauge_anomaly_score") == {}
    watch.stop()
    assert _values(isolation, "agentgauge_analysis_interval_seconds") == {}


def test_nothing_is_stated_of_an_empty_history(isolation):
    _watch(MadeSource()).look()
    assert _values(isolation, "agentgauge_analysis_last_run_timestamp_seconds") == {}


def test_a_history_that_cannot_be_read_is_contained_and_it_looks_again(isolation):
    del isolation
    tries = []

    def fail():
        tries.append(None)
        raise SourceError("gone")

    before = contained_errors.count_by_hook.get("analysis", 0)
    watch = AnalysisWatch(fail, interval_seconds=0.01)
    watch.start()
    deadline = time.monotonic() + 60
    while len(tries) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    watch.stop()
    assert len(tries) >= 3
    assert contained_errors.count_by_hook["analysis"] > before


def test_the_thread_looks_until_it_is_stopped(isolation):
    watch = _watch(_source(900.0, 900.0))
    watch.start()
    thread = watch._thread
    assert thread.daemon
    deadline = time.monotonic() + 60
    while not _values(isolation, "agentgauge_anomaly_score") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _values(isolation, "agentgauge_anomaly_score")
    watch.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert _values(isolation, "agentgauge_anomaly_score") == {}


def test_a_forked_child_leaves_the_watch_of_its_parent_alone(isolation):
    watch = _watch(_source())
    watch.look()
    child = os.fork()
    if not child:
        try:
            watch.stop()
            watch._lock = None
            watch.look()
            os._exit(0 if watch._stated else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert _values(isolation, "agentgauge_anomaly_score")


@pytest.mark.parametrize("setting", ["interval_seconds", "horizon_seconds", "concurrency_per_replica", "cpu_share"])
def test_a_setting_that_cannot_work_is_refused(setting):
    with pytest.raises(ConfigurationError, match=setting):
        AnalysisWatch(MadeSource, **{setting: 0})


def test_start_analyses_its_history_where_that_is_wanted(isolation, tmp_path):
    settings = {"registry": isolation.registry, "is_server_enabled": False, "collectors": (), "instrumentors": ()}
    path = tmp_path / "agents.history"
    monitor = agentgauge.start(history_file=path, is_analysis_enabled=True, history_interval_seconds=0.05, **settings)
    deadline = time.monotonic() + 60
    while not _values(isolation, "agentgauge_analysis_last_run_timestamp_seconds") and time.monotonic() < deadline:
        time.sleep(0.01)
    shown = _values(isolation, "agentgauge_analysis_interval_seconds")
    monitor.stop()
    assert shown == {"": MINUTE}
    assert _values(isolation, "agentgauge_analysis_interval_seconds") == {}


def test_a_second_program_with_the_same_file_does_not_analyse_what_the_first_one_writes(isolation, tmp_path):
    path, settings = tmp_path / "agents.history", {"is_analysis_enabled": True}
    first = OwnHistory(Config(history_file=path, **settings), isolation.registry)
    second = OwnHistory(Config(history_file=path, **settings), isolation.registry)
    first.sampler.sweep()
    second.watch.look()
    assert _values(isolation, "agentgauge_analysis_last_run_timestamp_seconds") == {}
    first.watch.look()
    assert _values(isolation, "agentgauge_analysis_last_run_timestamp_seconds")
    for history in (first, second):
        history.stop()


def test_an_analysis_without_a_history_is_refused():
    with pytest.raises(ConfigurationError, match="history_file"):
        Config(is_analysis_enabled=True)
