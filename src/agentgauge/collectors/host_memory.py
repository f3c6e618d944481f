"""How much memory and swap the host has left."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psutil

from agentgauge.catalogue import machine
from agentgauge.collectors.readings import Reading, read_proc

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["read_capacity", "read_memory"]

_KIBIBYTE = 1024
_FIELDS = ("MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SReclaimable", "SwapTotal", "SwapFree")
_WANTED = re.compile(rf"^({'|'.join(_FIELDS)}): *(\d+) kB$", re.MULTILINE)


def read_memory() -> Iterator[Reading]:
    """Read memory and swap by state; those of memory add up to the limit, and those of swap are 0 on a host that has none."""
    kernel = _read_meminfo() if psutil.LINUX else {}
    total, available, states = _find_memory(kernel) if psutil.LINUX else _read_psutil_memory()
    states["used"] = total - sum(states.values())
    for state, value in states.items():
        if value >= 0:
            yield Reading(machine.MEMORY_USAGE_HOST, value, {"system_memory_state": state})
    yield Reading(machine.MEMORY_LIMIT, total, {})
    if available is not None and 0 <= available <= total:  # some containers are told of more than there is
        yield Reading(machine.MEMORY_UTILIZATION, 1 - available / total, {})
    for state, value in (_find_swap(kernel) if psutil.LINUX else _read_psutil_swap()).items():
        yield Reading(machine.PAGING_USAGE, value, {"system_paging_state": state})


def read_capacity() -> tuple[int | None, int | None]:
    """Read the host's memory, and what of it is available to programs, in bytes; ``None`` for what is not told.

    Raises:
        OSError: The host refuses.
        psutil.Error: The same, where there is no ``/proc``.
    """
    if not psutil.LINUX:
        return _read_psutil_memory()[:2]
    kernel = _read_meminfo()
    return kernel.get("MemTotal"), kernel.get("MemAvailable")


def _read_meminfo() -> dict[str, int]:
    """Read what is wanted of the kernel's table of memory, in bytes."""
    return {field: int(number) * _KIBIBYTE for field, number in _WANTED.findall(read_proc("meminfo"))}


def _find_memory(kernel: dict[str, int]) -> tuple[int, int | None, dict[str, int]]:
    # psutil says 0 for what the kernel does not tell, and warns the program that it runs in
    states = {state: kernel[field] for state, field in (("free", "MemFree"), ("buffers", "Buffers")) if field in kernel}
    if "Cached" in kernel:
        states["cached"] = kernel["Cached"] + kernel.get("SReclaimable", 0)  # caches of the kernel, as free(1) counts them
    return kernel["MemTotal"], kernel.get("MemAvailable"), states


def _find_swap(kernel: dict[str, int]) -> dict[str, int]:
    if "SwapTotal" not in kernel or "SwapFree" not in kernel:
        return {}
    return {"used": kernel["SwapTotal"] - kernel["SwapFree"], "free": kernel["SwapFree"]}


def _read_psutil_memory() -> tuple[int, int | None, dict[str, int]]:
    memory = psutil.virtual_memory()
    states = {state: getattr(memory, state) for state in ("free", "buffers", "cached") if hasattr(memory, state)}
    return memory.total, memory.available, states


def _read_psutil_swap() -> dict[str, int]:
    swap = psutil.swap_memory()
    return {"used": swap.used, "free": swap.free}
