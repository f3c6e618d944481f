"""Forks: no child is taken for its parent, and nothing that hangs makes every fork wait."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import textwrap
import threading
import time

import pynvml
import pytest
from forked import in_child
from nvml_driver import FakeDriver, Gpu

from agentgauge import fork_gate
from agentgauge.collectors.gpu import GpuCollector
from agentgauge.fork_gate import ForkGate, ForkOrder, process_mark


@pytest.fixture
def gate(monkeypatch):
    """A gate of which no fork outside this test knows."""
    monkeypatch.delattr(os, "register_at_fork")
    return ForkGate()


def waits(gate):
    """Go through a fork in the parent, as the gate sees it, and tell how long that took."""
    before = time.perf_counter()
    gate._hold()
    gate.release()
    return time.perf_counter() - before


def test_forks_wait_once_for_a_lock_that_hangs_and_again_when_it_has_been_free(gate, monkeypatch):
    monkeypatch.setattr(fork_gate, "_FORK_WAIT_SECONDS", 0.5)

    def hang():
        held, release = threading.Event(), threading.Event()

        def hold():
            with gate.lock:
                held.set()
                release.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()

        def end():
            release.set()
            thread.join()

        return end

    end = hang()
    assert waits(gate) >= 0.5
    monkeypatch.setattr(fork_gate, "_FORK_WAIT_SECONDS", 60)  # would show
    assert sum(waits(gate) for _ in range(20)) < 30
    end()
    assert waits(gate) < 30
    monkeypatch.setattr(fork_gate, "_FORK_WAIT_SECONDS", 0.5)
    end = hang()
    assert waits(gate) >= 0.5
    end()


def test_a_handler_that_raises_while_a_fork_takes_a_lock_leaves_it_without_that_one_alone(monkeypatch):
    taken = []

    def interrupted():
        taken.append("interrupted")
        raise TimeoutError

    monkeypatch.setattr(fork_gate, "_holds", {order: [] for order in ForkOrder})
    for name, order in (("first", ForkOrder.WORKING), ("log", ForkOrder.LOGGING), ("start", ForkOrder.STARTING)):
        fork_gate.before_fork(functools.partial(taken.append, name), order)
    fork_gate.before_fork(interrupted, ForkOrder.WORKING)
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    assert in_child(lambda: 1) == 1
    assert taken == ["start", "interrupted", "first", "log"]
    assert [one.exc_type for one in told] == [TimeoutError]


def test_a_gate_is_given_back_before_it_is_taken_since_another_thread_may_fork_while_it_is_made(monkeypatch):
    register, taken = os.register_at_fork, []

    def fork_in_between(**hooks):
        register(**hooks)
        assert in_child(lambda: 1) == 1
        taken.append(len(fork_gate._holds[ForkOrder.WORKING]))

    monkeypatch.setattr(fork_gate, "_holds", {order: [] for order in ForkOrder})
    monkeypatch.setattr(os, "register_at_fork", fork_in_between)
    gate = ForkGate()
    assert taken == [0], "no fork takes what none would give back"
    assert in_child(lambda: 1) == 1
    assert not gate.lock._is_owned()


def test_a_child_waits_for_its_own_forks_whatever_hung_in_its_parent(gate):
    gate._is_stuck = True
    gate._renew()
    assert gate._is_stuck is False


def test_a_driver_that_hangs_holds_up_one_fork_and_no_more(monkeypatch):
    hangs, release = threading.Event(), threading.Event()

    class Hanging(Gpu):
        @property
        def temperature(self):
            hangs.set()
            release.wait()
            return 41

        @temperature.setter
        def temperature(self, value):
            pass

    monkeypatch.setattr(pynvml, "CDLL", lambda name: FakeDriver(Hanging()))
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "_nvmlLib_refcount", 0)
    monkeypatch.setattr(fork_gate, "_FORK_WAIT_SECONDS", 0.3)
    thread = threading.Thread(target=GpuCollector().collect)
    thread.start()
    assert hangs.wait(60)
    assert in_child(lambda: 1) == 1
    monkeypatch.setattr(fork_gate, "_FORK_WAIT_SECONDS", 20)  # would show
    before = time.perf_counter()
    assert [in_child(lambda: 1) for _ in range(4)] == [1] * 4
    assert time.perf_counter() - before < 20
    release.set()
    thread.join()


def test_a_child_with_its_parents_number_is_another_process(monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as both are in pid namespaces of their own
    mark = process_mark()
    assert process_mark() == mark
    assert in_child(lambda: (process_mark() != mark, in_child(process_mark) != list(process_mark()))) == [True, True]
    assert process_mark() == mark


def test_a_fork_that_python_does_not_know_of_is_told_by_its_number(monkeypatch):
    mark = process_mark()
    monkeypatch.setattr(os, "getpid", lambda: 4_000_000)
    assert process_mark() != mark


NAMESAKE = """
import json, os, threading, time
os.getpid = lambda: 1
import agentgauge
from prometheus_client import CollectorRegistry
registry = CollectorRegistry()
options = dict(registry=registry, port=0, collectors=("host", "process"), collector_timeout_seconds=60)
monitor = agentgauge.start(**options)

def scrape():
    values = {}
    for metric in registry.collect():
        for sample in metric.samples:
            values[sample.name, sample.labels.get("collector", "")] = sample.value
    return [values.get(("agentgauge_collector_success", name)) for name in ("host", "process")]

assert scrape() == [1, 1]
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    answer = "raised"
    try:
        time.sleep(1.1)  # what the parent found is no longer fresh
        url, found = monitor.url, scrape()
        names = sorted({thread.name for thread in threading.enumerate()})
        again = agentgauge.start(**options)
        answer = [url, found, names, again is monitor, again.url not in (None, url)]
        agentgauge.stop()
    finally:
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
os.close(writer)
with os.fdopen(reader) as pipe:
    print(pipe.read())
os.waitpid(child, 0)
assert monitor.url is not None
assert agentgauge.start(**options) is monitor
"""


def test_a_child_with_its_parents_number_reads_itself_and_can_start_anew():
    code = [sys.executable, "-W", "error", "-c", textwrap.dedent(NAMESAKE)]
    result = subprocess.run(code, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    url, found, threads, is_same, has_url = json.loads(result.stdout)
    assert url is None
    assert found == [1, 1]
    assert {"agentgauge-collector-host", "agentgauge-collector-process", "agentgauge-sampler"} <= set(threads)
    assert (is_same, has_url) == (False, True)
