"""Programs whose components are unwell, whose breakers open, whose recoveries help or not, and which turn work away."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from agentgauge.breaker import CircuitBreaker, CountWindow
from agentgauge.health import ComponentType, Status
from agentgauge.processing import ProcessingSettings
from agentgauge.recovery import Backoff, Budget, Call, Failure, Recoveries, Recovery
from scenarios.acts_reliability import Alone, Desk, Part, Rounds, Told, call, checking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capture import Target
    from virtual_time import Process

HEALTHY, WARNING, CRITICAL, DOWN, UNKNOWN = Status


def is_unwell(process: Process) -> Iterator[None]:
    """From the tenth minute to the fortieth the database is down, the model critical and then down, the cache degraded.

    The disk is down for two checks, of which three are needed; the index is well.
    """
    database, cache = Part("database", ComponentType.DATABASE), Part("cache", ComponentType.CACHE)
    model, disk, index = Part("model", ComponentType.LM), Part("disk", ComponentType.STORAGE), Part("index")
    with checking(process, database, cache, model, disk, index) as rounds:
        yield
        for minute in range(1, 61):
            is_bad = 10 <= minute < 40
            database.status = DOWN if is_bad else HEALTHY
            cache.status = WARNING if is_bad else HEALTHY
            model.status = (CRITICAL if minute < 25 else DOWN) if is_bad else HEALTHY
            disk.status = DOWN if minute in {20, 21} else HEALTHY
            rounds.a_minute_later()
            yield


def is_well(process: Process) -> Iterator[None]:
    """Another instance reaches the same database."""
    with checking(process, Part("database", ComponentType.DATABASE)) as rounds:
        yield
        for _ in range(60):
            rounds.a_minute_later()
            yield


def goes_to_and_fro(process: Process) -> Iterator[None]:
    """For 25 minutes each other check finds the gateway degraded; of the mirror each fifth does."""
    gateway = Part("gateway", ComponentType.NETWORK, failure_threshold=1)
    mirror = Part("mirror", failure_threshold=1)
    with checking(process, gateway, mirror) as rounds:
        yield
        for minute in range(1, 61):
            gateway.status = WARNING if minute <= 25 and minute % 2 else HEALTHY
            mirror.status = WARNING if minute % 5 == 0 else HEALTHY
            rounds.a_minute_later()
            yield


def stands_still(process: Process) -> Iterator[None]:
    """After ten minutes it begins no check for twenty; of "guess" none tells how it is, until after 45 minutes."""
    guess = Part("guess", ComponentType.AGENT)
    guess.status = UNKNOWN
    with checking(process, Part("mailbox"), guess) as rounds:
        yield
        for minute in range(1, 61):
            if minute > 45:
                guess.status = HEALTHY
            if not 10 < minute <= 30:
                rounds.a_minute_later()
            yield


def stops_checking(process: Process) -> Iterator[None]:
    """It stops its monitor after ten minutes."""
    with checking(process, Part("mailbox")) as rounds:
        yield
        for minute in range(1, 61):
            if minute <= 10:
                rounds.a_minute_later()
            if minute == 10:
                rounds.monitor.stop_monitoring()
            yield


def checks_once(process: Process) -> Iterator[None]:
    """It has no monitor at work, and asked for its components once."""
    rounds = Rounds(process.clock, (Part("mailbox"),))
    with closing(rounds.monitor):
        rounds.monitor.check_all_health_blocking()
        for _ in range(61):
            yield


def breaks(process: Process) -> Iterator[None]:
    """For ten minutes all calls through "models" fail, and through "recovery of x"; "idle" is not called after it has opened.

    Through "seldom" one of ten fails; "closed for repair" is opened by hand after 5 minutes, and closed after 20.
    """
    models, guard, idle, seldom, repair = (
        CircuitBreaker(name, window=CountWindow(10), open_seconds=30, clock=process.clock)
        for name in ("models", "recovery of x", "idle", "seldom", "closed for repair")
    )
    for half_minute in range(61):
        process.clock.advance(20 if half_minute else 0)
        is_bad = 4 <= half_minute < 24
        for breaker in (models, guard):
            call(breaker, badly=10 if is_bad else 0, well=0 if is_bad else 10)
        if half_minute <= 4:
            call(idle, badly=10 if is_bad else 0, well=0 if is_bad else 10)
        call(seldom, badly=1, well=9)
        if half_minute == 10:
            repair.open()
        if half_minute == 40:
            repair.close()
        call(repair, well=1)
        yield


def recovers(process: Process) -> Iterator[None]:
    """In the tenth minute the database, the queue, the index and the search fail; the cache does every other minute, for 20.

    Of the database two attempts may be made, and none helps; the only action for the queue hangs; of the index ten fail, and its
    breaker opens. The search and the cache recover at once.
    """
    held = threading.Event()
    with _recoveries(process, held.wait) as recoveries:
        for minute in range(61):
            if minute == 10:
                for component in ("database", "queue", "index", "search"):
                    recoveries.recover(_failure(process, component))
                held.set()
            if 10 <= minute < 30 and minute % 2 == 0:
                recoveries.recover(_failure(process, "cache"))
                recoveries.end(_failure(process, "cache").identity)
            yield


def gives_up_at_once(process: Process) -> Iterator[None]:
    """It has given up on its database before the first scrape."""
    with _recoveries(process) as recoveries:
        recoveries.recover(_failure(process, "database"))
        for _ in range(61):
            yield


def _recoveries(process: Process, hang: Callable[[], object] = lambda: None) -> Recoveries:
    def plan(component: str, *, helps: bool, attempts: int = 5, act: Callable[[], object] = lambda: None) -> Recovery:
        return Recovery(
            component=component,
            actions=(Call("restart", act),),
            action_timeout_seconds=0.1 if component == "queue" else 60,
            check=lambda: helps,
            verify_seconds=0,
            backoff=Backoff(first_seconds=0, longest_seconds=0),
            budget=Budget(attempts=attempts),
        )

    return Recoveries(
        [
            plan("database", helps=False, attempts=2),
            plan("queue", helps=True, act=hang),
            plan("index", helps=False, attempts=12),
            plan("search", helps=True),
            plan("cache", helps=True),
        ],
        clock=process.clock,
        wall_clock=process.clock,
        sleep=process.clock.advance,
    )


def _failure(process: Process, component: str) -> Failure:
    return Failure(component=component, condition="refused", started_at=process.clock.now)


def turns_away(_process: Process) -> Iterator[None]:
    """For half an hour the clerk refuses two of ten questions; of those of the guide one of forty, and all of the oracle's.

    The guest refuses four, and hardly answers more. What the porter is asked comes after it was shut down.
    """
    with asyncio.Runner() as runner:
        clerk = Desk()
        guide, oracle, guest, porter = (Desk(_as(name)) for name in ("guide", "oracle", "guest", "porter"))
        runner.run(_shut_down(porter))
        for minute in range(61):
            is_bad = 1 <= minute <= 30
            runner.run(clerk.serve(answered=8, refused=2 if is_bad else 0))
            runner.run(guide.serve(answered=39, refused=1))
            runner.run(_ask_in_vain(oracle if is_bad else porter))
            if 20 <= minute < 24:
                runner.run(guest.serve(answered=1, refused=1))
            runner.run(_ask_in_vain(porter))
            yield


def _as(agent: str) -> ProcessingSettings:
    breaker = None
    if agent == "oracle":
        breaker = CircuitBreaker("oracle")
        breaker.open()
    return ProcessingSettings(agent=agent, task="answer", max_concurrency=1, queue_limit=0, breaker=breaker)


async def _shut_down(desk: Desk) -> None:
    await desk.shutdown()


async def _ask_in_vain(desk: Desk) -> None:
    assert (await desk.process("refused")).error is not None


def tells_in_vain(process: Process) -> Iterator[None]:
    """For ten minutes there is news; the handler "chat" raises, and "pager" hangs: thrice, after which it is told nothing."""
    told = Told(process)
    with closing(told):
        for minute in range(61):
            told.is_broken = 10 <= minute < 20
            if 10 <= minute <= 20:
                told.tell()
            yield


ALSO = {
    "A component that is critical or down is reported by each instance that sees it so, one that is degraded as a warning": (
        frozenset({"agent_health_checks_total"})
    ),
    "A component that goes to and fro is reported until it is calm": frozenset({"agent_health_transitions_total"}),
    "A component that recovers again and again is reported, and one that recovery gave up on, by why": frozenset(
        {"agent_recovery_attempts_total"}
    ),
}
CASES: dict[str, list[Target]] = {
    "A component that is critical or down is reported by each instance that sees it so, one that is degraded as a warning": [
        Alone(is_unwell),
        Alone(is_well, instance="a:2"),
    ],
    "A component that goes to and fro is reported until it is calm": [Alone(goes_to_and_fro)],
    "Checks that nobody makes any more, and those that cannot tell, are reported where they were promised": [
        Alone(stands_still),
        Alone(stops_checking, "b", "b:1"),
        Alone(checks_once, "c", "c:1"),
    ],
    "A circuit breaker is reported that refuses most of the time, and as information one that was opened by hand": [
        Alone(breaks),
    ],
    "A component that recovers again and again is reported, and one that recovery gave up on, by why": [
        Alone(recovers),
        Alone(gives_up_at_once, "b", "b:1"),
    ],
    "Requests are reported that are turned away by more than one in twenty, but not those that come at the end": [
        Alone(turns_away),
    ],
    "A handler is reported that is not told, whether it raises, hangs or is told nothing any more": [
        Alone(tells_in_vain, has_faults=True),
    ],
}
