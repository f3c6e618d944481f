"""A language model for DSPy that needs no network: seeded answers with realistic latencies, token counts and failures.

    dspy.configure(lm=offline_lm(OfflineModel(Ledger(), seed=1)))

It answers whatever signature DSPy's ChatAdapter asks for, ReAct's steps included. What it says is plausible in form only.
"""

from __future__ import annotations

import ast
import asyncio
import json
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dspy
from dspy import lm15

from faults import Faults

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from ledger import Ledger

__all__ = ["MODEL_NAME", "AsyncOfflineEngine", "OfflineEngine", "OfflineModel", "Reply", "offline_lm"]

MODEL_NAME = "openai/offline"

_MEDIAN_SECONDS = 0.06
_SPREAD = 0.8  # sigma of the log-normal: the 95th percentile is 3.7 medians
_LONGEST_SECONDS = 0.6
_CHARACTERS_PER_TOKEN = 4
_MOST_TOOL_CALLS = 3

_OUTPUT_FIELD = re.compile(r"^\d+\. `(\w+)` \((.*?)\):", re.MULTILINE)
_INPUT_VALUE = re.compile(r"\[\[ ## (\w+) ## \]\]\n(.*?)(?=\n+\[\[ ## |\n+Respond with|\Z)", re.DOTALL)
_TOOL = re.compile(
    r"^\s*\(\d+\) (\w+), whose description is <desc>.*?</desc>\. It takes arguments (\{.*?\})\.$", re.MULTILINE | re.DOTALL
)
_VOCABULARY = (
    "the measured distance agrees with both sources and an older survey differs by a small margin which later work explains "
    "since its instruments were calibrated again after that first winter while records from this harbour confirm our trend"
)
_WORDS = _VOCABULARY.split()


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model will do with one prompt: say ``text``, or raise ``failure``, after ``seconds``."""

    text: str
    seconds: float
    usage: lm15.Usage
    failure: lm15.ProviderError | None = None


class OfflineModel:
    """Thinks up the reply to a prompt; the engines wait for it and deliver it.

    The same seed and prompt give the same reply, latency and failure, whatever ran in between.

    Args:
        ledger: Where calls, tokens and errors are counted.
        seed: What all draws derive from.
        faults: Decides which calls fail (``lm_error``) or stall (``lm_stall``); none do unless given.
        speed: Divides the latency of calls that do not stall.
        stall_seconds: How long a stalled call takes before it gives up by itself, in seconds.
    """

    def __init__(
        self, ledger: Ledger, *, seed: int = 0, faults: Faults | None = None, speed: float = 1.0, stall_seconds: float = 10.0
    ) -> None:
        self.ledger = ledger
        self._seed = seed
        self._faults = faults or Faults(ledger)
        self._speed = speed
        self._stall_seconds = stall_seconds

    def reply(self, request: lm15.Request) -> Reply:
        """Think up the reply to ``request``."""
        system = request.system if isinstance(request.system, str) else ""
        prompt = "\n".join(part.text for message in request.messages for part in message.parts)
        occasion = f"{system}\n{prompt}"
        draw = random.Random(f"{self._seed}/{occasion}")
        text = _fill_in(draw, system, prompt) if "Your output fields are:" in system else _prose(draw, 24)
        seconds = min(_MEDIAN_SECONDS * draw.lognormvariate(0, _SPREAD), _LONGEST_SECONDS) / self._speed
        usage = lm15.Usage(input_tokens=_count_tokens(occasion), output_tokens=_count_tokens(text))
        if self._faults.happens("lm_stall", occasion):
            return Reply("", self._stall_seconds, usage, lm15.TimeoutError("the offline model stalls on purpose"))
        if self._faults.happens("lm_error", occasion):
            failure = draw.choice((lm15.RateLimitError, lm15.ServerError))
            return Reply("", seconds, usage, failure("the offline model fails on purpose"))
        return Reply(text, seconds, usage)

    def deliver(self, reply: Reply) -> lm15.Response:
        """Count the call and hand its response over.

        Raises:
            lm15.ProviderError: The call is one of those that fail.
        """
        if reply.failure is not None:
            self.ledger.note_lm_call(type(reply.failure).__name__)
            raise reply.failure
        self.ledger.note_lm_call("success", reply.usage.input_tokens or 0, reply.usage.output_tokens or 0)
        return lm15.Response(
            id=None,
            model=MODEL_NAME,
            message=lm15.Message.assistant(reply.text),
            finish_reason="stop",
            usage=reply.usage,
        )


class OfflineEngine:
    """The engine for DSPy's synchronous calls."""

    def __init__(self, model: OfflineModel) -> None:
        self._model = model

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Answer after the reply's latency."""
        reply = self._model.reply(request)
        time.sleep(reply.seconds)
        return self._model.deliver(reply)

    def stream(self, request: lm15.Request) -> Iterator[lm15.StreamEvent]:
        """Answer word by word after the reply's latency."""
        yield from _events(self.complete(request))

    def close(self) -> None:
        """Nothing is held open."""


