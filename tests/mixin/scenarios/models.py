"""Programs whose models fail, refuse, keep them waiting, cost what nobody knows, or answer in another form than was asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agentgauge import Threshold, catalogue
from agentgauge.prices import Price
from agentgauge.recording.default import default_recorder
from agentgauge.recording.lm_call import Answer
from agentgauge.recording.series import SeriesKind
from scenarios.acts import LIMITED, UNREACHABLE, ask, within
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

HOUR = 60
ANSWER = Answer(input_tokens=1000, output_tokens=100, finish_reasons=("stop",))
FIRST_CHUNK = "gen_ai_client_operation_time_to_first_chunk_seconds"


def fails(_process: Process) -> Iterator[None]:
    """For an hour one of five calls of "some" fails, all of "all" do, by two errors, and nine of ten of "limited" are refused.

    Of "left" nine of ten are cancelled or left; of "usual" one of twenty fails, of "few" four in all but for the first; "idle"
    failed once; of "brief" one of a hundred meets a limit.
    """
    ask("idle", times=7)
    ask("idle", TimeoutError(), times=9)
    ask("few", TimeoutError())
    for minute in range(161):
        is_bad = minute <= HOUR
        ask("some", times=8 if is_bad else 10)
        ask("some", UNREACHABLE, times=2 if is_bad else 0)
        ask("all", times=0 if is_bad else 4)
        for error in (UNREACHABLE, TimeoutError()):
            ask("all", error, times=1 if is_bad else 0)
        ask("limited", times=1 if is_bad else 9)
        ask("limited", LIMITED, times=9 if is_bad else 0)
        ask("left")
        ask("left", asyncio.CancelledError(), times=5)
        ask("left", GeneratorExit(), times=4)
        ask("usual", times=19)
        ask("usual", TimeoutError())
        ask("few", TimeoutError(), times=4 if minute == 20 else 0)
        ask("brief", times=99)
        ask("brief", LIMITED)
        yield


def meets_limits(_process: Process) -> Iterator[None]:
    """One of ten calls is refused."""
    for _ in range(61):
        ask("limited", times=9)
        ask("limited", LIMITED)
        yield


def waits(_process: Process) -> Iterator[None]:
    """The first chunk of "slow" comes after 30 seconds, for an hour; that of "quick" at once; "few" is asked five times."""
    ask("few", first_chunk_seconds=30)
    for minute in range(201):
        ask("slow", first_chunk_seconds=30 if minute <= HOUR else 2, times=1 if minute <= HOUR else 9)
        ask("quick", first_chunk_seconds=2)
        ask("few", first_chunk_seconds=30, times=5 if minute == 20 else 0)
        yield


def may_wait(_process: Process) -> Iterator[None]:
    """The first chunk comes after 30 seconds, and may take a minute."""
    for _ in range(201):
        ask("slow", first_chunk_seconds=30)
        yield


def costs(_process: Process) -> Iterator[None]:
    """The price of "known" is known; "old" has none, nor has "unheard-of", which is asked ten minutes later."""
    ask("old", provider="newcomer", answer=ANSWER, times=5)
    for minute in range(161):
        ask("known", answer=ANSWER)
        ask("unheard-of", provider="newcomer", answer=ANSWER, times=1 if minute == 10 else 0)
        yield


def misreads(_process: Process) -> Iterator[None]:
    """For an hour every second answer to "sloppy" cannot be read, and some to "loose", which has no runs.

    To "good" it is one of fifty, to "few" four in all but for the first.
    """
    _misread("few")
    for minute in range(161):
        is_bad = minute <= HOUR
        _run("sloppy", calls=2, misread=1 if is_bad else 0)
        _run("good", calls=50, misread=1)
        _run("few", calls=1, misread=4 if minute == 20 else 0)
        _misread("loose", times=1 if is_bad else 0)
        yield


def _run(agent: str, *, calls: int, misread: int) -> None:
    with within(SeriesKind.RUN, "answer", agent=agent):
        ask("large", times=calls)
        _misread(agent, times=misread)


def _misread(agent: str, *, times: int = 1) -> None:
    for _ in range(times):
        default_recorder().observe(catalogue.PARSE_FAILURES, ((catalogue.AGENT, agent), ("adapter", "JSONAdapter")), 1)


CASES: dict[str, list[Target]] = {
    "A model whose calls fail is reported; half of all calls is critical": [Program(fails)],
    "A tenth of the calls that meet a limit is reported too": [Program(meets_limits)],
    "A first chunk that comes late is reported by the limit of the program, ten seconds where it states none": [
        Program(waits),
        Program(may_wait, "b", "b:1", {"thresholds": (Threshold(FIRST_CHUNK, 60), Threshold(FIRST_CHUNK, 5, "critical"))}),
    ],
    "A model without a price is reported from its first call until an hour after its last": [
        Program(costs, settings={"prices": {"known": Price(input_usd_per_million=3, output_usd_per_million=15)}}),
    ],
    "Answers in the wrong form are reported where they are more than a tenth of an agent's answers, and five": [
        Program(misreads),
    ],
}
