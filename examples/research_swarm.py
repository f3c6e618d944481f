"""A swarm of agents answers questions without a network; agentgauge serves its metrics while it runs.

python examples/research_swarm.py                       until Ctrl-C
python examples/research_swarm.py --seconds 20 --seed 1
python examples/research_swarm.py --stack               with a Prometheus and an Alertmanager beside it
python examples/research_swarm.py --seconds 120 --history history.db     and write a history, to be analysed
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shlex
import signal
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dspy
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import agentgauge
from agentgauge import AgentMetricsCollector
from agentgauge.prices import Price
from agentgauge.targets import Budget
from faults import LEVELS, Faults
from ledger import Ledger
from offline_lm import OfflineModel, offline_lm
from span_file import SpanFile
from stack import ServersMissingError, Stack
from swarm_agents import Swarm
from swarm_display import Display, summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BUDGETS = (Budget(2, "day"), Budget(0.5, "day", agent="researcher"))
_PRICES = {"offline": Price(input_usd_per_million=0.15, output_usd_per_million=0.60)}  # as if a small hosted model answered
_QUESTIONS_PER_SECOND_AND_WORKER = 1.2  # a little more than a worker answers, so that the queue is not always empty
_QUEUE_LIMIT = 20
_BYTES_PER_QUESTION = 120  # roughly what a short text takes
_DISPLAY_INTERVAL_SECONDS = 0.25
_GRACE_SECONDS = 3.0
_HANG_UP_SECONDS = (0.05, 0.6)
_HISTORY_INTERVAL_SECONDS = 1.0  # so that what ends soon has something to analyse
_COMMANDS = ("report", "trends", "anomalies", "slo", "recommend")

_TOPICS = ("bridges", "canals", "lighthouses", "glaciers", "observatories", "railways", "harbours", "vineyards", "dams")
_SHAPES = (
    "Of {a} {topic} surveyed since {b}, how many are still in use?",
    "What do {a} tonnes of stone and {b} workers make of {topic}?",
    "Why do {topic} built after {b} last {a} years longer?",
)


class ResearchDesk:
    """Takes in a stream of questions and lets workers answer them, until it is told to stop.

    Args:
        swarm: Who answers.
        ledger: Where the fate of each question is counted.
        faults: Decides which askers hang up before they have an answer.
        seed: What the questions derive from.
        workers: How many questions are worked on at once.
        questions: How many questions come, none of which is turned away; None for a stream without end.
    """

    def __init__(
        self,
        swarm: Swarm,
        ledger: Ledger,
        faults: Faults,
        *,
        seed: int,
        workers: int,
        questions: int | None = None,
    ) -> None:
        self._swarm = swarm
        self._ledger = ledger
        self._faults = faults
        self._seed = seed
        self._workers = workers
        self._questions = questions
        self._queue: asyncio.Queue[tuple[str, float]] = asyncio.Queue(_QUEUE_LIMIT)
        self._open: set[asyncio.Task[str]] = set()
        # A desk is no call that could be decorated: it tells its state itself.
        self._gauge = AgentMetricsCollector("dispatcher")

    async def run(self, stop: asyncio.Event, interrupted: asyncio.Event) -> None:
        """Work until ``stop`` is set; then let open answers finish, but not for long and not when ``interrupted``."""
        self._gauge.set_state("processing")
        intake = asyncio.create_task(self._take_in(stop))
        workers = [asyncio.create_task(self._work(stop)) for _ in range(self._workers)]
        await stop.wait()
        self._gauge.set_state("shutting_down")
        intake.cancel()
        if self._open and not interrupted.is_set():
            await asyncio.wait(self._open, timeout=_GRACE_SECONDS)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(intake, *workers, return_exceptions=True)
        self._queue = asyncio.Queue()
        self._show()
        self._gauge.set_state("offline")

    async def _take_in(self, stop: asyncio.Event) -> None:
        draw = random.Random(f"{self._seed}/arrivals")
        for number, question in enumerate(islice(_questions(self._seed), self._questions)):
            await asyncio.sleep(draw.expovariate(_QUESTIONS_PER_SECOND_AND_WORKER * self._workers))
            if self._queue.full() and self._questions is None:
                self._ledger.note_question("turned away")
                continue
            with self._ledger.task("dispatcher", "take_in"):
                self._gauge.start_task(number, "take_in", input_size_bytes=len(question.encode()))
                await self._queue.put((question, time.monotonic()))
                self._gauge.complete_task(number)
            self._show()
        await self._queue.join()
        stop.set()

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            question, arrival = await self._queue.get()
            self._gauge.record_queue_wait(time.monotonic() - arrival, "questions")
            self._ledger.note_question("asked")
            self._ledger.note_question(await self._answer(question))
            self._show()
            self._queue.task_done()

    def _show(self) -> None:
        waiting = self._queue.qsize()
        self._gauge.update_queue_size(waiting, "questions")
        self._gauge.update_connections(len(self._open))
        self._gauge.update_memory_usage(waiting * _BYTES_PER_QUESTION)
        self._gauge.set_custom_metric("backlog_per_worker", waiting / self._workers)

    async def _answer(self, question: str) -> str:
        """Have one question answered, unless the asker hangs up meanwhile, and tell its fate."""
        answer = asyncio.create_task(self._swarm.answer(question))
        self._open.add(answer)
        answer.add_done_callback(self._open.discard)
        # Nobody hangs up before the one who is to wait for a stuck answer: a question may fail on its way to the narrator.
        if not self._swarm.hang_seconds and self._faults.happens("hang_up", question):
            asyncio.get_running_loop().call_later(random.Random(question).uniform(*_HANG_UP_SECONDS), answer.cancel)
        try:
            [result] = await asyncio.gather(answer, return_exceptions=True)
        except asyncio.CancelledError:  # of this worker, which took the answer with it
            self._ledger.note_question("cancelled")
            raise
        if isinstance(result, asyncio.CancelledError):
            return "cancelled"
        return "failed" if isinstance(result, Exception) else "answered"


async def work(arguments: argparse.Namespace, ledger: Ledger) -> None:
    """Run the swarm as the command line says, print the summary, and keep serving for as long as asked."""
    faults = Faults(ledger, arguments.faults, seed=arguments.seed)
    model = OfflineModel(ledger, seed=arguments.seed, faults=faults, speed=arguments.speed)
    dspy.configure(lm=offline_lm(model))
    desk = ResearchDesk(
        Swarm(ledger, faults, model, hang_seconds=arguments.hang),
        ledger,
        faults,
        seed=arguments.seed,
        workers=arguments.concurrency,
        questions=arguments.questions,
    )
    loop = asyncio.get_running_loop()
    stop, interrupted = asyncio.Event(), asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    if arguments.seconds is not None:
        loop.call_later(arguments.seconds, stop.set)
    if arguments.faults_for is not None:
        loop.call_later(arguments.faults_for, faults.stop)
    with Display(ledger) as display:
        started = time.monotonic()
        run = asyncio.create_task(desk.run(stop, interrupted))
        while not (await asyncio.wait([run], timeout=_DISPLAY_INTERVAL_SECONDS))[0]:
            display.update(time.monotonic() - started)
        await run
    print(f"\n{summary(ledger)}", flush=True)
    if arguments.history:
        print(f"\n{_next_commands(arguments.history)}", flush=True)
    if arguments.ledger:
        ledger.write(arguments.ledger)
    if not interrupted.is_set() and arguments.linger:
        print(f"\nserving for another {arguments.linger:g} s", flush=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(interrupted.wait(), arguments.linger)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        The exit status: 0 at the end and after Ctrl-C, 2 where a setting cannot work.
    """
    arguments = _parse(argv)
    ledger = Ledger()
    provider = TracerProvider()
    if arguments.spans:
        provider.add_span_processor(SimpleSpanProcessor(SpanFile(arguments.spans)))
    trace.set_tracer_provider(provider)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the servers of --stack end with it
    try:
        monitor = agentgauge.start(
            port=arguments.port,
            service_name="research-swarm",
            prices=_PRICES,
            budgets=_BUDGETS,
            history_file=arguments.history,
            history_interval_seconds=_HISTORY_INTERVAL_SECONDS if arguments.history else None,
        )
    except agentgauge.ConfigurationError as error:
        print(f"research_swarm: {error}", file=sys.stderr)
        return 2
    try:
        print(f"metrics: {monitor.url}   (Ctrl-C ends)", flush=True)
        with contextlib.ExitStack() as servers:
            if arguments.stack and monitor.url:
                _start_stack(servers, monitor.url)
            asyncio.run(work(arguments, ledger))
    except KeyboardInterrupt:  # before the event loop took the signal over
        pass
    finally:
        monitor.stop()
        provider.shutdown()
    return 0


