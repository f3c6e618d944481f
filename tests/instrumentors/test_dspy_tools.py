"""DSPy's tools: errors that agents swallow, pseudo-tools, decorated ones, and code that agents run."""

from __future__ import annotations

import asyncio
import json

import dspy
import pytest
from dspy.primitives.code_interpreter import CodeExecutionError, FinalOutput
from dspy_programs import FINISH, Engine, Question, Seeker, broken, counts, drawn, instrumented, lm_of, look_up, step

import agentgauge
from agentgauge.instrumentors.content import Content


@pytest.fixture
def measured(fresh):
    with instrumented():
        yield fresh


def run(program, is_async, **inputs):
    return asyncio.run(program.acall(**inputs)) if is_async else program(**inputs)


def tools(measured):
    return {key[1:]: count for key, count in counts(measured).items() if key[0] == "tool"}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_tools_error_that_react_swallows_is_counted_and_the_agent_goes_on(measured, is_async):
    engine = Engine([step("broken", query="x"), step("look_up", query="x"), FINISH])
    with dspy.context(lm=lm_of(engine)):
        answer = run(dspy.ReAct(Question, tools=[look_up, broken]), is_async, question="why")

    assert "LookupError" in answer.trajectory["observation_0"]
    assert tools(measured) == {("ReAct", "broken", "LookupError"): 1, ("ReAct", "look_up"): 1}
    assert counts(measured)["agent", "ReAct"] == 1
    assert measured.value("gen_ai_invoke_agent_tool_calls_sum", gen_ai_agent_name="ReAct") == 2


def test_arguments_that_do_not_fit_are_an_error_of_the_tool(measured):
    engine = Engine([step("look_up", wrong="x"), FINISH])
    with dspy.context(lm=lm_of(engine)):
        dspy.ReAct(Question, tools=[look_up])(question="why")

    assert tools(measured) == {("ReAct", "look_up", "ValueError"): 1}


def finish() -> str:
    """Finish the report."""
    return "finished"


def test_the_finish_of_react_is_no_tool_but_a_users_tool_of_that_name_is(measured):
    with dspy.context(lm=lm_of(Engine([FINISH]))):
        dspy.ReAct(Question, tools=[look_up])(question="why")
    assert tools(measured) == {}

    assert dspy.Tool(finish)() == "finished"
    assert tools(measured) == {("finish",): 1}


@pytest.mark.parametrize("is_async", [False, True])
def test_reactv2_reports_its_tools_and_not_the_submit_that_ends_it(measured, is_async):
    calls = json.dumps({"tool_calls": [{"name": "look_up", "args": {"query": "x"}}, {"name": "broken", "args": {"query": "y"}}]})
    last = json.dumps({"tool_calls": [{"name": "submit", "args": {"answer": "yes"}}]})
    engine = Engine([{"next_thought": "go", "tool_calls": calls}, {"next_thought": "done", "tool_calls": last}])
    with dspy.context(lm=lm_of(engine)):
        answer = run(dspy.ReActV2(Question, tools=[look_up, broken]), is_async, question="why")

    assert answer.answer == "yes"
    assert counts(measured) == {
        ("agent", "ReActV2"): 1,
        ("task", "ReActV2", "forward", "success"): 1,
        ("task", "ReActV2", "Predict", "success"): 2,
        ("tool", "ReActV2", "look_up"): 1,
        ("tool", "ReActV2", "broken", "LookupError"): 1,
        ("lm", "chat", "openai", "offline", "offline-2026"): 2,
    }


def test_repeated_calls_are_told_by_their_arguments(measured):
    steps = [step("look_up", query=query) for query in ("a", "b", "a", "a")]
    with dspy.context(lm=lm_of(Engine([*steps, FINISH]))):
        Seeker()(question="why")

    assert tools(measured) == {("ReAct", "look_up"): 4}
    assert measured.value("agent_repeated_tool_calls_total", gen_ai_agent_name="ReAct", gen_ai_tool_name="look_up") == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_a_tool_that_a_decorator_measures_is_counted_once_by_the_decorator(measured, is_async):
    @agentgauge.tool
    def search(query: str) -> str:
        """Search."""
        return query

    class Shop:
        @agentgauge.tool
        def price(self, query: str) -> str:
            """Price."""
            return query

    engine = Engine([step("search", query="a"), step("price", query="a"), FINISH])
    with dspy.context(lm=lm_of(engine)):
        run(dspy.ReAct(Question, tools=[search, Shop().price]), is_async, question="why")

    assert tools(measured) == {("ReAct", "search"): 1, ("ReAct", "price"): 1}
    assert measured.value("agentgauge_calls_suppressed_total", instrumentor="dspy", owner="decorator", kind="tool") == 2


def test_an_asynchronous_tool_called_synchronously_is_measured_and_awaited(measured):
    async def fetch(url: str) -> str:
        """Fetch."""
        await asyncio.sleep(0)
        return url

    with dspy.context(allow_tool_async_sync_conversion=True):
        assert dspy.Tool(fetch)(url="x") == "x"
    assert tools(measured) == {("fetch",): 1}


