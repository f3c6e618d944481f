"""What goes out with work and comes in where it is done, within one process: carriers, contexts, threads."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import gc
import inspect
import logging
import pickle
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as context_api
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from agentgauge import ConfigurationError, agent, propagation, task, tool
from agentgauge.catalogue import Outcome
from agentgauge.errors import contained_errors
from agentgauge.propagation import AGENT_HEADER, carry, extract, inject
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.operation import Operation
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import Scope
from agentgauge.testing import reraise_internal_errors

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
CARRIER = {"traceparent": TRACEPARENT, AGENT_HEADER: "planner"}

USER_VARIABLE = contextvars.ContextVar("user_variable", default="")


@pytest.fixture(autouse=True)
def _loud():
    with reraise_internal_errors():
        before = context_api.get_current()
        yield
        assert context_api.get_current() == before, "the test left a span behind"


@pytest.fixture
def set_propagator():
    before = propagate.get_global_textmap()
    yield propagate.set_global_textmap
    propagate.set_global_textmap(before)


@task("step")
def step():
    return str(current_agent.get()), current_span_id()


@agent("researcher")
@task("research")
def research():
    return step()


def current_span_id():
    return f"{trace.get_current_span().get_span_context().span_id:016x}"


def by_name(spans):
    return {span.name: span for span in spans.get_finished_spans()}


def assert_outside():
    assert current_agent.get() == ""
    assert not trace.get_current_span().get_span_context().is_valid


# --- inject ---------------------------------------------------------------------------------------------------------------


def test_the_trace_and_the_agent_go_out(fresh, spans):
    @agent("Größter Planer, 100 %\n")
    @task
    def plan():
        given = {"content-type": "text/plain"}
        assert inject(given) is given
        return given, inject(), current_span_id()

    given, made, span_id = plan()
    trace_id = f"{spans.get_finished_spans()[0].context.trace_id:032x}"

    assert made == {
        "traceparent": f"00-{trace_id}-{span_id}-{spans.get_finished_spans()[0].context.trace_flags:02x}",
        AGENT_HEADER: "Gr%C3%B6%C3%9Fter%20Planer%2C%20100%20%25%0A",
    }
    assert given == {"content-type": "text/plain", **made}
    assert all(text.isascii() and text.isprintable() for text in made.values())


def test_nothing_goes_out_where_there_is_nothing(spans):
    assert inject() == {}
    assert inject({"a": "b"}) == {"a": "b"}


def test_without_an_sdk_the_agent_goes_out_and_a_trace_from_elsewhere_goes_on(fresh, set_provider):
    @agent("planner")
    @task
    def plan():
        return inject()

    assert plan() == {AGENT_HEADER: "planner"}
    with extract({"traceparent": TRACEPARENT, "tracestate": "vendor=1"}):
        assert plan() == {"traceparent": TRACEPARENT, "tracestate": "vendor=1", AGENT_HEADER: "planner"}
        assert research() == ("researcher", SPAN_ID)
    assert_outside()


def test_the_decision_not_to_sample_goes_out(fresh, set_provider):
    spans = set_provider(ParentBased(TraceIdRatioBased(0.0)))

    @agent("planner")
    @task
    def plan():
        return inject()

    carrier = plan()
    assert carrier["traceparent"].endswith(("-00", "-02"))  # 02: that the trace id is random
    with extract(carrier):
        research()
    assert spans.get_finished_spans() == ()


def test_what_the_program_set_up_to_propagate_goes_along(fresh, spans, set_propagator):
    class Own(TextMapPropagator):
        def inject(self, carrier, context=None, setter=None):
            carrier["x-own"] = f"{trace.get_current_span(context).get_span_context().span_id:016x}"

        def extract(self, carrier, context=None, getter=None):
            return baggage.set_baggage("own", carrier.get("x-own", ""), context)

        @property
        def fields(self):
            return {"x-own"}

    with extract(CARRIER):
        token = context_api.attach(baggage.set_baggage("tenant", "red"))
        assert inject()["baggage"] == "tenant=red"
        context_api.detach(token)

        set_propagator(Own())
        carrier = inject()
    assert carrier == {**CARRIER, "x-own": SPAN_ID}

    with extract({"X-Own": "text", "traceparent": TRACEPARENT}):
        assert baggage.get_baggage("own") == "text"
        assert current_span_id() == SPAN_ID
    assert baggage.get_baggage("own") is None


def test_a_propagator_of_the_program_s_that_fails_takes_nothing_with_it(fresh, spans, monkeypatch, set_propagator):
    class Failing(TextMapPropagator):
        fields = frozenset()

        def inject(self, carrier, context=None, setter=None):
            raise OSError

        def extract(self, carrier, context=None, getter=None):
            raise OSError

    monkeypatch.setattr(contained_errors, "is_reraising", False)
    set_propagator(Failing())

    with extract(CARRIER):
        assert inject() == CARRIER
        assert step() == ("planner", current_span_id_of(spans, "execute_task step"))
    assert fresh.value("agentgauge_internal_errors_total", hook="inject") == 1
    assert fresh.value("agentgauge_internal_errors_total", hook="extract") == 1


def current_span_id_of(spans, name):
    return f"{by_name(spans)[name].context.span_id:016x}"


# --- extract --------------------------------------------------------------------------------------------------------------


def test_calls_under_extract_are_children_of_the_sender_s_span_and_belong_to_its_agent(fresh, spans):
    with extract(CARRIER):
        assert step()[0] == "planner"
    assert_outside()

    (span,) = spans.get_finished_spans()
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}", span.parent.is_remote) == (TRACE_ID, SPAN_ID, True)
    task_labels = {"gen_ai_agent_name": "planner", "agent_task": "step", "outcome": "success"}
    assert fresh.value("agent_task_duration_seconds_count", **task_labels) == 1
    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="planner") is None


async def test_it_is_an_asynchronous_context_manager_too(fresh, spans):
    @task("astep")
    async def astep():
        await asyncio.sleep(0)
        return str(current_agent.get())

    async with extract(CARRIER):
        assert await asyncio.gather(astep(), astep()) == ["planner", "planner"]
    assert_outside()
    assert {f"{span.parent.span_id:016x}" for span in spans.get_finished_spans()} == {SPAN_ID}
    assert len(spans.get_finished_spans()) == 2


def test_the_sender_s_agent_run_is_not_counted_again_and_another_one_s_is_a_handoff(fresh):
    @agent("planner")
    class Planner:
        @task("think")
        def plan(self):
            call = LmCall(fresh.recorder, LmName("chat", "openai", "gpt"), instrumentor="tests")
            call.note_answer(Answer(100, 0))
            call.end()

        @tool
        def look(self):
            return research()

    with extract(CARRIER):
        Planner().plan()
        Planner().look()
        run = Operation(fresh.recorder, SeriesKind.RUN, "resume", instrumentor="tests", agent="planner")
        run.end()

    def runs(name):
        return fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name=name)

    def tasks(name):
        labels = {"gen_ai_agent_name": "planner", "agent_task": name, "outcome": "success"}
        return fresh.value("agent_task_duration_seconds_count", **labels)

    assert (runs("planner"), runs("researcher")) == (None, 1)
    assert (tasks("think"), tasks("resume")) == (1, 1)
    assert fresh.value("agent_handoffs_total", source="planner", target="researcher", outcome="success") == 1
    assert fresh.value("agent_subtree_tokens_total", gen_ai_agent_name="planner", gen_ai_token_type="input") == 100
    labels = {"gen_ai_request_model": "gpt", "gen_ai_token_type": "input"}
    assert fresh.value("agent_tokens_total", gen_ai_agent_name="planner", **labels) == 100


def test_the_span_that_an_instrumented_server_made_of_the_carrier_stays_the_parent(fresh, spans):
    tracer = trace.get_tracer("server")
    token = context_api.attach(propagate.extract({**CARRIER, "baggage": "tenant=red"}))
    with tracer.start_as_current_span("POST /") as server:
        with extract(CARRIER):
            assert step()[0] == "planner"
            assert baggage.get_baggage("tenant") == "red"
        with tracer.start_as_current_span("other"), extract(CARRIER):
            research()
    context_api.detach(token)

    found = by_name(spans)
    first = next(span for span in spans.get_finished_spans() if span.name == "execute_task step")
    assert first.parent.span_id == server.get_span_context().span_id
    assert f"{found['invoke_agent researcher'].parent.span_id:016x}" == SPAN_ID


@pytest.mark.parametrize("is_async", [False, True])
def test_an_exception_passes_through_as_it_is(fresh, spans, is_async):
    error = LookupError("as it is")

    async def fail_later():
        async with extract(CARRIER):
            raise error

    def fail():
        with extract(CARRIER):
            raise error

    with pytest.raises(LookupError) as raised:
        asyncio.run(fail_later()) if is_async else fail()
    assert raised.value is error
    assert error.__context__ is None
    assert_outside()


def test_carriers_in_carriers_are_left_one_by_one(fresh, spans):
    inner = {"traceparent": f"00-{TRACE_ID}-{'1' * 16}-01", AGENT_HEADER: "other"}
    again = extract(CARRIER)
    with again:
        with extract(inner):
            assert (str(current_agent.get()), current_span_id()) == ("other", "1" * 16)
            with again:
                assert (str(current_agent.get()), current_span_id()) == ("planner", SPAN_ID)
            assert (str(current_agent.get()), current_span_id()) == ("other", "1" * 16)
        with extract({}):
            assert (str(current_agent.get()), current_span_id()) == ("planner", SPAN_ID)
    assert_outside()


def test_a_generator_that_is_closed_in_another_context_harms_nobody(fresh, spans, caplog):
    def messages():
        with extract(CARRIER):
            yield str(current_agent.get())
            yield "never"

    async def amessages():
        async with extract(CARRIER):
            yield str(current_agent.get())

    def consume():
        generator = messages()
        assert next(generator) == "planner"
        return generator

    caplog.set_level(logging.DEBUG)
    generator = contextvars.copy_context().run(consume)
    generator.close()
    contextvars.copy_context().run(consume)  # collected as soon as it is dropped
    gc.collect()

    async def consume_some():
        agenerator = amessages()
        await asyncio.create_task(anext_of(agenerator))
        await agenerator.aclose()

    asyncio.run(consume_some())
    assert_outside()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def anext_of(agenerator):
    return await anext(agenerator)


def test_a_decorated_generator_under_extract_has_its_span_and_agent_at_every_step(fresh, spans):
    @task("stream")
    def stream():
        for _ in range(2):
            yield str(current_agent.get()), step()[0]

    with extract(CARRIER):
        assert list(stream()) == [("planner", "planner")] * 2
    found = by_name(spans)
    assert f"{found['execute_task stream'].parent.span_id:016x}" == SPAN_ID
    assert found["execute_task step"].parent.span_id == found["execute_task stream"].context.span_id


@pytest.mark.parametrize(
    "carrier",
    [
        {"Traceparent": TRACEPARENT, "Agentgauge-Agent": "planner"},
        {"TRACEPARENT": TRACEPARENT, "AGENTGAUGE-AGENT": "planner"},
        {"HTTP_TRACEPARENT": TRACEPARENT, "HTTP_AGENTGAUGE_AGENT": "planner", "wsgi.input": object(), "wsgi.version": (1, 0)},
        [(b"traceparent", TRACEPARENT.encode()), (b"agentgauge-agent", b"planner")],
        ((b"Traceparent", TRACEPARENT), ["agentgauge-agent", ["planner"]], None, "ab", (1, 2, 3)),
        {b"traceparent": [TRACEPARENT.encode()], "agentgauge-agent": ("planner", "second"), 5: 6},
        {**CARRIER, "tracestate": None, "baggage": None, None: "x"},
    ],
)
def test_headers_are_found_as_servers_give_them(fresh, spans, carrier):
    with extract(carrier):
        assert (str(current_agent.get()), current_span_id()) == ("planner", SPAN_ID)
    assert_outside()


@pytest.mark.parametrize(
    "carrier",
    [
        None,
        5,
        "traceparent",
        b"traceparent",
        [],
        [None, 5, "ab"],
        {},
        {"traceparent": None, AGENT_HEADER: None},
        {"traceparent": "", AGENT_HEADER: ""},
        {"traceparent": "garbage", AGENT_HEADER: " "},
        {"traceparent": f"ff-{TRACE_ID}-{SPAN_ID}-01"},
        {"traceparent": f"00-{'0' * 32}-{SPAN_ID}-01"},
        {"traceparent": f"00-{TRACE_ID}-{'0' * 16}-01"},
        {"traceparent": object(), AGENT_HEADER: object()},
        {"tracestate": "vendor=1"},
        {AGENT_HEADER: "x" * 4_097},
        type("Failing", (), {"items": lambda self: 1 / 0})(),
        type("Odd", (), {"items": 5})(),
    ],
)
def test_a_carrier_that_cannot_be_read_is_passed_over_in_silence(fresh, spans, carrier, caplog):
    with extract(carrier):
        assert_outside()
        assert step()[0] == ""
    assert_outside()

    assert spans.get_finished_spans()[0].parent is None
    assert caplog.records == []
    assert sum(contained_errors.count_by_hook.values()) == 0


@given(
    traceparent=st.text() | st.binary() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*"),
    tracestate=st.text(),
    name=st.text() | st.binary() | st.integers(),
)
def test_no_carrier_makes_trouble_whatever_it_holds(traceparent, tracestate, name):
    with extract({"traceparent": traceparent, "tracestate": tracestate, AGENT_HEADER: name}):
        held = str(current_agent.get())
        assert len(held) <= 200
        held.encode()
        assert isinstance(inject(), dict)
    assert_outside()


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200).filter(lambda name: name == name.strip()))
def test_a_name_arrives_as_it_was(name):
    with reraise_internal_errors():
        run = functools.partial(Operation, instrumentor="tests", agent=name)
        from agentgauge.recording.default import default_recorder

        operation = run(default_recorder(), SeriesKind.RUN, "job")
        carrier = inject()
        operation.end()
        with extract(carrier):
            assert str(current_agent.get()) == name


def test_a_name_from_outside_is_cut_as_a_label_is(fresh):
    with extract({AGENT_HEADER: "%41" * 1_000}):
        assert str(current_agent.get()) == "A" * 200


def test_strangers_who_name_agents_make_no_more_series_than_the_limit(fresh, monkeypatch):
    monkeypatch.setattr(fresh.recorder, "series_limit", 5)
    for number in range(60):
        with extract({AGENT_HEADER: f"agent-{number}"}):
            step()
            research()

    samples = [sample for family in fresh.registry.collect() for sample in family.samples if sample.value]
    tasks = {sample.labels["gen_ai_agent_name"] for sample in samples if sample.name == "agent_task_duration_seconds_count"}
    sources = {sample.labels["source"] for sample in samples if sample.name == "agent_handoffs_total"}
    assert "other" in tasks & sources
    assert 5 <= len(tasks) <= 5 + 2  # and nobody's, and the others'
    assert 5 <= len(sources) <= 5 * len(Outcome) + 1
    assert sum(sample.value for sample in samples if sample.name == "agent_handoffs_total") == 60


def test_where_everything_is_disabled_nothing_goes_in_or_out(fresh, spans, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    with extract(CARRIER):
        assert_outside()
    with trace.get_tracer("tests").start_as_current_span("outer"):
        assert inject() == {}
    assert carry(step) is step


def test_the_module_loads_no_sdk():
    program = """
        import sys
        from agentgauge.propagation import carry, extract, inject
        with extract({"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "agentgauge-agent": "planner"}):
            print(inject(), carry(len)("abc"))
        print([name for name in sys.modules if name.startswith("opentelemetry.sdk")], inject())
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == [f"{ {'traceparent': TRACEPARENT, AGENT_HEADER: 'planner'} } 3", "[] {}"]


# --- carry, in this process -----------------------------------------------------------------------------------------------


def test_a_carried_function_runs_in_another_thread_with_its_whole_context(fresh, spans):
    def search(number, *, suffix):
        return number, suffix, str(current_agent.get()), USER_VARIABLE.get(), step()[0], threading.current_thread().name

    @agent("planner")
    @task("plan")
    def plan():
        USER_VARIABLE.set("theirs")
        with ThreadPoolExecutor(4, thread_name_prefix="pool") as pool:
            lost = pool.submit(step).result()[0]
            barrier = threading.Barrier(4)  # all four are in it at once

            def wait_and_search(number):
                barrier.wait(60)
                return search(number, suffix="!")

            return lost, list(pool.map(carry(wait_and_search), range(4))), pool.submit(carry(search), 9, suffix="?").result()

    lost, found, one = contextvars.copy_context().run(plan)

    assert lost == ""
    assert [entry[:5] for entry in found] == [(number, "!", "planner", "theirs", "planner") for number in range(4)]
    assert one[:5] == (9, "?", "planner", "theirs", "planner")
    assert all(entry[5].startswith("pool") for entry in found)
    plan_span = by_name(spans)["invoke_agent planner"]
    parents = [span.parent and span.parent.span_id for span in spans.get_finished_spans() if span.name == "execute_task step"]
    assert sorted(parents, key=str) == sorted([None, *[plan_span.context.span_id] * 5], key=str)
    assert_outside()


def test_what_carried_calls_do_is_in_the_books_of_the_run(fresh):
    @tool("look")
    def look(): ...

    @agent("planner")
    @task("plan")
    def plan():
        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(carry(look)) for _ in range(3)]:
                future.result()

    plan()
    assert fresh.value("gen_ai_invoke_agent_tool_calls_sum", gen_ai_agent_name="planner") == 3


async def test_a_carried_coroutine_function_has_the_trace_and_the_agent_in_another_task(fresh, spans):
    async def search(query):
        await asyncio.sleep(0)
        return query, str(current_agent.get()), current_span_id(), await asyncio.create_task(inner())

    async def inner():
        return str(current_agent.get())

    @agent("planner")
    @task("plan")
    async def plan():
        return carry(search), current_span_id()

    carried, span_id = await plan()
    assert_outside()
    assert await asyncio.gather(carried("a"), carried("b")) == [
        ("a", "planner", span_id, "planner"),
        ("b", "planner", span_id, "planner"),
    ]
    assert_outside()


def test_a_carried_coroutine_function_runs_in_a_loop_of_another_thread(fresh, spans):
    async def search():
        return str(current_agent.get()), current_span_id()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    @agent("planner")
    @task("plan")
    def plan():
        return asyncio.run_coroutine_threadsafe(carry(search)(), loop).result(60), current_span_id()

    try:
        found, span_id = plan()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert found == ("planner", span_id)


async def test_a_cancelled_carried_coroutine_leaves_nothing_behind(fresh, spans):
    started = asyncio.Event()

    async def hang():
        started.set()
        await asyncio.Event().wait()

    with extract(CARRIER):
        carried = carry(hang)
    running = asyncio.create_task(carried())
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert_outside()


def test_the_result_and_the_exception_of_a_carried_function_are_its_own(fresh):
    error = ValueError("as it is")
    thing = object()

    def fail():
        raise error

    with pytest.raises(ValueError, match="as it is") as raised:
        carry(fail)()
    assert raised.value is error
    assert error.__context__ is None
    assert carry(lambda: thing)() is thing
    assert carry(functools.partial(max, 3))(5) == 5
    assert repr(carry(len)) == "carry(<built-in function len>)"


def test_a_carried_function_that_was_copied_goes_on_with_the_trace_and_the_agent(fresh, spans):
    with extract(CARRIER):
        carried = carry(step)
    assert_outside()

    for arrived in (copy.copy(carried), copy.deepcopy(carried), pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(carried))))):
        assert arrived()[0] == "planner"
        assert_outside()
    assert {f"{span.parent.span_id:016x}" for span in spans.get_finished_spans()} == {SPAN_ID}


