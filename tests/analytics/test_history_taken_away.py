"""A history whose log another program takes away, as SQLite does where the writer has lost its locks: nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History

PATIENCE_SECONDS = 60.0
BEGIN = 1_700_000_010.0  # a multiple of the interval

WRITER = """
import contextlib, os, signal, subprocess, sys
from prometheus_client import CollectorRegistry, Gauge
from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History
from agentgauge.analytics.history.gathering import Gathering
from agentgauge.analytics.sampler import Sampler
from agentgauge.errors import HistoryError

path, what = sys.argv[1:]
LOOK = "import sqlite3, sys; c = sqlite3.connect(%r); print(*c.execute('SELECT count(*) FROM sweep'), flush=True)" % path
registry, now = CollectorRegistry(), [1_700_000_010.0]
Gauge("depth", "Depth.", registry=registry).set_function(lambda: now[0])
history = History(path, clock=lambda: now[0])
sampler = Sampler(path, lambda: None, registry, 15.0, store=history, clock=lambda: now[0], monotonic=lambda: now[0])
write = Gathering.write

def sweep():
    sampler.sweep()
    now[0] += 15

def look():
    if what == "load":
        with contextlib.suppress(HistoryError):
            BaseAnalytics().load(path)
    else:
        open(path).close()  # with which all locks of this process on the file are gone
    subprocess.run([sys.executable, "-c", LOOK + "; c.close()"], check=True, stdout=subprocess.DEVNULL)

def look_once(*sweep):
    write(*sweep)
    if Gathering.write is look_once:
        Gathering.write = write
        look()  # and one that stays: while it has the file open, SQLite does not move what is in the log when we close it
        stays = [sys.executable, "-c", LOOK + "; sys.stdin.read()"]
        looks.append(subprocess.Popen(stays, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        looks[-1].stdout.readline()

looks = []
for _ in range(3):
    sweep()
history.frames("depth", Grid(now[0] - 15, 15.0, 1))
log = os.stat(path + "-wal").st_ino
if what != "amid":
    look()
    print(os.path.exists(path + "-wal") and os.stat(path + "-wal").st_ino == log, flush=True)
for _ in range(2):
    sweep()
history.write_points("noted", {}, [now[0]], [5.0])
if what == "amid":
    other = History(path, is_read_only=True)  # goes on asking, some time
    other.last_sweep()
    Gathering.write = look_once
sweep()
print(int(sampler._last_at), len(sampler._kept), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("what", "is_log_there"), [("load", "True\n"), ("close", "False\n"), ("amid", "")])
def test_what_is_written_is_on_disk_whoever_looked_at_the_file_meanwhile(tmp_path, what, is_log_there):
    path = tmp_path / "history.db"
    ended = subprocess.run(
        [sys.executable, "-c", WRITER, str(path), what], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (ended.stderr, ended.returncode) == ("", -signal.SIGKILL)
    assert ended.stdout == f"{is_log_there}{int(BEGIN) + 75} 0\n"
    with History(path, is_read_only=True) as history:
        (frame,) = history.frames("depth", Grid(BEGIN, 15.0, 6))
        assert list(frame.values) == frame.grid.times
        assert list(history.points("noted", {})[1]) == [5.0]


def test_a_reader_sees_the_file_that_lies_there_now(tmp_path):
    path = tmp_path / "history.db"
    with History(path) as before:
        before.write(BEGIN, [("before", (), 1.0)])
    with History(path, is_read_only=True) as reader:
        assert reader.metrics() == ["before"]
        with History(tmp_path / "other.db") as after:
            after.write(BEGIN, [("after", (), 1.0)])
        (tmp_path / "other.db").replace(path)
        assert reader.metrics() == ["after"]
