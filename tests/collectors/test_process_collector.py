from __future__ import annotations

import asyncio
import contextlib
import gc
import mmap
import os
import re
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import ProcessCollector as ClientProcessCollector

from agentgauge import catalogue
from agentgauge.collectors.process import ProcessCollector, UniqueMemoryCollector

OWN_FAMILIES = [
    family
    for family in catalogue.FAMILIES
    if family.name.startswith(("process_", "python_")) and family.name != "process_unique_memory_bytes"
]  # every family of the catalogue's process sections


@pytest.fixture
def build():
    """Build a collector that is closed with the test."""
    with contextlib.ExitStack() as collectors:

        def build_one(owned_names=frozenset(), clock=time.monotonic):
            collector = ProcessCollector(owned_names, clock)
            collectors.callback(collector.close)
            return collector

        yield build_one


def read(collector):
    samples = [sample for metric in collector.collect() for sample in metric.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def agree(look, is_right, tries=50):
    """Look until it is right: threads of other tests may end, and have files open, in between; a wrong reading stays wrong."""
    for _ in range(tries):
        if is_right(*(seen := look())):
            break
        time.sleep(0.02)
    assert is_right(*seen), seen


def families(collector):
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name, *_ in read(collector)}


async def test_every_process_family_of_the_catalogue_is_read(build):
    now = [0.0]
    collector = build(clock=lambda: now[0])
    now[0] = 2.0
    collector._look(time.perf_counter())
    await asyncio.sleep(0)
    assert families(collector) == {family.name for family in OWN_FAMILIES}


def test_a_program_without_event_loops_has_none_of_their_families(build):
    now = [0.0]
    collector = build(clock=lambda: now[0])
    now[0] = 2.0
    collector._look(time.perf_counter())
    missing = {family.name for family in OWN_FAMILIES} - families(collector)
    assert missing == {"python_event_loop_lag_seconds", "python_event_loop_stall_seconds"}


def test_the_shared_families_say_what_prometheus_client_says(build):
    theirs = read(ClientProcessCollector(registry=CollectorRegistry()))
    ours = read(build())

    assert theirs
    assert theirs.keys() <= ours.keys()
    assert ours["process_start_time_seconds",] == pytest.approx(theirs["process_start_time_seconds",], abs=1.5)
    assert ours["process_cpu_seconds_total",] == pytest.approx(theirs["process_cpu_seconds_total",], abs=0.5)
    assert ours["process_resident_memory_bytes",] == pytest.approx(theirs["process_resident_memory_bytes",], rel=0.05)
    assert ours["process_virtual_memory_bytes",] == pytest.approx(theirs["process_virtual_memory_bytes",], rel=0.05)
    assert ours["process_max_fds",] == theirs["process_max_fds",] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_threads_are_those_that_the_kernel_counts(build):
    collector = build()

    def look():
        release = threading.Event()
        threads = [threading.Thread(target=release.wait) for _ in range(3)]
        before = read(collector)["process_threads",]
        for thread in threads:
            thread.start()
        during = read(collector)["process_threads",]
        kernel = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Threads:"))
        release.set()
        for thread in threads:
            thread.join()
        return before, during, int(kernel.split()[1])

    agree(look, lambda before, during, kernel: during == kernel == before + 3)


@pytest.mark.parametrize("has_folder_size", [True, False])
def test_open_descriptors_follow_the_files_that_are_opened(monkeypatch, has_folder_size, build):
    if not has_folder_size:
        monkeypatch.setattr("agentgauge.collectors.own_process._size_of_descriptor_folder", lambda: 0)
    collector = build()

    def look():
        before = read(collector)["process_open_fds",]
        with contextlib.ExitStack() as files:
            for _ in range(40):
                files.enter_context(Path(os.devnull).open())
            listed = len(list(Path("/proc/self/fd").iterdir()))  # one of which is the listing itself
            return before, listed, read(collector)["process_open_fds",]

    agree(look, lambda before, listed, during: during == before + 40 and listed - 1 <= during <= listed)
    assert collector._process._has_cheap_descriptor_count in {has_folder_size, False}