@pytest.mark.parametrize("wrong", ["numbers", "anumbers", 5, None])
def test_what_cannot_be_carried_is_refused(wrong):
    def numbers():
        yield 1

    async def anumbers():
        yield 1

    given = {"numbers": numbers, "anumbers": anumbers}.get(wrong, wrong)
    with pytest.raises(ConfigurationError, match=r"^carry\(.*\): (nothing of a generator runs|give the function, not what)"):
        carry(given)


# --- carry, as the function that it stands for ----------------------------------------------------------------------------


async def documented(query: str, *, most: int = 3) -> str:
    """Search for it."""
    return f"{query} {most} {current_agent.get()}"


class Waiting:
    async def __call__(self):
        return "waited"


def test_a_carried_coroutine_function_is_taken_for_one_and_a_plain_one_is_not():
    class Searcher:
        @carry
        async def search(self): ...

    partial = functools.partial(documented, "a")
    for function in (documented, partial, Waiting(), carry(documented), functools.partial(carry(documented), "a")):
        carried = carry(function)
        assert inspect.iscoroutinefunction(carried)
        assert inspect.iscoroutinefunction(pickle.loads(pickle.dumps(carried)))
    assert inspect.iscoroutinefunction(Searcher.search)
    assert inspect.iscoroutinefunction(Searcher().search)
    assert not any(map(inspect.iscoroutinefunction, (carry(len), carry(step), carry(functools.partial(step)))))


