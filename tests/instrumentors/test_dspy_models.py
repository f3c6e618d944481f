"""Every kind of DSPy's language models: its own, its dummy, and those that users write, by whatever method."""

from __future__ import annotations

import asyncio
import contextlib

import dspy
import pytest
from dspy.dsp.utils.utils import dotdict
from dspy.utils import DummyLM
from dspy_programs import AsyncEngine, Engine, Question, counts, instrumented, lm_of, tokens

ROUTER = {"gen_ai_provider_name": "router", "gen_ai_response_finish_reason": "stop"}
ANSWERED = ("lm", "chat", "openai", "offline", "offline-2026")


@pytest.fixture
def measured(fresh):
    with instrumented():
        yield fresh


@pytest.mark.parametrize("is_async", [False, True])
def test_the_dummy_of_dspy_is_counted_and_uses_no_tokens(measured, is_async):
    lm = DummyLM([{"answer": "yes"}])
    with dspy.context(lm=lm):
        predict = dspy.Predict(Question)
        answer = asyncio.run(predict.acall(question="why")) if is_async else predict(question="why")

    assert answer.answer == "yes"
    assert counts(measured) == {("task", "Predict", "success"): 1, ("lm", "chat", "dummy", "dummy"): 1}
    assert tokens(measured, gen_ai_request_model="dummy") == {"input": 0, "output": 0}


def answer_like_openai(text="[[ ## answer ## ]]\nyes", usage=None, **more):
    choice = dotdict(message=dotdict(content=text), finish_reason="stop")
    return dotdict(model="small-2026", choices=[choice], usage=usage or {"prompt_tokens": 8, "completion_tokens": 2}, **more)


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
@pytest.mark.parametrize("is_async", [False, True])
def test_a_model_of_the_users_own_is_counted_with_its_tokens(measured, is_async):
    class Own(dspy.BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            return answer_like_openai()

        async def aforward(self, prompt=None, messages=None, **kwargs):
            return answer_like_openai()

    lm = Own("house/small")
    assert (asyncio.run(lm.acall("hello")) if is_async else lm("hello")) == ["[[ ## answer ## ]]\nyes"]

    assert counts(measured) == {("lm", "chat", "house", "small", "small-2026"): 1}
    assert tokens(measured, gen_ai_request_model="small") == {"input": 8, "output": 2}


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 8, "output_tokens": 2}, {"input": 8, "output": 2}),
        (
            {
                "input_tokens": 8,
                "output_tokens": 2,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 1},
            },
            {"input": 8, "output": 2, "cache_read": 4, "reasoning": 1},
        ),
        (
            {"prompt_tokens": 8, "completion_tokens": 2, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 5},
            {"input": 8, "output": 2, "cache_read": 3, "cache_write": 5},
        ),
        ({"prompt_tokens": None, "total_tokens": 9, "prompt_tokens_details": None}, {}),
    ],
)
def test_usage_is_read_under_the_names_of_every_provider(measured, usage, expected):
    class Own(dspy.BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            return answer_like_openai(usage=usage)

    Own("small")("hello")

    assert counts(measured) == {("lm", "chat", "small", "small-2026"): 1}
    assert tokens(measured, gen_ai_request_model="small") == expected


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
def test_a_cache_of_a_models_own_spends_nothing_either(measured):
    class Own(dspy.BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            return answer_like_openai(cache_hit=True)

    Own("small")("hello")

    assert tokens(measured, gen_ai_request_model="small") == {}
    assert measured.value("agent_lm_cache_hits_total", gen_ai_request_model="small") == 1


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
@pytest.mark.parametrize(("told", "counted"), [({"prompt_tokens": None}, 20), ({"prompt_tokens": 7, "completion_tokens": 1}, 7)])
def test_a_model_that_asks_others_is_one_call_with_its_own_tokens_or_else_theirs(measured, told, counted):
    engine = Engine()
    inner = lm_of(engine)

    class Router(dspy.BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            texts = inner("one"), inner("two")
            return answer_like_openai(text=texts[0][0], usage=told)

    Router("router/auto")("hello")

    assert engine.served == 2
    assert counts(measured) == {("lm", "chat", "router", "auto", "small-2026"): 1}
    assert tokens(measured, gen_ai_request_model="auto")["input"] == counted
    assert measured.value("agent_lm_finish_reasons_total", gen_ai_request_model="auto", **ROUTER) == 1
    assert measured.value("agentgauge_calls_suppressed_total", instrumentor="dspy", owner="dspy", kind="lm") == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_a_model_that_overrides_the_call_itself_is_counted_where_an_adapter_asks_it(measured, is_async):
    class Own(dspy.BaseLM):
        def __call__(self, prompt=None, messages=None, **kwargs):
            if "fail" in str(messages):
                raise ConnectionError("gone")
            return ["[[ ## answer ## ]]\nyes"]

        async def acall(self, prompt=None, messages=None, **kwargs):
            return self(prompt, messages, **kwargs)

    class Logged(dspy.LM):
        def __call__(self, *args, **kwargs):
            return super().__call__(*args, **kwargs)

        async def acall(self, *args, **kwargs):
            return await super().acall(*args, **kwargs)

    predict = dspy.Predict(Question)
    logged = Logged("openai/offline", engine=(engine := Engine()), async_engine=AsyncEngine(engine), cache=False)
    for lm, question in ((Own("house/own"), "why"), (Own("house/own"), "fail"), (logged, "why")):
        with dspy.context(lm=lm), contextlib.suppress(ConnectionError):
            asyncio.run(predict.acall(question=question)) if is_async else predict(question=question)

    assert counts(measured) == {
        ("task", "Predict", "success"): 2,
        ("task", "Predict", "error"): 1,
        ("lm", "chat", "house", "own"): 1,
        ("lm", "chat", "house", "own", "ConnectionError"): 1,
        ANSWERED: 1,
    }
    assert tokens(measured, gen_ai_request_model="offline")["input"] == engine.input_tokens == 10
    assert measured.value("agentgauge_calls_suppressed_total", instrumentor="dspy", owner="dspy", kind="lm") is None


def test_text_completions_bear_their_operation(measured):
    lm = lm_of(Engine(), model_type="text")
    lm("hello")

    assert counts(measured) == {("lm", "text_completion", "openai", "offline", "offline-2026"): 1}


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
@pytest.mark.parametrize("model", ["", "bare", "openai/org/model:v1"])
def test_any_name_of_a_model_passes(measured, model):
    class Own(dspy.BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            return answer_like_openai()

    Own(model)("hello")

    provider = {"openai/org/model:v1": ("openai", "org/model:v1"), "bare": ("bare",), "": ()}[model]
    assert counts(measured) == {("lm", "chat", *provider, "small-2026"): 1}
