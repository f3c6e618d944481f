"""``SystemMetricsManager`` reads the machine with no arguments, and a collector or handler that does wrong costs itself."""

from __future__ import annotations

import asyncio
import csv
import gc
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

import agentgauge
from agentgauge import ConfigurationError, Threshold
from agentgauge.errors import contained_errors
from agentgauge.system_metrics import MetricPoint, SystemMetricsManager
from agentgauge.testing import FakeClock


class Machine:
    """A collector whose readings the test sets."""

    def __init__(self, **readings):
        self.readings = readings

    def collect(self):
        return dict(self.readings)


PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_COLLECTOR_TIMEOUT_SECONDS", str(PATIENCE_SECONDS))  # a busy machine reads slowly
    before = set(threading.enumerate())
    yield
    agentgauge.stop()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("agentgauge")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def machine():
    return Machine(load=1.0)


@pytest.fixture
def manager(clock, machine):
    made = SystemMetricsManager(collectors=(), thresholds=(), registry=CollectorRegistry(), clock=clock, wall_clock=clock)
    made.add_collector("machine", machine)
    yield made
    asyncio.run(made.stop_collection())


@pytest.fixture
def contained():
    before = dict(contained_errors.count_by_hook)
    yield contained_errors.count_by_hook
    contained_errors.count_by_hook.clear()
    contained_errors.count_by_hook.update(before)


def seen_series(page, name):
    return {line for line in page.splitlines() if line.startswith(f"{name}{{")}


async def test_with_no_arguments_it_reads_host_process_and_container_and_rates_them():
    manager = SystemMetricsManager(registry=CollectorRegistry())
    await manager.start_collection(interval_seconds=3600)
    try:
        current = manager.get_current_metrics()
        health = manager.get_system_health_score()
        summary = manager.get_performance_summary()
    finally:
        await manager.stop_collection()

    (memory,) = current["system_memory_utilization_ratio"]
    assert 0 < memory.value < 1
    assert memory.unit == "ratio"
    assert abs(memory.timestamp - time.time()) < 60
    assert {"process_resident_memory_bytes", "container_memory_usage_bytes", "system_cpu_time_seconds_total"} <= set(current)
    assert manager.get_metric_history("system_memory_utilization_ratio") == (memory,)
    assert 0 <= health.points <= 100
    assert {"system_memory_utilization_ratio", "system_filesystem_utilization_ratio"} <= set(health.measured)
    assert {name: summary.collectors[name] for name in ("host", "process", "container")} == dict.fromkeys(
        ("host", "process", "container"), True
    )


def test_without_a_collection_each_look_is_a_pass_of_its_own(manager, machine, clock):
    assert manager.get_current_metrics()["load"] == (MetricPoint("load", 1.0, 1000.0),)
    machine.readings = {"load": 2.0}
    clock.advance(5)
    assert manager.get_current_metrics()["load"][0].value == 2.0
    assert [(point.timestamp, point.value) for point in manager.get_metric_history("load")] == [(1000, 1), (1005, 2)]
    assert [point.value for point in manager.get_metric_history("load", 3)] == [2.0]
    assert [point.value for point in manager.get_metric_history("load", timedelta(seconds=5))] == [1.0, 2.0]
    assert manager.get_metric_history("lood") == ()


async def test_a_collection_makes_passes_of_itself_until_it_is_stopped_and_can_be_started_again(manager, machine):
    seen = threading.Semaphore(0)
    collect = machine.collect
    machine.collect = lambda: (seen.release(), collect())[1]

    for _ in range(2):
        await manager.start_collection(interval_seconds=0.01)
        await manager.start_collection(interval_seconds=0.01)
        assert "load" in manager.get_current_metrics(), "the first pass is made when it returns"
        for _ in range(3):
            assert await asyncio.to_thread(seen.acquire, timeout=PATIENCE_SECONDS)
        await manager.stop_collection()
        await manager.stop_collection()
        while seen.acquire(blocking=False):
            pass
        await asyncio.sleep(0.05)
        assert not seen.acquire(blocking=False), "stopped is stopped"


