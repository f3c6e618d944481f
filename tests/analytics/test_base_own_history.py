"""What programs record of themselves lives in their own history, beside the recorder's series, and commands show it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from prometheus_client import CollectorRegistry

from agentgauge import cli
from agentgauge.analytics import own_points
from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.history import History, file
from agentgauge.analytics.recorded import recorded_measures
from agentgauge.analytics.sampler import Sampler
from agentgauge.errors import HistoryError
from agentgauge.testing import reraise_internal_errors
from made_store import MadeStore
from waited import PATIENCE_SECONDS, wait_until

HOUR = 3600.0
PROGRAM = """
import sys, time
import agentgauge
from agentgauge.analytics import BaseAnalytics

agentgauge.start(port=0, collectors=(), history_file=sys.argv[1], history_interval_seconds=1, service_name="shop")
analytics = BaseAnalytics("researcher")
now = time.time()
for number in range(300):
    analytics.record_metric("feedback", 10 + number / 30, now - 7200 + 24 * number)
with agentgauge.track("researcher", "search"):
    analytics.record_metric("answer_words", 250)
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A history of a program that ran, recorded, and ended without a word."""
    path = tmp_path_factory.mktemp("program") / "history.db"
    ended = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return path


def test_a_report_has_what_a_program_recorded_and_its_trend(path):
    command = [
        sys.executable,
        "-m",
        "agentgauge",
        "report",
        "--source",
        str(path),
        "--section",
        "recorded",
        "--section",
        "trends",
    ]
    ended = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    sections = json.loads(ended.stdout)["sections"]
    (words, feedback) = sections["recorded"]["tables"]["recorded"]["rows"]
    assert feedback == {
        "metric": "feedback",
        "of": "researcher",
        "points": 300,
        "latest": pytest.approx(10 + 299 / 30),
        "mean": pytest.approx(10 + 299 / 60),
        "minimum": 10.0,
        "maximum": pytest.approx(10 + 299 / 30),
    }
    assert (words["metric"], words["points"], words["latest"]) == ("answer_words", 1, 250.0)
    assert "feedback of researcher rose by 99 %" in str(sections["trends"])  # from the mean of the first step to that of the last


def test_it_lies_beside_the_series_of_the_recorder_with_the_labels_of_the_program(path):
    with History(path, is_read_only=True) as history:
        times, _ = history.points("feedback", {"analytics": "researcher", "job": "shop"})
        assert len(times) == 300
        assert "agent_task_duration_seconds_count" in history.metrics()
        assert [measure.name for measure in recorded_measures(history)] == ["answer_words", "feedback"]


def test_a_command_looks_at_a_recorded_metric_by_its_name(path, capsys):
    assert cli.main(["trends", "--source", str(path), "--measure", "feedback", "--json"]) == 0
    assert "feedback of researcher rose" in capsys.readouterr().out
    assert cli.main(["trends", "--source", str(path), "--measure", "feedbac"]) == 2
    assert "did you mean feedback?" in capsys.readouterr().err


# --- within the program ---------------------------------------------------------------------------------------------------


class Signal:
    """Has no points, and tells that it was asked for them."""

    def __init__(self):
        self.is_asked = threading.Event()

    def write(self):
        self.is_asked.set()
        return 0


@pytest.fixture
def store():
    return MadeStore()


@pytest.fixture
def sampler(tmp_path, store):
    (tmp_path / "history.db").touch()
    made = Sampler(str(tmp_path / "history.db"), lambda: store, CollectorRegistry(), HOUR, labels={"job": "shop"}, store=store)
    first = Signal()
    own_points.holders.add(first)
    with reraise_internal_errors():
        made.start()
        assert first.is_asked.wait(PATIENCE_SECONDS)  # nothing is swept from now on, unless a test does it
        yield made
        made.stop()


def test_what_a_flush_returned_from_is_in_the_history_and_there_once(sampler, store):
    analytics = BaseAnalytics("researcher")
    analytics.record_metric("feedback", 0.5, 1.0)
    assert (analytics.flush(), analytics.flush()) == (1, 0)
    assert store.points == [("feedback", {"analytics": "researcher", "job": "shop"}, 1.0, 0.5)]
    sampler.stop()
    assert len(store.points) == 1


def test_the_rest_is_written_when_the_program_stops_its_history(sampler, store):
    analytics, other = BaseAnalytics("researcher"), BaseAnalytics("writer")
    analytics.record_metric("feedback", 0.5, 1.0)
    other.record_metric("feedback", 0.7, 2.0)
    sampler.stop()
    assert sorted(at for _, _, at, _ in store.points) == [1.0, 2.0]
    analytics.record_metric("feedback", 0.5, 3.0)
    assert analytics.flush() == 0
    assert list(analytics.points("feedback").times) == [1.0, 3.0]


def test_it_is_written_with_each_sweep_without_being_asked(tmp_path, store):
    (tmp_path / "history.db").touch()
    sampler = Sampler(str(tmp_path / "history.db"), lambda: store, CollectorRegistry(), 0.02, store=store)
    sampler.start()
    analytics = BaseAnalytics("researcher")
    analytics.record_metric("feedback", 0.5, 1.0)
    wait_until(lambda: store.points)
    sampler.stop()


def test_what_cannot_be_written_waits_and_the_program_does_not_notice(sampler, store):
    analytics = BaseAnalytics("researcher")
    store.wrong = HistoryError("the disk is full")
    analytics.record_metric("feedback", 0.5, 1.0)
    with pytest.raises(HistoryError, match="disk is full"):
        analytics.flush()
    own_points.hand_over()
    analytics.record_metric("feedback", 0.5, 2.0)
    store.wrong = None
    own_points.hand_over()
    assert [at for _, _, at, _ in store.points] == [1.0, 2.0]


def test_nothing_is_written_to_a_file_that_was_moved_away(sampler, store, tmp_path):
    analytics = BaseAnalytics("researcher")
    (tmp_path / "history.db").rename(tmp_path / "moved.db")
    analytics.record_metric("feedback", 0.5, 1.0)
    with pytest.raises(HistoryError, match="after the next sweep"):
        analytics.flush()
    assert store.points == []


def test_what_is_flushed_while_the_file_is_closed_and_opened_anew_waits_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "_SYNCHRONOUS", "OFF")  # it is not about a loss of power
    path = tmp_path / "history.db"
    sampler = Sampler(str(path), lambda: History(path), CollectorRegistry(), HOUR, store=History(path))
    own_points.keep(sampler)
    analytics = BaseAnalytics("researcher")
    times = [time.time() // 1 - 300 + number for number in range(300)]
    is_over = threading.Event()

    def reopen():
        while not is_over.is_set():
            sampler._close()
            sampler._opened()

    thread = threading.Thread(target=reopen, daemon=True)
    thread.start()
    try:
        for at in times:
            analytics.record_metric("feedback", 0.5, at)
            with contextlib.suppress(HistoryError):
                analytics.flush()
    finally:
        is_over.set()
        thread.join(PATIENCE_SECONDS)
        sampler._opened()
        own_points.hand_over()
        own_points.leave(sampler)
    assert list(sampler.store.points("feedback", {"analytics": "researcher"})[0]) == times
    sampler.stop()


def test_a_history_that_was_given_has_the_points_alone(sampler, store):
    own = MadeStore()
    analytics = BaseAnalytics("researcher", history=own, write_interval_seconds=3600)
    analytics.record_metric("feedback", 0.5, 1.0)
    own_points.hand_over()
    assert analytics.flush() == 1
    assert (len(own.points), store.points) == (1, [])


def test_a_forked_child_leaves_the_history_to_its_parent(sampler, store):
    analytics = BaseAnalytics("researcher")
    analytics.record_metric("feedback", 0.5, 1.0)
    child = os.fork()
    if not child:
        is_left = False
        try:
            analytics.record_metric("feedback", 0.5, 2.0)
            is_left = analytics.flush() == 0 and len(analytics.points("feedback")) == 2
        finally:
            os._exit(not is_left)
    assert os.waitpid(child, 0)[1] == 0
    assert analytics.flush() == 1


def test_a_child_that_is_forked_while_a_history_hangs_writes_to_its_own():
    parent, has_begun, may_end = os.getpid(), threading.Event(), threading.Event()

    class Hanging(MadeStore):
        def write_points(self, *points):
            if os.getpid() == parent:  # the child may find the locks of these events taken
                has_begun.set()
                may_end.wait(PATIENCE_SECONDS)
            super().write_points(*points)

    analytics = BaseAnalytics("researcher", history=Hanging(), write_interval_seconds=3600)
    analytics.record_metric("feedback", 0.5, 1.0)
    thread = threading.Thread(target=analytics.flush, daemon=True)
    thread.start()
    try:
        assert has_begun.wait(PATIENCE_SECONDS)
        child = os.fork()
        if not child:
            signal.alarm(int(PATIENCE_SECONDS))
            written = 0
            try:
                analytics.record_metric("feedback", 0.5, 2.0)
                written = analytics.flush()
            finally:
                os._exit(written != 1)
        assert os.waitpid(child, 0)[1] == 0
        assert thread.is_alive()
    finally:
        may_end.set()
        thread.join(PATIENCE_SECONDS)


def test_nothing_waits_where_the_program_keeps_no_history():
    analytics = BaseAnalytics("researcher")
    for at in range(3000):
        analytics.record_metric("feedback", 0.5, float(at))
    assert analytics.flush() == 0
    assert analytics._own_book()._waiting_points == 0
