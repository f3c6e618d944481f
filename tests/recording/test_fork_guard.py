"""A fork waits until no thread holds a registry's lock, which the child could never take."""

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
status = os.waitpid(child, 0)[1]
holder.join()
print(os.waitstatus_to_exitcode(status), REGISTRY._lock.locked())
"""


def test_a_child_forked_while_another_thread_scrapes_can_scrape():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (result.stdout, result.stderr) == ("0 False\n", "")


LOGGING = """
import logging, os, signal, threading
from agentgauge import task
from agentgauge.recording.default import default_recorder
from agentgauge.recording.drainer import Drainer

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
    signal.alarm(5)
    logging.warning("from the child")
    os._exit(0)
forked.set()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_forked_while_the_drain_thread_logs_can_log():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", LOGGING]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (result.stdout, result.stderr) == ("0\n", "")
