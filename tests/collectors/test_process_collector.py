from __future__ import annotations

import contextlib
import gc
import os
import resource
import threading
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import ProcessCollector as ClientProcessCollector

from agentgauge import catalogue
from agentgauge.collectors.process import ProcessCollector

OWN_FAMILIES = [
    family for family in catalogue.FAMILIES if family.name.startswith(("process_", "python_gc_"))
]  # every family of the catalogue's process sections


def read(collector):
    samples = [sample for metric in collector.collect() for sample in metric.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_every_process_family_of_the_catalogue_is_read():
    now = [0.0]
    collector = ProcessCollector(frozenset(), lambda: now[0])
    now[0] = 2.0
    assert {name for name, *_ in read(collector)} == {family.name for family in OWN_FAMILIES}


def test_the_shared_families_say_what_prometheus_client_says():
    theirs = read(ClientProcessCollector(registry=CollectorRegistry()))
    ours = read(ProcessCollector(frozenset()))

    assert theirs
    assert theirs.keys() <= ours.keys()
    assert ours["process_start_time_seconds",] == pytest.approx(theirs["process_start_time_seconds",], abs=1.5)
    assert ours["process_cpu_seconds_total",] == pytest.approx(theirs["process_cpu_seconds_total",], abs=0.1)
    assert ours["process_resident_memory_bytes",] == pytest.approx(theirs["process_resident_memory_bytes",], rel=0.05)
    assert ours["process_virtual_memory_bytes",] == pytest.approx(theirs["process_virtual_memory_bytes",], rel=0.05)
    assert ours["process_max_fds",] == theirs["process_max_fds",] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_threads_are_those_that_the_kernel_counts():
    release = threading.Event()
    threads = [threading.Thread(target=release.wait) for _ in range(3)]
    collector = ProcessCollector(frozenset())
    before = read(collector)["process_threads",]
    for thread in threads:
        thread.start()
    during = read(collector)["process_threads",]
    kernel = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Threads:"))
    release.set()
    for thread in threads:
        thread.join()

    assert during == int(kernel.split()[1])
    assert during == before + 3


@pytest.mark.parametrize("has_folder_size", [True, False])
def test_open_descriptors_follow_the_files_that_are_opened(monkeypatch, tmp_path, has_folder_size):
    if not has_folder_size:
        monkeypatch.setattr("agentgauge.collectors.process._DESCRIPTORS", tmp_path / "missing")
    collector = ProcessCollector(frozenset())
    before = read(collector)["process_open_fds",]
    with contextlib.ExitStack() as files:
        for _ in range(40):
            files.enter_context(Path(os.devnull).open())
        listed = len(list(Path("/proc/self/fd").iterdir()))  # one of which is the listing itself
        during = read(collector)["process_open_fds",]

    assert during == before + 40
    assert listed - 1 <= during <= listed
    assert collector._has_cheap_descriptor_count in {has_folder_size, False}


def test_context_switches_of_all_threads_count():
    rounds = 300
    ping, pong = threading.Semaphore(0), threading.Semaphore(0)

    def play(mine, other):
        for _ in range(rounds):
            other.release()
            mine.acquire()

    collector = ProcessCollector(frozenset())
    before = read(collector)["process_context_switches_total", "voluntary"]
    threads = [threading.Thread(target=play, args=pair) for pair in ((ping, pong), (pong, ping))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert read(collector)["process_context_switches_total", "voluntary"] - before >= rounds / 2


def test_garbage_collections_are_counted():
    collector = ProcessCollector(frozenset())
    before = read(collector)["python_gc_collections_total", "2"]
    gc.collect()
    assert read(collector)["python_gc_collections_total", "2"] == before + 1


def test_cpu_utilization_is_the_cpu_time_spent_over_the_time_that_passed():
    now = [50.0]
    collector = ProcessCollector(frozenset(), lambda: now[0])
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
def test_a_family_that_somebody_owns_is_left_to_its_owner(family, attribute):
    now = [0.0]
    collector = ProcessCollector(frozenset({getattr(family, attribute)}), lambda: now[0])
    now[0] = 2.0

    names = {name for name, *_ in read(collector)}

    assert names == {other.name for other in OWN_FAMILIES} - {family.name}
