"""What is tried again, when, and how often at the most: by our own loop, and by stamina's."""

from __future__ import annotations

import asyncio
import sys

import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st
from processing_desks import FakeBreaker, Upper
from processing_virtual import run

from agentgauge.breaker import CircuitBreaker, CircuitOpenError, CountWindow
from agentgauge.errors import ConfigurationError
from agentgauge.processing import (
    CircuitRefusedError,
    DependencyError,
    InvalidInputError,
    ProcessingContext,
    ProcessingTimeoutError,
    RetryPolicy,
)
from agentgauge.processing.retrying import RetryBudget

ENGINES = ("own", "stamina")


class Flaky(Upper):
    """Fails in the ways that it is told, in turn; then answers."""

    def __init__(self, *failures, **settings):
        super().__init__(**settings)
        self.failures = list(failures)
        self.times = []

    async def _process(self, input_data, context):
        self.times.append(asyncio.get_running_loop().time())
        if self.failures:
            raise self.failures.pop(0)
        return input_data


def gone(count=1):
    return [ConnectionError(f"gone {number}") for number in range(count)]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_worth_another_attempt_is_tried_again(engine, fresh):
    async def main():
        flaky = Flaky(*gone(2), retry=RetryPolicy(retries=3, engine=engine))
        result = await flaky.process("word")
        assert (result.data, result.metadata["attempts"], len(flaky.times)) == ("word", 3, 3)
        assert flaky.times[1] > flaky.times[0]

    run(main())
    assert fresh.value("agent_task_retries_total", gen_ai_agent_name="Flaky", agent_task="process") == 2
    assert (
        fresh.value("agent_task_duration_seconds_count", gen_ai_agent_name="Flaky", agent_task="process", outcome="success") == 1
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_the_last_failure_is_what_a_request_ends_in(engine):
    async def main():
        failures = gone(5)
        result = await Flaky(*failures, retry=RetryPolicy(retries=2, engine=engine)).process("word")
        assert type(result.error) is DependencyError
        assert result.error.__cause__ is failures[2]
        assert result.metadata["attempts"] == 3
        assert result.error.__cause__.__context__ is None

    run(main())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("failure", [ValueError("no"), InvalidInputError("no"), CircuitRefusedError("no")])
def test_what_is_not_worth_another_attempt_is_tried_once(engine, failure):
    async def main():
        flaky = Flaky(failure, retry=RetryPolicy(retries=3, engine=engine))
        result = await flaky.process("word")
        assert not result.is_success
        assert len(flaky.times) == 1

    run(main())


def test_nothing_is_tried_again_unless_it_is_asked_for():
    async def main():
        assert (await Flaky(*gone()).process("word")).metadata["attempts"] == 1
        assert (await Flaky(*gone()).process("word", ProcessingContext(retries=1))).data == "word"
        eager = Flaky(*gone(), retry=RetryPolicy(retries=3))
        assert (await eager.process("word", ProcessingContext(retries=0))).metadata["attempts"] == 1

    run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cancelled_request_is_not_tried_again(engine):
    async def main():
        upper = Upper(retry=RetryPolicy(retries=3, engine=engine))
        request = asyncio.create_task(upper.process(10))
        await asyncio.sleep(1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert upper.begun == [10]

    run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_request_that_is_cancelled_between_two_attempts_is_not_tried_again(engine):
    async def main():
        error = ConnectionError("gone")
        error.retry_after_seconds = 10
        flaky = Flaky(error, retry=RetryPolicy(retries=3, engine=engine))
        request = asyncio.create_task(flaky.process("word"))
        await asyncio.sleep(5)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert len(flaky.times) == 1

    run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_that_says_when_is_waited_for_so_long(engine):
    async def main():
        error = ConnectionError("gone")
        error.retry_after_seconds = 10
        flaky = Flaky(error, retry=RetryPolicy(retries=3, engine=engine, first_seconds=0))
        assert (await flaky.process("word")).is_success
        assert flaky.times == [0, 10]

    run(main())


@pytest.mark.parametrize("told", [float("inf"), float("nan"), -1, "soon"])
def test_what_is_no_time_to_wait_is_not_waited_for(told):
    async def main():
        error = ConnectionError("gone")
        error.retry_after_seconds = told
        flaky = Flaky(error, retry=RetryPolicy(retries=1, first_seconds=0), timeout_seconds=None)
        assert (await flaky.process("word")).is_success
        assert flaky.times == [0, 0]
        result = await Flaky(error, timeout_seconds=None).process("word")
        assert result.error.retry_after_seconds is None

    run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_there_is_no_retry_that_the_deadline_would_cut_off(engine):
    async def main():
        error = ConnectionError("gone")
        error.retry_after_seconds = 10
        flaky = Flaky(error, retry=RetryPolicy(retries=3, engine=engine), timeout_seconds=9)
        result = await flaky.process("word")
        assert type(result.error) is DependencyError
        assert result.metadata["seconds"] == 0

    run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_an_attempt_that_hangs_is_tried_again_within_the_time_of_the_request(engine):
    async def main():
        retry = RetryPolicy(retries=9, engine=engine, first_seconds=0)
        upper = Upper(attempt_timeout_seconds=2, timeout_seconds=7, retry=retry)
        result = await upper.process(100)
        assert type(result.error) is ProcessingTimeoutError
        assert (result.metadata["attempts"], result.metadata["seconds"]) == (4, 7)
        assert len(upper.ended) == 4

    run(main())


def test_an_invalid_output_may_be_better_the_next_time():
    class Checked(Flaky):
        def __init__(self):
            super().__init__(retry=RetryPolicy(retries=2))
            self.outputs = 0

        def _validate_output(self, data, context):
            self.outputs += 1
            return self.outputs == 2

    async def main():
        result = await Checked().process("word")
        assert (result.data, result.metadata["attempts"]) == ("word", 2)

    run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_every_attempt_goes_through_the_breaker(engine):
    async def main():
        breaker = FakeBreaker()
        failures = gone(2)
        assert (await Flaky(*failures, breaker=breaker, retry=RetryPolicy(retries=2, engine=engine)).process("word")).is_success
        assert breaker.endings == [*failures, None]

        class Closing(Flaky):
            async def _process(self, input_data, context):
                breaker.refusal = RuntimeError("open")
                return await super()._process(input_data, context)

        refused = await Closing(*gone(), breaker=breaker, retry=RetryPolicy(retries=2, engine=engine)).process("word")
        assert type(refused.error) is CircuitRefusedError
        assert refused.metadata["attempts"] == 1

    run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_refused_retry_tells_of_the_failure_that_opened_the_breaker(engine):
    def one_failure_opens():
        return CircuitBreaker("store", window=CountWindow(1), minimum_calls=1)

    async def main():
        policy = RetryPolicy(retries=2, engine=engine)
        flaky = Flaky(ConnectionError("the store is gone"), breaker=one_failure_opens(), retry=policy)
        result = await flaky.process("word")
        assert (type(result.error), result.metadata["attempts"]) == (CircuitRefusedError, 1)
        assert isinstance(result.error.__cause__, CircuitOpenError)
        assert str(result.error).endswith("; the attempt before failed: ConnectionError: the store is gone")
        assert "attempt before" not in str((await flaky.process("word")).error)  # a request of its own, that had none
        streamed = Flaky(ConnectionError("the store is gone"), breaker=one_failure_opens(), retry=policy)
        with pytest.raises(CircuitRefusedError, match="attempt before failed: ConnectionError: the store is gone"):
            await anext(streamed.stream("word"))

    run(main())


def test_a_function_may_tell_what_is_worth_another_attempt(fresh):
    async def main():
        retry = RetryPolicy(retries=1, on=lambda error: "busy" in str(error))
        assert (await Flaky(ValueError("busy"), retry=retry).process("word")).is_success
        assert not (await Flaky(ValueError("bad"), retry=retry).process("word")).is_success
        broken = RetryPolicy(retries=1, on=lambda error: error.missing)
        failure = ValueError("bad")
        assert (await Flaky(failure, retry=broken).process("word")).error.__cause__ is failure

    run(main())
    assert fresh.value("agentgauge_internal_errors_total", hook="retry_on") == 1


def test_all_requests_share_a_budget_of_retries():
    async def main():
        flaky = Flaky(*gone(1000), retry=RetryPolicy(retries=3, first_seconds=0, budget_ratio=0.5, budget_reserve=4))
        for _ in range(20):
            await flaky.process("word")
        assert len(flaky.times) - 20 == 4 + 0.5 * 20

    run(main())


@given(st.lists(st.booleans(), max_size=300), st.floats(0, 2), st.floats(0, 20))
def test_retries_never_exceed_the_reserve_and_the_ratio_of_the_requests(moves, ratio, reserve):
    budget = RetryBudget(ratio, reserve)
    requests = retries = 0
    for is_request in moves:
        if is_request:
            requests += 1
            budget.deposit()
        else:
            retries += budget.withdraw()
        assert retries <= reserve + ratio * requests + 1e-6


def test_what_a_quiet_time_saves_is_bounded():
    budget = RetryBudget(1.0, 0.0, most=5)
    for _ in range(100):
        budget.deposit()
    assert [budget.withdraw() for _ in range(6)] == [True] * 5 + [False]


def test_the_back_off_doubles_up_to_its_limit_and_is_drawn_below_it():
    policy = RetryPolicy(first_seconds=1, longest_seconds=5)
    error = ConnectionError()
    assert [policy.delay_seconds(retry, error, lambda: 1.0) for retry in (1, 2, 3, 4, 5000)] == [1, 2, 4, 5, 5]
    assert policy.delay_seconds(3, error, lambda: 0.25) == 1


def test_stamina_tells_of_each_retry_by_the_name_of_the_interface_and_shows_no_input():
    told = []
    before = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([told.append])
    try:

        async def main():
            failures = gone(1)
            await Flaky(*failures, retry=RetryPolicy(retries=2, engine="stamina")).process("secret")
            assert [(each.name, each.retry_num, each.caused_by) for each in told] == [
                (f"{Flaky.__module__}.Flaky.process", 1, failures[0])
            ]
            assert "secret" not in repr(told)

        run(main())
    finally:
        stamina.instrumentation.set_on_retry_hooks(before)


def test_stamina_is_obeyed_where_it_is_switched_off_or_in_testing(fresh):
    async def main():
        retry = RetryPolicy(retries=3, engine="stamina", first_seconds=50)
        stamina.set_active(False)
        try:
            assert (await Flaky(*gone(), retry=retry).process("word")).metadata["attempts"] == 1
        finally:
            stamina.set_active(True)
        with stamina.set_testing(True, attempts=2):
            result = await Flaky(*gone(5), retry=retry).process("word")
            assert (result.metadata["attempts"], result.metadata["seconds"]) == (2, 0)

    run(main())


def test_without_stamina_only_those_who_ask_for_it_are_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "stamina", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'agentgauge\[resilience\]'"):
        RetryPolicy(engine="stamina")

    async def main():
        assert (await Flaky(*gone(2), retry=RetryPolicy(retries=3)).process("word")).is_success

    run(main())


def test_stamina_that_goes_away_later_breaks_no_request(monkeypatch):
    policy = RetryPolicy(retries=3, engine="stamina")
    monkeypatch.setitem(sys.modules, "stamina", None)

    async def main():
        assert (await Flaky(*gone(2), retry=policy).process("word")).data == "word"

    run(main())
