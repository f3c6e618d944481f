"""Nothing is lost or done twice, whatever comes: 1,000 concurrent requests in virtual time, by seed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st
from processing_desks import sums
from processing_virtual import run

from agentgauge.breaker import CircuitBreaker, CountWindow
from agentgauge.processing import (
    EnhancedProcessingInterface,
    InvalidInputError,
    ProcessingContext,
    ProcessingError,
    ProcessingSettings,
    ProcessStatus,
    RetryPolicy,
)
from agentgauge.testing import isolated, reraise_internal_errors

REQUESTS = 1000
SECONDS = 20.0
INVALID = "invalid"


@dataclass(eq=False)
class Plan:
    """What befalls one request: how each of its attempts goes, and what its caller does."""

    number: int
    steps: list[tuple[float, type[Exception] | None]]
    arrives: float
    cancelled_after: float | None
    items: int  # of a stream; 0 for a request that is no stream
    items_taken: int
    pause: float  # of the consumer, after each item
    asked: int = 0
    is_cancelled: bool = False  # while it was under way
    begun: int = 0
    returned: int = 0
    left: int = 0
    first_item_at: int | None = None
    endings: list[object] = field(default_factory=list)


class Worker(EnhancedProcessingInterface[Plan, int]):
    """Does as it is planned, and keeps books of its own."""

    inside = most_inside = initialised = 0
    fails_first = False

    async def _initialize(self):
        self.initialised += 1
        await asyncio.sleep(0.5)
        if self.fails_first and self.initialised == 1:
            raise ConnectionError("not yet")

    def _validate_input(self, input_data, context):
        return context.user != INVALID

    @contextlib.contextmanager
    def _booked(self, plan):
        plan.begun += 1
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            yield plan.steps[min(plan.begun, len(plan.steps)) - 1]
        finally:
            self.inside -= 1
            plan.left += 1

    async def _process(self, input_data, context):
        with self._booked(input_data) as (seconds, failure):
            await asyncio.sleep(seconds)
            if failure is not None:
                raise failure("planned")
            input_data.returned += 1
            return input_data.number

    async def _stream(self, input_data, context):
        with self._booked(input_data) as (seconds, failure):
            for number in range(input_data.items):
                await asyncio.sleep(seconds)
                if failure is not None and number == input_data.begun % 2:  # before the first item, or after it
                    raise failure("planned")
                input_data.first_item_at = input_data.first_item_at or input_data.begun
                yield input_data.number, number
            input_data.returned += 1


class CountedBreaker:
    """A real one, beside a count of what was let through and has not ended."""

    def __init__(self, clock):
        self.breaker = CircuitBreaker("w", window=CountWindow(20), open_seconds=1, clock=clock)
        self.under_way = 0

    def acquire(self):
        permit = self.breaker.acquire()
        self.under_way += 1
        return CountedPermit(self, permit)


@dataclass
class CountedPermit:
    breaker: CountedBreaker
    permit: object

    def release(self, error=None):
        self.breaker.under_way -= 1
        self.permit.release(error)


def plans(draw, moment):
    span = draw.choice((0.0, SECONDS / 2))  # all at once, or one after another
    failures = (None, None, None, None, ConnectionError, TimeoutError, ValueError)
    return [
        Plan(
            number,
            [
                (draw.choice((0.0, moment(draw.expovariate(4)), moment(draw.expovariate(1)))), draw.choice(failures))
                for _ in range(5)
            ],
            moment(draw.uniform(0, span)),
            draw.choice((None, None, None, 1e-6, moment(draw.expovariate(1)))),
            draw.choice((0, 0, 0, 3)),
            draw.choice((1, 3, 99)),
            draw.choice((0.0, 0.3, 5.0)),
        )
        for number in range(REQUESTS)
    ]


async def consume(worker, plan, context):
    taken = 0
    async with contextlib.aclosing(worker.stream(plan, context)) as stream:
        async for item in stream:
            assert item == (plan.number, taken)
            taken += 1
            if taken >= plan.items_taken:
                return "closed early" if taken < plan.items else "taken"
            await asyncio.sleep(plan.pause)
    assert taken == plan.items
    return "taken"


async def ask(worker, plan, draw_context, raises):
    plan.asked += 1
    try:
        if plan.items:
            plan.endings.append(await consume(worker, plan, draw_context))
        else:
            plan.endings.append(await worker.process(plan, draw_context, raises=raises))
    except asyncio.CancelledError:
        plan.endings.append("cancelled")
        raise
    except ProcessingError as error:
        plan.endings.append(error)
    assert asyncio.current_task().cancelling() == 0


def cancel(plan, task, turns):
    """Cancel some turns of the loop later: between two steps of what else happens at that moment."""
    if turns:
        asyncio.get_running_loop().call_soon(cancel, plan, task, turns - 1)
    else:
        plan.is_cancelled = task.cancel()


async def live(worker, all_plans, draw, closes_at, clock, moment):
    loop = asyncio.get_running_loop()
    gate = worker._EnhancedProcessingInterface__gate
    tasks = []
    for plan in all_plans:
        context = ProcessingContext(
            priority=draw.randint(-2, 2),
            timeout_seconds=draw.choice((None, 0.5 + moment(draw.uniform(0.1, 8.0)))),
            user=draw.choice((None,) * 20 + (INVALID,)),
        )

        raises = draw.random() < 0.5

        async def one(plan=plan, context=context, raises=raises):
            await asyncio.sleep(plan.arrives)
            clock.now = 1000.0 + loop.time()
            try:
                await ask(worker, plan, context, raises)
            finally:
                assert len(gate.running) == gate.limit or not gate.waiting, "there is a place, and somebody waits for it"

        task = loop.create_task(one())
        tasks.append(task)
        if plan.cancelled_after is not None:
            loop.call_later(plan.arrives + plan.cancelled_after, cancel, plan, task, draw.randrange(6))
    await asyncio.sleep(closes_at)
    await worker.shutdown(draw.choice((0.0, 1.0, 30.0)))
    idle_at_once = not worker.inside and not worker.in_progress() and not worker.queue_depth
    await asyncio.wait(tasks)
    assert idle_at_once
    assert [task.exception() for task in tasks if not task.cancelled() and task.exception()] == []


def policy(draw):
    return RetryPolicy(
        retries=draw.choice((0, 1, 3)),
        first_seconds=0.1,
        budget_reserve=draw.choice((2.0, 1000.0)),
        engine=draw.choice(("own", "own", "stamina")),
    )


@settings(max_examples=8)
@example(1)
@example(2)
@example(3)
@given(st.integers(0, 2**32))
def test_each_of_a_thousand_requests_has_one_ending_and_its_work_is_done_once(seed):
    draw = random.Random(seed)
    limit = draw.choice((2, 20, 60, 2000))
    retry = policy(draw)
    grain = draw.choice((None, 0.5))  # where all happens at a few moments, much happens at once

    def moment(seconds):
        return seconds if grain is None else round(seconds / grain) * grain

    with isolated() as fresh, reraise_internal_errors():
        worker = Worker(
            settings=ProcessingSettings(
                max_concurrency=limit,
                queue_limit=draw.choice((0, 20, 2000)),
                queue_timeout_seconds=draw.choice((None, 2.0)),
                timeout_seconds=draw.choice((None, 6.0)),
                attempt_timeout_seconds=draw.choice((None, 1.5)),
                retry=retry,
                breaker=draw.choice((None, None, CountedBreaker(fresh.clock))),
            )
        )
        worker.fails_first = draw.random() < 0.5
        all_plans = plans(draw, moment)
        run(live(worker, all_plans, draw, draw.choice((SECONDS / 4, SECONDS, 500.0)), fresh.clock, moment))
        check(worker, all_plans, limit, retry)
        check_series(fresh, all_plans)


def check(worker, all_plans, limit, retry):
    assert worker.most_inside <= limit
    assert worker.settings.breaker is None or worker.settings.breaker.under_way == 0
    assert worker.inside == worker.queue_depth == len(worker.in_progress()) == 0
    for plan in all_plans:
        assert len(plan.endings) == plan.asked <= 1
        ending = plan.endings[0] if plan.endings else None
        assert plan.asked or plan.is_cancelled  # before it came
        assert not (plan.asked and plan.is_cancelled) or ending == "cancelled"
        assert plan.begun <= 1 + retry.retries
        assert plan.left == plan.begun
        assert plan.returned <= 1
        if plan.first_item_at is not None:
            assert plan.begun == plan.first_item_at, "it was tried again after an item"
        if getattr(ending, "status", None) is ProcessStatus.COMPLETED:
            assert (ending.data, plan.returned, ending.metadata["attempts"]) == (plan.number, 1, plan.begun)
            if plan.steps[0][1] is None and plan.begun > 1:  # tried again although all was planned well: its time was up
                assert worker.settings.attempt_timeout_seconds is not None
        is_refused = getattr(ending, "status", None) is ProcessStatus.REFUSED
        if is_refused or ending is None or isinstance(ending, InvalidInputError):
            assert plan.begun == 0


def category(ending):
    if ending in ("cancelled", "closed early", "taken"):
        return ending
    error = ending if isinstance(ending, ProcessingError) else ending.error
    return "taken" if error is None else error.category.value


def check_series(fresh, all_plans):
    endings = Counter(category(plan.endings[0]) for plan in all_plans if plan.endings)
    tasks = sums(fresh.registry, "agent_task_duration_seconds_count", "outcome")
    shed = sums(fresh.registry, "agent_tasks_shed_total", "reason")
    assert sum(tasks.values()) + sum(shed.values()) == sum(endings.values())
    assert tasks["success"] <= endings["taken"]  # a consumer may take the last item and go
    assert tasks["success"] + tasks.get("abandoned", 0) >= endings["taken"]
    assert shed["queue_full"] + shed["wait_timeout"] == endings["overload"]
    assert sums(fresh.registry, "agent_task_retries_total") == sum(max(0, plan.begun - 1) for plan in all_plans)
    assert sums(fresh.registry, "agent_tasks_in_progress") == 0
    assert sums(fresh.registry, "agent_queue_depth") == 0
