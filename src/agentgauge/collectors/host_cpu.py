"""How busy the host's CPUs are: time by mode and core, utilization, load."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil

from agentgauge.catalogue import machine
from agentgauge.collectors.readings import Reading, Utilization, read_proc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Cpus", "read_cores", "read_load"]

# as proc(5) orders them; guest time is missing because user and nice contain it
_MODES = ("user", "nice", "system", "idle", "iowait", "interrupt", "interrupt", "steal")
_PSUTIL_MODES = {**{mode: mode for mode in _MODES if mode != "interrupt"}, "irq": "interrupt", "softirq": "interrupt"}
_UNUSED_MODES = frozenset({"idle", "iowait"})
_RESET_SECONDS = 3.0

_Seconds = dict[str, float]


class Cpus:
    """The time that each logical CPU spent in each mode, and the share of it that was used between two readings."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Know nothing yet: the first utilization comes with the second reading.

        Args:
            clock: Seconds that never go back.
        """
        self._clock = clock
        self._seconds: dict[str, _Seconds] = {}
        self._used = self._capacity = 0.0
        self._utilization = Utilization()

    def read(self) -> Iterator[Reading]:
        """Read the CPUs that are online; the utilization is that of the whole host."""
        before, self._seconds = self._seconds, dict(_read_seconds())
        for cpu, seconds in self._seconds.items():
            if cpu in before:
                self._add(before[cpu], seconds)
            for mode, value in seconds.items():
                yield Reading(machine.CPU_TIME, value, {"cpu_logical_number": cpu, "cpu_mode": mode})
        ratio = self._utilization.update(self._clock(), self._used, self._capacity)
        if ratio is not None:
            yield Reading(machine.CPU_UTILIZATION, min(ratio, 1.0), {})

    def _add(self, before: _Seconds, seconds: _Seconds) -> None:
        """Add one CPU's share to the totals: by difference, since CPUs that come and go take all that they counted with them."""
        used = capacity = 0.0
        for mode, value in seconds.items():
            was = before.get(mode, value)
            if was - _RESET_SECONDS < value < was:
                # idle and iowait run backwards at times (proc(5)), which rate() would take for a restart
                seconds[mode] = value = was  # noqa: PLW2901 - the corrected value is the value
            capacity += value - was
            if mode not in _UNUSED_MODES:
                used += value - was
        if 0 <= used <= capacity:
            self._used += used
            self._capacity += capacity


def _read_seconds() -> Iterable[tuple[str, _Seconds]]:
    if not psutil.LINUX:
        for cpu, times in enumerate(psutil.cpu_times(percpu=True)):
            yield (
                str(cpu),
                _sum_by_mode((_PSUTIL_MODES[field], v) for field, v in times._asdict().items() if field in _PSUTIL_MODES),
            )
        return
    # psutil counts the lines, and calls the third CPU the second while that one is offline
    ticks = os.sysconf("SC_CLK_TCK")
    for line in read_proc("stat").splitlines()[1:]:
        if not line.startswith("cpu"):  # the CPUs come first; lines that are long come after them
            break
        name, *fields = line.split()
        yield name.removeprefix("cpu"), _sum_by_mode(zip(_MODES, (int(field) / ticks for field in fields), strict=False))


def _sum_by_mode(pairs: Iterable[tuple[str, float]]) -> _Seconds:
    seconds: _Seconds = {}
    for mode, value in pairs:
        seconds[mode] = seconds.get(mode, 0.0) + value
    return seconds


def read_cores() -> Iterator[Reading]:
    """Count the logical CPUs."""
    cores = psutil.cpu_count(logical=True)
    if cores is not None:
        yield Reading(machine.CPU_CORES, cores, {})


def read_load() -> Iterator[Reading]:
    """Read the load averages."""
    families = (machine.LOAD_1M, machine.LOAD_5M, machine.LOAD_15M)
    for family, value in zip(families, os.getloadavg(), strict=True):
        yield Reading(family, value, {})
