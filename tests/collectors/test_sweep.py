from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from prometheus_client import CollectorRegistry, Metric

from agentgauge.collectors.sweep import Sweep
from agentgauge.errors import contained_errors

TIMEOUT_SECONDS = 0.3
PATIENCE_SECONDS = 60


class Numbered:
    """A collector whose reading is the number of its run, and which can be made to wait or raise."""

    def __init__(self, name="numbered"):
        self.name = name
        self.runs = 0
        self.running = 0
        self.most_running = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error = None

    def collect(self):
        self.runs += 1
        number = self.runs
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if not self.may_go_on.wait(PATIENCE_SECONDS):
                raise AssertionError("the test never let go")
            if self.error is not None:
                raise self.error
            metric = Metric(self.name, "Number of the run.", "gauge")
            metric.add_sample(self.name, {}, number)
            yield metric
        finally:
            self.running -= 1


@pytest.fixture
def make_sweep():
    sweeps = []

    def make(timeout_seconds=PATIENCE_SECONDS, fresh_seconds=0, clock=time.perf_counter, **collectors):
        sweep = Sweep(collectors, timeout_seconds, clock, fresh_seconds)
        sweeps.append((sweep, collectors))
        return sweep

    yield make
    for sweep, collectors in sweeps:
        for collector in collectors.values():
            collector.may_go_on.set()
        sweep.close()


