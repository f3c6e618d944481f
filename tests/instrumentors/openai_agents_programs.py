"""Programs of the OpenAI Agents SDK with models that answer from a list, and count what they served."""

from __future__ import annotations

import importlib
import importlib.util
import json
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any

from agents import (
    Agent,
    ModelResponse,
    ModelTracing,
    RunConfig,
    Runner,
    Usage,
    function_tool,
    generation_span,
)
from agents.models.interface import Model
from openai import AsyncOpenAI
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseCreatedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseUsage,
)
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from agentgauge.errors import contained_errors
from agentgauge.instrumentors import openai_agents
from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.kit import Kit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation

INPUT_TOKENS, OUTPUT_TOKENS = 10, 5
LM = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "fake", "gen_ai_request_model": "fake/one"}
STREAMED = {**LM, "gen_ai_response_model": "fake-one-mini"}
UNTRACED = RunConfig(tracing_disabled=True)

_DETAILS: Any = {
    "input_tokens_details": InputTokensDetails.model_construct(cached_tokens=4, cache_write_tokens=3),
    "output_tokens_details": OutputTokensDetails(reasoning_tokens=2),
}
_COUNTS: Any = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}

_numbers = count()

Output = list[Any]


def say(text: str = "done") -> Output:
    """Make the answer of a model that says something."""
    content = [ResponseOutputText(text=text, type="output_text", annotations=[], logprobs=[])]
    return [ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=content)]


def ask(tool: str, **arguments: Any) -> Output:
    """Make the answer of a model that asks for a tool."""
    number = next(_numbers)  # the SDK takes no id twice
    text = json.dumps(arguments)
    return [ResponseFunctionToolCall(id=f"f{number}", call_id=f"c{number}", type="function_call", name=tool, arguments=text)]


class ListModel(Model):
    """Answers from its list; an exception in it is raised. With ``has_span`` it opens a generation span, as the SDK's own do."""

    def __init__(self, *answers: Output | BaseException, has_span: bool = False, before: Callable[[], Any] | None = None) -> None:
        self.model = "fake/one"
        self.answers = list(answers or (say(),))
        self.served = 0
        self.has_span = has_span
        self.before = before

    async def _next(self) -> Output:
        self.served += 1
        if self.before is not None:
            await self.before()
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def get_response(self, *_: Any, tracing: Any = ModelTracing.ENABLED, **__: Any) -> ModelResponse:
        spanned: Any = generation_span(model=self.model, disabled=tracing.is_disabled()) if self.has_span else nullcontext()
        with spanned as span:
            output = await self._next()
            if span is not None:
                span.span_data.usage = dict(_COUNTS)
            return ModelResponse(output=output, usage=Usage(requests=1, **_COUNTS, **_DETAILS), response_id="r")

    async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        spanned: Any = generation_span(model=self.model) if self.has_span else nullcontext()
        with spanned:
            response = Response.model_construct(id="r", model="fake-one-mini", output=[], usage=None, status="in_progress")
            yield ResponseCreatedEvent.model_construct(type="response.created", response=response, sequence_number=0)
            usage = ResponseUsage.model_construct(**_COUNTS, **_DETAILS)
            output = await self._next()
            last = Response.model_construct(id="r", model="fake-one-mini", output=output, usage=usage, status="completed")
            yield ResponseCompletedEvent.model_construct(type="response.completed", response=last, sequence_number=1)


@function_tool
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


@function_tool
def divide(first: int, second: int) -> float:
    """Divide two numbers."""
    return first / second


@function_tool(failure_error_function=None)
def explode() -> None:
    """Fail, and let the run fail with it."""
    raise LookupError("nothing there")


def agent(*answers: Output | BaseException, name: str = "adder", **options: Any) -> tuple[Agent[Any], ListModel]:
    """Make an agent that answers so, and its model."""
    model = ListModel(*answers)
    return Agent(name=name, model=model, tools=options.pop("tools", [add]), **options), model


def adder(**options: Any) -> tuple[Agent[Any], ListModel]:
    """Make an agent that adds once."""
    return agent(ask("add", first=1, second=2), say("3"), **options)


