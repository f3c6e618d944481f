from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from agentgauge.collectors import garbage as module
from agentgauge.collectors.garbage import GarbagePauses


@pytest.fixture(autouse=True)
def alone():
    """No callback of somebody else's: Hypothesis leaves one behind."""
    others = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = others


@pytest.fixture
def pauses(alone):
    pauses = GarbagePauses()
    yield pauses
    pauses.close()


@pytest.fixture
def still():
    """No collection but the test's own."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def counts(pauses):
    return {s.labels["generation"]: s.value for s in pauses.read().samples if s.name.endswith("_count")}


def seconds(pauses):
    return sum(sample.value for sample in pauses.read().samples if sample.name.endswith("_sum"))


def test_every_generation_is_there_from_the_start(still, pauses):
    assert counts(pauses) == dict.fromkeys("012", 0)
    assert {sample.labels["le"] for sample in pauses.read().samples if "le" in sample.labels} == {
        *("0.0001", "0.001", "0.005", "0.01", "0.05", "0.1", "0.5", "1.0", "+Inf")
    }


def test_collections_are_counted_by_generation(still, pauses):
    for generation, times in ((0, 3), (1, 2), (2, 1)):
        for _ in range(times):
            gc.collect(generation)
    assert counts(pauses) == {"0": 3, "1": 2, "2": 1}
    assert counts(pauses) == {"0": 3, "1": 2, "2": 1}  # looking again changes nothing


def test_the_pause_is_as_long_as_the_collection(still, pauses):
    held = [[index] for index in range(300_000)]
    noted, shares = 0.0, []
    for _ in range(10):
        before = time.perf_counter()
        gc.collect()
        spent = time.perf_counter() - before
        noted, known = seconds(pauses), noted
        shares.append((noted - known) / spent)
        if shares[-1] >= 0.5:  # else a busy machine had the thread wait before or after the collection
            break
    assert held
    assert max(shares) <= 1
    assert shares[-1] >= 0.5
    bucket = next(s for s in pauses.read().samples if s.labels == {"generation": "2", "le": "0.001"})
    assert bucket.value == 0


def test_collections_that_the_interpreter_starts_count_as_it_counts_them(pauses):
    before = [statistics["collections"] for statistics in gc.get_stats()]
    seen = counts(pauses)
    held = [[index] for index in range(100_000)]
    gc.disable()
    after = [statistics["collections"] for statistics in gc.get_stats()]
    found = counts(pauses)
    gc.enable()
    assert held
    assert found["0"] - seen["0"] >= 20
    for generation in range(3):
        difference = found[str(generation)] - seen[str(generation)]
        assert abs(difference - (after[generation] - before[generation])) <= 1  # one may fall between the two readings


def test_what_is_noted_while_nobody_looks_is_bounded(still, pauses):
    for _ in range(module._MOST_NOTES):
        gc.collect(0)
    assert len(pauses._log) == module._MOST_NOTES
    assert module._MOST_NOTES / 4 - 1 <= counts(pauses)["0"] <= module._MOST_NOTES / 4
    gc.collect(1)
    assert counts(pauses)["1"] == 1


def test_closing_takes_the_callbacks_back(still):
    before = list(gc.callbacks)
    pauses = GarbagePauses()
    assert len(gc.callbacks) == len(before) + 2
    pauses.close()
    assert gc.callbacks == before
    gc.collect()
    assert counts(pauses)["2"] == 0
    pauses.close()


def test_a_program_that_empties_the_list_of_callbacks_does_no_harm(monkeypatch):
    pauses = GarbagePauses()
    monkeypatch.setattr(gc, "callbacks", [])
    pauses.close()
    monkeypatch.undo()
    pauses.close()


def test_callbacks_that_begin_in_the_middle_of_a_collection_do_not_count_it(still):
    started = []

    def begin(phase, info):
        if phase == "start" and not started:
            started.append(GarbagePauses())
            for hook in started[0]._hooks:  # as a thread that comes in between would find it
                gc.callbacks.remove(hook)
        elif phase == "stop":
            for hook in started[0]._hooks:
                hook(phase, info)

    gc.callbacks.append(begin)
    gc.collect()
    gc.callbacks.remove(begin)
    assert counts(started[0])["2"] == 0
    started[0].close()


class DeadlineError(Exception):
    pass


def test_what_a_signal_handler_raises_during_a_collection_reaches_the_program(pauses):
    def expire(*arguments):
        raise DeadlineError

    def collect():
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        gc.collect()
        time.sleep(60)

    held = [{index: [index]} for index in range(150_000)]
    before = signal.signal(signal.SIGALRM, expire)
    try:
        with pytest.raises(DeadlineError):  # a Python function among gc's callbacks would swallow it
            collect()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert held


def test_a_collection_runs_nothing_that_a_tracer_sees(still, pauses):
    seen = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: seen.append((event, frame.f_code.co_filename)))
    gc.collect()
    sys.setprofile(before)
    assert {file for _, file in seen} == {__file__}


def test_a_forked_child_is_left_alone_until_it_notes_itself(still, pauses):
    gc.collect()
    reader, writer = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        inherited = [hook for hook in gc.callbacks if hook in pauses._hooks]
        gc.collect()
        own = GarbagePauses()
        gc.collect()
        os.write(writer, repr((inherited, len(pauses._log), counts(own)["2"])).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(process_id, 0)
    with os.fdopen(reader) as file:
        assert file.read() == "([], 0, 1)"
    assert counts(pauses)["2"] == 1


def test_threads_that_fold_at_once_count_nothing_twice(pauses):
    go_on = threading.Event()

    def fold():
        while not go_on.is_set():
            pauses.fold()

    threads = [threading.Thread(target=fold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        gc.collect(1)
    go_on.set()
    for thread in threads:
        thread.join()
    assert counts(pauses)["1"] >= 200
    assert counts(pauses)["1"] <= 200 + gc.get_stats()[1]["collections"]


def test_nobody_waits_for_a_thread_that_folds(still, pauses):
    gc.collect()
    with pauses._folding:
        thread = threading.Thread(target=pauses.fold, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        assert counts(pauses)["2"] == 0
    assert counts(pauses)["2"] == 1


def test_an_end_whose_start_was_dropped_is_not_counted_from_an_earlier_start(still, pauses):
    gc.collect()
    assert counts(pauses)["2"] == 1
    for hook in pauses._hooks:
        hook("stop", {"generation": 2, "collected": 0, "uncollectable": 0})
    assert counts(pauses)["2"] == 1


def test_a_program_that_ends_with_garbage_says_nothing():
    code = (
        "import gc\n"
        "from agentgauge.collectors.garbage import GarbagePauses\n"
        "class Node:\n"
        "    def __init__(self): self.me = self\n"
        "    def __del__(self): gc.collect()\n"
        "kept = GarbagePauses()\n"
        "nodes = [Node() for _ in range(100)]\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_collection_costs_a_microsecond_more(still, pauses):
    def spend():
        before = time.thread_time()
        for _ in range(2000):
            gc.collect(0)
        return time.thread_time() - before

    with_hooks, without = [], []
    for _ in range(7):  # in turn, so that what else runs on the machine adds to both
        with_hooks.append(spend())
        for hook in pauses._hooks:
            gc.callbacks.remove(hook)
        without.append(spend())
        gc.callbacks.extend(pauses._hooks)
    assert (min(with_hooks) - min(without)) / 2000 < 5e-6
