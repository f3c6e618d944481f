from __future__ import annotations

import asyncio
import time

import dspy
import pytest
from dspy import lm15

from faults import Faults
from ledger import Ledger
from offline_lm import MODEL_NAME, AsyncOfflineEngine, OfflineModel, offline_lm


def request(text: str) -> lm15.Request:
    return lm15.Request(model=MODEL_NAME, messages=(lm15.Message.user(text),))


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def fast_lm(ledger):
    with dspy.context(lm=offline_lm(OfflineModel(ledger, seed=1, speed=100))):
        yield


def test_the_same_seed_gives_the_same_replies_in_whatever_order_they_are_asked_for():
    one, other = (OfflineModel(Ledger(), seed=7) for _ in range(2))
    prompts = [str(number) for number in range(20)]
    replies = {prompt: one.reply(request(prompt)) for prompt in prompts}
    assert {prompt: other.reply(request(prompt)) for prompt in reversed(prompts)} == replies
    assert len({reply.text for reply in replies.values()}) == len(prompts)


def test_another_seed_gives_other_replies():
    assert OfflineModel(Ledger(), seed=1).reply(request("x")) != OfflineModel(Ledger(), seed=2).reply(request("x"))


def test_latencies_are_skewed_to_the_right_and_capped():
    model = OfflineModel(Ledger(), seed=1)
    seconds = sorted(model.reply(request(str(number))).seconds for number in range(1000))
    assert 0.05 < seconds[500] < 0.07
    assert seconds[950] > 3 * seconds[500]
    assert seconds[-1] == 0.6


@pytest.mark.usefixtures("fast_lm")
def test_predict_parses_the_answer():
    assert dspy.Predict("question -> answer")(question="How far is it?").answer


@pytest.mark.usefixtures("fast_lm")
def test_every_kind_of_output_field_has_its_type():
    signature = (
        "question -> names: list[str], size: int, share: float, is_sure: bool, kind: Literal['a', 'b'], extra: dict[str, int]"
    )
    prediction = dspy.ChainOfThought(signature)(question="What is there?")
    assert prediction.reasoning
    assert all(isinstance(name, str) for name in prediction.names)
    assert prediction.names
    assert isinstance(prediction.size, int)
    assert 0 <= prediction.share <= 1
    assert prediction.is_sure in {True, False}
    assert prediction.kind in {"a", "b"}
    assert isinstance(prediction.extra, dict)


@pytest.mark.usefixtures("fast_lm")
async def test_react_calls_tools_with_arguments_that_fit_and_finishes():
    calls = []

    async def search(query: str, limit: int) -> str:
        """Find something,

        described in more than one line.
        """
        calls.append((query, limit))
        return "found"

    react = dspy.ReAct("question -> answer", tools=[search])
    for number in range(5):
        prediction = await react.acall(question=f"How far is {number} from 9?")
        assert prediction.answer
        observations = [value for key, value in prediction.trajectory.items() if key.startswith("observation")]
        assert observations[-1] == "Completed."
        assert set(observations[:-1]) == {"found"}
    assert len(calls) > 5
    assert all(query.startswith("How far") and isinstance(limit, int) for query, limit in calls)


def test_calls_and_tokens_are_in_the_ledger_and_in_the_usage(ledger):
    lm = offline_lm(OfflineModel(ledger, seed=1, speed=100))
    with dspy.context(lm=lm, track_usage=True):
        usage = dspy.Predict("question -> answer")(question="How far is it?").get_lm_usage()[MODEL_NAME]
    assert ledger.lm_calls == {"success": 1}
    assert ledger.tokens == {"input": usage["prompt_tokens"], "output": usage["completion_tokens"]}
    assert ledger.tokens["input"] > 100


def test_a_failing_call_is_an_error_of_dspy_and_in_the_ledger(ledger):
    lm = offline_lm(OfflineModel(ledger, faults=Faults(ledger, "heavy", seed=1), speed=1000, stall_seconds=0.001))
    errors = []
    with dspy.context(lm=lm):
        for number in range(200):
            try:
                dspy.Predict("question -> answer")(question=f"How far is {number}?")
            except dspy.LMError as error:
                errors.append(type(error).__name__)
    assert set(errors) == {"LMRateLimitError", "LMServerError", "LMTimeoutError"}
    assert ledger.faults == {"lm_error": len(errors) - errors.count("LMTimeoutError"), "lm_stall": errors.count("LMTimeoutError")}
    assert {f"LM{name}": count for name, count in ledger.lm_calls.items() if name != "success"} == {
        name: errors.count(name) for name in errors
    }


async def test_a_cancelled_call_is_in_the_ledger(ledger):
    call = asyncio.create_task(AsyncOfflineEngine(OfflineModel(ledger, speed=0.001)).complete(request("x")))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ledger.lm_calls == {"cancelled": 1}


async def test_a_stream_brings_the_words_of_the_answer_one_by_one(ledger):
    model = OfflineModel(ledger, seed=1)
    times = []
    text = ""
    async for event in AsyncOfflineEngine(model).stream(request("x")):
        if event.type == "delta":
            times.append(time.monotonic())
            text += event.delta.text
    assert text == model.reply(request("x")).text
    assert len(set(times)) == len(text.split())
    assert times[-1] > times[0]
