"""Forks and histories: they wait for SQLite alone, not for what hangs, and a child closes nothing of its parent's."""

from __future__ import annotations

import os
import threading

import pytest

from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History, file, forks
from agentgauge.analytics.history.reading import Plan
from agentgauge.errors import HistoryError

START = 1_700_000_000.0


def is_free(lock):
    """Tell whether another thread could take a lock."""
    taken = []

    def take():
        if lock.acquire(timeout=0):
            taken.append(lock)
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return bool(taken)


@pytest.fixture
def history(tmp_path):
    with History(tmp_path / "h", clock=lambda: START) as history:
        history.write(START, [("depth", (), 1.0)])
        yield history


@pytest.fixture
def alone(monkeypatch):
    """Let no history of another test be there."""
    monkeypatch.setattr(forks, "_watched", {})


@pytest.mark.usefixtures("alone")
def test_nobody_writes_or_asks_while_a_process_is_forked(history):
    forks.watch(history)
    forks._before()
    assert not any(map(is_free, history.locks))
    forks._after_in_parent()
    assert all(map(is_free, history.locks))


class Lock:
    """Notes for how long it was waited for."""

    def __init__(self):
        self.is_free, self.waits = False, []

    def acquire(self, timeout):
        self.waits.append(timeout)
        return self.is_free

    def release(self):
        pass


class Locked:
    def __init__(self, *locks):
        self.locks = locks


def fork():
    forks._before()
    forks._after_in_parent()


@pytest.mark.usefixtures("alone")
def test_a_fork_that_waited_in_vain_is_the_last_that_waits_until_one_finds_the_lock_free():
    hangs, well = Lock(), Lock()
    well.is_free = True
    locked = Locked(hangs, well)
    forks.watch(locked)
    fork()
    assert hangs.waits[0] > 0
    fork()
    fork()
    assert hangs.waits[1:] == [0.0, 0.0]
    assert all(wait > 0 for wait in well.waits[1:])  # it is none of those that hang
    hangs.is_free = True
    fork()
    hangs.is_free = False
    fork()
    assert [wait > 0 for wait in hangs.waits] == [True, False, False, False, True]


def test_a_fork_need_not_wait_for_an_analysis_but_for_what_sqlite_does(history, monkeypatch):
    seen = []
    fold = Plan.fold

    def look(plan, series):
        seen.append(all(map(is_free, history.locks)))
        return fold(plan, series)

    monkeypatch.setattr(Plan, "fold", look)
    (frame,) = history.frames("depth", Grid(START, 15.0, 1))
    assert (list(frame.values), seen) == ([1.0], [True])


def test_a_fork_waits_while_sqlite_is_at_a_question(history):
    history.last_sweep()
    seen = []
    history._reader.create_function("look", 0, lambda: seen.append(is_free(history._reading)))
    assert history._reader.execute("SELECT look()").fetchall() == [(None,)]
    assert seen == [False]
    assert is_free(history._reading)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("is_read_only", [True, False])
def test_a_fork_waits_while_one_is_opened(history, monkeypatch, is_read_only):
    path, seen, connect = history.path.with_name("other" if not is_read_only else "h"), [], file._connect

    def look(*arguments):
        seen.append(all(is_free(lock) for opened in forks.watched() for lock in opened.locks))
        return connect(*arguments)

    monkeypatch.setattr(file, "_connect", look)
    History(path, is_read_only=is_read_only).close()
    assert set(seen) == {False}


@pytest.mark.usefixtures("alone")
def test_none_is_opened_while_a_fork_waits_for_others(history):
    known = forks.watched()
    forks._before()
    opened = []
    thread = threading.Thread(target=lambda: opened.append(History(history.path, is_read_only=True)))
    thread.start()
    thread.join(0.05)
    assert forks.watched() == known
    forks._after_in_parent()
    thread.join()
    assert forks.watched() == known + opened
    opened[0].close()


@pytest.mark.usefixtures("alone")
def test_a_child_that_is_forked_in_the_middle_of_opening_one_does_not_write_to_it(tmp_path, monkeypatch):
    """As by a signal handler: the thread that opens it is the one that forks."""
    children, opened = [], file.open_for_writing

    def fork_then(*arguments):
        found = opened(*arguments)
        children.append(os.fork())
        return found

    monkeypatch.setattr(file, "open_for_writing", fork_then)
    history = History(tmp_path / "h", clock=lambda: START)
    if not children[0]:
        is_right = False
        try:
            with pytest.raises(HistoryError, match="belongs to the process that this one was forked from"):
                history.write(START, [("of_the_child", (), 1.0)])
            history.close()
            is_right = True
        finally:
            os._exit(not is_right)
    assert os.waitpid(children[0], 0)[1] == 0
    with history:
        history.write(START, [("depth", (), 1.0)])
        assert history.metrics() == ["depth"]


def test_one_that_was_closed_can_be_opened_at_once_though_a_child_still_has_its_lock(history):
    """A fork of C's runs nothing of ours in the child, and one of Python's does so some time later."""
    of_the_child = os.dup(history._writer._lock._file)
    history.close()
    History(history.path).close()
    os.close(of_the_child)


def test_what_a_child_gives_back_the_parent_goes_on_holding(history):
    child = os.fork()
    if not child:
        is_right = False
        try:
            history.close()
            is_right = True
        finally:
            os._exit(not is_right)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(HistoryError, match="is being written by process"):
        History(history.path)


def test_threads_ask_one_after_the_other_each_as_of_one_moment(history, monkeypatch):
    begins, goes_on, ended = threading.Event(), threading.Event(), []
    fold = Plan.fold

    def wait(plan, series):
        begins.set()
        assert goes_on.wait(60)
        return fold(plan, series)

    monkeypatch.setattr(Plan, "fold", wait)
    threads = [threading.Thread(target=lambda: ended.append(history.frames("depth", Grid(START, 15.0, 1))))]
    threads[0].start()
    assert begins.wait(60)
    threads.append(threading.Thread(target=lambda: ended.append(history.last_sweep())))
    threads[1].start()
    history.write(START + 15, [("depth", (), 2.0)])
    assert ended == []
    goes_on.set()
    for thread in threads:
        thread.join()
    assert ended[1] == START + 15


def test_a_child_keeps_the_connections_of_its_parent_open_and_uses_none(history):
    history.last_sweep()  # so that there is one that reads, too
    child = os.fork()
    if not child:
        is_right = False
        try:
            is_right = len(forks._abandoned) >= 2 and all(one.total_changes >= 0 for one in forks._abandoned)  # or it raises
        finally:
            os._exit(not is_right)
    assert os.waitpid(child, 0)[1] == 0
    history.write(START + 15, [("depth", (), 2.0)])
    assert history.last_sweep() == START + 15
