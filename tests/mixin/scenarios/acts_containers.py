"""What containers of programs do: those that come to their limits, and others that do not or have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.acts_machine import container, host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from virtual_time import Process


def uses_up_its_cpus(process: Process) -> Iterator[None]:
    """After ten minutes the container uses 99% of its CPU limit, for half an hour."""
    with container(process) as group:
        yield
        for minute in range(1, 71):
            group.work(0.5 if minute <= 10 else 0.99 if minute <= 40 else 0.2)
            yield


def uses_nine_tenths_of_its_cpus(process: Process) -> Iterator[None]:
    """The container uses 90% of its CPU limit."""
    with container(process) as group:
        yield
        for _ in range(40):
            group.work(0.9)
            yield


def may_use_up_its_cpus(process: Process) -> Iterator[None]:
    """The container uses 99% of its CPU limit, and may."""
    with container(process) as group:
        yield
        for _ in range(40):
            group.work(0.99)
            yield


def is_held_back(process: Process) -> Iterator[None]:
    """After twenty minutes the container is held back in every second period, for forty."""
    with container(process) as group:
        for minute in range(86):
            group.be_held_back(0.5 if 20 < minute <= 60 else 0)
            yield


def is_held_back_at_times(process: Process) -> Iterator[None]:
    """The container is held back in one of ten periods."""
    with container(process) as group:
        for _ in range(61):
            group.be_held_back(0.1)
            yield


def does_nothing(process: Process) -> Iterator[None]:
    """The container had nothing to do: there was no period."""
    with container(process):
        for _ in range(61):
            yield


def takes_memory(process: Process) -> Iterator[None]:
    """After ten minutes the container takes 92% of its memory limit, after half an hour 98%."""
    with container(process) as group:
        for minute in range(81):
            group.write("memory.current", 500 if minute <= 10 else 920 if minute <= 30 else 980 if minute <= 50 else 100)
            yield


def takes_less_memory(process: Process) -> Iterator[None]:
    """The container takes 80% of its memory limit."""
    with container(process, memory=800):
        for _ in range(51):
            yield


def may_take_its_memory(process: Process) -> Iterator[None]:
    """The container takes 99% of its memory limit, and may."""
    with container(process, memory=990):
        for _ in range(51):
            yield


def takes_more_and_more_memory(process: Process) -> Iterator[None]:
    """The container takes more of its memory limit each minute, up to seven eighths in two hours, and then lets some of it go."""
    with host(process, is_read=False), container(process, limit=8192) as group:
        for minute in range(151):
            group.write("memory.current", 3392 + 32 * minute if minute < 120 else 4096)
            yield


def has_a_host_whose_memory_ends(process: Process) -> Iterator[None]:
    """The host's memory is used up by others, and the container takes 40% of what it may."""
    with host(process, is_read=False) as machine, container(process, limit=20_480_000, memory=8_192_000):
        for minute in range(121):
            machine.leave_memory(9000 - 60 * minute)
            yield


def takes_memory_at_first(process: Process) -> Iterator[None]:
    """The container takes more and more memory in its first minutes, and then 60% of its limit."""
    with host(process, is_read=False), container(process) as group:
        for minute in range(121):
            group.write("memory.current", 600 + 10 * minute if minute < 25 else 600)
            yield


def is_killed(process: Process) -> Iterator[None]:
    """The kernel ends a process after twenty minutes."""
    with container(process) as group:
        for minute in range(61):
            if minute == 21:
                group.kill()
            yield


def was_killed(process: Process) -> Iterator[None]:
    """The kernel had ended three processes before."""
    with container(process, kills=3):
        for _ in range(61):
            yield


def starts_processes(process: Process) -> Iterator[None]:
    """After ten minutes the container has 95 of 100 processes, for half an hour."""
    with container(process, pids=100) as group:
        for minute in range(61):
            group.write("pids.current", 95 if 10 < minute <= 40 else 10)
            yield


def starts_processes_without_limit(process: Process) -> Iterator[None]:
    """The container has ten thousand processes, and may have any number."""
    with container(process) as group:
        group.write("pids.current", 10_000)
        for _ in range(41):
            yield