def test_a_carried_function_has_the_name_the_signature_and_the_attributes_of_the_function():
    carried = carry(documented)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(carried, attribute) == getattr(documented, attribute)
    assert inspect.signature(carried) == inspect.signature(documented)
    assert carried.__wrapped__ is documented

    def marked(): ...

    marked.function, marked.note = "theirs", "kept"
    assert carry(marked).note == "kept"
    assert carry(marked)() is None
    assert "note" not in vars(carry(functools.partial(marked)))
    with extract(CARRIER):
        arrived = pickle.loads(pickle.dumps(carry(documented)))
    assert arrived.__name__ == "documented"
    assert asyncio.run(arrived("a")) == "a 3 planner"


async def test_a_carried_function_in_a_class_binds_where_the_function_would():
    with extract(CARRIER):

        class Searcher:
            most = 7

            @carry
            def plain(self, query):
                return self, query, str(current_agent.get())

            @carry
            async def waiting(self, query):
                return self, query, str(current_agent.get())

            length = carry(len)
            of_another = carry("x-".join)

    searcher = Searcher()
    assert_outside()
    assert searcher.plain("a") == (searcher, "a", "planner")
    assert Searcher.plain(searcher, "a") == (searcher, "a", "planner")
    assert await searcher.waiting("b") == (searcher, "b", "planner")
    assert (searcher.length("abc"), searcher.of_another("ab")) == (3, "ax-b")
    assert searcher.plain == searcher.plain
    assert carry(searcher.plain)("c") == (searcher, "c", "planner")


