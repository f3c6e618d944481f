"""One request: its result, its error, its checks, its cancellation."""

from __future__ import annotations

import asyncio
import copy
import pickle
import weakref

import pytest
from processing_desks import FakeBreaker, Upper
from processing_virtual import run

from agentgauge import processing
from agentgauge.breaker import CircuitBreaker, CircuitOpenError, CountWindow
from agentgauge.errors import AgentgaugeError
from agentgauge.processing import (
    Category,
    CircuitRefusedError,
    DependencyError,
    InvalidInputError,
    InvalidOutputError,
    OverloadedError,
    ProcessingContext,
    ProcessingError,
    ProcessingTimeoutError,
    ProcessStatus,
    RetryPolicy,
    Severity,
    ShuttingDownError,
    WorkFailedError,
    report_progress,
)
from agentgauge.processing import errors as errors_module
from agentgauge.testing import FakeClock, isolated, reraise_internal_errors


def test_what_the_work_returns_is_the_data_of_a_completed_result():
    async def main():
        result = await Upper().process("word", ProcessingContext(request_id="r-1"))
        assert (result.status, result.data, result.error, result.is_success) == (ProcessStatus.COMPLETED, "WORD", None, True)
        assert result.unwrap() == "WORD"
        assert result.metadata == {"request_id": "r-1", "attempts": 1, "queued_seconds": 0.0, "seconds": 0.0}

    run(main())


def test_the_work_gets_the_very_context_that_its_caller_gave():
    seen = []

    class Seeing(Upper):
        async def _process(self, input_data, context):
            seen.append(context)
            return input_data

    async def main():
        given = ProcessingContext(user="ann", tags=("a",), metadata={"k": 1})
        await Seeing().process(1, given)
        await Seeing().process(1)
        assert seen[0] is given
        assert isinstance(seen[1], ProcessingContext)

    run(main())


@pytest.mark.parametrize(
    ("raised", "kind", "category", "retryable"),
    [
        (ValueError("no"), WorkFailedError, Category.INTERNAL, False),
        (ConnectionError("gone"), DependencyError, Category.DEPENDENCY, True),
        (OSError("disk"), DependencyError, Category.DEPENDENCY, True),
        (TimeoutError(), ProcessingTimeoutError, Category.TIMEOUT, True),
    ],
)
def test_what_leaves_the_work_is_the_cause_of_one_tree_of_errors(raised, kind, category, retryable):
    async def main():
        result = await Upper().process(raised)
        error = result.error
        assert type(error) is kind
        assert isinstance(error, ProcessingError)
        assert isinstance(error, AgentgaugeError)
        assert (error.category, error.retryable, error.__cause__) == (category, retryable, raised)
        assert type(raised).__name__ in str(error)
        with pytest.raises(kind) as caught:
            await Upper().process(raised, raises=True)
        assert caught.value.__cause__ is raised
        with pytest.raises(kind):
            result.unwrap()

    run(main())


def test_an_error_of_the_tree_that_the_work_raises_passes_as_it_is():
    async def main():
        own = OverloadedError("the other side is full", "queue_full")
        assert (await Upper().process(own)).error is own
        with pytest.raises(OverloadedError) as caught:
            await Upper().process(own, raises=True)
        assert caught.value is own

    run(main())


def test_failures_are_values_or_exceptions_as_the_class_and_the_call_say():
    async def main():
        loud, quiet = Upper(raises=True), Upper()
        with pytest.raises(WorkFailedError):
            await loud.process(ValueError("no"))
        assert (await loud.process(ValueError("no"), raises=False)).status is ProcessStatus.FAILED
        assert (await quiet.process(ValueError("no"))).status is ProcessStatus.FAILED
        with pytest.raises(WorkFailedError):
            await quiet.process(ValueError("no"), raises=True)

    run(main())


def test_every_error_of_the_tree_says_category_severity_and_whether_to_try_again():
    kinds = [each for each in vars(errors_module).values() if isinstance(each, type) and issubclass(each, ProcessingError)]
    assert len(kinds) >= 14
    for kind in kinds:
        assert isinstance(kind.category, Category)
        assert isinstance(kind.severity, Severity)
        assert isinstance(kind.retryable, bool)
    assert {kind.category for kind in kinds} == set(Category)


def test_errors_show_and_pickle_as_what_programs_import_and_keep_what_they_say():
    kinds = [each for each in vars(processing).values() if isinstance(each, type) and issubclass(each, AgentgaugeError)]
    for kind in kinds:
        error = kind("why", "queue_full") if kind is OverloadedError else kind("why")
        error.retry_after_seconds = 3.0
        there = pickle.loads(pickle.dumps(error))
        assert f"{kind.__module__}.{kind.__qualname__}" == f"agentgauge.processing.{kind.__name__}"
        assert (type(there), str(there), vars(there)) == (kind, "why", vars(error))
        assert copy.deepcopy(error).args == error.args


