"""A manager gives back what it took, however it is left, and nobody waits for what it does not ask for."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import stat
import threading
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from agentgauge import ConfigurationError, Threshold
from agentgauge.notification.lane import Lane
from agentgauge.system_metrics import SystemMetricsManager
from agentgauge.system_metrics.readings import Readings, Series
from agentgauge.testing import FakeClock

PATIENCE_SECONDS = 60.0


class Machine:
    """A collector whose readings the test sets."""

    def __init__(self, **readings):
        self.readings = readings

    def collect(self):
        return dict(self.readings)


class Gated:
    """A collector that waits to be let through."""

    def __init__(self, **readings):
        self.readings, self.asked, self.gate = readings, threading.Event(), threading.Event()

    def collect(self):
        self.asked.set()
        assert self.gate.wait(PATIENCE_SECONDS)
        return dict(self.readings)


def of_ours():
    return {thread for thread in threading.enumerate() if thread.name.startswith("agentgauge")}


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_COLLECTOR_TIMEOUT_SECONDS", str(PATIENCE_SECONDS))  # a busy machine reads slowly
    before = of_ours()
    yield
    wait_until(lambda: of_ours() <= before)


def hooks_beside(known):
    """Those of gc that were not there before; some that were may have gone since."""
    return [hook for hook in gc.callbacks if hook not in known]


def bare(**settings):
    return SystemMetricsManager(**{"collectors": (), "thresholds": (), "registry": CollectorRegistry(), **settings})


@pytest.fixture
def manager():
    with bare(collector_timeout_seconds=PATIENCE_SECONDS) as made:
        yield made


def test_left_by_with_a_manager_that_is_only_asked_leaves_no_thread_and_no_hook_and_can_be_asked_again():
    threads, hooks = of_ours(), list(gc.callbacks)
    with SystemMetricsManager(registry=CollectorRegistry()) as manager:
        assert manager.get_system_health_score().points is not None
        assert of_ours() - threads
        assert hooks_beside(hooks)
    assert (of_ours() - threads, hooks_beside(hooks)) == (set(), [])

    assert manager.get_current_metrics()
    manager.close()
    manager.close()
    assert (of_ours() - threads, hooks_beside(hooks)) == (set(), [])


def test_a_manager_that_is_thrown_away_leaves_no_thread_and_no_hook():
    threads, hooks = of_ours(), list(gc.callbacks)
    manager = SystemMetricsManager(registry=CollectorRegistry())
    manager.get_current_metrics()
    assert hooks_beside(hooks)
    del manager
    gc.collect()

    wait_until(lambda: of_ours() <= threads and not hooks_beside(hooks))


async def test_close_stops_a_collection_even_in_a_coroutine_whose_loop_a_handler_would_need(monkeypatch):
    tell, closed = Lane._await, threading.Event()
    monkeypatch.setattr(Lane, "_await", lambda *told: (closed.wait(PATIENCE_SECONDS), tell(*told)))  # comes late to the loop
    registry = CollectorRegistry()
    manager = bare(registry=registry, thresholds=[Threshold("load", 0)], handler_timeout_seconds=PATIENCE_SECONDS)
    manager.add_collector("machine", Machine(load=1))
    told = asyncio.get_running_loop().create_future()

    async def handler(_notification):
        told.set_result(asyncio.get_running_loop())

    manager.add_alert_handler(handler)
    await manager.start_collection(3600)
    before = time.monotonic()
    manager.close()
    closed.set()

    assert time.monotonic() - before < PATIENCE_SECONDS / 2
    assert generate_latest(registry) == b""
    assert not [thread for thread in of_ours() if thread.name == "agentgauge-system-metrics"]
    assert await asyncio.wait_for(told, PATIENCE_SECONDS) is asyncio.get_running_loop()


def test_a_collector_that_is_replaced_during_a_pass_is_the_new_one_from_then_on(manager):
    slow = Gated(slow=1)
    manager.add_collector("slow", slow)
    manager.add_collector("queue", Machine(depth=1))
    passing = threading.Thread(target=manager.get_current_metrics)
    passing.start()
    assert slow.asked.wait(PATIENCE_SECONDS)
    manager.remove_collector("queue")
    manager.add_collector("queue", Machine(depth=2))
    slow.gate.set()
    passing.join()

    assert manager.get_metric_history("depth") == ()
    assert manager.get_performance_summary().collectors == {"slow": True}
    assert manager.get_current_metrics()["depth"][0].value == 2


def test_a_collector_that_is_removed_while_it_is_built_is_closed_and_never_asked(manager, monkeypatch):
    from agentgauge.system_metrics import collecting

    building, gate, closed = threading.Event(), threading.Event(), []

    class Late(Machine):
        def close(self):
            closed.append("late")

    late, sweep_of = Late(late=1), collecting.Sweep

    def build(*arguments, **settings):
        building.set()
        assert gate.wait(PATIENCE_SECONDS)
        return sweep_of({"late": late}, PATIENCE_SECONDS)

    monkeypatch.setattr(collecting, "Sweep", build)
    manager.add_collector("late", late)
    passing = threading.Thread(target=manager.get_current_metrics)
    passing.start()
    assert building.wait(PATIENCE_SECONDS)
    manager.remove_collector("late")
    gate.set()
    passing.join()

    assert (manager.get_metric_history("late"), closed) == ((), ["late"])


def test_a_pass_that_close_cuts_short_is_no_pass(manager):
    slow = Gated(slow=1)
    manager.set_threshold("load", 0)
    manager.add_collector("machine", Machine(load=1))
    manager.add_collector("slow", slow)
    passing = threading.Thread(target=manager.get_current_metrics)
    passing.start()
    assert slow.asked.wait(PATIENCE_SECONDS)
    manager.close()
    slow.gate.set()
    passing.join()

    assert manager.get_active_alerts() == ()
    assert manager.get_metric_history("load") == ()
    assert manager.get_performance_summary().passes == 1, "that of the question"


@pytest.mark.parametrize("is_block", [False, True])
async def test_a_start_that_is_cancelled_leaves_nothing_that_runs(is_block):
    before, registry, slow = of_ours(), CollectorRegistry(), Gated(slow=1)
    manager = bare(registry=registry, collector_timeout_seconds=PATIENCE_SECONDS, thresholds=[Threshold("slow", 5)])
    manager.add_collector("slow", slow)

    async def start():
        if not is_block:
            await manager.start_collection(0.01)
            return
        async with manager:
            pytest.fail("it was cancelled before")

    starting = asyncio.create_task(start())
    assert await asyncio.to_thread(slow.asked.wait, PATIENCE_SECONDS)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    slow.gate.set()

    assert generate_latest(registry) == b""
    await asyncio.to_thread(wait_until, lambda: of_ours() <= before)


async def test_a_start_that_is_cancelled_leaves_running_what_another_start_relies_on():
    slow = Gated(slow=1)
    manager = bare(collector_timeout_seconds=PATIENCE_SECONDS)
    manager.add_collector("slow", slow)
    starting = asyncio.create_task(manager.start_collection(3600))
    assert await asyncio.to_thread(slow.asked.wait, PATIENCE_SECONDS)
    await manager.start_collection(3600)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    slow.gate.set()
    await asyncio.to_thread(wait_until, lambda: manager.get_metric_history("slow"))

    assert [thread for thread in of_ours() if thread.name == "agentgauge-system-metrics"]
    await manager.stop_collection()


def test_a_stop_that_is_cancelled_does_not_hold_up_the_end_of_the_loop():
    release = threading.Event()

    async def main():
        manager = bare(thresholds=[Threshold("load", 0)], handler_timeout_seconds=PATIENCE_SECONDS)
        manager.add_collector("machine", Machine(load=1))
        manager.add_alert_handler(lambda _notification: release.wait(PATIENCE_SECONDS))
        await manager.start_collection(3600)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(manager.stop_collection(), 0.05)

    others, before = of_ours(), time.monotonic()
    asyncio.run(main())
    seconds = time.monotonic() - before
    stopping = [thread.daemon for thread in of_ours() - others]
    release.set()

    assert seconds < PATIENCE_SECONDS / 2
    assert stopping
    assert all(stopping), "nor that of the interpreter"


def test_collectors_that_hang_are_waited_for_together():
    hung = [Gated() for _ in range(12)]
    with bare(collector_timeout_seconds=0.5) as manager:
        for number, collector in enumerate(hung):
            manager.add_collector(f"hung{number}", collector)
        before = time.monotonic()
        manager.get_current_metrics()
        seconds = time.monotonic() - before
        for collector in hung:
            collector.gate.set()

    assert 0.5 <= seconds < 4, "one after the other would be six seconds"


def test_a_scrape_waits_for_no_question_and_for_no_collector_that_is_closed():
    registry, closing, gate = CollectorRegistry(), threading.Event(), threading.Event()

    class Clinging(Machine):
        def close(self):
            closing.set()
            assert gate.wait(PATIENCE_SECONDS)

    manager = bare(registry=registry, thresholds=[Threshold("load", 0)])
    manager.add_collector("machine", Machine(load=1))
    asyncio.run(manager.start_collection(3600))
    manager._collectors._sweeps["machine"]._collectors["machine"] = Clinging()
    removing = threading.Thread(target=manager.remove_collector, args=("machine",))
    removing.start()
    assert closing.wait(PATIENCE_SECONDS)
    with manager._lock, manager._knowledge._lock:
        pages = []
        scraping = threading.Thread(target=lambda: pages.append(generate_latest(registry).decode()))
        scraping.start()
        scraping.join(PATIENCE_SECONDS)
        page = pages[0]
    gate.set()
    removing.join()
    manager.close()

    assert 'agentgauge_threshold_breached{metric="load",operator=">",severity="warning"} 1.0' in page


def test_what_is_asked_is_worked_out_when_the_lock_is_free_again(manager, monkeypatch, tmp_path):
    from agentgauge.system_metrics import knowledge

    manager.add_collector("machine", Machine(load=1))
    manager.get_current_metrics()
    was_free = []

    def look(name):
        is_free = manager._knowledge._lock.acquire(blocking=False)
        was_free.append((name, is_free))
        if is_free:
            manager._knowledge._lock.release()

    def watched(name):
        work = getattr(knowledge, name)

        def run(*arguments):
            trying = threading.Thread(target=look, args=(name,))
            trying.start()
            trying.join()
            return work(*arguments)

        monkeypatch.setattr(knowledge, name, run)

    for name in ("points_of", "summarize", "rate"):
        watched(name)
    manager.get_metric_history("load")
    manager.get_system_health_score()
    manager.get_performance_summary()
    manager.export_metrics(tmp_path / "metrics.json")

    assert {name for name, _ in was_free} == {"points_of", "summarize", "rate"}
    assert all(is_free for _, is_free in was_free)


@pytest.mark.parametrize("ending", ["fifo", "folder", "device", "link to a fifo"])
def test_an_export_refuses_what_is_there_and_no_file(manager, tmp_path, ending):
    path = tmp_path / "metrics.json"
    if ending == "folder":
        path.mkdir()
    elif ending == "device":
        path.symlink_to("/dev/null")
    else:
        fifo = path if ending == "fifo" else tmp_path / "fifo"
        os.mkfifo(fifo)
        if fifo != path:
            path.symlink_to(fifo)
    before = stat.filemode(path.stat().st_mode), path.is_symlink()

    with pytest.raises(ConfigurationError, match=r"a folder, a pipe or a device; give the path of a file"):
        manager.export_metrics(path)
    assert (stat.filemode(path.stat().st_mode), path.is_symlink()) == before


@pytest.mark.parametrize("path", [".", "/", "..", "", 5, None, b"metrics.json", "metrics\0.json"])
def test_an_export_refuses_a_path_without_a_name(manager, path):
    with pytest.raises(ConfigurationError, match=r"export_metrics\(path=.*: give the path of a file, such as 'metrics.json'"):
        manager.export_metrics(path, "json")


def test_an_export_that_cannot_be_written_names_the_path_that_was_given(manager, tmp_path, monkeypatch):
    path = tmp_path / "missing" / "metrics.json"
    with pytest.raises(FileNotFoundError) as caught:
        manager.export_metrics(path)
    assert str(caught.value) == f"[Errno 2] there is no folder {str(path.parent)!r} to write into: {str(path)!r}"

    link = tmp_path / "link.json"
    link.symlink_to(path)
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*/missing' to write into: '.*/link\.json'"):
        manager.export_metrics(link)

    def refuse(*_arguments):
        raise PermissionError(errno.EACCES, "Permission denied", "hidden.part", None, "other")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(PermissionError) as denied:
        manager.export_metrics(tmp_path / "metrics.json")
    assert str(denied.value) == f"[Errno 13] Permission denied: {str(tmp_path / 'metrics.json')!r}"
    assert sorted(tmp_path.iterdir()) == [link]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_an_export_keeps_a_link_and_the_permissions_of_the_file(manager, tmp_path, mode):
    (tmp_path / "data").mkdir()
    target, link = tmp_path / "data" / "target.json", tmp_path / "link.json"
    target.write_text("before")
    target.chmod(mode)
    link.symlink_to("data/target.json")

    assert manager.export_metrics(link) == link
    assert link.is_symlink()
    assert "history" in json.loads(target.read_text())
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert [file.name for file in target.parent.iterdir()] == ["target.json"]


def test_an_export_through_a_link_to_nothing_yet_makes_that_file(manager, tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to("target.json")
    manager.export_metrics(link)

    assert link.is_symlink()
    assert "history" in json.loads((tmp_path / "target.json").read_text())


def test_of_series_that_come_and_go_the_history_keeps_no_more_than_of_others_and_says_how_many_it_gave_up():
    clock, machine = FakeClock(), Machine()
    with bare(series_limit=10, history_points=3, clock=clock, wall_clock=clock) as manager:
        manager.add_collector("machine", machine)
        for number in range(20):
            machine.collect = lambda name=f"job_{number}": [
                GaugeMetricFamily(name, "h", value=1, unit="seconds"),
                GaugeMetricFamily("steady", "h", value=1, unit="seconds"),
            ]
            clock.advance(1)
            manager.get_current_metrics()
        summary = manager.get_performance_summary()
        kept = {each.metric for each in summary.metrics if not each.metric.startswith("agentgauge_")}
        history = manager._knowledge.history

    own = len(summary.metrics) - len(kept)
    assert len(summary.metrics) == 10
    assert kept == {"steady_seconds", *(f"job_{number}_seconds" for number in range(20 - (9 - own), 20))}
    assert summary.series_forgotten == 20 - (9 - own)
    assert kept <= set(history.units)
    assert len(history.units) <= 10, "of what is gone nothing is left"


def test_one_family_of_very_many_series_leaves_no_other_out():
    wide = GaugeMetricFamily("wide", "h", labels=["cpu"])
    for number in range(50):
        wide.add_metric([str(number)], 1.0)
    readings = Readings(at=1.0)
    readings.offer([wide, GaugeMetricFamily("narrow", "h", value=1), GaugeMetricFamily("other", "h", value=1)])
    readings.admit(10)

    assert {series.metric for series in readings.values} == {"narrow", "other", "wide"}
    assert (len(readings.values), readings.series_left_out) == (10, 42)


def test_what_a_threshold_names_is_read_before_all_else():
    wide = GaugeMetricFamily("wide", "h", labels=["cpu"])
    for number in range(9):
        wide.add_metric([str(number)], 1.0)
    said = [*(GaugeMetricFamily(f"m{number}", "h", value=1) for number in range(20)), wide]
    with bare(series_limit=10, thresholds=[Threshold("wide", 0.5)]) as manager:
        manager.add_collector("machine", type("Fixed", (), {"collect": lambda _self: said})())
        manager.get_current_metrics()
        assert len(manager.get_active_alerts()) == 9


def test_of_a_series_that_two_collectors_know_the_first_says_how_large_its_family_ever_is():
    first = GaugeMetricFamily("load", "h", labels=["cpu"])
    for number in range(3):
        first.add_metric([str(number)], 1.0)
    again = GaugeMetricFamily("load", "h", labels=["cpu"])
    again.add_metric(["0"], 2.0)
    readings = Readings(at=1.0)
    readings.offer([first])
    readings.offer([again])
    readings.admit(10)

    assert readings.values == {Series("load", (("cpu", str(number)),)): 1.0 for number in range(3)}


def test_an_alert_whose_threshold_is_removed_ends_for_that_reason_and_no_other_does(manager):
    told, machine = [], Machine(load=1, depth=1)
    limits = [manager.set_threshold("load", 0), manager.set_threshold("depth", 0)]
    manager.add_collector("machine", machine)
    manager.add_alert_handler(lambda notification: told.append((notification.alert.subject, notification.reason)))
    manager.get_current_metrics()
    manager.remove_threshold(limits[0])
    machine.readings = {"load": 1, "depth": 0}
    manager.get_current_metrics()
    manager.close()

    assert sorted(told[2:]) == [("depth", ""), ("load", "its threshold was removed")]


def test_the_summary_keeps_the_unit_of_a_series_that_the_last_pass_did_not_have(manager):
    said = [GaugeMetricFamily("x_bytes", "h", value=5, unit="bytes")]
    manager.add_collector("machine", type("Fixed", (), {"collect": lambda _self: said})())
    manager.get_current_metrics()
    manager.remove_collector("machine")
    manager.get_current_metrics()

    assert manager.get_performance_summary().of("x_bytes")[0].unit == "bytes"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"collectors": 5}, r"collectors=5: give a tuple of names, such as \('host', 'process'\)"),
        ({"collectors": "host"}, r"collectors='host': give a tuple of names"),
        ({"thresholds": 5}, r"thresholds=5: give a list, such as \[Threshold\("),
        ({"thresholds": Threshold("x_y", 1)}, r"thresholds=Threshold\(.*: give a list"),
        ({"clock": 5}, r"clock=5: give a function that returns seconds, such as time.monotonic"),
        ({"wall_clock": "now"}, r"wall_clock='now': give a function"),
    ],
)
def test_an_argument_of_the_wrong_type_is_refused_with_the_fix(arguments, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        SystemMetricsManager(**{"registry": CollectorRegistry(), **arguments})


def test_a_question_of_the_wrong_type_is_refused_with_the_fix(manager):
    with pytest.raises(ConfigurationError, match=r"metric=None: give its name"):
        manager.get_metric_history(None)
    with pytest.raises(ConfigurationError, match=r"labels=5: give a dict"):
        manager.get_metric_history("load", labels=5)
