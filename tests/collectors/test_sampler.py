from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from agentgauge.collectors import sampler as module
from agentgauge.collectors.sampler import Sampler
from agentgauge.errors import contained_errors


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(module, "_INTERVAL_SECONDS", 0.01)


def test_it_looks_again_and_again_until_it_is_closed(short):
    looks, enough = [], threading.Event()

    def look(due):
        looks.append((due, time.perf_counter()))
        if len(looks) == 5:
            enough.set()

    sampler = Sampler(look)
    sampler.start()
    assert enough.wait(20)
    sampler.close()
    assert not sampler._thread.is_alive()
    assert all(due <= now for due, now in looks)
    assert [due for due, _ in looks] == sorted(due for due, _ in looks)


def test_a_look_that_fails_is_contained_and_counted_and_the_next_is_taken(short, fresh):
    looks, enough = [], threading.Event()

    def fail(due):
        looks.append(due)
        if len(looks) == 3:
            enough.set()
        raise ValueError("broken on purpose")

    sampler = Sampler(fail)
    sampler.start()
    assert enough.wait(20)
    sampler.close()
    assert contained_errors.count_by_hook["sampler"] >= 3


def test_where_no_thread_can_be_had_nothing_is_wrong(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sampler = Sampler(print)
    sampler.start()
    sampler.close()


def test_what_it_missed_is_not_made_up_for(short):
    looks, enough = [], threading.Event()

    def sleep(due):
        looks.append(due)
        if len(looks) == 1:
            time.sleep(0.1)
        else:
            enough.set()

    sampler = Sampler(sleep)
    sampler.start()
    assert enough.wait(20)
    sampler.close()
    assert looks[1] - looks[0] >= 0.1


def test_a_program_ends_without_closing_it():
    code = "from agentgauge.collectors.sampler import Sampler\nSampler(lambda due: None).start()\nprint('done')\n"
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