class AsyncOfflineEngine:
    """The engine for DSPy's asynchronous calls; a cancelled call counts as ``cancelled``."""

    def __init__(self, model: OfflineModel) -> None:
        self._model = model

    async def complete(self, request: lm15.Request) -> lm15.Response:
        """Answer after the reply's latency."""
        reply = self._model.reply(request)
        try:
            await asyncio.sleep(reply.seconds)
        except asyncio.CancelledError:
            self._model.ledger.note_lm_call("cancelled")
            raise
        return self._model.deliver(reply)

    async def stream(self, request: lm15.Request) -> AsyncGenerator[lm15.StreamEvent, None]:
        """Answer word by word, spread over a time as long as the latency before the first word."""
        started = time.perf_counter()
        events = list(_events(await self.complete(request)))
        pause = (time.perf_counter() - started) / len(events)
        for event in events:
            yield event
            await asyncio.sleep(pause)

    async def aclose(self) -> None:
        """Nothing is held open."""


def offline_lm(model: OfflineModel) -> dspy.LM:
    """Make a ``dspy.LM`` that asks ``model``, keeps no cache and never retries."""
    return dspy.LM(MODEL_NAME, engine=OfflineEngine(model), async_engine=AsyncOfflineEngine(model), cache=False, num_retries=0)


def _events(response: lm15.Response) -> Iterator[lm15.StreamEvent]:
    yield lm15.StreamStartEvent(model=response.model)
    text = "".join(part.text for part in response.message.parts)
    for word in re.findall(r"\S+\s*", text):
        yield lm15.StreamDeltaEvent(lm15.TextDelta(word))
    yield lm15.StreamEndEvent(finish_reason="stop", usage=response.usage)


def _fill_in(draw: random.Random, system: str, prompt: str) -> str:
    """Give every output field that the prompt asks for a value of its type, as DSPy's ChatAdapter parses it."""
    described = system.partition("Your output fields are:")[2].partition("All interactions will be structured")[0]
    types = dict(_OUTPUT_FIELD.findall(described))
    inputs = dict(_INPUT_VALUE.findall(prompt))
    if "next_tool_name" in types:
        values = _next_step(draw, system, inputs.get("question", prompt), prompt.count("[[ ## observation_"))
    else:
        values = {name: _value(draw, kind) for name, kind in types.items()}
    sections = [f"[[ ## {name} ## ]]\n{value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
    return "\n\n".join([*sections, "[[ ## completed ## ]]"])


def _next_step(draw: random.Random, system: str, question: str, steps_done: int) -> dict[str, Any]:
    """Choose ReAct's next tool: one to three calls, as many as the question decides, then ``finish``."""
    tools = {name: ast.literal_eval(arguments) for name, arguments in _TOOL.findall(system)}
    names = [name for name in tools if name != "finish"]
    steps = random.Random(question).randint(1, _MOST_TOOL_CALLS)
    name = "finish" if steps_done >= steps or not names else names[draw.randrange(len(names))]
    arguments = {argument: _argument(draw, argument, schema, question) for argument, schema in tools.get(name, {}).items()}
    return {"next_thought": _prose(draw, 12), "next_tool_name": name, "next_tool_args": arguments}


def _argument(draw: random.Random, name: str, schema: dict[str, Any], question: str) -> Any:
    if name == "expression":
        numbers = re.findall(r"\d+", question) or ["2", "3"]
        return f" {draw.choice('+-*')} ".join([*numbers, str(draw.randint(2, 99))])
    if schema.get("type") == "string":
        return question if name == "query" else _prose(draw, 3)
    return _value(draw, {"integer": "int", "number": "float", "boolean": "bool", "array": "list"}.get(schema["type"], "dict"))


def _value(draw: random.Random, kind: str) -> Any:
    if kind.startswith("Literal["):
        return draw.choice(ast.literal_eval(kind.removeprefix("Literal")))
    if kind.startswith("list"):
        return [_prose(draw, 6) for _ in range(draw.randint(1, 3))]
    simple = {"int": draw.randint(1, 100), "float": round(draw.random(), 3), "bool": draw.random() < 0.5}  # noqa: PLR2004 - a coin
    if kind in simple:
        return simple[kind]
    return {} if kind.startswith("dict") else _prose(draw, draw.randint(15, 60))


def _prose(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(_WORDS, k=words)).capitalize() + "."


def _count_tokens(text: str) -> int:
    return len(text) // _CHARACTERS_PER_TOKEN + 1
