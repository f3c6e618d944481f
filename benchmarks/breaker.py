"""What a call through a closed circuit breaker costs above a bare one, beside pybreaker and purgatory with their defaults.

All decorate the same function, or are a block around the same call as their own documentation writes it: purgatory's is
``with factory.get_breaker(name):``, pybreaker's ``with breaker.calling():``. Ours counts every call by how it ended, and that is
collected inside the window; theirs keep no counts of successes. pybreaker has no row for coroutines: it takes the coroutine for
the result, and never sees one fail.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from agentgauge.breaker import CircuitBreaker
from agentgauge.catalogue.reliability import BREAKER_CALLS
from agentgauge.recording.default import default_recorder
from measure import Subject, measure
from rows import Row, Suite
from subjects import loop, loop_async, work, work_async

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rows import Effort

__all__ = ["NAMES", "SUITES"]

_PEERS = (
    ("sync", "pybreaker"),
    ("sync", "purgatory"),
    ("async", "purgatory"),
    ("with", "pybreaker"),
    ("with", "purgatory"),
    ("async with", "purgatory"),
)
NAMES = tuple(f"closed circuit breaker, {kind}, against {peer}" for kind, peer in _PEERS)


class _OurCounts:
    """What a breaker counted of calls that went well, counted anew after each reading."""

    def __init__(self, name: str) -> None:
        self._labels = (("circuit_breaker", name), ("kind", "successful"))
        self._seen = 0

    def settle(self) -> int:
        """State what is new, as a scrape does; return how many calls that is since the last time."""
        recorder = default_recorder()
        for reporter in list(recorder.reporters):
            reporter.report(recorder)
        recorder.drain()
        total = int(recorder.cells.values[BREAKER_CALLS][self._labels])
        total, self._seen = total - self._seen, total
        return total


@functools.cache
def _subjects() -> dict[str, Subject]:
    """Build every subject by its name; loads what it is compared with."""
    subjects = []
    kinds: tuple[tuple[str, Callable[[int], Any], Callable[..., Callable[[int], None]]], ...]
    kinds = (("sync", work, loop), ("async", work_async, loop_async))
    for kind, function, looped in kinds:
        name = f"bench {kind}"
        subjects += [
            Subject(f"{kind}: bare", looped(function)),
            Subject(f"{kind}: ours", looped(CircuitBreaker(name)(function)), _OurCounts(name).settle),
            Subject(f"{kind}: purgatory", looped(_purgatory(kind)(function))),
        ]
    subjects.append(Subject("sync: pybreaker", loop(_pybreaker()(work))))
    subjects += _blocks()
    return {subject.name: subject for subject in subjects}


def _blocks() -> list[Subject]:
    """Build what is a block around the call."""
    sync, asynchronous = CircuitBreaker("bench with"), CircuitBreaker("bench async with")
    calling = _pybreaker().calling
    factory, async_factory = _purgatory_factories()
    get_breaker, get_async_breaker = factory.get_breaker, async_factory.get_breaker

    def ours(value: int) -> int:
        with sync:
            return work(value)

    async def ours_async(value: int) -> int:
        async with asynchronous:
            return await work_async(value)

    def pybreaker(value: int) -> int:
        with calling():
            return work(value)

    def purgatory(value: int) -> int:
        with get_breaker("bench"):
            return work(value)

    async def purgatory_async(value: int) -> int:
        async with await get_async_breaker("bench"):
            return await work_async(value)

    return [
        Subject("with: bare", loop(_called)),
        Subject("with: ours", loop(ours), _OurCounts("bench with").settle),
        Subject("with: pybreaker", loop(pybreaker)),
        Subject("with: purgatory", loop(purgatory)),
        Subject("async with: bare", loop_async(_called_async)),
        Subject("async with: ours", loop_async(ours_async), _OurCounts("bench async with").settle),
        Subject("async with: purgatory", loop_async(purgatory_async)),
    ]


def _called(value: int) -> int:
    return work(value)


async def _called_async(value: int) -> int:
    return await work_async(value)


def _pybreaker() -> Any:
    import pybreaker

    return pybreaker.CircuitBreaker()


def _purgatory(kind: str) -> Callable[..., Callable[[int], Any]]:
    sync, asynchronous = _purgatory_factories()
    return (sync if kind == "sync" else asynchronous)("bench")  # type: ignore[no-any-return]


def _purgatory_factories() -> tuple[Any, Any]:
    from purgatory import AsyncCircuitBreakerFactory, SyncCircuitBreakerFactory

    sync, asynchronous = SyncCircuitBreakerFactory(), AsyncCircuitBreakerFactory()
    sync.initialize()
    asyncio.run(asynchronous.initialize())
    return sync, asynchronous


def _measure(names: Collection[str], effort: Effort) -> list[Row]:
    wanted = [(name, kind, peer) for name, (kind, peer) in zip(NAMES, _PEERS, strict=True) if name in names]
    subjects = _subjects()
    used = dict.fromkeys(f"{kind}: {one}" for _, kind, peer in wanted for one in ("bare", "ours", peer))
    figures = measure([subjects[name] for name in used], calls=effort.calls, rounds=effort.rounds)
    rows = []
    for name, kind, peer in wanted:
        bare, ours, reference = (figures[f"{kind}: {one}"].best for one in ("bare", "ours", peer))
        rows.append(Row(name, (ours - bare) / (reference - bare), ours - bare, reference - bare, "ns", peer))
    return rows


SUITES = (Suite(NAMES, _measure),)