def scrape(sweep):
    samples = [sample for metric in sweep.collect() for sample in metric.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def await_condition(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.001)


def threads_beside(others):
    """How many there are that were not there before; some that were may have ended since."""
    return len(set(threading.enumerate()) - others)


def run_script(script):
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_collector_is_read_and_observed(make_sweep):
    sweep = make_sweep(a=Numbered("reading_a"), b=Numbered("reading_b"))
    registry = CollectorRegistry(auto_describe=True)
    registry.register(sweep)

    values = scrape(registry)

    assert values["reading_a",] == values["reading_b",] == 1
    assert values["agentgauge_collector_success", "a"] == values["agentgauge_collector_success", "b"] == 1
    assert 0 <= values["agentgauge_collector_duration_seconds", "a"] < PATIENCE_SECONDS


def test_registering_reads_nothing_and_starts_no_thread(make_sweep):
    collector = Numbered()
    others = set(threading.enumerate())
    CollectorRegistry(auto_describe=True).register(make_sweep(a=collector))
    assert (collector.runs, threads_beside(others)) == (0, 0)


def test_a_raising_collector_costs_only_itself(make_sweep):
    broken, sound = Numbered("broken_reading"), Numbered("sound_reading")
    broken.error = ValueError("broken")
    faults = contained_errors.count_by_hook.get("collector_broken", 0)
    sweep = make_sweep(broken=broken, sound=sound)

    values = scrape(sweep)

    assert values["sound_reading",] == 1
    assert ("broken_reading",) not in values
    assert values["agentgauge_collector_success", "broken"] == 0
    assert values["agentgauge_collector_success", "sound"] == 1
    assert contained_errors.count_by_hook["collector_broken"] == faults + 1
    broken.error = None
    assert scrape(sweep)["broken_reading",] == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_collector_that_ends_its_thread_gets_another(make_sweep):
    collector = Numbered()
    collector.error = SystemExit(3)
    sweep = make_sweep(a=collector)
    others = set(threading.enumerate())
    assert scrape(sweep)["agentgauge_collector_success", "a"] == 0
    for thread in set(threading.enumerate()) - others:
        thread.join()
    collector.error = None
    assert scrape(sweep)["numbered",] == 2


def test_a_sleeping_collector_delays_scrapes_by_the_timeout_and_piles_up_no_threads(make_sweep):
    asleep, sound = Numbered("asleep_reading"), Numbered("sound_reading")
    asleep.may_go_on.clear()
    sweep = make_sweep(TIMEOUT_SECONDS, asleep=asleep, sound=sound)
    others = set(threading.enumerate())

    started = time.monotonic()
    assert ("asleep_reading",) not in scrape(sweep)
    assert TIMEOUT_SECONDS <= time.monotonic() - started < PATIENCE_SECONDS / 2
    await_condition(sweep._workers()["sound"]._run.done.is_set)  # on a busy machine it may have been late, too
    sweep._timeout_seconds = PATIENCE_SECONDS  # would show
    for number in range(2, 6):
        started = time.monotonic()
        values = scrape(sweep)
        assert time.monotonic() - started < PATIENCE_SECONDS / 2
        assert values["sound_reading",] == number
        assert values["agentgauge_collector_success", "asleep"] == 0
        assert ("asleep_reading",) not in values
        assert ("agentgauge_collector_duration_seconds", "asleep") not in values
        assert threads_beside(others) == 2
    assert asleep.runs == 1


def test_a_late_result_is_never_shown_as_a_fresh_one(make_sweep):
    collector = Numbered()
    collector.may_go_on.clear()
    sweep = make_sweep(TIMEOUT_SECONDS, a=collector)
    assert ("numbered",) not in scrape(sweep)
    collector.may_go_on.set()
    assert sweep._workers()["a"]._run.done.wait(PATIENCE_SECONDS)

    await_condition(lambda: (values := scrape(sweep)).get(("agentgauge_collector_success", "a")) == 1 and values["numbered",] > 1)


def test_a_late_run_is_not_waited_for_again(make_sweep):
    collector = Numbered()
    collector.may_go_on.clear()
    now = [0.0]
    sweep = make_sweep(a=collector, clock=lambda: now[0])
    worker = sweep._workers()["a"]
    first = worker.request(deadline=0.5)

    now[0] = 0.4
    assert worker.request(deadline=0.9) is first
    now[0] = 0.6
    assert worker.request(deadline=1.1) is None
    collector.may_go_on.set()
    assert first.done.wait(PATIENCE_SECONDS)
    assert worker.request(deadline=1.1) is not first


def test_scrapes_at_once_never_run_a_collector_twice_at_once_and_all_get_readings(make_sweep):
    collector = Numbered()
    collector.may_go_on.wait = lambda timeout: time.sleep(0.002) or True  # long enough for the scrapes to meet
    sweep = make_sweep(a=collector)
    scrapers, rounds = 8, 15
    results = []
    start = threading.Barrier(scrapers)

    def scrape_often():
        start.wait()
        results.extend(scrape(sweep) for _ in range(rounds))

    threads = [threading.Thread(target=scrape_often) for _ in range(scrapers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == scrapers * rounds
    assert all(values["agentgauge_collector_success", "a"] == 1 and values["numbered",] > 0 for values in results)
    assert collector.most_running == 1
    assert collector.runs < scrapers * rounds, "no scrape ever shared a run"


def test_scrapers_within_a_second_share_one_run_and_those_after_it_the_next(make_sweep):
    a, b = Numbered("reading_a"), Numbered("reading_b")
    now = [100.0]
    sweep = make_sweep(a=a, b=b, fresh_seconds=1.0, clock=lambda: now[0])

    seen = []
    for now[0] in (100.0, 100.4, 100.999, 101.0, 101.999, 102.5):
        values = scrape(sweep)
        assert values["agentgauge_collector_success", "a"] == values["agentgauge_collector_success", "b"] == 1
        seen.append((values["reading_a",], values["reading_b",]))

    assert seen == [(1, 1), (1, 1), (1, 1), (2, 2), (2, 2), (3, 3)]
    assert (a.runs, b.runs) == (3, 3)


def test_unless_told_otherwise_a_run_stays_fresh_for_a_second():
    collector = Numbered()
    now = [0.0]
    sweep = Sweep({"a": collector}, PATIENCE_SECONDS, lambda: now[0])
    try:
        assert [scrape(sweep)["numbered",] for now[0] in (0.0, 0.999, 1.0)] == [1, 1, 2]
    finally:
        sweep.close()


def test_what_failed_is_not_tried_again_within_the_second(make_sweep):
    collector = Numbered()
    collector.error = ValueError("broken")
    now = [0.0]
    sweep = make_sweep(a=collector, fresh_seconds=1.0, clock=lambda: now[0])
    for now[0] in (0.0, 0.9):
        assert scrape(sweep)["agentgauge_collector_success", "a"] == 0
    assert collector.runs == 1
    collector.error, now[0] = None, 1.0
    assert scrape(sweep)["numbered",] == 2


def test_what_one_scraper_does_with_a_shared_run_leaves_the_others_readings_whole(make_sweep):
    sweep = make_sweep(a=Numbered(), fresh_seconds=PATIENCE_SECONDS)
    first = sweep.collect()
    first.clear()
    assert scrape(sweep)["numbered",] == 1


def test_without_a_thread_nothing_runs_and_the_scrape_says_so(make_sweep, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    collector = Numbered()
    sweep = make_sweep(a=collector)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert scrape(sweep) == {("agentgauge_collector_success", "a"): 0}
    assert collector.runs == 0
    assert scrape(sweep)["agentgauge_collector_success", "a"] == 1


def test_close_ends_idle_threads_at_once_and_busy_ones_after_their_run(make_sweep):
    others = set(threading.enumerate())
    idle, busy = Numbered("idle_reading"), Numbered("busy_reading")
    busy.may_go_on.clear()
    sweep = make_sweep(TIMEOUT_SECONDS, idle=idle, busy=busy)
    scrape(sweep)
    await_condition(sweep._workers()["idle"]._run.done.is_set)

    sweep.close()
    assert threads_beside(others) == 1
    busy.may_go_on.set()
    await_condition(lambda: threads_beside(others) == 0)
    values = scrape(sweep)
    assert values["agentgauge_collector_success", "idle"] == values["agentgauge_collector_success", "busy"] == 0
    assert (idle.runs, busy.runs, threads_beside(others)) == (1, 1, 0)


FORK_SCRIPT = """
    import json, os, threading
    from prometheus_client import CollectorRegistry
    from agentgauge.collectors.roster import build
    from agentgauge.config import Config

    registry = CollectorRegistry()
    sweep = build(Config(collectors=("host", "process"), collector_timeout_seconds=60), registry)
    sweep._fresh_seconds = 0
    registry.register(sweep)

    def scrape():
        return {
            "/".join([sample.name, *sample.labels.values()]): sample.value
            for metric in registry.collect() for sample in metric.samples
        }

    parent = scrape()
    locks = [worker._lock for worker in sweep._workers().values()]
    held, forked = threading.Event(), threading.Event()

    def hold():  # as if the fork came in the middle of another thread's scrape
        for lock in locks:
            lock.acquire()
        held.set()
        forked.wait()
        for lock in locks:
            lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        first = scrape()
        opened = [open("/dev/null") for _ in range(30)]
        ballast = bytearray(64 * 2**20)
        for position in range(0, len(ballast), 4096):
            ballast[position] = 1
        os.write(writer, json.dumps([first, scrape(), [thread.name for thread in threading.enumerate()]]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    forked.set()
    holder.join()
    print(json.dumps([status, json.loads(text), parent, scrape()]))
"""


def test_a_forked_child_reads_itself_with_threads_and_locks_of_its_own():
    result = run_script(FORK_SCRIPT)
    assert (result.returncode, result.stderr) == (0, "")
    status, (first, second, child_threads), before, after = json.loads(result.stdout)

    assert status == 0
    for values in (before, first, second, after):
        assert values["agentgauge_collector_success/host"] == values["agentgauge_collector_success/process"] == 1
    workers = [name for name in child_threads if name.startswith("agentgauge-collector-")]
    assert sorted(workers) == ["agentgauge-collector-host", "agentgauge-collector-process"]
    assert second["process_open_fds"] - first["process_open_fds"] == pytest.approx(30, abs=3)  # the host is read meanwhile
    assert second["process_resident_memory_bytes"] - first["process_resident_memory_bytes"] > 60 * 2**20
    assert after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"] < 30 * 2**20
    assert first["process_cpu_seconds_total"] < before["process_cpu_seconds_total"]
    assert first["process_start_time_seconds"] >= before["process_start_time_seconds"]


def test_a_scrape_while_the_interpreter_exits_does_no_harm():
    result = run_script(
        """
        import atexit
        from prometheus_client import CollectorRegistry
        from agentgauge.collectors.roster import build
        from agentgauge.config import Config

        config = Config(collectors=("host", "process"), collector_timeout_seconds=60)
        sweep = build(config, CollectorRegistry())
        sweep._fresh_seconds = 0
        print("scraped", len(sweep.collect()) > 5)
        atexit.register(lambda: print("scraped", len(build(config, CollectorRegistry()).collect()) > 0))
        atexit.register(lambda: print("scraped", len(sweep.collect()) > 0))

        class Last:  # its cycle is broken when no thread can run any more
            def __init__(self):
                self.itself = self
                self.sweeps = [sweep, build(config, CollectorRegistry())]

            def __del__(self):
                for sweep in self.sweeps:
                    print("scraped", [sample.value for sample in sweep.collect()[0].samples])

        last = Last()
        """
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "scraped True\n" * 3 + "scraped [0.0, 0.0]\n" * 2
