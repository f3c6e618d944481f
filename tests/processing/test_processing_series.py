"""What requests leave in the series and in the spans."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading

import pytest
from opentelemetry.trace import StatusCode
from processing_desks import FakeBreaker, Upper, sums
from processing_virtual import run

import agentgauge
from agentgauge.catalogue.reliability import SHED_REASONS
from agentgauge.processing import ProcessingContext, RetryPolicy, WrongLoopError
from agentgauge.targets import Objective

TASKS = "agent_task_duration_seconds_count"
SHED = "agent_tasks_shed_total"


def outcomes(fresh):
    return {name: count for name, count in sums(fresh.registry, TASKS, "outcome").items() if count}


def test_a_request_is_a_task_and_a_run_of_its_agent(fresh):
    async def main():
        await Upper(agent="desk", task="say").process("word")

    run(main())
    assert fresh.value(TASKS, gen_ai_agent_name="desk", agent_task="say", outcome="success") == 1
    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="desk") == 1


def test_every_ending_has_its_outcome(fresh):
    class Checked(Upper):
        def _validate_input(self, input_data, context):
            return input_data != "wrong"

    async def main():
        checked = Checked(timeout_seconds=5)
        await checked.process("word")
        await checked.process("wrong")
        await checked.process(ValueError("no"))
        await checked.process(10)
        request = asyncio.create_task(checked.process(3))
        await asyncio.sleep(1)
        request.cancel()
        await asyncio.wait({request})
        request = asyncio.create_task(checked.process(3))
        await asyncio.sleep(1)
        await checked.shutdown(1)
        await checked.process("late")

    run(main())
    assert outcomes(fresh) == {"success": 1, "error": 2, "timeout": 1, "cancelled": 2}
    assert sums(fresh.registry, SHED) == 1
    assert fresh.value("agent_task_errors_total", gen_ai_agent_name="Checked", agent_task="process", error_type="ValueError") == 1
    assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="Checked", agent_task="process") == 0


def test_who_is_cancelled_in_the_queue_is_a_cancelled_task(fresh):
    async def main():
        upper = Upper(max_concurrency=1)
        first, second = (asyncio.create_task(upper.process(5)) for _ in range(2))
        await asyncio.sleep(1)
        second.cancel()
        await asyncio.wait({first, second})

    run(main())
    assert outcomes(fresh) == {"success": 1, "cancelled": 1}


def test_every_reason_of_shedding_is_shown_from_the_start_and_again_when_the_recorder_starts_anew(fresh):
    upper = Upper()
    assert sums(fresh.registry, SHED, "reason") == dict.fromkeys(SHED_REASONS, 0)
    fresh.recorder.reset()
    assert sums(fresh.registry, SHED, "reason") == dict.fromkeys(SHED_REASONS, 0)
    assert upper.state == "offline"


def test_a_request_that_is_worked_on_is_in_progress(fresh):
    async def main():
        upper = Upper()
        request = asyncio.create_task(upper.process(3))
        await asyncio.sleep(1)
        assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="Upper", agent_task="process") == 1
        await request

    run(main())


def state(fresh, agent="Upper"):
    return [
        sample.labels["agent_state"]
        for family in fresh.registry.collect()
        for sample in family.samples
        if sample.name == "agent_state" and sample.value == 1 and sample.labels["gen_ai_agent_name"] == agent
    ]


def test_the_state_of_the_interface_is_the_agents(fresh):
    class Slow(Upper):
        async def _initialize(self):
            await asyncio.sleep(1)
            if not self.begun:
                self.begun.append("tried")
                raise ConnectionError("gone")

    async def main():
        slow = Slow(initialize_retry_seconds=0)
        assert state(fresh, "Slow") == ["offline"]
        request = asyncio.create_task(slow.process(3))
        await asyncio.sleep(0.5)
        assert state(fresh, "Slow") == ["initializing"]
        await request
        assert state(fresh, "Slow") == ["error"]
        request = asyncio.create_task(slow.process(3))
        await asyncio.sleep(2)
        assert state(fresh, "Slow") == ["processing"]
        await request
        assert state(fresh, "Slow") == ["idle"]
        request = asyncio.create_task(slow.process(3))
        await asyncio.sleep(1)
        closing = asyncio.create_task(slow.shutdown())
        await asyncio.sleep(1)
        assert state(fresh, "Slow") == ["shutting_down"]
        await closing
        assert (await request).is_success
        assert state(fresh, "Slow") == ["offline"]

    run(main())


def test_interfaces_of_one_agent_say_together_how_it_is(fresh):
    async def main():
        one, other = Upper(max_concurrency=1), Upper(max_concurrency=1)
        await other.process("word")
        requests = [asyncio.create_task(each.process(2)) for each in (one, one, other, other, other)]
        await asyncio.sleep(1)
        assert fresh.value("agent_queue_depth", gen_ai_agent_name="Upper", queue="process") == 3
        await asyncio.gather(*requests)
        await one.shutdown()
        assert state(fresh) == ["idle"]
        await other.shutdown()
        assert state(fresh) == ["offline"]

    run(main())


def test_pages_are_made_while_threads_make_interfaces(fresh, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda told: faults.append(told.exc_value))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    faults, kept = [], []

    def make():
        for number in range(300):
            made = Upper(agent="busy", task=f"task{number % 7}")
            if number < 5:
                kept.append(made)

    threads = [threading.Thread(target=make) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for reporter in fresh.recorder.reporters:
                reporter.report(fresh.recorder)
    finally:
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()
    assert faults == []
    assert len({id(made._EnhancedProcessingInterface__series._agent) for made in kept}) == 1


def test_an_interface_that_is_gone_without_a_shutdown_leaves_no_queue_behind(fresh):
    async def main(upper):
        await upper.process("word")
        assert fresh.value("agent_queue_depth", gen_ai_agent_name="brief", queue="process") == 0
        assert state(fresh, "brief") == ["idle"]

    upper, other = Upper(agent="brief"), Upper(agent="brief", task="other")
    run(main(upper))
    del upper
    gc.collect()
    assert fresh.value("agent_queue_depth", gen_ai_agent_name="brief", queue="process") is None
    assert fresh.value("agent_queue_depth", gen_ai_agent_name="brief", queue="other") == 0
    del other
    gc.collect()
    assert fresh.value("agent_queue_depth", gen_ai_agent_name="brief", queue="other") is None
    assert state(fresh, "brief") == ["offline"]


def test_a_call_from_the_wrong_loop_is_no_request(fresh):
    upper = Upper(agent="elsewhere")
    run(upper.process("word"))
    with pytest.raises(WrongLoopError):
        run(upper.process("word"))
    assert outcomes(fresh) == {"success": 1}
    assert sums(fresh.registry, SHED) == 0


def test_an_objective_is_exported(fresh):
    async def main():
        await Upper(objective=Objective(success_ratio=0.9)).process("word")

    run(main())
    assert fresh.value("agent_objective_success_ratio", gen_ai_agent_name="Upper", agent_task="process") == 0.9


def test_a_request_of_one_agent_inside_that_of_another_is_a_handoff(fresh):
    inner = Upper(agent="inner")

    class Outer(Upper):
        async def _process(self, input_data, context):
            return (await inner.process(input_data)).unwrap()

    async def main():
        assert (await Outer(agent="outer").process("word")).data == "WORD"

    run(main())
    assert fresh.value("agent_handoffs_total", source="outer", target="inner", outcome="success") == 1


def test_what_the_work_calls_belongs_to_the_agent(fresh):
    @agentgauge.tool
    def look_up():
        return 1

    class Outer(Upper):
        async def _process(self, input_data, context):
            return look_up()

    async def main():
        await Outer(agent="outer").process("word")

    run(main())
    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_agent_name="outer", gen_ai_tool_name="look_up") == 1


def test_a_request_is_one_span_with_its_retries_inside_and_its_failure_on_it(fresh, spans):
    class Flaky(Upper):
        async def _process(self, input_data, context):
            self.begun.append(1)
            if len(self.begun) < 3:
                raise ConnectionError("gone")
            return await super()._process(input_data, context)

    async def main():
        await Flaky(retry=RetryPolicy(retries=3)).process("word")
        await Upper(timeout_seconds=1).process(5)
        async for _ in Upper(agent="streamer").stream("word"):
            pass

    run(main())
    said = [
        (span.name, span.status.status_code, (span.attributes or {}).get("error.type")) for span in spans.get_finished_spans()
    ]
    assert said == [
        ("invoke_agent Flaky", StatusCode.UNSET, None),
        ("invoke_agent Upper", StatusCode.ERROR, "agentgauge.processing.ProcessingTimeoutError"),
        ("invoke_agent streamer", StatusCode.UNSET, None),
    ]


def test_shed_requests_have_no_span_and_no_task(fresh, spans):
    async def main():
        breaker = FakeBreaker()
        breaker.refusal = RuntimeError("open")
        await Upper(breaker=breaker).process("word")

    run(main())
    assert spans.get_finished_spans() == ()
    assert outcomes(fresh) == {}


def test_ids_users_and_tags_are_in_no_series(fresh):
    async def main():
        upper = Upper()
        context = ProcessingContext(request_id="id-4711", user="ann-4711", tags=("tag-4711",), metadata={"k": "4711"})
        await upper.process("word", context)
        await upper.process(ValueError("4711"), context)

    run(main())
    assert "4711" not in str([sample for family in fresh.registry.collect() for sample in family.samples])


def test_everything_works_where_agentgauge_is_disabled(monkeypatch, fresh):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")

    async def main():
        upper = Upper(max_concurrency=1, retry=RetryPolicy(retries=1, first_seconds=0))
        results = await asyncio.gather(*(upper.process(1) for _ in range(3)))
        assert all(result.is_success for result in results)
        assert not (await upper.process(ConnectionError("gone"))).is_success
        assert [item async for item in upper.stream("word")] == ["WORD"]
        await upper.shutdown()
        assert not (await upper.process("word")).is_success

    run(main())
    assert sums(fresh.registry, TASKS) == 0
    assert sums(fresh.registry, SHED) == 0