# --- interrupted ----------------------------------------------------------------------------------------------------------


class Deadline(BaseException):
    """What a signal handler raises."""


class InterruptedVariable:
    """A context variable that a signal handler interrupts as soon as it is set, once."""

    def __init__(self, variable):
        self.get = variable.get
        self._set = variable.set
        self._is_interrupted = False

    def set(self, value):
        token = self._set(value)
        if not self._is_interrupted:
            self._is_interrupted = True
            raise Deadline
        return token


def interrupted_scope(*arguments, **options):
    Scope(*arguments, **options)
    raise Deadline


@pytest.mark.parametrize("interrupted", ["agent", "trace"])
@pytest.mark.parametrize("entered", ["extract", "resumed"])
def test_a_signal_handler_that_raises_where_a_carrier_is_taken_leaves_the_agent_and_the_trace_as_they_were(
    fresh, spans, monkeypatch, interrupted, entered
):
    with extract(CARRIER):
        carried = carry(documented)
    replaced = {"agent": ("current_agent", InterruptedVariable(current_agent)), "trace": ("Scope", interrupted_scope)}

    def enter():
        before = str(current_agent.get()), current_span_id()
        with monkeypatch.context() as patched:
            patched.setattr(propagation, *replaced[interrupted])
            with pytest.raises(Deadline):
                carried("a").send(None) if entered == "resumed" else extract(CARRIER).__enter__()
        assert (str(current_agent.get()), current_span_id()) == before

    enter()
    replaced["agent"] = "current_agent", InterruptedVariable(current_agent)
    agent("outer")(task("work")(enter))()
    assert_outside()
