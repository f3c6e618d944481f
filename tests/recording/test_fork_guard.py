"""A child can use what a thread of its parent's held at the fork: a registry's lock, and that of a log."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal, threading
from prometheus_client import REGISTRY
import agentgauge
from agentgauge import task

@task
def work(): pass
work()
taken, forked = threading.Event(), threading.Event()

def hold():
    with REGISTRY._lock:
        taken.set()
        forked.wait(60)

holder = threading.Thread(target=hold)
holder.start()
taken.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    list(REGISTRY.collect())
    os._exit(0)
forked.set()
status = os.waitpid(child, 0)[1]
holder.join()
print(os.waitstatus_to_exitcode(status), REGISTRY._lock.locked())
"""


def test_a_child_forked_while_another_thread_scrapes_can_scrape():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.stdout, result.stderr) == ("0 False\n", "")


LOGGING = """
import logging, os, signal, threading
from agentgauge import fork_gate
from agentgauge.recording.default import default_recorder
from agentgauge.recording.drainer import Drainer

fork_gate._FORK_WAIT_SECONDS = 60  # a second may be too short for a thread to wake up in, where much else runs
logging_now, forked = threading.Event(), threading.Event()

class Stream:  # it has a lock of its own, as every buffered file has
    lock = threading.Lock()
    def write(self, text):
        with self.lock:
            logging_now.set()
            forked.wait(0.3)
    def flush(self): pass

logging.basicConfig(stream=Stream())
recorder = default_recorder()
recorder.drain = lambda: 1 / 0
Drainer(recorder, 0.001).start()
logging_now.wait()
child = os.fork()
if child == 0:
    forked.set()
    signal.alarm(60)
    logging.warning("from the child")
    os._exit(0)
forked.set()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_forked_while_the_drain_thread_logs_can_log():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", LOGGING]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.stdout, result.stderr) == ("0\n", "")
