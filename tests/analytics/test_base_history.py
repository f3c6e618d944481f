"""What is recorded goes to the history too, in batches: what flush() returned from is there, and nothing is there twice."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History
from agentgauge.errors import HistoryError
from agentgauge.testing import FakeClock
from waited import wait_until


class Shelf:
    """Takes points, or does not."""

    def __init__(self):
        self.written, self.is_full, self.refused_metric = [], False, None

    def write_points(self, metric, labels, times, values):
        if self.is_full or metric == self.refused_metric:
            raise HistoryError("the disk is full")
        self.written += [(metric, labels, at, value) for at, value in zip(times, values, strict=True)]


def made(shelf, **settings):
    return BaseAnalytics("researcher", history=shelf, **{"write_interval_seconds": 3600, **settings})


def test_what_was_recorded_before_a_flush_is_written_once():
    shelf = Shelf()
    analytics = made(shelf)
    for number in range(1500):
        analytics.record_metric("latency", float(number), float(number))
    assert analytics.flush() == 1500
    assert analytics.flush() == 0
    analytics.record_metric("latency", 1.0, 5.0)
    assert analytics.flush() == 1
    labels = (("analytics", "researcher"),)
    assert shelf.written == [*(("latency", labels, float(n), float(n)) for n in range(1500)), ("latency", labels, 5.0, 1.0)]


def test_what_retention_drops_from_memory_still_goes_to_the_history():
    shelf = Shelf()
    analytics = made(shelf, clock=FakeClock(1e9))
    analytics.set_retention_policy(10, 1)
    for at in (5.0, 4.0, 6.0):
        analytics.record_metric("latency", at, at)
    assert len(analytics.points("latency")) == 0
    assert analytics.flush() == 3
    assert [at for _, _, at, _ in shelf.written] == [5.0, 4.0, 6.0]


def test_what_the_history_did_not_take_waits_for_the_next_time():
    shelf = Shelf()
    analytics = made(shelf)
    for metric in ("a", "b", "c"):
        analytics.record_metric(metric, 1.0, 1.0)
    shelf.refused_metric = "b"
    with pytest.raises(HistoryError, match="disk is full"):
        analytics.flush()
    analytics.record_metric("b", 2.0, 2.0)
    shelf.refused_metric = None
    analytics.flush()
    assert sorted((metric, at) for metric, _, at, _ in shelf.written) == [("a", 1.0), ("b", 1.0), ("b", 2.0), ("c", 1.0)]


def test_what_was_not_taken_is_written_in_the_order_in_which_it_was_recorded():
    shelf = Shelf()
    analytics = made(shelf)
    shelf.is_full = True
    for number in range(1500):  # three batches
        analytics.record_metric("latency", float(number), 1.0)
    with pytest.raises(HistoryError):
        analytics.flush()
    analytics.record_metric("latency", 1500.0, 1.0)
    shelf.is_full = False
    analytics.flush()
    assert [value for *_, value in shelf.written] == [float(number) for number in range(1501)]


@pytest.mark.parametrize(("kind", "flushes"), [(HistoryError, 3), (ValueError, 1)])
def test_a_metric_that_is_never_taken_holds_up_no_other(kind, flushes):
    class Picky(Shelf):
        def write_points(self, metric, labels, times, values):
            if metric.startswith("bad"):
                raise kind("no")
            super().write_points(metric, labels, times, values)

    shelf = Picky()
    analytics = made(shelf)
    for metric in ("bad 1", "a", "bad 2", "b"):
        analytics.record_metric(metric, 1.0, 1.0)
    for _ in range(flushes):
        with pytest.raises(HistoryError, match="no"):
            analytics.flush()
    assert [metric for metric, *_ in shelf.written] == ["a", "b"]
    assert analytics._own_book()._waiting_points == 2


def test_a_disk_that_takes_nothing_is_asked_once_a_flush():
    asked = []

    class Full:
        def write_points(self, metric, *_points):
            asked.append(metric)
            raise HistoryError("the disk is full")

    analytics = made(Full())
    for number in range(50):
        analytics.record_metric(f"m{number}", 1.0, 1.0)
    with pytest.raises(HistoryError, match="the disk is full"):
        analytics.flush()
    assert asked == ["m0"]


def test_a_history_that_fails_otherwise_fails_the_flush_alike():
    analytics = made(type("Broken", (), {"write_points": lambda *_: 1 / 0})())
    analytics.record_metric("a", 1.0, 1.0)
    with pytest.raises(HistoryError, match="did not take the points of 'a': division by zero"):
        analytics.flush()


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(monkeypatch):
    monkeypatch.setattr("agentgauge.analytics.book._MOST_WAITING_POINTS", 2000)
    shelf = Shelf()
    analytics = made(shelf)
    for number in range(5000):
        analytics.record_metric("latency", 1.0, float(number))
    lost = analytics.refused()["history_behind"]
    assert analytics.flush() == len(shelf.written) == 5000 - lost
    assert 1500 <= len(shelf.written) <= 2512
    assert [at for _, _, at, _ in shelf.written] == [float(number) for number in range(lost, 5000)]
    assert len(analytics.points("latency")) == 5000


def test_a_thread_writes_without_being_asked_and_ends_with_the_object():
    shelf = Shelf()
    analytics = made(shelf, write_interval_seconds=0.01)
    analytics.record_metric("latency", 1.0, 1.0)
    wait_until(lambda: shelf.written)
    threads = [thread for thread in threading.enumerate() if thread.name == "agentgauge-analytics"]
    shelf.is_full = True  # contained
    analytics.record_metric("latency", 2.0, 2.0)
    gone = weakref.ref(analytics._own_book())
    del analytics
    gc.collect()
    wait_until(lambda: gone() is None)
    wait_until(lambda: sum(not thread.is_alive() for thread in threads) >= 1)


def test_a_forked_child_writes_only_what_it_recorded(tmp_path):
    class Log:
        def write_points(self, metric, labels, times, values):
            with (tmp_path / str(os.getpid())).open("a") as file:
                file.writelines(f"{at:g}\n" for at in times)

    analytics = made(Log())
    analytics.record_metric("latency", 1.0, 1.0)
    child = os.fork()
    if not child:
        is_right = False
        try:  # a child that fails must not go on with the tests of its parent
            analytics.record_metric("latency", 1.0, 2.0)
            analytics.flush()
            is_right = len(analytics.points("latency")) == 2
        finally:
            os._exit(not is_right)
    assert os.waitpid(child, 0)[1] == 0
    analytics.flush()
    assert (tmp_path / str(child)).read_text() == "2\n"
    assert (tmp_path / str(os.getpid())).read_text() == "1\n"


def test_a_forked_child_has_a_thread_of_its_own_that_writes(tmp_path):
    class Log:
        def write_points(self, metric, labels, times, values):
            (tmp_path / str(os.getpid())).write_text("written")

    analytics = made(Log(), write_interval_seconds=0.01)
    analytics.record_metric("latency", 1.0, 1.0)
    child = os.fork()
    if not child:
        try:
            analytics.record_metric("latency", 1.0, 2.0)
            wait_until((tmp_path / str(os.getpid())).exists)
        finally:
            os._exit(not (tmp_path / str(os.getpid())).exists())
    assert os.waitpid(child, 0)[1] == 0


def test_threads_record_while_others_flush_and_all_is_written_once():
    shelf = Shelf()
    analytics = made(shelf)

    def record(thread):
        for number in range(3000):
            analytics.record_metric("latency", 1.0, float(thread * 3000 + number))

    threads = [threading.Thread(target=record, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        analytics.flush()
    analytics.flush()
    assert sorted(at for _, _, at, _ in shelf.written) == [float(number) for number in range(9000)]


def test_loaded_points_do_not_go_to_the_history_but_those_that_waited_do(tmp_path):
    source, shelf = BaseAnalytics(), Shelf()
    source.record_metric("latency", 1.0, 1.0)
    source.save(tmp_path / "source.json")
    analytics = made(shelf)
    analytics.record_metric("latency", 2.0, 2.0)
    analytics.load(tmp_path / "source.json")
    analytics.record_metric("latency", 3.0, 3.0)
    analytics.flush()
    assert [at for _, _, at, _ in shelf.written] == [2.0, 3.0]
    assert list(analytics.points("latency").times) == [1.0, 3.0]


def test_the_real_history_shows_it_to_analysis_beside_the_series_of_the_recorder(tmp_path):
    with History(tmp_path / "history.db") as history:
        analytics = made(history)
        now = time.time() // 60 * 60
        for minutes in (3, 1, 2):
            analytics.record_metric("latency", float(minutes), now - 60 * minutes)
        assert analytics.flush() == 3
        (frame,) = history.frames("latency", Grid.over(now - 240, now - 60, 60), {"analytics": "researcher"})
        assert list(frame.values) == [3.0, 2.0, 1.0]


KILLED = """
import sys, time
from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.history import History
analytics = BaseAnalytics("researcher", history=History(sys.argv[1]))
now = time.time() // 1 - 5000
for number in range(5000):
    analytics.record_metric("latency", float(number), now + number)
    if number % 50 == 49:
        analytics.flush()
        print(now + number, flush=True)