class MuteError(ConnectionError):
    def __str__(self):
        raise RuntimeError("it does not say")

    @property
    def retry_after_seconds(self):
        raise RuntimeError("nor when")


def test_an_error_that_cannot_say_what_it_is_is_told_by_its_type():
    async def main():
        result = await Upper(retry=RetryPolicy(retries=1, first_seconds=0)).process(MuteError())
        assert (type(result.error), str(result.error), result.metadata["attempts"]) == (DependencyError, "MuteError", 2)
        breaker = FakeBreaker()
        breaker.refusal = MuteError()
        assert (await Upper(breaker=breaker).process("word")).error.category is Category.CIRCUIT_OPEN

    run(main())


@pytest.mark.parametrize("how", ["value", "raised", "timeout", "stream"])
def test_a_request_that_failed_keeps_nothing_alive(no_collections, how):
    class Input:
        pass

    class Fails(Upper):
        async def _process(self, input_data, context):
            if how == "timeout":
                await asyncio.sleep(60)
            raise ValueError("no")

    async def main():
        given, fails = Input(), Fails(timeout_seconds=1)
        living = weakref.ref(given)
        if how == "stream":
            with pytest.raises(ProcessingError):
                await anext(fails.stream(given))
        elif how == "raised":
            with pytest.raises(ProcessingError):
                await fails.process(given, raises=True)
        else:
            assert (await fails.process(given)).error is not None
        del given
        await asyncio.sleep(0)
        assert living() is None

    run(main())


class Strict(Upper):
    def _validate_input(self, input_data, context):
        if input_data == "raise":
            raise ValueError("too loud")
        return input_data != "refuse"

    def _validate_output(self, data, context):
        if data == "BAD":
            raise KeyError("what")
        return data != "WORSE"


def test_an_invalid_input_is_refused_before_the_work_begins():
    async def main():
        strict = Strict()
        raised, refused, fine = [await strict.process(word) for word in ("raise", "refuse", "good")]
        assert type(raised.error) is type(refused.error) is InvalidInputError
        assert "too loud" in str(raised.error)
        assert isinstance(raised.error.__cause__, ValueError)
        assert (raised.error.category, raised.error.retryable, raised.status) == (
            Category.VALIDATION,
            False,
            ProcessStatus.FAILED,
        )
        assert raised.metadata["attempts"] == 0
        assert fine.data == "GOOD"
        assert strict.begun == ["good"]

    run(main())


def test_an_invalid_output_fails_the_request():
    async def main():
        strict = Strict()
        raised, refused = [await strict.process(word) for word in ("bad", "worse")]
        assert type(raised.error) is type(refused.error) is InvalidOutputError
        assert isinstance(raised.error.__cause__, KeyError)
        assert raised.data is None
        assert raised.error.retryable

    run(main())


def test_the_callers_cancellation_reaches_the_work_and_comes_back_unchanged():
    async def main():
        upper = Upper()
        request = asyncio.create_task(upper.process(10))
        await asyncio.sleep(1)
        request.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough") as caught:
            await request
        assert type(caught.value) is asyncio.CancelledError
        assert request.cancelled()
        assert upper.ended == [10]
        assert asyncio.get_running_loop().time() == 1
        assert not upper.in_progress()

    run(main())


def test_a_cancellation_by_a_timeout_of_the_callers_stays_the_callers():
    async def main():
        upper = Upper(timeout_seconds=5)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(1):
                await upper.process(10)
        assert not isinstance(caught.value, ProcessingError)
        assert asyncio.current_task().cancelling() == 0

    run(main())


def test_a_task_group_that_fails_cancels_the_requests_in_it():
    async def fail():
        await asyncio.sleep(1)
        raise ValueError("first")

    async def main():
        upper = Upper()
        with pytest.raises(ExceptionGroup, match="unhandled errors"):  # noqa: PT012 - it raises where the block ends
            async with asyncio.TaskGroup() as group:
                group.create_task(upper.process(10))
                group.create_task(fail())
        assert upper.ended == [10]

    run(main())


def test_what_the_breaker_refuses_is_shed_and_the_work_never_begins(fresh):
    async def main():
        breaker = FakeBreaker()
        breaker.refusal = RuntimeError("open")
        breaker.refusal.retry_after_seconds = 7.0
        upper = Upper(breaker=breaker)
        result = await upper.process("word")
        assert type(result.error) is CircuitRefusedError
        assert (result.status, result.error.retry_after_seconds) == (ProcessStatus.REFUSED, 7.0)
        assert upper.begun == []
        assert not upper.in_progress()

    run(main())
    assert fresh.value("agent_tasks_shed_total", gen_ai_agent_name="Upper", agent_task="process", reason="circuit_open") == 1