def _start_stack(servers: contextlib.ExitStack, metrics_url: str) -> None:
    try:
        stack = servers.enter_context(Stack([urlsplit(metrics_url).netloc]))
    except ServersMissingError as error:
        print(f"no stack: {error}", flush=True)
    else:
        print(f"prometheus: {stack.prometheus_url}\nalertmanager: {stack.alertmanager_url}", flush=True)


def _next_commands(history: str) -> str:
    commands = [f"  agentgauge {command} --source {shlex.quote(history)}" for command in _COMMANDS]
    return "\n".join([f"what happened lies in {history}; next:", *commands])


def _questions(seed: int) -> Iterator[str]:
    draw = random.Random(f"{seed}/questions")
    while True:
        yield draw.choice(_SHAPES).format(topic=draw.choice(_TOPICS), a=draw.randint(2, 999), b=draw.randint(1500, 1999))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A swarm of agents answers questions; its metrics are served while it runs.")
    parser.add_argument("--seconds", type=_positive, help="end by itself after so many seconds (default: at Ctrl-C)")
    parser.add_argument("--questions", type=_whole, metavar="NUMBER", help="end by itself when so many questions are answered")
    parser.add_argument("--seed", type=int, default=0, help="what questions, answers, latencies and faults derive from")
    parser.add_argument(
        "--port", type=int, help="where to serve /metrics; 0 takes any free port (default: AGENTGAUGE_PORT or 9464)"
    )
    parser.add_argument("--concurrency", type=_whole, default=4, help="questions worked on at once (default: 4)")
    parser.add_argument("--speed", type=_positive, default=1.0, help="divides the model's latency (default: 1)")
    parser.add_argument("--faults", choices=sorted(LEVELS), default="normal", help="how much goes wrong (default: normal)")
    parser.add_argument("--faults-for", type=_positive, metavar="SECONDS", help="let nothing go wrong after so many seconds")
    parser.add_argument("--hang", type=_positive, default=0.0, metavar="SECONDS", help="keep one task stuck for so long")
    parser.add_argument("--linger", type=_positive, default=0.0, metavar="SECONDS", help="serve /metrics so long after the work")
    parser.add_argument("--stack", action="store_true", help="start a Prometheus and an Alertmanager with the shipped rules too")
    parser.add_argument(
        "--history", metavar="FILE", help="write a history there, a sweep a second, for `agentgauge report` and its kin"
    )
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="write what was counted, as JSON, when the work is done")
    parser.add_argument("--spans", type=Path, metavar="FILE", help="append the finished spans, as JSON lines")
    return parser.parse_args(argv)


def _positive(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return value


def _whole(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
