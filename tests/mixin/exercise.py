"""A program that uses what the demo does not, until its input ends; it prints where its metrics are.

python tests/mixin/exercise.py DIR     where DIR is for the control groups of a container that is held back
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from cgroup_trees import build_v2, v2_group
from prometheus_client import REGISTRY

import agentgauge
from agentgauge.analytics.history import History
from agentgauge.analytics.watch import AnalysisWatch
from agentgauge.collectors.container import ContainerCollector
from agentgauge.recording.default import default_recorder
from agentgauge.system_metrics import SystemMetricsManager
from agentgauge.targets import DEFAULT_THRESHOLDS, Budget, Threshold
from keepers import Keepers
from team import Team

if TYPE_CHECKING:
    from agentgauge.testing import Isolation

_BUDGETS = (Budget(20), Budget(300, "month"), Budget(5, agent="lead"), Budget(50, "month", agent="helper"))
_OTHER_LIMITS = (
    Threshold("system_filesystem_inodes_utilization_ratio", 0.9),
    Threshold("container_cpu_utilization_ratio", 0.9),
    Threshold("container_memory_utilization_ratio", 0.9),
    Threshold("hw_gpu_utilization_ratio", 0.99),
    Threshold("hw_gpu_memory_utilization_ratio", 0.95),
    Threshold("hw_temperature_celsius", 85),
    Threshold("process_resident_memory_bytes", 1, "info"),  # always breached
)
_MEMORY_BYTES = 1 << 30
_PAUSE_SECONDS = 0.2
_HURRY = 100
_TURNS = 20
_HORIZON_SECONDS = 60  # for which sixteen seconds of history are enough


class Hurry:
    """A clock by which everything takes a hundredth of the time that it says."""

    def advance(self, seconds: float) -> None:
        """Let real time go by."""
        time.sleep(seconds / _HURRY)


def work(stop: threading.Event, folder: Path) -> None:
    """Let the team work again and again, in a container that is throttled meanwhile."""
    team = Team(cast("Isolation", SimpleNamespace(recorder=default_recorder(), clock=Hurry())))
    kernel, (group,) = build_v2(
        folder, {"limit": _MEMORY_BYTES, "memory": _MEMORY_BYTES // 2, "quota": "200000 100000", "pids": 99}
    )
    REGISTRY.register(ContainerCollector(proc=kernel.proc))
    periods = 0
    while not stop.wait(_PAUSE_SECONDS):
        team.work()
        periods += 2
        used = 1_000_000 + 100_000 * periods
        throttled = (periods, periods // 2, 1000 * periods)
        files = v2_group(throttled=throttled, user=used, system=used // 2)
        (group / "cpu.stat").write_text(f"{files['cpu.stat']}\n")


async def keep() -> None:
    """Let what keeps a program up work in trouble and out of it, by turns."""
    async with Keepers(interval_seconds=_PAUSE_SECONDS) as keepers:
        turn = 0
        while True:
            turn += 1
            await keepers.work(is_troubled=turn % _TURNS < _TURNS / 2)
            await asyncio.sleep(_PAUSE_SECONDS)


async def main(folder: Path) -> None:
    """Serve until the input ends."""
    limits = (*DEFAULT_THRESHOLDS, *_OTHER_LIMITS)
    history_file = folder.with_name("exercise.history")  # the folder is yet to be made
    monitor = agentgauge.start(
        port=0,
        service_name="exercise",
        collectors=("host", "process", "unique-memory"),
        thresholds=limits,
        budgets=_BUDGETS,
        history_file=history_file,
        history_interval_seconds=_PAUSE_SECONDS,
    )
    watch = AnalysisWatch(partial(History, history_file, is_read_only=True), interval_seconds=1, horizon_seconds=_HORIZON_SECONDS)
    watch.start()
    stop = threading.Event()
    worker = threading.Thread(target=work, args=(stop, folder))
    command = (sys.executable, "-c", "import sys; sys.stdin.read()")
    child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    worker.start()
    keeping = asyncio.create_task(keep())
    try:
        async with SystemMetricsManager(collectors=("host", "process"), thresholds=limits):
            print(f"metrics: {monitor.url}", flush=True)  # noqa: T201 - the test reads it
            await asyncio.to_thread(sys.stdin.read)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        stop.set()
        worker.join()
        child.kill()
        await child.wait()
        watch.stop()
        monitor.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