def test_context_switches_of_all_threads_count(build):
    rounds = 300
    ping, pong = threading.Semaphore(0), threading.Semaphore(0)

    def play(mine, other):
        for _ in range(rounds):
            other.release()
            mine.acquire()

    collector = build()
    before = read(collector)["process_context_switches_total", "voluntary"]
    threads = [threading.Thread(target=play, args=pair) for pair in ((ping, pong), (pong, ping))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert read(collector)["process_context_switches_total", "voluntary"] - before >= rounds / 2


def test_garbage_collections_are_counted(build):
    collector = build()

    def look():
        before = read(collector)["python_gc_collections_total", "2"]
        gc.collect()
        return before, read(collector)["python_gc_collections_total", "2"]

    agree(look, lambda before, after: after == before + 1)  # the interpreter may have one of its own in between


def test_cpu_utilization_is_the_cpu_time_spent_over_the_time_that_passed(build):
    now = [50.0]
    collector = build(clock=lambda: now[0])
    assert ("process_cpu_utilization_ratio",) not in read(collector)
    before = time.process_time()
    while time.process_time() - before < 0.2:
        pass

    now[0] += 2.0
    values = read(collector)

    spent = time.process_time() - before
    assert values["process_cpu_utilization_ratio",] == pytest.approx(spent / 2.0, abs=0.05)


@pytest.mark.parametrize("family", OWN_FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("attribute", ["name", "base_name"])
async def test_a_family_that_somebody_owns_is_left_to_its_owner(family, attribute, build):
    now = [0.0]
    collector = build(frozenset({getattr(family, attribute)}), lambda: now[0])
    now[0] = 2.0
    collector._look(time.perf_counter())
    await asyncio.sleep(0)

    assert families(collector) == {other.name for other in OWN_FAMILIES} - {family.name}


# --- disks and unique memory ----------------------------------------------------------------------------------------------


def test_what_is_written_to_a_disk_counts(build, monkeypatch, tmp_path):
    (tmp_path / "io").write_text("rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 7\n")
    monkeypatch.setattr("agentgauge.collectors.own_process._SELF", str(tmp_path))
    values = read(build())
    assert values["process_disk_io_bytes_total", "read"] == 4096
    assert values["process_disk_io_bytes_total", "write"] == 8192


def test_the_bytes_of_disks_are_those_that_the_kernel_counts(build, tmp_path):
    collector = build()
    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(bytes(1_000_000))
        os.fsync(file.fileno())
    values = read(collector)
    kernel = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    assert values["process_disk_io_bytes_total", "write"] == int(kernel["write_bytes"])
    assert values["process_disk_io_bytes_total", "read"] == pytest.approx(int(kernel["read_bytes"]), abs=1_000_000)


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), PermissionError(13, "refused")])
def test_what_the_system_refuses_is_missing_and_the_rest_is_there(build, monkeypatch, error):
    def refuse(self):
        raise error

    monkeypatch.setattr("agentgauge.collectors.own_process.OwnProcess.read_disk_io", refuse)
    monkeypatch.setattr("agentgauge.collectors.children.Children.read", refuse)
    found = families(build())
    assert "process_disk_io_bytes_total" not in found
    assert "process_children" not in found
    assert {"process_cpu_seconds_total", "process_threads", "python_gc_pause_seconds"} <= found


def test_unique_memory_grows_by_what_nobody_shares():
    before = read(UniqueMemoryCollector())["process_unique_memory_bytes",]
    with mmap.mmap(-1, 30_000_000, flags=mmap.MAP_PRIVATE) as held:  # malloc may have so much left from earlier
        held.write(bytes(range(250)) * 120_000)
        after = read(UniqueMemoryCollector())["process_unique_memory_bytes",]
    assert 25_000_000 <= after - before <= 65_000_000  # other threads may free some meanwhile


def test_a_reading_costs_less_than_a_millisecond(build):
    collector = build()
    durations = []
    for _ in range(50):
        before = time.thread_time()
        collector.collect()
        durations.append(time.thread_time() - before)
    assert sorted(durations)[5] < 0.001  # what else runs on the machine makes some dearer


