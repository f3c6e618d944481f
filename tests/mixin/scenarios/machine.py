"""Programs whose host, container, GPU, descriptors or event loop come to their limits, and others that stay within theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentgauge import Threshold
from agentgauge.collectors.mount_probe import Mount
from scenarios import acts_containers as containers
from scenarios.acts_machine import BYTES, Stranger, descriptors, event_loop, gpu, host
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

    from capture import Target

ROOT, DATA, HOME = (Mount(f"/dev/{name}", place, "ext4") for name, place in (("a", "/"), ("b", "/data"), ("c", "/home")))
CPU, MEMORY, GPU_TIME = "system_cpu_utilization_ratio", "system_memory_utilization_ratio", "hw_gpu_utilization_ratio"
CONTAINER_CPU, CONTAINER_MEMORY = "container_cpu_utilization_ratio", "container_memory_utilization_ratio"
HEAT = "hw_temperature_celsius"


def is_busy(process: Process) -> Iterator[None]:
    """After ten minutes the CPUs are 95% busy for fifty; the warning is at 90%, what is critical at 97%."""
    with host(process) as machine:
        for minute in range(76):
            machine.work(0.5 if minute <= 10 else 0.95 if minute <= 60 else 0.1)
            yield


def is_very_busy(process: Process) -> Iterator[None]:
    """The CPUs are 99% busy for an hour; only one limit is stated."""
    with host(process) as machine:
        for minute in range(76):
            machine.work(0.99 if minute <= 60 else 0.1)
            yield


def is_busy_without_limit(process: Process) -> Iterator[None]:
    """CPUs and memory are used up, and no limit is on them."""
    with host(process) as machine:
        machine.leave_memory(0)
        for _ in range(31):
            machine.work(1)
            yield


def has_a_burst(process: Process) -> Iterator[None]:
    """The CPUs are 95% busy for eight minutes, and on average of five minutes for less than five."""
    with host(process) as machine:
        for minute in range(31):
            machine.work(0.95 if 18 <= minute <= 25 else 0.1)
            yield


def needs_memory(process: Process) -> Iterator[None]:
    """After ten minutes 98% of the memory are in use, for twenty."""
    with host(process) as machine:
        for minute in range(46):
            machine.leave_memory(500_000 if minute <= 10 else 20_000 if minute <= 30 else 750_000)
            yield


def has_full_disks(process: Process) -> Iterator[None]:
    """For an hour 90% of / are used up, 99% of /data, and 85% of /home, which is the limit."""
    with host(process, ROOT, DATA, HOME) as machine:
        for minute in range(66):
            for mount, used in ((ROOT, 900), (DATA, 990), (HOME, 850)):
                machine.fill(mount, used if minute <= 60 else 100)
            yield


def has_a_full_disk_without_limit(process: Process) -> Iterator[None]:
    """Nothing is left of /, and no limit is on it."""
    with host(process, ROOT) as machine:
        machine.fill(ROOT, BYTES)
        for _ in range(31):
            yield


def has_many_files(process: Process) -> Iterator[None]:
    """After ten minutes 92% of the inodes are taken, after half an hour 98%."""
    with host(process, ROOT) as machine:
        for minute in range(71):
            machine.fill_inodes(ROOT, 500 if minute <= 10 else 920 if minute <= 30 else 980 if minute <= 50 else 100)
            yield


def waits(process: Process) -> Iterator[None]:
    """After twenty minutes tasks wait for the CPU 42 seconds of each minute, all for memory 9, and all for the disk 36."""
    with host(process) as machine:
        for minute in range(86):
            is_bad = 20 < minute <= 60
            for kind, resource, seconds in (("some", "cpu", 42), ("full", "memory", 9), ("full", "io", 36)):
                machine.wait(kind, resource, seconds if is_bad else 3 if minute <= 20 else 0)
            yield


def waits_in_part(process: Process) -> Iterator[None]:
    """Some tasks wait for memory and for the disk 48 seconds of each minute, and others go on."""
    with host(process) as machine:
        for _ in range(61):
            machine.wait("some", "memory", 48)
            machine.wait("some", "io", 48)
            yield


def receives_errors(process: Process) -> Iterator[None]:
    """After twenty minutes two of a hundred packets are errors and five of a hundred are dropped, for forty."""
    with host(process) as machine:
        for minute in range(86):
            is_bad = 20 < minute <= 60
            machine.receive(1000, errors=20 if is_bad else 0, dropped=50 if is_bad else 0)
            yield


def receives_few_errors(process: Process) -> Iterator[None]:
    """One of a thousand packets is an error, and one is dropped."""
    with host(process) as machine:
        for _ in range(61):
            machine.receive(1000, errors=1, dropped=1)
            yield


def receives_hardly_anything(process: Process) -> Iterator[None]:
    """There is a packet a minute, and every tenth minute another that is an error and one that is dropped."""
    with host(process) as machine:
        for minute in range(61):
            machine.receive(1, errors=int(minute % 10 == 0), dropped=int(minute % 10 == 0))
            yield


def has_a_busy_gpu(process: Process) -> Iterator[None]:
    """After ten minutes the GPU is busy all the time and its memory 99% full, for fifty."""
    with gpu(process) as device:
        for minute in range(121):
            is_busy = 10 < minute <= 60
            device.utilization, device.used = (100, device.total * 99 // 100) if is_busy else (10, device.total // 10)
            yield


def may_have_a_busy_gpu(process: Process) -> Iterator[None]:
    """The GPU is busy all the time, which has no limit, and 92% of its memory are in use."""
    with gpu(process, utilization=100, total=1000, used=920):
        for _ in range(61):
            yield


def has_a_hot_gpu(process: Process) -> Iterator[None]:
    """After ten minutes the GPU has 88 degrees, after half an hour 95."""
    with gpu(process) as device:
        for minute in range(91):
            device.temperature = 50 if minute <= 10 else 88 if minute <= 30 else 95 if minute <= 50 else 50
            yield


def has_a_warm_gpu(process: Process) -> Iterator[None]:
    """The GPU has 80 degrees."""
    with gpu(process, temperature=80):
        for _ in range(51):
            yield


def may_have_a_hot_gpu(process: Process) -> Iterator[None]:
    """The GPU has 88 degrees, and may have 90."""
    with gpu(process, temperature=88):
        for _ in range(51):
            yield


def has_a_broken_gpu(process: Process) -> Iterator[None]:
    """After twenty minutes the GPU's memory has two errors that cannot be corrected."""
    with gpu(process) as device:
        for minute in range(141):
            device.uncorrected = 0 if minute <= 20 else 2
            yield


