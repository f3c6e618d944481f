"""Programs of DSPy, and language models for them that need no network and count what they served."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import ExitStack, contextmanager

import dspy
from dspy import lm15

from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.dspy import instrument
from agentgauge.instrumentors.kit import Kit
from agentgauge.recording.default import default_recorder
from agentgauge.testing import reraise_internal_errors

MODEL = "openai/offline"
_OUTPUT_FIELD = re.compile(r"^\d+\. `(\w+)` \(", re.MULTILINE)


class Engine:
    """Answers from a script, then plausibly; counts calls and tokens by what it handed over.

    Args:
        script: For each call the output fields, the raw text, or what is raised.
        usage: What every answer says that it used.
        finish_reason: Why every answer says that it ended.
    """

    def __init__(self, script=(), *, usage=None, finish_reason="stop"):
        self.script = list(script)
        self.usage = usage or lm15.Usage(input_tokens=10, output_tokens=4, cache_read_tokens=3, reasoning_tokens=2)
        self.finish_reason = finish_reason
        self.served = 0
        self.requests = []
        self._lock = threading.Lock()

    @property
    def input_tokens(self):
        return self.served * self.usage.input_tokens

    @property
    def output_tokens(self):
        return self.served * self.usage.output_tokens

    def think(self, request):
        with self._lock:
            self.requests.append(request)
            said = self.script.pop(0) if self.script else None
            if isinstance(said, BaseException):
                raise said
            self.served += 1
        if said is None:
            said = dict.fromkeys(self.fields_of(request), "a value")
        if isinstance(said, dict):
            said = "\n\n".join([*(f"[[ ## {name} ## ]]\n{value}" for name, value in said.items()), "[[ ## completed ## ]]"])
        return lm15.Response(
            id="answer-1",
            model="offline-2026",
            message=lm15.Message.assistant(said),
            finish_reason=self.finish_reason,
            usage=self.usage,
        )

    @staticmethod
    def fields_of(request):
        system = request.system if isinstance(request.system, str) else ""
        described = system.partition("Your output fields are:")[2].partition("All interactions will be structured")[0]
        return _OUTPUT_FIELD.findall(described)

    def complete(self, request):
        return self.think(request)

    def stream(self, request):
        yield from events_of(self.think(request))

    def close(self):
        pass


class AsyncEngine:
    """The same for asynchronous calls; ``gate`` holds every answer back until it is set."""

    def __init__(self, engine):
        self.engine = engine
        self.gate = None
        self.is_waiting = None

    async def complete(self, request):
        if self.gate is not None:
            self.is_waiting.set()
            await self.gate.wait()
        return self.engine.think(request)

    async def stream(self, request):
        for event in events_of(self.engine.think(request)):
            yield event
            await asyncio.sleep(0)

    async def aclose(self):
        pass


def events_of(response):
    yield lm15.StreamStartEvent(model=response.model)
    for word in re.findall(r"\S+\s*", "".join(part.text for part in response.message.parts)):
        yield lm15.StreamDeltaEvent(lm15.TextDelta(word))
    yield lm15.StreamEndEvent(finish_reason="stop", usage=response.usage)


def lm_of(engine, model=MODEL, **options):
    """Make a ``dspy.LM`` on an engine: no cache and no retries unless asked for."""
    return dspy.LM(model, engine=engine, async_engine=AsyncEngine(engine), **{"cache": False, "num_retries": 0, **options})


class Question(dspy.Signature):
    """Answer the question."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


def look_up(query: str) -> str:
    """Look something up."""
    return query.upper()


def broken(query: str) -> str:
    """Look something up, in vain."""
    raise LookupError(query)


def step(tool, **arguments):
    """What a ReAct agent says to call a tool."""
    return {"next_thought": "go on", "next_tool_name": tool, "next_tool_args": str(arguments).replace("'", '"')}


FINISH = step("finish")


class Writer(dspy.Module):
    def __init__(self):
        super().__init__()
        self.write = dspy.ChainOfThought(Question)

    def forward(self, question):
        return self.write(question=question)

    async def aforward(self, question):
        return await self.write.acall(question=question)


class Seeker(dspy.Module):
    def __init__(self, *tools):
        super().__init__()
        self.seek = dspy.ReAct(Question, tools=list(tools or (look_up,)))

    def forward(self, question):
        return self.seek(question=question)

    async def aforward(self, question):
        return await self.seek.acall(question=question)


class Newsroom(dspy.Module):
    """Three modules: one seeks with tools, one writes many answers in threads, and the third decides."""

    def __init__(self, threads=2, copies=3):
        super().__init__()
        self.seeker = Seeker()
        self.writer = Writer()
        self.choose = dspy.Predict(Question)
        self.threads = threads
        self.copies = copies

    def forward(self, question):
        found = self.seeker(question=question).answer
        parallel = dspy.Parallel(num_threads=self.threads, disable_progress_bar=True)
        drafts = parallel([(self.writer, {"question": f"{found} {number}"}) for number in range(self.copies)])
        return self.choose(question=" ".join(draft.answer for draft in drafts))


@contextmanager
def instrumented(content=None):
    """Instrument DSPy for the default recorder, with our own faults loud, and undo it."""
    with ExitStack() as undo, reraise_internal_errors():
        instrument(Kit("dspy", default_recorder(), content or Content(), undo))
        yield


def drawn(exporter) -> list[str]:
    """Draw the spans that an exporter has as an indented tree, siblings by name."""
    spans = exporter.get_finished_spans()
    known = {span.context.span_id for span in spans}
    lines: list[str] = []

    def draw(parent: int | None, indent: str) -> None:
        children = [span for span in spans if (span.parent.span_id if span.parent else None) == parent]
        for span in sorted(children, key=lambda span: (span.name, span.start_time)):
            lines.append(indent + span.name)
            draw(span.context.span_id, indent + "  ")

    draw(None, "")
    lines.extend(f"orphan {span.name}" for span in spans if span.parent and span.parent.span_id not in known)
    return lines


_ORDER = (
    "gen_ai_agent_name",
    "gen_ai_workflow_name",
    "agent_task",
    "gen_ai_tool_name",
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
    "outcome",
    "error_type",
)
_CALLS = {
    "gen_ai_invoke_agent_duration_seconds": "agent",
    "gen_ai_invoke_workflow_duration_seconds": "workflow",
    "agent_task_duration_seconds": "task",
    "gen_ai_execute_tool_duration_seconds": "tool",
    "gen_ai_client_operation_duration_seconds": "lm",
}


def counts(isolation) -> dict[tuple[str, ...], int]:
    """Return how often each call was made: by its kind and the values of its labels."""
    return {
        (_CALLS[family.name], *(sample.labels[label] for label in _ORDER if sample.labels.get(label))): int(sample.value)
        for family in isolation.registry.collect()
        if family.name in _CALLS
        for sample in family.samples
        if sample.name.endswith("_count") and sample.value
    }


def tokens(isolation, **labels):
    """Return the tokens of an agent's calls by type."""
    types = ("input", "output", "cache_read", "cache_write", "reasoning")
    found = {kind: isolation.value("agent_tokens_total", gen_ai_token_type=kind, **labels) for kind in types}
    return {kind: int(count) for kind, count in found.items() if count is not None}
