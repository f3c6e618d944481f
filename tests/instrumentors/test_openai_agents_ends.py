"""The OpenAI Agents SDK: calls that are left in odd ways, and spans that nobody ends."""

from __future__ import annotations

import contextvars
import gc
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import agents
import pytest
from agents import Agent, Runner

from agentgauge.instrumentors import openai_agents
from agentgauge.recording.site import current_agent
from tests.instrumentors.openai_agents_programs import LM, LM_CALL, RUN, WORKFLOW, ListModel, agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from agentgauge.testing import Isolation


pytestmark = pytest.mark.usefixtures("offline")


class Suspended:
    """Hands control back to whoever drives the coroutine."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def test_a_call_closed_from_another_context_is_closed_in_silence(sdk: Isolation) -> None:
    one, model = agent()
    await Runner.run(one, "x")

    async def suspend() -> None:
        await Suspended()

    model.before = suspend
    call = model.get_response()
    contextvars.copy_context().run(call.send, None)
    call.close()
    assert sdk.value(LM_CALL, **LM, error_type="GeneratorExit") == 1
    assert current_agent.get() == ""


class CleanupError(Exception):
    """What the cleanup of a stream raises."""


class BadlyClosed(ListModel):
    """Fails when its stream is left."""

    async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        try:
            yield SimpleNamespace(type="response.created")
        finally:
            await self._clean_up()

    async def _clean_up(self) -> None:
        raise CleanupError


async def test_a_stream_whose_cleanup_raises_ends_its_call_and_the_exception_passes(sdk: Isolation) -> None:
    model = BadlyClosed()
    with pytest.raises(CleanupError):
        async for _ in Runner.run_streamed(Agent(name="adder", model=model), "x").stream_events():
            pass
    stream: Any = model.stream_response()
    await anext(stream)
    with pytest.raises(CleanupError):
        await stream.aclose()
    assert sdk.value(LM_CALL, **LM, error_type="GeneratorExit") == 1


async def test_a_tool_that_answers_to_every_name_is_not_taken_for_a_decorated_one() -> None:
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            return self

    call = SimpleNamespace(arguments='{"first": 1}')
    assert openai_agents._told_of(SimpleNamespace(__wrapped__=Proxy()), call) == ({"first": 1}, False)


class BeforeError(Exception):
    """An exception that the program is handling when a span begins."""


def test_an_open_span_keeps_no_exception_alive_that_was_handled_when_it_began(sdk: Isolation) -> None:
    try:
        raise BeforeError
    except BeforeError as error:
        before = weakref.ref(error)
        with agents.trace("long"):
            span = agents.agent_span("adder")
            span.start()
    gc.collect()
    assert before() is None
    span.finish()
    assert sdk.value(RUN, gen_ai_agent_name="adder") == 1


def test_of_too_many_traces_that_do_not_end_the_oldest_is_given_up(sdk: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_agents, "_MOST_OPEN", 2)
    traces = [agents.trace(name) for name in ("first", "second", "third")]
    for each in traces:
        each.start()
    for each in traces:
        each.finish()
    names = ("first", "second", "third")
    assert [sdk.value(WORKFLOW, gen_ai_workflow_name=name) for name in names] == [0, 1, 1]
    assert sdk.value(WORKFLOW, gen_ai_workflow_name="first", error_type="span_never_ended") == 1


def test_of_two_traces_with_one_id_the_first_is_given_up(sdk: Isolation) -> None:
    traces = [agents.trace(name, trace_id="trace_" + "1" * 32) for name in ("first", "second")]
    for each in traces:
        each.start()
    for each in traces:
        each.finish()
    assert sdk.value(WORKFLOW, gen_ai_workflow_name="first", error_type="span_never_ended") == 1
    assert sdk.value(WORKFLOW, gen_ai_workflow_name="second") == 1