async def test_a_busy_event_loop_delays_no_pass(manager):
    await manager.start_collection(interval_seconds=0.01)
    before, deadline = len(manager.get_metric_history("load")), time.monotonic() + PATIENCE_SECONDS
    while len(manager.get_metric_history("load")) < before + 5 and time.monotonic() < deadline:
        time.sleep(0.01)  # noqa: ASYNC251 - what is tested
    passes = len(manager.get_metric_history("load")) - before
    await manager.stop_collection()

    assert passes >= 5


async def test_another_interval_than_the_one_that_runs_is_refused(manager):
    async with manager:
        with pytest.raises(ConfigurationError, match=r"it runs every 15 seconds; await stop_collection\(\) first"):
            await manager.start_collection(interval_seconds=1)


async def test_disabled_it_reads_nothing(monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    registry = CollectorRegistry()
    manager = SystemMetricsManager(registry=registry)
    async with manager:
        assert manager.get_current_metrics() == {}
        assert manager.get_system_health_score().points is None
        assert generate_latest(registry) == b""


def test_collectors_may_give_families_dicts_or_coroutines_and_a_registry_is_one(manager):
    registry = CollectorRegistry()
    Gauge("queue_depth", "h", ["queue"], registry=registry).labels("a").set(3)
    Counter("jobs", "h", registry=registry).inc(2)
    Histogram("wait_seconds", "h", registry=registry, unit="seconds").observe(0.5)

    class Later:
        async def collect(self):
            await asyncio.sleep(0)
            return {"later": 7}

    manager.add_collector("registry", registry)
    manager.add_collector("later", Later())
    current = manager.get_current_metrics()

    assert current["queue_depth"][0].labels == {"queue": "a"}
    assert (current["jobs_total"][0].value, current["later"][0].value) == (2, 7)
    assert (current["wait_seconds_count"][0].value, current["wait_seconds_sum"][0].unit) == (1, "seconds")
    assert not [name for name in current if name.endswith(("_bucket", "_created"))]


def test_a_series_that_two_collectors_know_is_read_once_as_the_first_says(manager):
    manager.add_collector("again", Machine(load=2.0, depth=1.0))

    current = manager.get_current_metrics()

    assert [point.value for point in current["load"]] == [1.0]
    assert [point.value for point in manager.get_metric_history("load")] == [1.0]
    assert current["depth"][0].value == 1.0


@pytest.mark.parametrize("fault", [RuntimeError("no"), SystemExit(1)])
def test_a_collector_that_raises_costs_itself_and_is_counted(manager, contained, fault):
    class Broken:
        def collect(self):
            raise fault

    manager.add_collector("broken", Broken())
    manager.add_collector("after", Machine(after=1))

    assert {"load", "after"} <= set(manager.get_current_metrics())
    assert manager.get_performance_summary().collectors == {"machine": True, "broken": False, "after": True}
    assert contained["collector_broken"] >= 1  # the summary reads anew where a second has passed


def test_a_collector_that_gives_what_is_no_reading_costs_itself(manager, contained):
    for name, said in {"text": ["load 3"], "word": {"load": "three"}, "none": None}.items():
        manager.add_collector(name, type("Odd", (), {"collect": lambda _self, said=said: said})())

    assert manager.get_current_metrics()["load"][0].value == 1.0
    assert [name for name, is_well in manager.get_performance_summary().collectors.items() if not is_well] == [
        "text",
        "word",
        "none",
    ]


def test_a_collector_that_hangs_is_waited_for_once(machine):
    release = threading.Event()
    hung = type("Hung", (), {"collect": lambda _self: release.wait(PATIENCE_SECONDS) and {}})()
    manager = SystemMetricsManager(
        collectors=(), thresholds=(), collector_timeout_seconds=0.5, registry=CollectorRegistry(), clock=FakeClock()
    )
    manager.add_collector("machine", machine)
    manager.add_collector("hung", hung)
    try:
        manager.get_current_metrics()
        for sweep in manager._collectors._sweeps.values():
            sweep._timeout_seconds = PATIENCE_SECONDS  # would show
        before = time.monotonic()
        for _ in range(5):
            assert "load" in manager.get_current_metrics()
        assert time.monotonic() - before < PATIENCE_SECONDS / 2
        health = manager.get_system_health_score()
    finally:
        release.set()
        manager.close()

    assert manager.get_performance_summary().collectors["hung"] is False
    assert health.deductions[0].reason == "failed or late: hung"


def test_a_collector_of_the_programs_that_raises_is_called_the_programs_and_one_of_ours_is_not(manager, caplog):
    def fail(_self):
        raise OSError("no")

    before = dict(contained_errors.count_by_hook)  # other tests' too
    manager.add_collector("raising", type("Raising", (), {"collect": fail})())
    manager.get_current_metrics()

    assert [record.getMessage() for record in caplog.records if record.name == "agentgauge"] == [
        "agentgauge contained the failure of a collector of the program's (collector_raising); the program goes on"
    ]
    assert contained_errors.count_by_hook == {**before, "collector_raising": before.get("collector_raising", 0) + 1}
    assert manager.get_system_health_score().deductions[0].reason == "failed or late: raising"


def test_a_collector_may_take_as_long_as_the_manager_lets_it():
    go_on = threading.Event()
    slow = type("Slow", (), {"collect": lambda _self: go_on.wait(PATIENCE_SECONDS) and {"load": 1.0}})()
    for seconds, names in ((0.05, set()), (PATIENCE_SECONDS, {"load"})):
        manager = SystemMetricsManager(collectors=(), collector_timeout_seconds=seconds, registry=CollectorRegistry())
        manager.add_collector("slow", slow)
        if names:  # it goes on after the time that the other one has for it
            threading.Timer(0.2, go_on.set).start()
        assert {name for name in manager.get_current_metrics() if not name.startswith("agentgauge")} == names
        asyncio.run(manager.stop_collection())


def test_a_collector_can_be_removed_those_of_the_machine_too(manager):
    default = SystemMetricsManager(registry=CollectorRegistry())
    default.remove_collector("host")
    assert "system_memory_utilization_ratio" not in default.get_current_metrics()
    asyncio.run(default.stop_collection())
    manager.remove_collector("machine")
    assert manager.get_current_metrics() == {}
    with pytest.raises(ConfigurationError, match=r"remove_collector\('machine'\): there are only none"):
        manager.remove_collector("machine")


async def test_handlers_are_told_once_when_an_alert_starts_changes_and_ends(manager, machine, clock):
    told, loop_threads = [], set()

    async def handler(notification):
        loop_threads.add(threading.get_ident())
        told.append(str(notification))

    manager.add_alert_handler(handler)
    manager.set_threshold("load", 4, hold_seconds=20, hysteresis=1)
    manager.set_threshold(Threshold("load", 8, "critical"))
    for value in (5, 5, 5, 9, 9, 3.5, 3, 3):
        machine.readings = {"load": value}
        clock.advance(10)
        manager.get_current_metrics()
    await manager.start_collection()
    await manager.stop_collection()

    assert told == [
        "[warning] started: load is 5, above 4",
        "[warning -> critical] changed: load is 9, above 8",
        "[critical -> warning] changed: load is 3.5: it was above 4 and has not come back by 1",
        "[warning] ended: load is 3, no longer above 4",
    ]


async def test_a_handler_that_was_removed_is_told_nothing_more(manager, machine):
    told, told_both = [], []
    manager.add_alert_handler(told.append)
    manager.add_alert_handler(told_both.append)
    manager.set_threshold("load", 4)
    for value in (5, 3):
        machine.readings = {"load": value}
        manager.get_current_metrics()
        await manager.start_collection()
        await manager.stop_collection()
        manager.remove_alert_handler(told.append)

    assert [str(each).split()[1] for each in told] == ["started:"]
    assert [str(each).split()[1] for each in told_both] == ["started:", "ended:"]


def test_active_alerts_are_those_of_the_last_pass_the_most_severe_first(manager, machine):
    manager.set_threshold("load", 0.5)
    manager.set_threshold("depth", 5, "critical", ">=")
    machine.readings = {"load": 1, "depth": 5}
    manager.get_current_metrics()

    assert [(alert.subject, alert.severity, alert.value, alert.limit) for alert in manager.get_active_alerts()] == [
        ("depth", "critical", 5, 5),
        ("load", "warning", 1, 0.5),
    ]
    manager.remove_threshold(Threshold("load", 0.5))
    machine.readings = {"load": 1, "depth": 4}
    manager.get_current_metrics()
    assert manager.get_active_alerts() == ()


def test_the_score_says_what_is_measured_and_what_took_points_and_why(manager, machine, clock):
    manager.set_threshold("load", 4, hold_seconds=60)
    manager.set_threshold("depth", 5, "critical")
    manager.set_threshold("lood", 5, "critical")
    machine.readings = {"load": 5, "depth": 1}
    manager.get_current_metrics()
    clock.advance(30)
    manager.get_current_metrics()

    health = manager.get_system_health_score()
    assert (health.points, health.measured, health.unmeasured) == (92.5, ("depth", "load"), ("lood",))
    assert health.reasons == ("load is 5, warning > 4, breached for 30 s of 60 s: 7.5 points off", "no reading of lood")

    clock.advance(30)
    machine.readings = {"load": 5, "depth": 6}
    manager.get_current_metrics()
    health = manager.get_system_health_score()
    assert health.points == 100 - 40 - 15
    assert [(each.subject, each.points) for each in health.deductions] == [("depth", 40), ("load", 15)]


def test_the_score_is_unknown_where_nothing_is_measured_and_never_below_zero(manager, machine):
    manager.set_threshold("nothing", 1)
    assert manager.get_system_health_score().points is None
    for number in range(3):
        manager.set_threshold(f"m{number}", 1, "critical")
    machine.readings = {f"m{number}": 2 for number in range(3)}
    manager.get_current_metrics()
    assert manager.get_system_health_score().points == 0


def test_the_summary_has_the_spread_of_a_gauge_and_the_growth_of_a_counter(manager, machine, clock):
    registry = CollectorRegistry()
    jobs = Counter("jobs", "h", registry=registry)
    manager.add_collector("registry", registry)
    for value in (1, 2, 3, math.nan, 10):
        machine.readings = {"load": value}
        manager.get_current_metrics()
        jobs.inc(20)
        clock.advance(10)

    summary = manager.get_performance_summary()
    (load,) = summary.of("load")
    assert (load.samples, load.last, load.minimum, load.mean, load.p95, load.maximum) == (4, 10, 1, 4, 10, 10)
    (done,) = summary.of("jobs_total")
    assert (done.last, done.per_second, done.mean) == (80, 2.0, None)
    assert summary.passes == 5
    assert manager.get_performance_summary(15).of("load")[0].samples == 1


def test_a_counter_that_starts_anew_grew_by_what_it_has_counted_since(manager, clock):
    registry = CollectorRegistry()
    jobs = Counter("jobs", "h", registry=registry)
    manager.add_collector("registry", registry)
    for _ in range(3):
        jobs.inc(30)
        manager.get_current_metrics()
        clock.advance(10)
    jobs.reset()
    jobs.inc(10)
    manager.get_current_metrics()

    assert manager.get_performance_summary().of("jobs_total")[0].per_second == (60 + 10) / 30


def test_the_history_is_bounded_by_age_by_count_and_by_series(clock):
    machine = Machine(load=1.0)
    manager = SystemMetricsManager(
        collectors=(),
        history_seconds=100,
        history_points=3,
        series_limit=8,
        registry=CollectorRegistry(),
        clock=clock,
        wall_clock=clock,
    )
    manager.add_collector("machine", machine)
    for _ in range(5):
        clock.advance(10)
        manager.get_current_metrics()
    assert [point.timestamp for point in manager.get_metric_history("load")] == [1030, 1040, 1050]
    machine.readings = {f"m{number}": 1.0 for number in range(100)}
    clock.advance(95)
    assert len(manager.get_current_metrics()) == 8
    summary = manager.get_performance_summary()
    assert summary.series_left_out > 90
    assert len(summary.metrics) == 8
    assert manager.get_metric_history("load") == (), "read the longest ago"
    asyncio.run(manager.stop_collection())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"history_seconds": 0}, r"history_seconds=0: give a number of seconds above 0"),
        ({"history_points": 0}, r"history_points=0: give a whole number from 1 on"),
        ({"series_limit": 1.5}, r"series_limit=1.5: give a whole number"),
        ({"handler_timeout_seconds": -1}, r"handler_timeout_seconds=-1: give a number of seconds"),
        ({"collector_timeout_seconds": 0}, r"collector_timeout_seconds=0: give a number of seconds"),
        ({"registry": 3}, r"registry=3: give a CollectorRegistry"),
        ({"collectors": ("hosts",)}, r"collectors: 'hosts' is unknown; give any of"),
        ({"thresholds": [0.9]}, r"thresholds: 0.9 is no Threshold; write Threshold\("),
    ],
)
def test_what_cannot_work_is_refused_with_the_fix(arguments, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        SystemMetricsManager(**arguments)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.add_collector("machine", Machine()), r"there is one of that name; remove_collector\('machine'\) first"),
        (lambda m: m.add_collector("", Machine()), r"give a name"),
        (lambda m: m.add_collector("x", Machine), r"give an object with collect\(\)"),
        (lambda m: m.add_collector("x", dict), r"give an object with collect\(\)"),
        (lambda m: m.set_threshold("load"), r"give the limit, too"),
        (lambda m: m.set_threshold(Threshold("load", 1), 2), r"not both"),
        (lambda m: m.set_threshold("load", 1, holds=3), r"holds.*its settings are those of Threshold"),
        (lambda m: m.set_threshold("load", 1, "page"), r"give one of info, warning, critical"),
        (lambda m: m.get_metric_history("load", -1), r"duration=-1: give a positive number of seconds, or a timedelta"),
        (lambda m: m.get_performance_summary(math.inf), r"duration=inf: give a positive"),
        (lambda m: m.export_metrics("x.txt"), r"give 'json' or 'csv'"),
        (lambda m: m.export_metrics("x.json", "xml"), r"format='xml'\): give 'json' or 'csv'"),
        (lambda m: asyncio.run(m.start_collection(0)), r"interval_seconds=0: give a number of seconds above 0"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_fix(manager, ask, message):
    with pytest.raises(ConfigurationError, match=message):
        ask(manager)


def test_json_has_all_that_is_known_and_is_valid_where_numbers_are_not_finite(manager, machine, tmp_path):
    machine.readings = {"load": math.inf, "depth": math.nan, "low": -math.inf}
    manager.set_threshold("load", 5, "critical")
    path = manager.export_metrics(tmp_path / "metrics.json")

    known = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert [known["current"][name][0]["value"] for name in ("load", "depth", "low")] == ["+Inf", "NaN", "-Inf"]
    assert len(known["history"]) == len([point for points in known["current"].values() for point in points])
    assert known["alerts"][0]["severity"] == "critical"
    assert known["health"]["points"] == 60
    assert known["thresholds"][0]["metric"] == "load"
    assert known["collectors"] == {"machine": True}


def test_csv_has_the_history_a_reading_a_line(manager, machine, clock, tmp_path):
    machine.readings = {"load": 0.1 + 0.2}
    manager.get_current_metrics()
    registry = CollectorRegistry()
    Gauge("depth_bytes", "h", ["path"], registry=registry, unit="bytes").labels('a,"b"\n').set(math.inf)
    manager.add_collector("registry", registry)
    clock.advance(1.5)
    manager.get_current_metrics()
    path = manager.export_metrics(tmp_path / "metrics.CSV")

    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["metric"].startswith("agentgauge_")]
    assert [(row["time"], row["metric"], float(row["value"])) for row in rows] == [
        ("1970-01-01T00:16:40.000+00:00", "load", 0.1 + 0.2),
        ("1970-01-01T00:16:41.500+00:00", "depth_bytes", math.inf),
        ("1970-01-01T00:16:41.500+00:00", "load", 0.1 + 0.2),
    ]
    assert (json.loads(rows[1]["labels"]), rows[1]["unit"]) == ({"path": 'a,"b"\n'}, "bytes")