async def run_to_end(one: Agent[Any], is_streamed: bool = False, **options: Any) -> Any:
    """Run an agent, and return what it said at the end."""
    if not is_streamed:
        return (await Runner.run(one, "hello", **options)).final_output
    result = Runner.run_streamed(one, "hello", **options)
    async for _ in result.stream_events():
        pass
    return result.final_output


@contextmanager
def instrumented(fresh: Isolation, content: Content | None = None) -> Iterator[None]:
    """Instrument the SDK alone, and see that no fault of ours was contained: the SDK swallows what a processor raises."""
    with ExitStack() as undo:
        openai_agents.instrument(Kit("openai-agents", fresh.recorder, content or Content(), undo))
        yield
        assert contained_errors.count_by_hook == {}
        ended = fresh.value("agentgauge_events_exported_total")
        assert ended == fresh.value("agentgauge_events_recorded_total"), "a call is left open"


CHAT_COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-mini-dated",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "done"}}],
    "usage": {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS},
}
RESPONSE = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "gpt-mini-dated",
    "status": "completed",
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "tools": [],
    "output": [
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "done", "annotations": []}],
        }
    ],
    "usage": {
        "input_tokens": INPUT_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 2},
    },
}


@asynccontextmanager
async def client_that_answers(answer: Any) -> AsyncIterator[AsyncOpenAI]:
    """Make a client of OpenAI's whose server always answers so."""
    # The client of openai since 3.54 stands on another module of the same face.
    httpx = importlib.import_module("httpx2" if importlib.util.find_spec("httpx2") else "httpx")
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    http_client = httpx.AsyncClient(transport=transport)
    async with AsyncOpenAI(api_key="none", base_url="http://model.invalid", http_client=http_client) as client:
        yield client


ADDER = {"gen_ai_agent_name": "adder"}
WORKFLOW = "gen_ai_invoke_workflow_duration_seconds_count"
RUN = "gen_ai_invoke_agent_duration_seconds_count"
TASK = "agent_task_duration_seconds_count"
TOOL = "gen_ai_execute_tool_duration_seconds_count"
LM_CALL = "gen_ai_client_operation_duration_seconds_count"
DEFAULT_WORKFLOW = {"gen_ai_workflow_name": "Agent workflow"}
SUCCESS = {"outcome": "success"}


def check_adder(fresh: Isolation, times: int = 1, lm: dict[str, str] = LM, workflow: str = "Agent workflow") -> None:
    """See that everything that ``adder()`` did is counted once."""
    assert fresh.value(WORKFLOW, gen_ai_workflow_name=workflow) == times
    assert fresh.value(RUN, **ADDER) == times
    assert fresh.value(TASK, **ADDER, **SUCCESS, agent_task="turn") == 2 * times
    assert fresh.value(LM_CALL, **lm) == 2 * times
    assert fresh.value(TOOL, **ADDER, gen_ai_tool_name="add") == times
    assert fresh.value("gen_ai_invoke_agent_inference_calls_sum", **ADDER) == 2 * times
    assert fresh.value("gen_ai_invoke_agent_tool_calls_sum", **ADDER) == times
    assert fresh.value("agent_run_steps_sum", **ADDER) == 2 * times
    check_tokens(fresh, 2 * times)


def check_tokens(fresh: Isolation, calls: int, agent_name: str = "adder") -> None:
    """See that every token that was served is counted once."""
    expected = {"input": INPUT_TOKENS, "output": OUTPUT_TOKENS, "cache_read": 4, "cache_write": 3, "reasoning": 2}
    labels = {"gen_ai_agent_name": agent_name, "gen_ai_request_model": "fake/one"}
    counted = {kind: fresh.value("agent_tokens_total", **labels, gen_ai_token_type=kind) for kind in expected}
    assert counted == {kind: count * calls for kind, count in expected.items()}


def parents(spans: InMemorySpanExporter) -> dict[str, list[str]]:
    """Return the names of the spans in each kind of span, all of one trace."""
    finished = spans.get_finished_spans()
    assert len({span.context.trace_id for span in finished}) == 1
    by_id: dict[int, ReadableSpan] = {span.context.span_id: span for span in finished}
    inside: dict[str, list[str]] = {}
    for span in sorted(finished, key=lambda span: span.start_time or 0):
        inside.setdefault(by_id[span.parent.span_id].name if span.parent else "", []).append(span.name)
    return inside