def has_a_gpu_that_helps_itself(process: Process) -> Iterator[None]:
    """The GPU's memory has five errors a minute that it corrects; two others are of old."""
    with gpu(process, uncorrected=2) as device:
        for _ in range(61):
            device.corrected += 5
            yield


def opens_files(process: Process) -> Iterator[None]:
    """After ten minutes 85 of 100 descriptors are open, after half an hour 98."""
    with descriptors(process.isolation.registry, 100) as files:
        for minute in range(81):
            files.open(10 if minute <= 10 else 85 if minute <= 30 else 98 if minute <= 50 else 10)
            yield


def may_open_files(process: Process) -> Iterator[None]:
    """99 of a million descriptors are open."""
    with descriptors(process.isolation.registry, 1_000_000) as files:
        files.open(99)
        for _ in range(31):
            yield


def is_a_stranger(registry: CollectorRegistry) -> Iterator[None]:
    """99 of 100 descriptors are open, in a program without agentgauge."""
    with descriptors(registry, 100) as files:
        files.open(99)
        for _ in range(31):
            yield


def is_held_up(process: Process) -> Iterator[None]:
    """The event loop is held up for ten minutes, from twenty seconds before the eleventh on."""
    with event_loop(process) as loop:
        for minute in range(41):
            if minute == 11:
                process.clock.advance(40)
                loop.hold_up()
            if minute == 21:
                loop.let_go()
            loop.look()
            yield


def is_held_up_for_a_moment(process: Process) -> Iterator[None]:
    """The event loop is held up for three seconds at every scrape, and once for half a minute."""
    with event_loop(process) as loop:
        yield
        for minute in range(1, 41):
            process.clock.advance(30 if minute == 12 else 57)
            loop.hold_up()
            yield
            loop.let_go()


def is_late(process: Process) -> Iterator[None]:
    """After twenty minutes the event loop is late by 1.5 s every second time, for forty."""
    with event_loop(process) as loop:
        for minute in range(111):
            for _ in range(2):
                loop.look()
            if 20 < minute <= 60:
                for _ in range(2):
                    loop.hold_up()
                    process.clock.advance(1.5)
                    loop.let_go()
            yield


def is_in_time(process: Process) -> Iterator[None]:
    """The event loop is in time."""
    with event_loop(process) as loop:
        for _ in range(61):
            loop.look()
            yield


def limits(*thresholds: Threshold) -> dict[str, Any]:
    """Let these be all the limits of a program."""
    return {"thresholds": thresholds}