# --- what goes on between scrapes -----------------------------------------------------------------------------------------


def test_closing_ends_the_thread_and_takes_the_callbacks_back():
    threads, callbacks = set(threading.enumerate()), list(gc.callbacks)
    collector = ProcessCollector(frozenset())
    assert {thread.name for thread in set(threading.enumerate()) - threads} == {"agentgauge-sampler"}
    assert len([hook for hook in gc.callbacks if hook not in callbacks]) == 2
    collector.close()
    assert set(threading.enumerate()) <= threads
    assert [hook for hook in gc.callbacks if hook not in callbacks] == []
    collector.close()


def test_a_fault_in_watching_loops_costs_nothing_in_watching_collections(build, monkeypatch):
    def fail(due):
        raise ValueError("broken on purpose")

    collector = build()
    collector._sampler.close()
    monkeypatch.setattr(collector._loops, "probe", fail)
    gc.collect()
    with pytest.raises(ValueError, match="broken on purpose"):
        collector._look(0.0)
    assert not collector._garbage._log


def test_a_forked_child_is_read_as_itself_and_watched_from_its_first_reading_on(build):
    collector = build()
    gc.collect()
    reader, writer = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        try:
            names = [thread.name for thread in threading.enumerate() if not thread.name.startswith("Otel")]
            before = read(collector)["python_gc_pause_seconds_count", "2"]
            gc.collect()
            after = read(collector)["python_gc_pause_seconds_count", "2"]
            names += [thread.name for thread in threading.enumerate() if thread.name.startswith("agentgauge")]
            os.write(writer, repr((names, before, after, collector._children._process_id == os.getpid())).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(process_id, 0)
    with os.fdopen(reader) as file:
        assert file.read() == "(['MainThread', 'agentgauge-sampler'], 0, 1, True)"


BLOCKING = """
import asyncio, sys, threading, time
import agentgauge

monitor = agentgauge.start(port=0, collectors=("process",), collector_timeout_seconds=60)
release = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), release.set()), daemon=True).start()

async def main():
    print(monitor.url, flush=True)
    await asyncio.sleep(1.2)  # it is found meanwhile
    release.wait()
    await asyncio.sleep(0.1)

{run}
print("ended", flush=True)
sys.stdin.readline()
print("the end", flush=True)
"""
RUNS = {
    "asyncio.run": "asyncio.run(main())",
    "in a thread": "thread = threading.Thread(target=lambda: asyncio.run(main())); thread.start(); thread.join()",
    "in debug mode": "asyncio.run(main(), debug=True)",
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_loop_that_is_blocked_right_now_shows_on_the_page_of_an_unsuspecting_program(run):
    program = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", BLOCKING.format(run=run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        url = program.stdout.readline().strip()

        def page():
            with urlopen(url, timeout=60) as answer:
                lines = answer.read().decode().splitlines()
            return dict(line.rsplit(" ", 1) for line in lines if line.startswith("python_event_loop"))

        seen = [0.0]
        while seen[-1] < 1.3 or len(seen) < 3:
            time.sleep(0.05)
            found = float(page().get("python_event_loop_stall_seconds", 0))
            if found > seen[-1] and found > 0.1:
                seen.append(found)
        program.stdin.write("go on\n")
        program.stdin.flush()
        assert program.stdout.readline() == "ended\n"
        while "python_event_loop_stall_seconds" in (ended := page()):
            time.sleep(0.05)
        program.stdin.write("end\n")
        program.stdin.close()
        assert program.stdout.readline() == "the end\n"
        assert program.wait(60) == 0
        said = program.stderr.read()

    assert seen == sorted(seen)  # it grew while the loop did nothing
    at_most_one, all_of_them = (
        ended['python_event_loop_lag_seconds_bucket{le="1.0"}'],
        ended["python_event_loop_lag_seconds_count"],
    )
    assert float(all_of_them) - float(at_most_one) == 1
    assert float(ended["python_event_loop_lag_seconds_sum"]) >= 1.3
    assert "agentgauge" not in said
    assert "Traceback" not in said