def test_an_export_that_fails_leaves_what_was_there_and_nothing_else(manager, tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    path.write_text("before")

    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        manager.export_metrics(path)

    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("metrics.json", "before")]


async def test_breached_thresholds_are_series_while_it_collects(machine):
    registry = CollectorRegistry()
    thresholds = [Threshold("load", 4), Threshold("load", 0.5, "info"), Threshold("unknown", 4)]
    manager = SystemMetricsManager(collectors=(), thresholds=thresholds, registry=registry)
    manager.add_collector("machine", machine)
    assert generate_latest(registry) == b""
    await manager.start_collection(3600)
    page = generate_latest(registry).decode()
    await manager.stop_collection()

    assert seen_series(page, "agentgauge_threshold_breached") == {
        'agentgauge_threshold_breached{metric="load",operator=">",severity="warning"} 0.0',
        'agentgauge_threshold_breached{metric="load",operator=">",severity="info"} 1.0',
    }
    assert 'agentgauge_threshold{metric="unknown",operator=">",severity="warning"} 4.0' in seen_series(
        page, "agentgauge_threshold"
    )
    assert generate_latest(registry) == b""


@pytest.mark.servers
async def test_promtool_finds_nothing_to_say_about_its_series(machine):
    registry = CollectorRegistry()
    manager = SystemMetricsManager(collectors=(), thresholds=[Threshold("load", 0.5)], registry=registry)
    manager.add_collector("machine", machine)
    async with manager:
        page = generate_latest(registry)

    promtool = ["promtool", "check", "metrics"]
    checked = await asyncio.to_thread(subprocess.run, promtool, input=page, capture_output=True, check=False, timeout=60)
    assert b"agentgauge_threshold_breached{" in page
    assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.mark.parametrize(("limits", "alone"), [((5, 0.5), "0.0"), ((0.5, 5), "1.0")])