def test_the_breaker_hears_of_success_failure_and_time_and_is_left_alone_by_cancellation():
    async def main():
        breaker = FakeBreaker()
        upper = Upper(breaker=breaker, timeout_seconds=5)
        failure = ValueError("no")
        await upper.process("word")
        await upper.process(failure)
        await upper.process(10)
        request = asyncio.create_task(upper.process(3))
        await asyncio.sleep(1)
        request.cancel()
        await asyncio.wait({request})
        assert breaker.endings[:2] == [None, failure]
        assert isinstance(breaker.endings[2], TimeoutError)
        assert type(breaker.endings[3]) is asyncio.CancelledError
        assert len(breaker.endings) == 4

    run(main())


def test_a_real_breaker_opens_by_what_it_is_told_and_sheds_until_it_closes_again(fresh):
    clock = FakeClock()
    breaker = CircuitBreaker("store", window=CountWindow(4), minimum_calls=4, open_seconds=30, half_open_calls=1, clock=clock)

    async def main():
        upper = Upper(breaker=breaker)
        for _ in range(4):
            assert isinstance((await upper.process(ConnectionError("gone"))).error, DependencyError)
        refused = (await upper.process("word")).error
        assert type(refused) is CircuitRefusedError
        assert isinstance(refused.__cause__, CircuitOpenError)
        assert 0 < refused.retry_after_seconds <= 30
        clock.advance(31)
        assert (await upper.process("word")).data == "WORD"
        assert (await upper.process("word")).data == "WORD"

    run(main())


def test_a_breaker_inside_the_work_that_refuses_is_told_from_other_failures():
    breaker = CircuitBreaker("inner")
    breaker.open()

    class Guarded(Upper):
        async def _process(self, input_data, context):
            async with breaker:
                return input_data

    async def main():
        error = (await Guarded().process(1)).error
        assert (type(error), error.category) == (CircuitRefusedError, Category.CIRCUIT_OPEN)

    run(main())


def test_a_breaker_that_fails_when_it_is_told_costs_no_request(fresh):
    class Broken(FakeBreaker):
        def release(self, error=None):
            raise KeyError("broken")

    async def main():
        assert (await Upper(breaker=Broken()).process("word")).data == "WORD"

    run(main())
    assert fresh.value("agentgauge_internal_errors_total", hook="breaker") == 1


def test_progress_comes_with_an_estimate_of_the_time_left():
    heard = []

    class Slow(Upper):
        def _estimate_seconds(self, input_data, context):
            return 12.0

        async def _process(self, input_data, context):
            await asyncio.sleep(2)
            report_progress(0, 4, "begun")
            for done in range(1, 5):
                await asyncio.sleep(1)
                context.report_progress(done, 4)
            return "done"

    async def main():
        slow = Slow()
        request = asyncio.create_task(slow.process(1, ProcessingContext(on_progress=heard.append)))
        await asyncio.sleep(4.5)
        (running,) = slow.in_progress()
        assert (running.progress.done, running.attempts, running.seconds) == (2, 1, 4.5)
        await request

    with reraise_internal_errors():
        run(main())
    assert [each.ratio for each in heard] == [0, 0.25, 0.5, 0.75, 1]
    assert [each.remaining_seconds for each in heard] == [10.0, 9.0, 4.0, pytest.approx(5 / 3), 0.0]
    assert heard[0].message == "begun"


def test_a_listener_that_fails_and_numbers_that_are_none_cost_no_request():
    def fail(progress):
        raise KeyError("listener")

    class Odd(Upper):
        async def _process(self, input_data, context):
            context.report_progress(float("nan"))
            context.report_progress(-1, 2)
            context.report_progress(1)
            report_progress(1, 2)
            return "done"

    async def main():
        assert (await Odd().process(1, ProcessingContext(on_progress=fail))).data == "done"

    with isolated() as fresh:
        run(main())
        assert fresh.value("agentgauge_internal_errors_total", hook="progress") == 4


def test_an_estimate_that_fails_costs_no_request(fresh):
    class Odd(Upper):
        def _estimate_seconds(self, input_data, context):
            raise KeyError("estimate")

    async def main():
        assert (await Odd().process("word")).data == "WORD"

    run(main())
    assert fresh.value("agentgauge_internal_errors_total", hook="estimate") == 1


def test_progress_outside_of_a_request_is_nothing():
    report_progress(1, 2)
    ProcessingContext().report_progress(1, 2)
    assert ProcessingContext().remaining_seconds() is None


def test_work_in_a_thread_has_the_deadline_and_reports_progress():
    heard = []

    class Threaded(Upper):
        async def _process(self, input_data, context):
            return await asyncio.to_thread(self.compute, context)

        def compute(self, context):
            report_progress(1, 2)
            return context.remaining_seconds()

    remaining = asyncio.run(Threaded(timeout_seconds=50).process(1, ProcessingContext(on_progress=heard.append))).data
    assert 0 < remaining <= 50
    assert heard[0].done == 1


def test_a_refusal_by_shutdown_says_so():
    async def main():
        upper = Upper()
        await upper.shutdown()
        result = await upper.process("word")
        assert isinstance(result.error, ShuttingDownError)
        assert result.status is ProcessStatus.REFUSED

    run(main())