CASES: dict[str, list[Target]] = {
    "Busy CPUs are reported by the limits that the program itself exports": [
        Program(is_busy, settings=limits(Threshold(CPU, 0.9), Threshold(CPU, 0.97, "critical"))),
        Program(is_very_busy, instance="a:2", settings=limits(Threshold(CPU, 0.97, "critical"))),
        Program(is_busy_without_limit, instance="free", settings=limits(Threshold(GPU_TIME, 0.5))),
        Program(has_a_burst, instance="burst"),
        Program(is_very_busy, instance="told", settings=limits(Threshold(CPU, 0.8), Threshold(CPU, 0.95, "info"))),
    ],
    "Memory in use is reported by the limits that the program itself exports": [
        Program(needs_memory, settings=limits(Threshold(MEMORY, 0.9), Threshold(MEMORY, 0.96, "critical"))),
        Program(is_busy_without_limit, instance="free", settings=limits(Threshold(GPU_TIME, 0.5))),
    ],
    "A full file system is reported by the limits that the program itself exports, each by its mount point": [
        Program(has_full_disks),
        Program(has_a_full_disk_without_limit, instance="free", settings=limits()),
    ],
    "A file system of a host with agents can hold hardly any more files": [Program(has_many_files)],
    "Tasks on a host with agents wait for a resource much of the time": [
        Program(waits),
        Program(waits_in_part, instance="other"),
    ],
    "A network interface of a host with agents has many errors, and drops many packets": [
        Program(receives_errors),
        Program(receives_few_errors, instance="other"),
        Program(receives_hardly_anything, instance="quiet"),
    ],
    "A container with agents uses up its CPU limit": [
        Program(containers.uses_up_its_cpus),
        Program(containers.uses_nine_tenths_of_its_cpus, instance="other"),
        Program(containers.may_use_up_its_cpus, instance="quiet", settings=limits(Threshold(CONTAINER_CPU, 1))),
    ],
    "A container with agents is held back by its CPU limit": [
        Program(containers.is_held_back),
        Program(containers.is_held_back_at_times, instance="other"),
        Program(containers.does_nothing, instance="quiet"),
    ],
    "The memory of a container with agents is used beyond its limit": [
        Program(containers.takes_memory),
        Program(containers.takes_less_memory, instance="other"),
        Program(
            containers.may_take_its_memory,
            instance="quiet",
            settings=limits(Threshold(CONTAINER_MEMORY, 1), Threshold(CONTAINER_MEMORY, 1, "critical")),
        ),
    ],
    "A container with agents will have used up its memory within an hour": [
        Program(containers.takes_more_and_more_memory),
        Program(containers.has_a_host_whose_memory_ends, instance="other"),
        Program(containers.takes_memory_at_first, instance="quiet"),
    ],
    "A process of a container with agents was ended for lack of memory": [
        Program(containers.is_killed),
        Program(containers.was_killed, instance="other"),
    ],
    "A container with agents can start hardly any more processes and threads": [
        Program(containers.starts_processes),
        Program(containers.starts_processes_without_limit, instance="other"),
    ],
    "A GPU is busier than its limit allows": [
        Program(has_a_busy_gpu, settings=limits(Threshold(GPU_TIME, 0.95))),
        Program(may_have_a_busy_gpu, instance="other"),
    ],
    "The memory of a GPU is used beyond its limit": [
        Program(has_a_busy_gpu),
        Program(may_have_a_busy_gpu, instance="other"),
    ],
    "A GPU is hot": [
        Program(has_a_hot_gpu),
        Program(has_a_warm_gpu, instance="other"),
        Program(may_have_a_hot_gpu, instance="quiet", settings=limits(Threshold(HEAT, 90))),
    ],
    "The memory of a GPU has errors that could not be corrected": [
        Program(has_a_broken_gpu),
        Program(has_a_gpu_that_helps_itself, instance="other"),
    ],
    "A program with agents has nearly as many files and connections open as it may": [
        Program(opens_files),
        Stranger(is_a_stranger, "a", "other"),
        Program(may_open_files, instance="quiet"),
    ],
    "An event loop of a program with agents is held up": [
        Program(is_held_up),
        Program(is_held_up_for_a_moment, instance="other"),
    ],
    "An event loop of a program with agents is often late": [
        Program(is_late),
        Program(is_in_time, instance="other"),
    ],
}

BY_HAND = {
    "A reading that is no number breaches no limit": "agentgauge leaves out what it cannot read, so no page of its own has NaN",
}