async def test_two_managers_and_start_show_each_threshold_once(machine, limits, alone):
    registry = CollectorRegistry()
    shared = Threshold("load", 4)
    agentgauge.start(port=0, registry=registry, thresholds=[shared], collectors=())
    managers = [
        SystemMetricsManager(collectors=(), thresholds=[shared, Threshold("load", limit, "info")], registry=registry)
        for limit in limits
    ]
    for manager in managers:
        manager.add_collector("machine", machine)
        await manager.start_collection(3600)
    page = generate_latest(registry).decode()
    await managers[1].stop_collection()
    later = generate_latest(registry).decode()
    await managers[0].stop_collection()

    lines = [line for line in page.splitlines() if line.startswith("agentgauge_threshold")]
    assert sorted(line.rsplit(" ", 1)[0] for line in lines) == sorted({line.rsplit(" ", 1)[0] for line in lines})
    assert 'agentgauge_threshold_breached{metric="load",operator=">",severity="info"} 1.0' in lines
    assert ('agentgauge_threshold_breached{metric="load",operator=">",severity="info"}', alone) in {
        tuple(line.rsplit(" ", 1)) for line in later.splitlines()
    }


async def test_a_threshold_on_some_series_only_is_no_series_that_a_rule_could_obey(machine):
    registry = CollectorRegistry()
    thresholds = [Threshold("load", 0.5, labels={"path": ""}), Threshold("load", 0.5, "info", per_second=True)]
    manager = SystemMetricsManager(collectors=(), thresholds=thresholds, registry=registry)
    manager.add_collector("machine", machine)
    async with manager:
        page = generate_latest(registry).decode()

    assert seen_series(page, "agentgauge_threshold") == set()
    assert seen_series(page, "agentgauge_threshold_breached") == {
        'agentgauge_threshold_breached{metric="load",operator=">",severity="warning"} 1.0'
    }


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # from CPython 3.12 on
async def test_a_forked_child_collects_nothing_knows_nothing_and_can_begin_anew(machine):
    registry = CollectorRegistry()
    manager = SystemMetricsManager(collectors=(), thresholds=[Threshold("load", 0.5)], registry=registry)
    manager.add_collector("machine", machine)
    await manager.start_collection(0.01)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        status = 1
        try:
            assert manager.get_metric_history("load") == ()
            assert manager.get_active_alerts() == ()
            assert generate_latest(registry) == b""
            assert manager.get_current_metrics()["load"][0].value == 1.0
            assert [alert.subject for alert in manager.get_active_alerts()] == ["load"]
            status = 0
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    await manager.stop_collection()

    assert status == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # from CPython 3.12 on
