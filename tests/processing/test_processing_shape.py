"""What a class lacks is said when it is instantiated, by name."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import pickle

import pytest
from processing_virtual import run

from agentgauge import agent
from agentgauge.breaker import CircuitBreaker
from agentgauge.errors import ConfigurationError
from agentgauge.processing import EnhancedProcessingInterface, IncompleteClassError, ProcessingContext, ProcessingSettings
from agentgauge.processing.retrying import RetryPolicy


class Echo(EnhancedProcessingInterface):
    async def _process(self, input_data, context):
        return input_data


def test_a_forgotten_process_is_named_when_the_class_is_instantiated():
    class Forgetful(EnhancedProcessingInterface[str, str]):
        pass

    with pytest.raises(IncompleteClassError, match="Forgetful lacks _process: write `async def _process"):
        Forgetful()
    with pytest.raises(TypeError):
        Forgetful()


async def _coroutine(self, input_data, context):
    return input_data


def _plain(self, input_data, context):
    return input_data


async def _of_self_alone(self):
    return None


@pytest.mark.parametrize(
    ("name", "override", "says"),
    [
        ("_process", _plain, r"Wrong\._process is no coroutine function.*asyncio\.to_thread"),
        ("_process", _of_self_alone, r"Wrong\._process does not take what it is given"),
        ("_process", None, r"Wrong\._process is no coroutine function"),
        ("_stream", _coroutine, r"Wrong\._stream is no asynchronous generator"),
        ("_initialize", lambda self: None, r"Wrong\._initialize is no coroutine function"),
        ("_initialize", _coroutine, r"Wrong\._initialize does not take what it is given"),
        ("_shutdown", lambda self: None, r"Wrong\._shutdown is no coroutine function"),
        ("_validate_input", _coroutine, r"Wrong\._validate_input must be a plain function"),
        ("_validate_output", _coroutine, r"Wrong\._validate_output must be a plain function"),
        ("_estimate_seconds", lambda self: 1, r"Wrong\._estimate_seconds does not take what it is given"),
        ("process", _coroutine, r"Wrong overrides process, .*override _process"),
        ("stream", _coroutine, r"Wrong overrides stream, .*override _stream"),
        ("shutdown", _of_self_alone, r"Wrong overrides shutdown, .*override _shutdown"),
    ],
)
def test_an_override_that_cannot_work_is_named_when_the_class_is_instantiated(name, override, says):
    wrong = type("Wrong", (Echo,), {name: override})
    with pytest.raises(IncompleteClassError, match=says):
        wrong()


def test_overrides_may_be_decorated_and_take_any_arguments():
    class Loose(Echo):
        async def _process(self, *args, **kwargs):
            return args[0]

        @staticmethod
        def _validate_input(input_data, context):
            return True

    async def main():
        return (await Loose().process(1)).data

    assert run(main()) == 1


def test_a_subclass_that_forgets_the_constructor_of_its_base_works_with_the_settings_of_its_class():
    class Own(Echo):
        settings = ProcessingSettings(agent="own", max_concurrency=3)

        def __init__(self, value):
            self.value = value

    async def main():
        own = Own(7)
        assert own.settings.max_concurrency == 3
        return (await own.process("x")).data

    assert run(main()) == "x"


def test_a_subclass_may_have_attributes_of_any_other_name():
    class Busy(Echo):
        def __init__(self):
            self._work = self._gate = self._life = self._series = self._performed = self._streamed = self._set_up = None
            self.settings = {"of": "its own"}

    async def main():
        busy = Busy()
        assert (await busy.process("x")).data == "x"
        assert [item async for item in busy.stream("y")] == ["y"]
        assert len(await busy.process_batch("abc")) == 3
        await busy.shutdown()
        return busy.state, busy.queue_depth, busy.in_progress()

    assert run(main()) == ("offline", 0, ())


@pytest.mark.parametrize("given", [{"user": "x"}, "ann", ProcessingContext, 0])
def test_what_is_no_context_is_refused_by_name_before_anything_starts(given):
    class Never(Echo):
        async def _initialize(self):
            raise AssertionError

    async def main():
        never = Never()
        says = f"^context is of type {type(given).__name__}: give a ProcessingContext, such as"
        with pytest.raises(ConfigurationError, match=says):
            await never.process("a", given)
        with pytest.raises(ConfigurationError, match=says):
            await anext(never.stream("a", given))
        with pytest.raises(ConfigurationError, match=says):
            await never.process_batch([], given)
        assert never.state == "offline"

    run(main())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"max_concurrency": 0}, "max_concurrency=0"),
        ({"queue_limit": -1}, "queue_limit=-1"),
        ({"timeout_seconds": 0}, "timeout_seconds=0.*None for no limit"),
        ({"agent": ""}, "agent=''"),
        ({"task": ""}, "task=''"),
        ({"breaker": object()}, "breaker=.*CircuitBreaker"),
        ({"breaker": CircuitBreaker}, "breaker=.*CircuitBreaker"),
        ({"retry": 3}, "retry=3.*RetryPolicy"),
        ({"raises": 1}, "raises=1"),
        ({"objective": 0.99}, "objective=0.99"),
        ({"drain_seconds": -1}, "drain_seconds=-1"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings, says):
    with pytest.raises(ConfigurationError, match=says):
        ProcessingSettings(**settings)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"retries": -1}, "retries=-1"),
        ({"on": ValueError}, "on=.*tuple"),
        ({"on": (BaseException,)}, "on=.*tuple"),
        ({"on": "ConnectionError"}, "on='ConnectionError'"),
        ({"budget_ratio": -0.1}, "budget_ratio=-0.1"),
        ({"budget_reserve": float("inf")}, "budget_reserve=inf"),
        ({"engine": "tenacity"}, "engine='tenacity'"),
    ],
)
def test_retry_policies_that_cannot_work_are_refused_by_name(policy, says):
    with pytest.raises(ConfigurationError, match=says):
        RetryPolicy(**policy)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"request_id": ""}, "request_id=''"),
        ({"priority": "high"}, "priority='high'"),
        ({"timeout_seconds": -1}, "timeout_seconds=-1"),
        ({"deadline": 3}, "deadline=3.*time zone"),
        ({"retries": -1}, "retries=-1"),
        ({"tags": "one"}, "tags='one'"),
        ({"tags": ["one"]}, "tags=.*tuple"),
        ({"tags": (1,)}, "tags=.*tuple"),
        ({"user": 7}, "user=7"),
        ({"metadata": None}, "metadata=None.*mapping"),
        ({"on_progress": 1}, "on_progress=1"),
    ],
)
def test_contexts_that_cannot_work_are_refused_by_name(said, says):
    with pytest.raises(ConfigurationError, match=says):
        ProcessingContext(**said)


def test_a_context_may_be_copied_and_may_travel():
    context = ProcessingContext(user="ann", tags=("a",), metadata={"shard": 3})
    for each in (context, ProcessingContext()):
        assert pickle.loads(pickle.dumps(each)) == copy.deepcopy(each) == ProcessingContext(**dataclasses.asdict(each)) == each


def test_each_context_draws_an_id_of_its_own():
    assert len({ProcessingContext().request_id for _ in range(1000)}) == 1000


def test_wrong_settings_of_a_class_are_refused_when_it_is_instantiated():
    class Wrong(Echo):
        settings = {"agent": "x"}  # noqa: RUF012 - wrong on purpose

    with pytest.raises(ConfigurationError, match="settings="):
        Wrong()
    with pytest.raises(ConfigurationError, match="settings="):
        Echo(settings=3)


def test_agent_on_the_class_names_the_agent_and_measures_no_other_method(fresh):
    @agent("librarian")
    class Library(Echo):
        async def helper(self):
            return 1

    async def main():
        library = Library()
        await library.helper()
        return await library.process("x")

    assert asyncio.run(main()).data == "x"
    assert fresh.value(
        "agent_task_duration_seconds_count", gen_ai_agent_name="librarian", agent_task="process", outcome="success"
    )
    assert (
        fresh.value("agent_task_duration_seconds_count", gen_ai_agent_name="librarian", agent_task="helper", outcome="success")
        is None
    )
