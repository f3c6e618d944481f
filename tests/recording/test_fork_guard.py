"""A fork waits until no thread holds a registry's lock, which the child could never take."""

from __future__ import annotations

import subprocess
import sys
import threading

from prometheus_client import CollectorRegistry

from agentgauge.recording import fork_guard

PROGRAM = """
import os, signal, threading
from prometheus_client import REGISTRY
import agentgauge
from agentgauge import task

@task
def work(): pass
work()
taken, forking = threading.Event(), threading.Event()

def hold():
    with REGISTRY._lock:
        taken.set()
        forking.wait(0.3)

holder = threading.Thread(target=hold)
holder.start()
taken.wait()
child = os.fork()
if child == 0:
    signal.alarm(5)
    list(REGISTRY.collect())
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), REGISTRY._lock.locked())
holder.join()
"""


def test_a_child_forked_while_another_thread_scrapes_can_scrape():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (result.stdout, result.stderr) == ("0 False\n", "")


def test_a_fork_that_waits_in_vain_goes_on_and_releases_nothing_of_others(monkeypatch):
    monkeypatch.setattr(fork_guard, "_WAIT_SECONDS", 0.01)
    registry = CollectorRegistry()
    fork_guard.guard(registry)
    with registry._lock:
        fork_guard._hold()
        fork_guard._let_go()
        assert registry._lock.locked()
    assert threading.get_ident() not in fork_guard._held_by_thread