def test_a_child_that_is_forked_in_the_middle_of_a_pass_makes_passes_of_its_own():
    began, release, parent = threading.Event(), threading.Event(), os.getpid()

    class Slow:
        def collect(self):
            if os.getpid() == parent:
                began.set()
                release.wait(PATIENCE_SECONDS)
            return {"load": 1.0}

    manager = SystemMetricsManager(collectors=(), registry=CollectorRegistry())
    manager.add_collector("slow", Slow())
    passing = threading.Thread(target=manager.get_current_metrics)
    passing.start()
    assert began.wait(PATIENCE_SECONDS)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if "load" in manager.get_current_metrics() else 1)
    _, status = os.waitpid(child, 0)
    release.set()
    passing.join()
    asyncio.run(manager.stop_collection())

    assert status == 0


def test_a_program_that_forgets_to_stop_it_ends_all_the_same():
    program = """
    import asyncio
    from agentgauge.system_metrics import SystemMetricsManager

    async def main():
        manager = SystemMetricsManager()
        manager.add_alert_handler([].append)
        manager.set_threshold("system_memory_utilization_ratio", 0)
        await manager.start_collection(0.01)
        print(len(manager.get_active_alerts()))

    asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr, done.stdout) == (0, "", "1\n")


def test_a_manager_that_is_thrown_away_is_gone(manager):
    import weakref

    other = SystemMetricsManager(collectors=(), registry=CollectorRegistry())
    other.add_collector("machine", Machine(load=1))
    asyncio.run(other.start_collection())
    asyncio.run(other.stop_collection())
    reference = weakref.ref(other)
    del other
    gc.collect()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while reference() is not None:  # the thread that stopped it has yet to end
        assert time.monotonic() < deadline
        time.sleep(0.001)
        gc.collect()


async def test_looks_from_many_threads_while_it_collects_are_whole(manager, machine):
    machine.readings = {f"m{number}": 1.0 for number in range(50)}
    manager.set_threshold("m1", 0.5)
    faults = []

    def look():
        try:
            for _ in range(30):
                assert len([name for name in manager.get_current_metrics() if name.startswith("m")]) == 50
                manager.get_performance_summary()
                manager.get_metric_history("m1")
                manager.set_threshold("m2", 5)
        except BaseException as error:
            faults.append(error)

    await manager.start_collection(0.001)
    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await manager.stop_collection()

    assert faults == []
