"""What start() and stop() do where another thread, a signal handler or a fork comes between."""

from __future__ import annotations

import subprocess
import sys

import pytest

STOPPED_WHILE_THE_REGISTRY_IS_LOCKED = """
import signal, threading, time, agentgauge
from prometheus_client import REGISTRY

monitor = agentgauge.start(port=0)
signal.signal(signal.SIGALRM, lambda *_: agentgauge.stop())
signal.setitimer(signal.ITIMER_REAL, 0.05)
with REGISTRY._lock:  # as where the signal comes while the host registers a collector of its own
    while monitor.url:
        time.sleep(0.01)
for _ in range(1000):
    names = {type(collector).__name__ for collector in list(REGISTRY._collector_to_names)}
    if not names & {"Sweep", "TargetsCollector"}:
        break
    time.sleep(0.01)
print(monitor.url, sorted(names & {"Sweep", "TargetsCollector"}), agentgauge.start(port=0).url is not None)
"""

THE_CHILD_STARTS = """
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if agentgauge.start(port=0).url else 1)
_, status = os.waitpid(child, 0)
starting.join()
print(os.waitstatus_to_exitcode(status))
"""

FORKED_WHILE_ANOTHER_THREAD_IMPORTS = """
import os, signal, sys, threading, agentgauge
from agentgauge import fork_gate
fork_gate._FORK_WAIT_SECONDS = 60  # on a busy machine an import may take longer than forks wait for it

class Slow:
    importing = threading.Event()
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            self.importing.set()
            threading.Event().wait(0.3)

sys.meta_path.insert(0, Slow())
starting = threading.Thread(target=lambda: agentgauge.start(port=0))
starting.start()
Slow.importing.wait(60)
"""


def run(code, *arguments):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_stop_in_a_signal_handler_ends_where_its_thread_holds_the_registrys_lock():
    result = run(STOPPED_WHILE_THE_REGISTRY_IS_LOCKED)
    assert (result.stdout, result.stderr) == ("None [] True\n", "")


@pytest.mark.parametrize("module", ["agentgauge.monitor", "prometheus_client", "agentgauge.exposition.server"])
def test_a_fork_while_another_thread_is_in_its_first_start_leaves_a_child_that_can_start(module):
    result = run(FORKED_WHILE_ANOTHER_THREAD_IMPORTS + THE_CHILD_STARTS, module)
    assert (result.stdout, result.stderr) == ("0\n", "")


FORKED_WHILE_ANOTHER_THREAD_OPENS_A_HISTORY = """
import os, signal, sys, threading, agentgauge
from agentgauge import fork_gate, monitor  # before the history, as in every program
from agentgauge.analytics.history import forks, store
fork_gate._FORK_WAIT_SECONDS = forks._WAIT_SECONDS = 600

opening, forking, watch = threading.Event(), threading.Event(), store.watch

def watch_late(history):
    opening.set()
    forking.wait(60)
    threading.Event().wait(0.1)  # for the fork to take what it takes first
    watch(history)

store.watch = watch_late
os.register_at_fork(before=forking.set)
starting = threading.Thread(target=lambda: agentgauge.start(port=0, collectors=(), history_file=sys.argv[1]))
starting.start()
opening.wait(60)
"""


def test_a_fork_while_another_thread_starts_with_a_history_waits_for_it(tmp_path):
    """What it holds meanwhile is nothing that the other waits for; else it would give up, and the child find half a monitor."""
    result = run(FORKED_WHILE_ANOTHER_THREAD_OPENS_A_HISTORY + THE_CHILD_STARTS, str(tmp_path / "h"))
    assert (result.stdout, result.stderr) == ("0\n", "")


STOPPED_BY_A_SIGNAL_WITH_A_HEARTBEAT_AND_A_HEALTH_MONITOR = """
import os, signal, sys, time, agentgauge
from agentgauge.health import ComponentType, Finding, Schedule, Status, SystemHealthMonitor

class Check:
    name, component_type, schedule = "store", ComponentType.DATABASE, Schedule(interval_seconds=0.001)
    def check(self):
        return Finding(status=Status.HEALTHY)

health = SystemHealthMonitor([Check()])
for round in range(5):
    monitor = agentgauge.start(port=0, collectors=(), health=health, heartbeat_file=sys.argv[1], heartbeat_interval_seconds=0.001)
    signal.signal(signal.SIGALRM, lambda *_: agentgauge.stop())
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    while monitor.url:
        sum(range(100))
    print(monitor.url, health.is_monitoring, os.path.exists(sys.argv[1]))
"""


def test_stop_in_a_signal_handler_ends_the_heartbeat_and_the_health_monitor(tmp_path):
    result = run(STOPPED_BY_A_SIGNAL_WITH_A_HEARTBEAT_AND_A_HEALTH_MONITOR, str(tmp_path / "heartbeat"))
    assert result.stdout.splitlines() == ["None False False"] * 5, result.stderr