"""


def test_what_a_flush_returned_from_is_there_after_a_kill(tmp_path):
    path = tmp_path / "history.db"
    program = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    lines = [program.stdout.readline() for _ in range(7)]
    program.send_signal(signal.SIGKILL)
    lines += program.stdout.read().splitlines()
    program.wait()
    program.stdout.close()
    last = float([line for line in lines if line.strip()][-1])
    with History(path) as history:
        begin = last - (len([line for line in lines if line.strip()]) * 50 - 1)
        (frame,) = history.frames("latency", Grid.over(begin - 1, last, 1))
        assert list(frame.values) == [float(number) for number in range(int(last - begin) + 1)]


AT_EXIT = """
import sys, time
from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.history import History
history = History(sys.argv[1])
analytics = BaseAnalytics("researcher", history=history)
analytics.record_metric("latency", 5.0)
"""


def test_the_rest_is_written_when_the_program_exits(tmp_path):
    path = tmp_path / "history.db"
    ended = subprocess.run([sys.executable, "-c", AT_EXIT, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    with History(path) as history:
        assert "latency" in history.metrics()


def test_a_flush_in_the_middle_of_another_does_not_say_that_all_is_on_the_disk():
    told = []

    class Interrupted(Shelf):
        def write_points(self, metric, labels, times, values):
            with pytest.raises(HistoryError, match="in the middle of another write") as refusal:  # as a signal handler would
                analytics.flush()
            told.append(refusal)
            super().write_points(metric, labels, times, values)

    shelf = Interrupted()
    analytics = made(shelf)
    for metric in ("latency", "tokens"):
        analytics.record_metric(metric, 1.0, 5.0)
    assert analytics.flush() == 2
    assert [metric for metric, *_ in shelf.written] == ["latency", "tokens"]
    assert len(told) == 2
