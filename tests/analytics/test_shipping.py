"""What was recorded goes to the history when the program ends, and a disk that hangs does not keep it from ending."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

from agentgauge.analytics import shipping
from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.history import History
from made_store import MadeStore
from waited import PATIENCE_SECONDS, wait_until

# The writer's own connection hangs within SQLite, with all that SQLite holds then: as it does where a disk never answers.
HANGING = """
import sys, threading
import agentgauge
from agentgauge.analytics import sampler
from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.history import History

table, is_own = sys.argv[2], sys.argv[3] == "own"
hangs = threading.Event()

def hang():
    hangs.set()
    threading.Event().wait()

if is_own:
    agentgauge.start(port=0, collectors=(), history_file=sys.argv[1], history_interval_seconds=1)
    history = next(iter(sampler._running)).store
else:
    history = History(sys.argv[1])
with history._writing:  # else this thread, too, may hang: SQLite lets nobody end a statement while another one hangs
    connection = history._writer._connection
    connection.create_function("hang", 0, hang)
    connection.execute(f"CREATE TEMP TRIGGER disk BEFORE INSERT ON {table} BEGIN SELECT hang(); END")
analytics = [BaseAnalytics(str(number), history=None if is_own else history, write_interval_seconds=0.01) for number in range(90)]
for one in analytics:
    one.record_metric("depth", 1.0)
hangs.wait()
print("hangs")
"""


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,  # less than a second for each of the ninety
        check=False,
    )


@pytest.mark.parametrize(("table", "whose"), [("point", "given"), ("part", "own")])
def test_a_disk_that_hangs_keeps_no_program_from_its_end(tmp_path, table, whose):
    ended = run(HANGING, tmp_path / "h", table, whose)
    assert (ended.returncode, ended.stdout) == (0, "hangs\n")
    if whose == "own":
        assert ended.stderr == f"the history {tmp_path / 'h'} hangs: its last sweeps may not be on disk\n"
    else:
        assert ended.stderr == ""


NO_THREADS = """
import sys, threading
from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.history import History

class Hanging(History):
    def write_points(self, *points):
        threading.Event().wait()

started = threading.Thread.start

def refuse(thread):
    raise RuntimeError("can't start new thread")

threading.Thread.start = refuse
history = (Hanging if sys.argv[2] == "hangs" else History)(sys.argv[1])
analytics = BaseAnalytics(history=history)
analytics.record_metric("depth", 1.0)
if sys.argv[2] == "passes":
    threading.Thread.start = started
"""


def test_where_no_thread_could_be_started_the_points_are_written_at_the_end_if_one_can_be_then(tmp_path):
    assert run(NO_THREADS, tmp_path / "h", "passes").returncode == 0
    with History(tmp_path / "h", is_read_only=True) as history:
        assert history.metrics() == ["depth"]


def test_where_no_thread_can_be_started_a_disk_that_hangs_is_not_written_to_at_the_end(tmp_path):
    assert run(NO_THREADS, tmp_path / "h", "hangs").returncode == 0


CLOSES = """
import atexit, sys
from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.history import History

