"""Programs whose agents fail, hang, are cancelled, run in circles, hand work over in vain, or cannot keep up with their work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge import AgentMetricsCollector, Objective, Threshold
from agentgauge.recording.series import SeriesKind
from scenarios.acts import ask, begin, perform, within
from scenarios.acts_tasks import CANCELLED, ERROR, calls
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

HOUR = 60
STRICT = Objective(success_ratio=0.99)
LENIENT = Objective(success_ratio=0.3)
MINUTE_LONG = Objective(latency_seconds=60)
SECOND_LONG = Objective(latency_seconds=1)


def fails(_process: Process) -> Iterator[None]:
    """Every call of "broken" fails, without an objective. Of "nameless", whose agent is not known, one of five does.

    Of "strict" 5 % fail, and 1 % may; of "hidden" one of five, among many that are cancelled; of "usual" 5 %, and no objective is
    set; of "lenient" 60 %, and 70 % may.
    """
    for _ in range(61):
        calls("broken", badly=1)
        calls("nameless", agent="", well=8, badly=2)
        calls("strict", well=19, badly=1, objective=STRICT)
        calls("hidden", well=4, badly=1, cancelled=20)
        calls("usual", well=19, badly=1)
        calls("lenient", well=4, badly=6, objective=LENIENT)
        yield


def times_out(_process: Process) -> Iterator[None]:
    """Another process in which "broken" fails, always by timeout."""
    for _ in range(61):
        calls("broken", timeout=1)
        yield


def does_not_fail(_process: Process) -> Iterator[None]:
    """The calls of "quiet" are over, those of "cancelled" and most of "aborted" cancelled or abandoned, of "few" four fail.

    The agent beside them is reported all the same: of its task "broken" one of five calls fails.
    """
    calls("quiet", well=7, badly=9, objective=STRICT)
    calls("few", well=1)
    for minute in range(61):
        calls("cancelled", cancelled=5, abandoned=5)
        calls("aborted", well=1, cancelled=5, abandoned=5)
        calls("few", badly=1 if minute in {21, 27, 33, 39} else 0, well=3 if minute == 31 else 0)
        calls("broken", agent="s", well=4, badly=1)
        yield


def starts_anew(process: Process) -> Iterator[None]:
    """Its counters of 100 and 10 start again at 0 when the program restarts, after half an hour; no more calls fail."""
    calls("reset", well=100, badly=10)
    for minute in range(61):
        if minute == 31:
            process.restart()
        calls("reset", well=1 if minute >= 31 else 0)
        yield


def recovers(_process: Process) -> Iterator[None]:
    """For twenty minutes one of five calls fails."""
    for minute in range(101):
        calls("t", well=4, badly=1 if minute <= 20 else 0)
        yield


def hangs(_process: Process) -> Iterator[None]:
    """Calls of "slow", "fast" and "open" do not end; a minute is promised for "slow", a second for "fast", nothing for "open".

    Of "busy" there is always one in progress, and always a new one; "idle" is called no more.
    """
    perform("r", "slow", objective=MINUTE_LONG)
    for name in ("fast", "busy", "idle"):
        perform("r", name, objective=SECOND_LONG)
    begin("r", "slow")
    begin("r", "fast")
    begin("", "open")
    for _ in range(61):
        call = begin("r", "busy")
        yield
        call.end()


def ends_at_last(_process: Process) -> Iterator[None]:
    """A call for which a minute is promised ends after forty."""
    perform("r", "slow", objective=MINUTE_LONG)
    call = begin("r", "slow")
    for minute in range(101):
        if minute == 41:
            call.end()
        yield


def are_cancelled(_process: Process) -> Iterator[None]:
    """For an hour all calls are cancelled; then others come."""
    for minute in range(161):
        calls("away", cancelled=1 if minute <= HOUR else 0, well=0 if minute <= HOUR else 5)
        yield


def loops(_process: Process) -> Iterator[None]:
    """For an hour a run calls "search" three times with the same arguments, and one of "thinker" asks a model 80 times.

    One of "usual" asks it 20 times. Of ten calls of "poll" one repeats another; of "few" seven do in all, but for the first.
    """
    _run("r", few=2)
    for minute in range(121):
        if minute <= HOUR:
            _run("r", search=3)
            _think("thinker", 80)
            _think("usual", 20)
        with within(SeriesKind.RUN, "answer", agent="r"):
            for each in range(10):
                _use("poll", each % 9)
        _run("r", few=8 if minute == 30 else 0)
        yield


def may_think(_process: Process) -> Iterator[None]:
    """A run of "thinker" asks a model 80 times, and may do so 100 times."""
    for _ in range(61):
        _think("thinker", 80)
        yield


def may_not_think(_process: Process) -> Iterator[None]:
    """For an hour a run of "usual" asks a model 30 times, and may do so 20 times."""
    for minute in range(121):
        if minute <= HOUR:
            _think("usual", 30)
        yield


def _run(agent: str, **tools: int) -> None:
    """Let an agent call tools so many times within a run, each with the same arguments."""
    with within(SeriesKind.RUN, "answer", agent=agent):
        for name, times in tools.items():
            for _ in range(times):
                _use(name, 0)


def _use(tool: str, wanted: int) -> None:
    with within(SeriesKind.TOOL, tool, arguments={"wanted": wanted}):
        pass


def _think(agent: str, times: int) -> None:
    with within(SeriesKind.RUN, "answer", agent=agent):
        ask("large", times=times)


def hands_over(_process: Process) -> Iterator[None]:
    """For an hour a quarter of what "lead" hands to "helper" fails; of what "clerk" is given one of ten times out.

    "rare" fails three times in all, but for the first; what "leaver" is given is cancelled, but for one of six.
    """
    _hand_over("rare", ERROR)
    for minute in range(121):
        is_bad = minute <= HOUR
        _hand_over("helper", times=3 if is_bad else 4)
        _hand_over("helper", ERROR, times=1 if is_bad else 0)
        _hand_over("clerk", times=9)
        _hand_over("clerk", TimeoutError())
        _hand_over("rare", ERROR, times=3 if minute == 30 else 0)
        _hand_over("leaver")
        _hand_over("leaver", CANCELLED, times=5)
        yield


def _hand_over(agent: str, error: BaseException | None = None, *, times: int = 1) -> None:
    with within(SeriesKind.RUN, "lead", agent="lead"):
        for _ in range(times):
            with within(SeriesKind.RUN, "help", error, agent=agent):
                pass


def queues(_process: Process) -> Iterator[None]:
    """The queue "growing" grows for an hour and a half; "long" and "empty" stay as they are, "new" is seen for the first time.

    "waves" goes up and down; "short" grows, to eight.
    """
    dispatcher = AgentMetricsCollector("r")
    for minute in range(121):
        _grow(dispatcher, minute)
        dispatcher.update_queue_size(500, "long")
        dispatcher.update_queue_size(0, "empty")
        if minute >= 36:
            dispatcher.update_queue_size(9 * min(minute - 36, 15), "new")
        dispatcher.update_queue_size(4 * min(minute % 20, 19 - minute % 20), "waves")
        dispatcher.update_queue_size(min(minute // 10, 8), "short")
        yield


def may_queue(_process: Process) -> Iterator[None]:
    """Its queue grows, and fewer than a thousand are none."""
    dispatcher = AgentMetricsCollector("r")
    for minute in range(121):
        _grow(dispatcher, minute)
        yield


def _grow(dispatcher: AgentMetricsCollector, minute: int) -> None:
    dispatcher.update_queue_size(2 * minute if minute <= 90 else max(0, 180 - 10 * (minute - 91)), "growing")


THINKING = "gen_ai_invoke_agent_inference_calls"
CASES: dict[str, list[Target]] = {
    "Failures above the objective, or above 10 % without one, are reported; half of all calls is critical": [
        Program(fails),
        Program(times_out, instance="a:2"),
    ],
    "No traffic, cancelled calls, few failures and a counter reset are no failures": [
        Program(does_not_fail),
        Program(starts_anew, instance="a:2"),
    ],
    "An error ratio that came down is resolved, after a while that spares a flapping one": [Program(recovers)],
    "A task is stuck after ten times its latency objective, after half an hour without one": [Program(hangs)],
    "Cancelled calls are no news any more when others come again": [Program(are_cancelled)],
    "A stuck task that ends at last is no news any more": [Program(ends_at_last)],
    "A loop is suspected where a tool is called again and again with the same arguments, or a run asks a model very often": [
        Program(loops),
        Program(may_think, "b", "b:1", {"thresholds": (Threshold(THINKING, 100),)}),
        Program(may_not_think, "c", "c:1", {"thresholds": (Threshold(THINKING, 20),)}),
    ],
    "A handoff is reported where one of five fails, and five do": [Program(hands_over)],
    "A queue is reported while it grows, not while it is long, empty, new, or goes up and down": [
        Program(queues),
        Program(may_queue, "b", "b:1", {"thresholds": (Threshold("agent_queue_depth", 1000),)}),
    ],
}
BY_HAND = {"A counter that is no number is no failure": "No program counts to what is no number."}
