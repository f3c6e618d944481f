"""``start(history_file=...)``: what it writes, what it refuses, and what becomes of it in forks, at exits and on full disks."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import subprocess
import sys
import time

import pytest

import agentgauge
from agentgauge.analytics.frames import Fold, Grid
from agentgauge.analytics.history import History
from agentgauge.analytics.own_history import _retention
from agentgauge.analytics.sources import open_source
from agentgauge.config import Config
from agentgauge.errors import ConfigurationError
from agentgauge.testing import isolated

PATIENCE_SECONDS = 60.0
QUIET = {"is_server_enabled": False, "collectors": (), "instrumentors": ()}


@pytest.fixture(autouse=True)
def nothing_runs_afterwards():
    yield
    agentgauge.stop()


def start(fresh, path, **settings):
    return agentgauge.start(
        registry=fresh.registry, history_file=str(path), **{**QUIET, "history_interval_seconds": 0.05, **settings}
    )


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def written(fresh):
    return fresh.value("agentgauge_history_sweeps_total", outcome="written") or 0


def sweeps(path, metric="agentgauge_build_info"):
    """How many samples the history has of a series."""
    with open_source(path) as history:
        first, last = history.extent()
        grid = Grid.over(first - 60, last + 60, 60.0)
        frames = history.frames(metric, grid, fold=Fold.COUNT)
        return sum(value for frame in frames for value in frame.values if not math.isnan(value))


def test_what_runs_is_written_from_the_start_to_the_end(fresh, tmp_path):
    path = tmp_path / "history.db"
    monitor = start(fresh, path, service_name="swarm", resource_attributes={"service.instance.id": "a-1"})
    with agentgauge.track("researcher", "search"):
        pass
    wait_for(lambda: written(fresh) >= 3)
    assert fresh.value("agentgauge_history_memory_only") == 0
    monitor.stop()
    assert sweeps(path) == written(fresh) >= 4
    with open_source(path) as history:
        [frame] = history.frames(
            "agent_task_duration_seconds_count",
            Grid.over(history.extent()[1] - 1, history.extent()[1] + 1, 1.0),
            {"outcome": "success"},
        )
    assert (frame.labels["job"], frame.labels["instance"]) == ("swarm", "a-1")


def test_the_same_file_goes_on_after_a_restart(fresh, tmp_path):
    path = tmp_path / "history.db"
    counts = []
    for _ in range(2):
        start(fresh, path).stop()
        counts.append(sweeps(path))
    assert counts[0] >= 1
    assert counts[1] > counts[0]


def test_settings_come_from_the_environment_too(tmp_path):
    config = Config.load(
        {
            "AGENTGAUGE_HISTORY_FILE": str(tmp_path / "history.db"),
            "AGENTGAUGE_HISTORY_INTERVAL_SECONDS": "5",
            "AGENTGAUGE_HISTORY_RETENTION_DAYS": "30",
            "AGENTGAUGE_HISTORY_MAX_BYTES": "10000000",
        }
    )
    assert config.history_file == str(tmp_path / "history.db")
    assert (config.history_interval_seconds, config.history_retention_days, config.history_max_bytes) == (5.0, 30.0, 10_000_000)
    assert Config().history_file is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"history_file": ""}, "history_file='': give a path"),
        ({"history_file": 7}, "history_file=7: give a path"),
        ({"history_interval_seconds": 0}, "history_interval_seconds=0: give a number of seconds above 0"),
        ({"history_retention_days": 0}, "history_retention_days=0: give a number of days above 0"),
        ({"history_retention_days": float("nan")}, "history_retention_days=nan: give a number of days"),
        ({"history_max_bytes": 10}, "history_max_bytes=10: give a whole number from 1048576"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, told):
    with pytest.raises(ConfigurationError, match=told.replace("(", r"\(")):
        Config(**settings)
    with pytest.raises(ConfigurationError, match="AGENTGAUGE_HISTORY_RETENTION_DAYS='long' is not a number of days"):
        Config.load({"AGENTGAUGE_HISTORY_RETENTION_DAYS": "long"})


@pytest.mark.parametrize("days", [0.5, 1, 5, 30, 365, 4000])
def test_finer_values_are_kept_as_long_as_by_default_but_no_longer_than_hourly_ones(days):
    retention = _retention(days)
    assert retention.hour_seconds == days * 86_400
    assert retention.raw_seconds == min(2, days) * 86_400
    assert retention.quarter_seconds == min(60, days) * 86_400


# --- what is refused ------------------------------------------------------------------------------------------------------


def make_foreign(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("other.db", "is no history of agentgauge, and is left as it is"),
        ("text", "is no history of agentgauge, and is left as it is"),
        ("folder", "is no file: give a path such as"),
        ("nowhere/history.db", "is no folder to write in; make it, or give another path"),
        ("text/history.db", "is no folder to write in"),
    ],
)
def test_what_cannot_be_a_history_is_refused_before_anything_starts(fresh, tmp_path, name, told):
    make_foreign(tmp_path / "other.db")
    (tmp_path / "text").write_text("what somebody wrote " * 100)
    (tmp_path / "folder").mkdir()
    before = {path.name: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigurationError, match=told) as caught:
        start(fresh, tmp_path / name, is_server_enabled=True, port=0)
    assert "history_file" in str(caught.value)
    assert {path.name: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()} == before
    assert fresh.value("agentgauge_history_memory_only") is None
    start(fresh, tmp_path / "history.db").stop()  # and what was refused stands in no way


# --- a file that another process has --------------------------------------------------------------------------------------


def test_a_file_that_another_writes_to_is_waited_for_in_memory_and_taken_over(fresh, tmp_path, caplog):
    path = tmp_path / "history.db"
    other = History(path)
    start(fresh, path)
    wait_for(lambda: fresh.value("agentgauge_history_memory_only") == 1)
    wait_for(lambda: "one process writes to a history" in caplog.text)
    assert written(fresh) == 0
    kept = fresh.value("agentgauge_history_sweeps_total", outcome="kept")
    assert kept >= 1
    other.close()
    wait_for(lambda: fresh.value("agentgauge_history_memory_only") == 0)
    agentgauge.stop()
    assert sweeps(path) == written(fresh) > kept


def test_pid_in_the_name_stands_for_the_process_id(fresh, tmp_path):
    start(fresh, tmp_path / "history-{pid}.db").stop()
    assert sweeps(tmp_path / f"history-{os.getpid()}.db") >= 1


def in_child(check):
    """Fork, and let the child tell by its exit status whether the check holds there."""
    child = os.fork()
    if not child:
        status = 2
        with contextlib.suppress(BaseException):
            status = 0 if check() else 1
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_writes_nothing_unless_it_calls_start(fresh, tmp_path):
    path = tmp_path / "history.db"
    start(fresh, path)
    wait_for(lambda: written(fresh) >= 1)

    def check():
        list(fresh.registry.collect())
        time.sleep(0.2)
        agentgauge.stop()
        return written(fresh) == 0 and fresh.value("agentgauge_history_memory_only") is None

    assert in_child(check) == 0
    before = written(fresh)
    wait_for(lambda: written(fresh) > before)
    agentgauge.stop()
    assert sweeps(path) == written(fresh)


def test_a_forked_child_that_calls_start_has_a_file_of_its_own_by_pid(fresh, tmp_path):
    start(fresh, tmp_path / "history-{pid}.db")

    def check():
        monitor = start(fresh, tmp_path / "history-{pid}.db")
        wait_for(lambda: written(fresh) >= 2)
        monitor.stop()
        return sweeps(tmp_path / f"history-{os.getpid()}.db") == written(fresh)

    assert in_child(check) == 0
    agentgauge.stop()
    assert len(list(tmp_path.glob("history-*.db"))) == 2


def test_a_forked_child_that_shares_its_parent_s_file_keeps_its_sweeps_in_memory_and_says_so(fresh, tmp_path):
    path = tmp_path / "history.db"
    start(fresh, path)

    def check():
        start(fresh, path)
        wait_for(lambda: fresh.value("agentgauge_history_memory_only") == 1)
        return written(fresh) == 0

    assert in_child(check) == 0
    agentgauge.stop()
    assert sweeps(path) == written(fresh)


# --- exits and full disks -------------------------------------------------------------------------------------------------


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def test_a_program_that_ends_without_stop_has_its_last_values_in_the_history(tmp_path):
    path = tmp_path / "history.db"
    ended = run(
        "import sys, agentgauge\n"
        "agentgauge.start(history_file=sys.argv[1], is_server_enabled=False, collectors=(), instrumentors=())\n"
        "while not agentgauge.AgentMetricsCollector('a') or __import__('os').stat(sys.argv[1]).st_size < 5000: pass\n"
        "with agentgauge.track('researcher', 'search'): pass\n",
        path,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    with open_source(path) as history:
        last = history.extent()[1]
        frames = history.frames("agent_task_duration_seconds_count", Grid(last, 1.0, 1), {"outcome": "success"})
    assert [frame.values[0] for frame in frames] == [1]


FULL_DISK = """
import resource, signal, sys, time
import agentgauge
from prometheus_client import REGISTRY, Gauge