early = BaseAnalytics(history=History(sys.argv[1] + ".early"))
early.record_metric("depth", 1.0)
history = History(sys.argv[1])
atexit.register(history.close)
late = BaseAnalytics(history=history)
late.record_metric("depth", 1.0)
"""


def test_a_history_that_the_program_closes_at_its_end_has_the_points_before(tmp_path):
    ended = run(CLOSES, tmp_path / "h")
    assert (ended.returncode, ended.stderr) == (0, "")
    for name in ("h", "h.early"):
        with History(tmp_path / name, is_read_only=True) as history:
            assert history.metrics() == ["depth"]


def threads():
    return {one for one in threading.enumerate() if one.name == "agentgauge-analytics"}


def test_all_that_is_for_one_history_is_written_by_one_thread_which_ends_with_the_last_of_it():
    before, store = threads(), MadeStore()
    analytics = [BaseAnalytics(str(number), history=store, write_interval_seconds=3600) for number in range(90)]
    for one in analytics:
        one.record_metric("depth", 1.0)
    [thread] = threads() - before
    del analytics[1:], one
    gc.collect()
    analytics += [BaseAnalytics("late", history=store, write_interval_seconds=3600)]
    analytics[1].record_metric("depth", 1.0)
    assert threads() - before == {thread}
    del analytics
    gc.collect()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    again = BaseAnalytics(history=store)
    again.record_metric("depth", 1.0)
    assert len(threads() - before) == 1


def test_a_history_that_hangs_holds_up_no_other():
    hangs, let_go, written = threading.Event(), threading.Event(), threading.Event()

    class Hanging:
        def write_points(self, *_):
            hangs.set()
            let_go.wait(PATIENCE_SECONDS)

    class Well:
        def write_points(self, *_):
            written.set()

    analytics = [BaseAnalytics(history=history, write_interval_seconds=0.01) for history in (Hanging(), Well())]
    try:
        analytics[0].record_metric("depth", 1.0)
        assert hangs.wait(PATIENCE_SECONDS)
        analytics[1].record_metric("depth", 1.0)
        assert written.wait(PATIENCE_SECONDS)
    finally:
        let_go.set()


def test_a_signal_handler_that_records_while_the_thread_is_being_started_starts_no_other(monkeypatch):
    store, start, starts = MadeStore(), threading.Thread.start, []
    analytics = [BaseAnalytics(name, history=store, write_interval_seconds=0.01) for name in ("program", "handler")]

    def interrupted(thread):
        starts.append(thread.name)
        if len(starts) == 1:
            analytics[1].record_metric("depth", 1.0)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    analytics[0].record_metric("depth", 1.0)
    assert starts == ["agentgauge-analytics"]
    wait_until(lambda: {labels["analytics"] for _, labels, _, _ in store.points} == {"program", "handler"})


def test_a_history_that_raises_what_is_no_exception_is_written_to_again(monkeypatch):
    told, written = [], threading.Event()

    class Odd:
        def write_points(self, *_):
            if not told:
                raise KeyboardInterrupt
            written.set()

    monkeypatch.setattr(threading, "excepthook", told.append)
    odd = Odd()
    analytics = [BaseAnalytics(name, history=odd, write_interval_seconds=0.01) for name in ("first", "second")]
    analytics[0].record_metric("depth", 1.0)
    wait_until(lambda: told)
    analytics[1].record_metric("depth", 1.0)
    assert written.wait(PATIENCE_SECONDS)
    assert told[0].exc_type is KeyboardInterrupt
    assert "agentgauge-analytics" in told[0].thread.name
    told.clear()  # what the thread was told of it, and keeps, has the object


def test_at_the_end_each_write_counts_as_progress_the_one_that_is_under_way_too(monkeypatch):
    """Else a disk that takes most of a second for each would not get the rest."""
    told, begun, let_go = [], threading.Event(), threading.Event()

    class Told(shipping.SimpleQueue):
        def put(self, one):
            told.append(one)
            super().put(one)

    class Slow:
        def write_points(self, _metric, labels, _times, _values):
            begun.set()
            assert let_go.wait(PATIENCE_SECONDS)
            told.append(dict(labels)["analytics"])

    monkeypatch.setattr(shipping, "_ships", {})
    monkeypatch.setattr(shipping, "_EXIT_SECONDS", PATIENCE_SECONDS)
    slow = Slow()
    analytics = [BaseAnalytics(name, history=slow, write_interval_seconds=0.01) for name in "abc"]
    analytics[0].record_metric("depth", 1.0)
    assert begun.wait(PATIENCE_SECONDS)
    for one in analytics[1:]:
        one.record_metric("depth", 1.0)
    [ship] = shipping._ships.values()
    monkeypatch.setattr(shipping, "SimpleQueue", Told)
    at_the_end = threading.Thread(target=shipping._write_last)
    at_the_end.start()
    wait_until(lambda: ship.ending is not None)
    let_go.set()
    at_the_end.join(PATIENCE_SECONDS)
    assert told == ["a", None, None, "b", None, "c", None, ship]


GOES_ON = """
import atexit, sys
from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.history import History

history = History(sys.argv[1])
for metric in ("depth", "width"):
    analytics = BaseAnalytics(metric, history=history)
    analytics.record_metric(metric, 1.0)
    atexit._run_exitfuncs()  # as what embeds Python does, and goes on
"""


def test_what_is_recorded_after_the_exit_functions_have_run_is_written_too(tmp_path):
    assert run(GOES_ON, tmp_path / "h").returncode == 0
    with History(tmp_path / "h", is_read_only=True) as history:
        assert history.metrics() == ["depth", "width"]


def test_the_thread_ends_with_the_object_however_long_it_was_to_wait():
    before = threads()
    analytics = BaseAnalytics(history=MadeStore(), write_interval_seconds=3600)
    analytics.record_metric("depth", 1.0)
    [thread] = threads() - before
    del analytics
    gc.collect()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
