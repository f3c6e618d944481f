"""A program that heals itself: its store is killed, its agent hangs, and both are back before anybody is called.

python examples/self_healing.py               breaks both, watches them come back, and ends
python examples/self_healing.py --linger 60   and stays for a minute, so that its pages can be looked at

A monitor checks the store (it answers PING) and the agent (its oldest task is not too old). It tells ``Recoveries``, which may
restart the store's process and the agent's task, and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import agentgauge
from agentgauge import agent, task
from agentgauge.breaker import CircuitBreaker, CircuitOpenError
from agentgauge.health import AgentCheck, RedisCheck, Schedule, SystemHealthMonitor
from agentgauge.recovery import Backoff, Recoveries, Recovery, RestartSubprocess, RestartTask
from store import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentgauge.notification import Notification
    from agentgauge.recovery import Result

OFTEN = Schedule(interval_seconds=0.2, timeout_seconds=0.2, failure_threshold=2)
STUCK_SECONDS = 1.0
STORE, AGENT = "store", "archivist"


@agent(AGENT)
class Archivist:
    """Keeps notes in a store, through a circuit breaker, for as long as it runs."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._store = CircuitBreaker(STORE, minimum_calls=5, open_seconds=0.5, half_open_calls=1)
        self.filed = 0
        self.hangs_next = False

    async def work(self) -> None:
        """File one note after another; one that cannot be filed is left."""
        while True:
            with suppress(OSError, CircuitOpenError):
                await self.file(f"note {self.filed}")
            await asyncio.sleep(0.05)

    @task
    async def file(self, note: str) -> None:
        """File one note."""
        if self.hangs_next:
            self.hangs_next = False
            await asyncio.Event().wait()  # for something that never comes
        async with self._store:
            await ask(self._port, "SET", str(self.filed), note)
        self.filed += 1


class Story:
    """What happened, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def tell(self, line: str) -> None:
        """Print a line."""
        print(f"{time.monotonic() - self._began:6.1f} s  {line}", flush=True)

    def tell_alert(self, notification: Notification) -> None:
        """Print what became known of a component."""
        alert = notification.alert
        self.tell(f"{alert.subject}: {notification}")
        if alert.suggestions and notification.event == "started":
            self.tell(f"{alert.subject}: {alert.suggestions[0]}")

    def tell_result(self, result: Result) -> None:
        """Print what recovery did about a failure."""
        for attempt in result.attempts:
            self.tell(f"{result.failure.component}: {attempt.action}, since {attempt.reason}: {attempt.outcome}")
        self.tell(f"{result.failure.component}: {result.kind} {result.seconds:.1f} s after its alert")


async def main(arguments: Sequence[str] | None = None) -> int:
    """Break the store, then the agent; return 0 where both came back by themselves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--linger", type=float, default=0.0, metavar="SECONDS", help="stay for so long after the last recovery")
    parser.add_argument("--patience", type=float, default=60.0, metavar="SECONDS", help="how long each recovery may take")
    parser.add_argument("--port", type=int, default=0, help="of the pages; a free one unless given")
    options = parser.parse_args(arguments)
    logging.getLogger("agentgauge").setLevel(logging.CRITICAL)  # the story says it
    story, port = Story(), _free_port()
    archivist = Archivist(port)
    store = RestartSubprocess([sys.executable, str(Path(__file__).with_name("store.py")), str(port)], name="restart_store")
    working = RestartTask(archivist.work, name="restart_archivist")
    recoveries = Recoveries(
        [
            Recovery(component=STORE, actions=(store,), backoff=Backoff(first_seconds=0.2)),
            Recovery(component=AGENT, conditions=("stuck",), actions=(working,), backoff=Backoff(first_seconds=0.2)),
        ],
        loop=asyncio.get_running_loop(),
    )
    monitor = SystemHealthMonitor(
        [
            RedisCheck(name=STORE, url=f"redis://127.0.0.1:{port}", schedule=OFTEN),
            AgentCheck(name=AGENT, agent=AGENT, stuck_seconds=STUCK_SECONDS, minimum_calls=100, schedule=OFTEN),
        ]
    )
    monitor.add_alert_handler(story.tell_alert)
    monitor.add_alert_handler(recoveries.on_alert)
    store.start()
    working.start()
    try:
        if not await _true_within(options.patience, lambda: archivist.filed > 0):
            story.tell("no note was ever filed")
            return 1
        pages = agentgauge.start(port=options.port, health=monitor)
        page = pages.url or ""
        story.tell(f"the archivist files notes; {page} and {page.replace('/metrics', '/healthz?verbose')} show it")
        healed = await _healed(story, archivist, recoveries, STORE, options.patience, lambda: _kill(story, store))
        healed &= await _healed(story, archivist, recoveries, AGENT, options.patience, lambda: _hang(story, archivist))
        story.tell(f"{archivist.filed} notes were filed; {'all is well' if healed else 'it did not heal'}")
        await asyncio.sleep(options.linger)
        return 0 if healed else 1
    finally:
        await asyncio.to_thread(agentgauge.stop)
        recoveries.close()
        if working.task is not None:
            working.task.cancel()
        store.stop()


async def _healed(
    story: Story, archivist: Archivist, recoveries: Recoveries, component: str, patience: float, break_it: Callable[[], None]
) -> bool:
    """Break a component, and tell whether it was recovered, and notes are filed again."""
    known = len(recoveries.results)

    def results() -> list[Result]:  # those that ended by themselves aside, as alarms on a busy machine do
        return [result for result in recoveries.results[known:] if result.kind != "cancelled"]

    break_it()
    is_known = await _true_within(patience, lambda: any(result.failure.component == component for result in results()))
    for result in results():
        story.tell_result(result)
    filed = archivist.filed
    is_well = is_known and await _true_within(patience, lambda: archivist.filed > filed)
    return is_well and all(result.kind == "recovered" for result in results())


def _kill(story: Story, store: RestartSubprocess) -> None:
    if store.process is not None:
        store.process.kill()
        story.tell("the store was killed")


def _hang(story: Story, archivist: Archivist) -> None:
    archivist.hangs_next = True
    story.tell("the archivist hangs")


async def _true_within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
