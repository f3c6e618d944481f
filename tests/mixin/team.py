"""A team of two agents as instrumentors report it, and what its registry shows every fifteen seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from agentgauge import catalogue
from agentgauge.exposition.text import render
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.operation import Operation
from agentgauge.recording.series import LmName, SeriesKind
from backfilled import BEGIN, sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentgauge.testing import Isolation

STEP = 15
COUNT = 61
END = BEGIN + (COUNT - 1) * STEP

_LARGE = LmName("chat", "openai", "large")
_SMALL = LmName("chat", "openai", "small")
_NEW = LmName("chat", "newcomer", "unheard-of")


class Team:
    """The workflow "report": the lead asks a model and gives the rest to its helper, which searches twice for the same thing.

    Every second run of the workflow fails in the helper; every run takes 6 seconds.
    """

    def __init__(self, isolation: Isolation) -> None:
        self._recorder = isolation.recorder
        self._clock = isolation.clock
        for name, value in (("dspy", 1), ("langchain", 0)):
            self._recorder.observe(catalogue.INSTRUMENTOR_ACTIVE, ((catalogue.INSTRUMENTOR, name),), value)

    def work(self) -> None:
        """Run the workflow twice, in 12 seconds."""
        self._report(None)
        self._report(ValueError("the helper finds nothing"))

    def _report(self, error: ValueError | None) -> None:
        workflow = self._begin(SeriesKind.WORKFLOW, "report")
        lead = self._begin(SeriesKind.RUN, "plan", agent="lead")
        self._ask_streaming()
        self._clock.advance(1)  # nobody is at work
        helper = self._begin(SeriesKind.RUN, "help", agent="helper")
        for _ in range(2):
            tool = self._begin(SeriesKind.TOOL, "search", arguments={"query": "gauges"})
            self._clock.advance(0.5)
            tool.end()
        self._think()
        helper.end(error)
        lead.end(error)
        workflow.end(error)

    def _ask_streaming(self) -> None:
        call = self._begin_lm(_LARGE)
        inner = LmCall(self._recorder, _LARGE, instrumentor="genai-spans")  # a layer below sees the same call
        self._clock.advance(0.5)
        call.note_first_chunk()
        self._clock.advance(1.5)
        inner.note_answer(Answer(input_tokens=100, output_tokens=20))
        inner.end()
        tokens = {"input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 40, "cache_write_tokens": 10}
        answer = Answer(**tokens, reasoning_tokens=5, response_model="large-3", finish_reasons=("stop",), cost_usd=0.01)
        call.note_answer(answer)
        call.end()

    def _think(self) -> None:
        step = self._begin(SeriesKind.TASK, "predict")
        call = self._begin_lm(_SMALL)
        call.note_prompt("the same each time")
        call.note_retry()
        self._clock.advance(2)
        call.note_answer(Answer(input_tokens=200, output_tokens=30, finish_reasons=("length",), cost_usd=0.002))
        call.end()
        call = self._begin_lm(_SMALL)
        call.note_answer(Answer(is_cache_hit=True, cost_usd=0.002))
        call.end()
        self._recorder.observe(catalogue.PARSE_FAILURES, ((catalogue.AGENT, "helper"), ("adapter", "JSONAdapter")), 1)
        call = self._begin_lm(_NEW)
        call.note_answer(Answer(input_tokens=40, output_tokens=10))
        call.end(TimeoutError())
        step.end()

    def _begin(self, kind: SeriesKind, name: str, **options: Any) -> Operation:
        return Operation(self._recorder, kind, name, instrumentor="dspy", **options)

    def _begin_lm(self, lm: LmName) -> LmCall:
        return LmCall(self._recorder, lm, instrumentor="dspy")


def scrapes(isolation: Isolation, labels: dict[str, str]) -> Iterable[str]:
    """Let the team work and scrape it, again and again, and return the samples as lines of OpenMetrics, by series."""
    team = Team(isolation)
    by_series: dict[str, list[str]] = {}
    for index in range(COUNT):
        team.work()  # a series has no zero before its first call
        for name, own, value in _shown(isolation):
            line = sample(name, labels | own, value, BEGIN + index * STEP)
            by_series.setdefault(line.split("} ")[0], []).append(line)
    return [line for lines in by_series.values() for line in lines]


def _shown(isolation: Isolation) -> Iterator[tuple[str, dict[str, str], float]]:
    page = b"".join(render(isolation.registry, openmetrics=False)).decode()
    for family in text_string_to_metric_families(page):
        for shown in family.samples:
            yield shown.name, shown.labels, shown.value
