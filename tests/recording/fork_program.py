"""Runs a program that forks, with what such programs need."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PRELUDE = """
import asyncio, contextvars, os, sys, threading, time, traceback
from prometheus_client import REGISTRY, generate_latest
from agentgauge import agent, task, tool, track
from agentgauge.recording.default import default_recorder

COUNT = "agent_task_duration_seconds_count"
RUN_COUNT = "gen_ai_invoke_agent_duration_seconds_count"
TOOL_COUNT = "gen_ai_execute_tool_duration_seconds_count"

def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels)

def fork(in_child):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            in_child()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid

def is_free(lock):
    def look():
        taken.append(lock.acquire(blocking=False))
        if taken[0]: lock.release()
    taken = []
    t = threading.Thread(target=look)
    t.start()
    t.join()
    return taken[0]

def wait(pid, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, f"child {pid} failed with {status}"
            return
        time.sleep(0.002)
    os.kill(pid, 9)
    raise AssertionError(f"child {pid} hangs")
"""


def run(script):
    """Run a script in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