def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0

def wait_for(condition):
    end = time.monotonic() + 50
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
number = Gauge("made_number", "One sample for each sweep.")
number.set_function(lambda: time.time())
quiet = {"is_server_enabled": False, "collectors": (), "instrumentors": ()}
agentgauge.start(history_file=sys.argv[1], history_interval_seconds=0.05, **quiet)
wait_for(lambda: value("agentgauge_history_sweeps_total", outcome="written") >= 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
wait_for(lambda: value("agentgauge_history_memory_only") == 1 and value("agentgauge_history_sweeps_total", outcome="kept") >= 3)
with agentgauge.track("researcher", "search"):
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
wait_for(lambda: value("agentgauge_history_memory_only") == 0)
agentgauge.stop()
names = ("written", "kept", "dropped")
print(*(int(value("agentgauge_history_sweeps_total", outcome=name)) for name in names))
print(int(value("agentgauge_internal_errors_total", hook="history")))
"""


def test_a_disk_that_is_full_for_a_while_costs_no_sweep_and_no_call(tmp_path):
    path = tmp_path / "history.db"
    ended = run(FULL_DISK, path)
    assert ended.returncode == 0, ended.stderr
    (count, kept, dropped), (faults,) = (map(int, line.split()) for line in ended.stdout.splitlines())
    assert kept >= 3
    assert (dropped, faults) == (0, 0)
    assert "cannot be written" in ended.stderr
    assert sweeps(path, "made_number") == count


def test_nothing_of_it_is_there_where_everything_is_disabled(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    start(fresh, tmp_path / "history.db").stop()
    assert list(tmp_path.iterdir()) == []


def test_no_series_of_a_history_is_shown_where_there_is_none():
    with isolated() as isolation:
        agentgauge.start(registry=isolation.registry, **QUIET).stop()
        shown = {sample.name for family in isolation.registry.collect() for sample in family.samples}
    assert not {name for name in shown if name.startswith("agentgauge_history")}