async def test_a_cancelled_tool_is_cancelled(measured):
    reached = asyncio.Event()

    async def wait() -> str:
        """Wait."""
        reached.set()
        await asyncio.Event().wait()

    calling = asyncio.ensure_future(dspy.Tool(wait).acall())
    await reached.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert tools(measured) == {("wait", "asyncio.exceptions.CancelledError"): 1}


async def test_a_tool_of_an_mcp_server_is_measured(measured):
    from mcp import types

    class Session:
        async def call_tool(self, name, arguments=None):
            return types.CallToolResult(content=[types.TextContent(type="text", text=f"{name} {arguments['city']}")])

    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = dspy.Tool.from_mcp_tool(Session(), types.Tool(name="weather", description="Weather.", input_schema=schema))

    assert await tool.acall(city="Oslo") == "weather Oslo"
    assert tools(measured) == {("weather",): 1}


def test_a_program_that_is_a_tool_is_under_it(measured, spans):
    inner = dspy.Predict(Question)

    def ask(question: str) -> str:
        """Ask."""
        return inner(question=question).answer

    with dspy.context(lm=lm_of(Engine([step("ask", question="x"), {"answer": "yes"}, FINISH]))):
        dspy.ReAct(Question, tools=[ask])(question="why")

    tree = drawn(spans)
    at = tree.index("  execute_tool ask")
    assert tree[at + 1 : at + 3] == ["    execute_task Predict", "      chat offline"]


def test_arguments_and_results_are_on_the_span_only_where_content_is_captured(fresh, spans):
    tool = dspy.Tool(look_up)
    with instrumented():
        tool(query="quiet")
    with instrumented(Content(is_captured=True)):
        tool(query="loud")

    quiet, loud = (span.attributes for span in spans.get_finished_spans())
    assert "gen_ai.tool.call.arguments" not in quiet
    assert "gen_ai.tool.call.result" not in quiet
    assert json.loads(loud["gen_ai.tool.call.arguments"]) == {"query": "loud"}
    assert loud["gen_ai.tool.call.result"] == "LOUD"
    assert loud["gen_ai.tool.type"] == "function"
    assert loud["gen_ai.tool.description"] == "Look something up."


# --- code that agents run -------------------------------------------------------------------------------------------------


class Interpreter:
    """Runs nothing: hands out what it was given, raising what is an exception."""

    def __init__(self, *results):
        self.results = list(results)
        self.tools = {}
        self.executed = []

    def start(self):
        pass

    def execute(self, code, variables=None):
        self.executed.append(code)
        result = self.results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    def shutdown(self):
        pass


@pytest.mark.filterwarnings("ignore:ProgramOfThought is deprecated:DeprecationWarning")
def test_code_of_a_program_of_thought_is_a_tool_and_its_errors_that_are_swallowed_are_seen(measured, spans):
    code = {"reasoning": "so", "generated_code": "```python\n1 + 1\n```"}
    engine = Engine([code, code, {"reasoning": "so", "answer": "2"}])
    interpreter = Interpreter(CodeExecutionError("no"), 2)
    with dspy.context(lm=lm_of(engine)):
        answer = dspy.ProgramOfThought(Question)(interpreter, question="why")

    assert answer.answer == "2"
    assert interpreter.executed == ["1 + 1", "1 + 1"]
    assert counts(measured) == {
        ("task", "ProgramOfThought", "success"): 1,
        ("task", "ChainOfThought", "success"): 3,
        ("task", "Predict", "success"): 3,
        ("tool", "code_interpreter", "dspy.primitives.code_interpreter.CodeExecutionError"): 1,
        ("tool", "code_interpreter"): 1,
        ("lm", "chat", "openai", "offline", "offline-2026"): 3,
    }
    assert "  execute_tool code_interpreter" in drawn(spans)


@pytest.mark.filterwarnings("ignore:CodeAct is deprecated:DeprecationWarning")
def test_code_of_a_codeact_agent_is_its_tool_and_what_sets_the_interpreter_up_is_not(measured):
    engine = Engine([{"generated_code": "```python\nlook_up('x')\n```", "finished": "True"}, {"reasoning": "so", "answer": "X"}])
    interpreter = Interpreter(None, "X")
    with dspy.context(lm=lm_of(engine)):
        dspy.CodeAct(Question, tools=[look_up])(interpreter, question="why")

    assert len(interpreter.executed) == 2
    assert tools(measured) == {("CodeAct", "code_interpreter"): 1}
    assert counts(measured)["agent", "CodeAct"] == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_code_of_a_recursive_language_model_is_its_tool(measured, is_async):
    code = {"reasoning": "so", "code": "SUBMIT('2')"}
    engine = Engine([code, code])
    interpreter = Interpreter(SyntaxError("no"), FinalOutput({"answer": "2"}))

    def execute(code, variables=None):
        if code != "SUBMIT('2')":  # what DSPy itself has set up, in versions that do
            return None
        return type(interpreter).execute(interpreter, code, variables)

    interpreter.execute = execute
    with dspy.context(lm=lm_of(engine)):
        answer = run(dspy.RLM(Question, interpreter_factory=lambda: interpreter), is_async, question="why")

    assert answer.answer == "2"
    assert tools(measured) == {("RLM", "code_interpreter", "SyntaxError"): 1, ("RLM", "code_interpreter"): 1}
