"""The sampler: a sweep at each interval, nothing lost while the disk comes back, and a host that never notices."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from agentgauge.analytics import sampler as sampler_module
from agentgauge.analytics import waiting
from agentgauge.analytics.sampler import Sampler
from agentgauge.errors import HistoryError
from agentgauge.testing import FakeClock
from made_store import MadeStore

PATIENCE_SECONDS = 60.0
FULL = HistoryError("there is no space left on the disk")


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    Gauge("depth", "Depth.", registry=registry).set(3)
    return registry


@pytest.fixture
def made(fresh, registry, tmp_path):
    """Give a sampler that is not started, its store, and its clock; its own series are on ``fresh``."""
    store, clock = MadeStore(), FakeClock(1_500.0)
    path = tmp_path / "history.db"
    path.write_text("here")

    def reopen():
        store.is_closed = False
        return store

    sampler = Sampler(str(path), reopen, registry, 15.0, store=store, clock=clock, monotonic=clock)
    return sampler, store, clock


def sweep(sampler, clock, times=1, seconds=15.0):
    for _ in range(times):
        clock.advance(seconds)
        sampler.sweep()


def swept(fresh, outcome):
    return fresh.value("agentgauge_history_sweeps_total", outcome=outcome) or 0


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- sweeps ---------------------------------------------------------------------------------------------------------------


def test_a_sweep_is_written_under_the_time_it_was_due_at_where_it_came_in_time_and_else_under_its_own(made):
    sampler, store, clock = made
    for at in (1_515.1, 1_530.0, 1_544.9, 1_545.0, 1_561.0):
        clock.now = at
        sampler.sweep()
    assert store.times == [1_515.0, 1_530.0, 1_544.9, 1_545.0, 1_561.0]
    assert store.sweeps[0][1] == {("depth", ()): 3.0}


def test_the_next_sweep_is_due_at_a_multiple_of_the_interval(made):
    sampler, _, clock = made
    pauses = []
    for clock.now in (1_500.0, 1_507.5, 1_514.0, 1_514.9):
        pauses.append(round(sampler._pause_seconds(), 6))
    assert pauses == [15.0, 7.5, 1.0, 15.1]


def test_what_is_shown_of_a_history_that_is_written(made, fresh):
    sampler, _, clock = made
    sampler.start()
    wait_for(lambda: fresh.value("agentgauge_history_size_bytes") is not None)
    assert swept(fresh, "written") == 1
    assert fresh.value("agentgauge_history_memory_only") == 0
    assert fresh.value("agentgauge_history_series") == 1
    assert fresh.value("agentgauge_history_size_bytes") == len("here")
    assert fresh.value("agentgauge_history_last_write_timestamp_seconds") == clock.now
    assert (swept(fresh, "kept"), swept(fresh, "dropped")) == (0, 0)
    clock.advance(5)
    sampler.stop()
    assert swept(fresh, "written") == 2
    assert fresh.value("agentgauge_history_memory_only") is None
    assert fresh.value("agentgauge_history_series") is None


def test_a_clock_that_goes_back_costs_the_sweeps_until_it_is_where_it_was(made, fresh, caplog):
    sampler, store, clock = made
    sweep(sampler, clock, 2)
    clock.now -= 30
    sweep(sampler, clock, 3)
    assert store.times == [1_515.0, 1_530.0, 1_545.0]
    assert swept(fresh, "dropped") == 2
    assert "the clock of this machine went back" in caplog.text


def test_what_a_collector_raises_costs_one_sweep_and_is_counted(made, fresh, registry, caplog):
    sampler, store, _ = made

    class Broken:
        is_broken = True

        def collect(self):
            if self.is_broken:
                raise ArithmeticError
            return []

    broken = Broken()
    broken.is_broken = False
    registry.register(broken)
    broken.is_broken = True
    sampler.start()
    wait_for(lambda: fresh.value("agentgauge_internal_errors_total", hook="history"))
    broken.is_broken = False
    sampler.stop()
    assert len(store.sweeps) == 1


# --- a disk that is full --------------------------------------------------------------------------------------------------


def test_sweeps_that_cannot_be_written_are_kept_and_written_in_order_when_the_disk_is_back(made, fresh):
    sampler, store, clock = made
    sweep(sampler, clock)
    store.wrong = FULL
    sweep(sampler, clock, 3)
    assert (store.times, swept(fresh, "kept")) == ([1_515.0], 3)
    store.wrong = None
    sweep(sampler, clock)
    assert store.times == [1_515.0, 1_530.0, 1_545.0, 1_560.0, 1_575.0]
    assert (swept(fresh, "written"), swept(fresh, "kept"), swept(fresh, "dropped")) == (5, 3, 0)


def test_a_series_says_that_there_is_memory_only(made, fresh, registry):
    sampler, store, clock = made
    store.wrong = FULL
    sampler.start()
    wait_for(lambda: fresh.value("agentgauge_history_memory_only") == 1)
    assert swept(fresh, "kept") == 1
    assert fresh.value("agentgauge_history_last_write_timestamp_seconds") is None
    store.wrong = None
    clock.advance(15)
    sampler.sweep()
    assert fresh.value("agentgauge_history_memory_only") == 0
    sampler.stop()


def test_the_log_tells_of_it_once_a_minute_at_most_and_of_the_end(made, caplog):
    caplog.set_level(logging.INFO)
    sampler, store, clock = made
    store.wrong = FULL
    sweep(sampler, clock, 3)
    [told] = [record.message for record in caplog.records]
    assert told.startswith(f"the history {sampler.path} cannot be written: there is no space left on the disk; 1 sweep is kept")
    sweep(sampler, clock, 2)
    assert len(caplog.records) == 2
    assert "5 sweeps are kept" in caplog.records[1].message
    store.wrong = None
    sweep(sampler, clock, 2)
    assert [record.message for record in caplog.records[2:]] == [f"the history {sampler.path} is written again"]


@pytest.mark.parametrize(("setting", "limit"), [("_MOST", 3), ("_MOST_BYTES", 650)])
def test_no_more_is_kept_than_there_is_room_for_and_the_oldest_goes_first(made, fresh, monkeypatch, setting, limit):
    monkeypatch.setattr(waiting, setting, limit)
    sampler, store, clock = made
    store.wrong = FULL
    sweep(sampler, clock, 20)
    kept = len(sampler._kept)
    assert kept < 20
    assert swept(fresh, "dropped") == 20 - kept
    store.wrong = None
    sweep(sampler, clock)
    assert store.times == [1_500.0 + 15 * number for number in range(21 - kept, 22)]


def test_what_was_kept_is_written_for_half_a_second_of_an_interval_at_most(made):
    sampler, store, clock = made
    store.wrong = FULL
    sweep(sampler, clock, 5)
    store.wrong = None
    write = store.write

    def slow(at, samples):
        clock.advance(0.3)
        write(at, samples)

    store.write = slow
    sweep(sampler, clock)
    assert store.times == [1_515.0, 1_530.0]
    sweep(sampler, clock, 4)
    assert store.times == sorted(store.times)
    assert len(store.times) == 10


def test_a_sweep_that_nobody_can_write_holds_up_none_that_comes_after_it(made, fresh):
    sampler, store, clock = made
    store.wrong = UnicodeEncodeError("utf-8", "", 0, 1, "no")
    sweep(sampler, clock)
    store.wrong = None
    sweep(sampler, clock)
    assert store.times == [1_530.0]
    assert swept(fresh, "dropped") == 1
    assert fresh.value("agentgauge_internal_errors_total", hook="history") == 1


def test_a_sweep_that_the_history_has_a_later_one_than_is_dropped(made, fresh):
    sampler, store, clock = made
    store.sweeps.append((1_520.0, {}))
    store.wrong = HistoryError("too far before the last")
    sweep(sampler, clock)
    store.wrong = None
    sweep(sampler, clock)
    assert store.times == [1_520.0, 1_530.0]
    assert swept(fresh, "dropped") == 1


def test_a_history_that_stays_unwritable_is_opened_anew(made):
    sampler, store, clock = made
    opened = []
    sampler._open_store = lambda: opened.append(MadeStore()) or opened[-1]
    store.wrong = HistoryError("it is damaged")
    sweep(sampler, clock, 6)
    assert store.is_closed
    [second] = opened
    assert second.times == [1_515.0 + 15 * number for number in range(6)]


def test_a_file_that_was_moved_away_is_begun_anew(made):
    sampler, store, clock = made
    sweep(sampler, clock)
    opened = []

    def open_store():
        Path(sampler.path).touch()
        opened.append(MadeStore())
        return opened[-1]

    sampler._open_store = open_store
    Path(sampler.path).rename(f"{sampler.path}.1")
    sweep(sampler, clock, 2)
    assert store.is_closed
    assert store.times == [1_515.0]
    assert [made.times for made in opened] == [[1_530.0, 1_545.0]]


# --- a file that another process has --------------------------------------------------------------------------------------


def test_where_another_process_has_the_file_it_is_taken_over_and_what_both_saw_is_that_process_s(
    fresh, registry, tmp_path, caplog
):
    taken = HistoryError("history.db is being written by process 7: one process writes to a history")
    store, clock = MadeStore(), FakeClock(1_500.0)
    is_taken = True

    def open_store():
        if is_taken:
            raise taken
        store.sweeps.append((1_530.0, {}))
        return store

    sampler = Sampler(str(tmp_path / "history.db"), open_store, registry, 15.0, clock=clock, monotonic=clock)
    sweep(sampler, clock, 3)
    assert "is being written by process 7" in caplog.text
    is_taken = False
    sweep(sampler, clock)
    assert store.times == [1_530.0, 1_545.0, 1_560.0]
    assert swept(fresh, "dropped") == 2


def test_what_only_memory_had_at_the_end_is_counted_and_told_once(fresh, registry, tmp_path, caplog):
    def open_store():
        raise HistoryError("history.db is being written by process 7")

    clock = FakeClock(1_500.0)
    sampler = Sampler(str(tmp_path / "history.db"), open_store, registry, 15.0, clock=clock, monotonic=clock)
    sweep(sampler, clock, 3)
    sampler.stop()
    sampler.stop()
    assert (swept(fresh, "kept"), swept(fresh, "dropped")) == (3, 3)
    told = [record.message for record in caplog.records if "that only memory had" in record.message]
    assert told == [
        f"the history {sampler.path} could not be written until the end: 3 sweeps that only memory had went with the program"
    ]


def test_a_file_that_is_taken_over_while_what_was_kept_is_written_costs_no_sweep_but_those_the_other_has(made, fresh):
    sampler, store, clock = made
    store.wrong = FULL
    sweep(sampler, clock, 5)
    store.wrong = None
    write, second = store.write, MadeStore()

    def move_away(at, samples):
        write(at, samples)
        Path(sampler.path).rename(f"{sampler.path}.1")
        store.write = write

    def open_store():
        Path(sampler.path).touch()
        second.sweeps.append((1_530.0, {}))  # which another process wrote meanwhile
        return second

    store.write, sampler._open_store = move_away, open_store
    sweep(sampler, clock)
    assert (store.times, second.times) == ([1_515.0], [1_530.0, 1_545.0, 1_560.0, 1_575.0, 1_590.0])
    assert (swept(fresh, "written"), swept(fresh, "dropped")) == (5, 1)


# --- threads, exits and forks ---------------------------------------------------------------------------------------------


def test_the_thread_sweeps_at_the_start_at_each_interval_and_at_the_end(fresh, registry, tmp_path):
    store = MadeStore()
    (tmp_path / "history.db").touch()
    sampler = Sampler(str(tmp_path / "history.db"), MadeStore, registry, 0.02, store=store)
    sampler.start()
    thread = sampler._thread
    wait_for(lambda: len(store.sweeps) >= 4)
    sampler.stop()
    count = len(store.sweeps)
    assert store.is_closed
    assert store.times == sorted(set(store.times))
    assert not thread.is_alive()
    sampler.stop()
    assert len(store.sweeps) == count


def test_a_write_that_hangs_keeps_stop_no_longer_than_a_second_and_gives_the_file_back_when_it_ends(made, monkeypatch, caplog):
    sampler, store, _ = made
    monkeypatch.setattr(sampler_module, "_STOP_SECONDS", 0.05)
    let_go, is_in = threading.Event(), threading.Event()

    def hang(_at, _samples):
        is_in.set()
        let_go.wait(PATIENCE_SECONDS)

    store.write = hang
    sampler.start()
    assert is_in.wait(PATIENCE_SECONDS)
    thread = sampler._thread
    sampler.stop()
    assert thread.is_alive()
    assert not store.is_closed  # another thread is in it
    sampler.stop()  # as the end of the program does once more
    assert not store.is_closed
    assert "hangs: its last sweeps may not be on disk" in caplog.text
    let_go.set()
    thread.join(PATIENCE_SECONDS)
    assert store.is_closed
    assert sampler not in sampler_module._running


def test_a_logging_handler_that_raises_harms_nothing(made):
    sampler, store, clock = made

    class Raises(logging.Handler):
        def emit(self, record):
            raise ArithmeticError

    handler = Raises()
    logging.getLogger("agentgauge").addHandler(handler)
    try:
        store.wrong = FULL
        sweep(sampler, clock)
    finally:
        logging.getLogger("agentgauge").removeHandler(handler)
    assert len(sampler._kept) == 1


def test_a_forked_child_neither_writes_nor_closes_nor_shows_what_is_its_parent_s(made, fresh):
    sampler, store, _ = made
    sampler.start()
    wait_for(lambda: len(store.sweeps) == 1)
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            sampler.stop()
            list(fresh.registry.collect())
            shown = fresh.value("agentgauge_history_memory_only")
            os._exit(0 if not store.is_closed and len(store.sweeps) == 1 and shown is None and sampler.store is None else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sampler.store is store
    sampler.stop()
    assert store.is_closed


def test_a_fork_waits_for_a_write(made, monkeypatch):
    monkeypatch.setattr("agentgauge.fork_gate._FORK_WAIT_SECONDS", PATIENCE_SECONDS)  # a busy machine takes its time
    sampler, store, _ = made
    is_in, let_go, is_done = threading.Event(), threading.Event(), threading.Event()
    write = store.write

    def hold(at, samples):
        is_in.set()
        let_go.wait(0.2)
        write(at, samples)
        is_done.set()

    store.write = hold
    sampler.start()
    assert is_in.wait(PATIENCE_SECONDS)
    child = os.fork()
    if not child:
        os._exit(0 if is_done.is_set() else 1)
    let_go.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    sampler.stop()
