"""Recommend: each rule where the evidence is there, where it is just not enough, and where it is contrary."""

from __future__ import annotations

import promql_parser
import pytest

from agentgauge.analytics.commands.recommend import told
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.outermost import outermost_tasks
from agentgauge.analytics.recommend import RULES, Confidence, recommend
from agentgauge.analytics.report.document import Unit
from made_source import MadeSource

START = 1_700_000_000 // 86400 * 86400
STEPS = 144  # of ten minutes: a day
TIMES = [START + 600 * step for step in range(STEPS + 1)]
GRID = Grid.over(START, START + 86400, 600)
AGENT = {"gen_ai_agent_name": "researcher"}
TASK = {**AGENT, "agent_task": "search"}
TOOL = {**AGENT, "gen_ai_tool_name": "find"}


class Day(MadeSource):
    """A day of counters that grow by as much in each step, or as a function of it says, and of gauges."""

    def grow(self, metric, by, **labels):
        value, values = 7.0, [7.0]
        for step in range(STEPS):
            value += by(step) if callable(by) else by / STEPS
            values.append(value)
        return self.add(metric, TIMES, values, **labels)

    def hold(self, metric, value, **labels):
        return self.add(metric, TIMES, [value(step) if callable(value) else value for step in range(STEPS + 1)], **labels)


def advice(source):
    return {one.rule: one for one in recommend(source, GRID)}


def waste(failed=20, wasted=5000, tokens=100_000, usd=2.0, outcome="error"):
    source = Day()
    source.grow("agent_wasted_tokens_total", wasted, outcome=outcome, **AGENT)
    source.grow("agent_task_duration_seconds_count", failed, outcome=outcome, **TASK)
    source.grow("agent_tokens_total", tokens, gen_ai_token_type="input", gen_ai_request_model="m", **AGENT)
    if usd:
        source.grow("agent_cost_usd_total", usd, gen_ai_request_model="m", **AGENT)
    return source


def test_tokens_that_failed_runs_used_are_priced():
    found = advice(waste())["wasted_tokens"]
    assert found.gain.value == pytest.approx(0.10)
    assert found.gain.unit == "usd_per_day"
    assert found.gain.interval.low == pytest.approx(0.10)
    assert found.sentence.startswith("20 runs of researcher that ended in error used 5,000 of its 100,000 tokens (5.0%)")
    assert found.confidence is Confidence.MEDIUM
    unpriced = advice(waste(usd=0))["wasted_tokens"]
    assert (unpriced.gain.unit, round(unpriced.gain.value)) == ("tokens_per_day", 5000)


@pytest.mark.parametrize("outcome", ["cancelled", "abandoned"])
def test_runs_that_were_cancelled_are_told_as_people_say_it(outcome):
    assert advice(waste(outcome=outcome))["wasted_tokens"].sentence.startswith(f"20 runs of researcher that were {outcome} used")


def test_runs_are_counted_and_not_the_tasks_inside_them():
    source = waste(failed=12)
    for part, each in (("count", 1), ("sum", 3.0)):
        if part == "sum":
            source.grow("agent_task_duration_seconds_sum", 12 * each, outcome="error", **TASK)
        for inner in ("ReAct", "Predict"):
            source.grow(f"agent_task_duration_seconds_{part}", 12 * each * 0.99, outcome="error", agent_task=inner, **AGENT)
    told_of = advice(source)["wasted_tokens"].sentence
    assert told_of.startswith("36 tasks of researcher that ended in error used")  # which of them are runs, nothing says
    source.grow("gen_ai_invoke_agent_duration_seconds_count", 12, error_type="E", **AGENT)
    source.grow("gen_ai_invoke_agent_duration_seconds_sum", 36.0, error_type="E", **AGENT)
    found = advice(source)["wasted_tokens"]
    assert found.sentence.startswith("12 runs of researcher that ended in error used")
    assert {figure.count for figure in found.evidence} == {12}


def test_the_outermost_tasks_are_those_that_come_to_the_runs_of_their_agent():
    source = Day()
    for task, count, seconds in (("plan", 50, 100.0), ("Predict", 50, 99.0), ("ask", 20, 60.0), ("parse", 400, 4.0)):
        for part, grown in (("count", count), ("sum", seconds)):
            source.grow(f"agent_task_duration_seconds_{part}", grown, outcome="success", agent_task=task, **AGENT)
            source.grow(f"agent_task_duration_seconds_{part}", grown, outcome="success", agent_task=task, gen_ai_agent_name="odd")
    for part, grown in (("count", 70), ("sum", 160.0)):
        source.grow(f"gen_ai_invoke_agent_duration_seconds_{part}", grown, **AGENT)
        source.grow(f"gen_ai_invoke_agent_duration_seconds_{part}", grown / 3, gen_ai_agent_name="odd")
    assert outermost_tasks(source, GRID) == {"researcher": {"plan", "ask"}}


def test_a_day_that_is_made_of_minutes_is_said_to_be_and_is_of_low_confidence():
    whole, part = waste(), Grid.over(START, START + 43_200, 600)
    (found,) = recommend(whole, part)
    assert found.confidence is Confidence.LOW
    assert found.limits.startswith(
        "The gain a day is that of 12 h, as though the whole day were like them: look at a day or more."
    )
    (sure,) = recommend(whole, GRID)
    assert "as though" not in sure.limits


@pytest.mark.parametrize("source", [waste(failed=9), waste(wasted=999), waste(wasted=0), waste(tokens=0)])
def test_a_little_waste_is_no_advice(source):
    assert advice(source) == {}


def repeats(repeated=100, calls=1000):
    source = Day().grow("agent_repeated_tool_calls_total", repeated, **TOOL)
    source.grow("gen_ai_execute_tool_duration_seconds_count", calls, **TOOL)
    return source.grow("gen_ai_execute_tool_duration_seconds_sum", calls * 2, **TOOL)


def test_a_tool_that_repeats_itself_should_keep_its_answers():
    found = advice(repeats())["repeated_tool_calls"]
    assert (found.gain.value, found.gain.unit) == (pytest.approx(200), "seconds_per_day")
    assert found.evidence[0].interval.low == pytest.approx(0.0829, abs=1e-4)  # Wilson, of 100 of 1,000


@pytest.mark.parametrize(("repeated", "calls"), [(29, 100), (60, 1000), (0, 1000)])
def test_a_few_repeated_calls_are_no_advice(repeated, calls):
    assert advice(repeats(repeated, calls)) == {}


def slow(timeouts=20, waited=60.0, good=1000):
    source = Day().grow("agent_task_duration_seconds_count", timeouts, outcome="timeout", **TASK)
    source.grow("agent_task_duration_seconds_sum", timeouts * waited, outcome="timeout", **TASK)
    for bound, share in {"1.28": 0.5, "2.56": 0.995, "5.12": 0.999, "+Inf": 1.0}.items():
        source.grow("agent_task_duration_seconds_bucket", good * share, outcome="success", le=bound, **TASK)
    return source


def test_a_time_out_far_above_what_succeeds_should_be_shorter():
    found = advice(slow())["timeouts"]
    assert found.evidence[0].value == pytest.approx(1.28 + 1.28 * 0.49 / 0.495)
    assert (found.evidence[0].interval.low, found.evidence[0].interval.high) == (1.28, 5.12)
    assert "a time-out of 5.12 s would have cut 1 of those" in found.sentence
    assert found.gain.value == pytest.approx(20 * (60 - 5.12))
    assert "timed out after 10 min on average" in advice(slow(waited=600.0))["timeouts"].sentence


@pytest.mark.parametrize("source", [slow(timeouts=9), slow(good=499), slow(waited=7.0), slow(timeouts=0)])
def test_a_time_out_near_what_succeeds_or_seldom_met_is_no_advice(source):
    assert advice(source) == {}


def test_a_time_out_is_none_of_the_bounds_at_which_the_percentile_may_lie_nor_above_all_of_them():
    source = slow()
    source.series = [one for one in source.series if one[1].get("le") != "5.12"]
    assert advice(source) == {}
    assert advice(slow(good=520)) == {}  # too few to be sure that under one in a hundred take longer than 5.12 s


def queue(waits=100, seconds=500.0, cpu=0.4, limited=0, calls=1000):
    source = Day().hold("system_cpu_utilization_ratio", cpu)
    source.grow("agent_queue_wait_seconds_count", waits, queue="in", **AGENT)
    source.grow("agent_queue_wait_seconds_sum", seconds, queue="in", **AGENT)
    source.grow("gen_ai_client_operation_duration_seconds_count", calls - limited, gen_ai_request_model="m")
    lm = {"gen_ai_request_model": "m", "error_type": "RateLimitError"}
    return source.grow("gen_ai_client_operation_duration_seconds_count", limited, **lm)


def test_work_that_waits_while_there_is_room_should_be_done_at_once():
    found = advice(queue())["raise_concurrency"]
    assert (round(found.gain.value), found.gain.unit) == (500, "seconds_per_day")
    assert "waited 20 min on average" in advice(queue(seconds=120_000.0))["raise_concurrency"].sentence


@pytest.mark.parametrize(
    "source", [queue(waits=29), queue(seconds=99), queue(cpu=0.7), queue(limited=10), queue(calls=300), queue(waits=0, seconds=0)]
)
def test_work_that_waits_little_or_without_room_is_no_advice(source):
    assert advice(source) == {}


def limits(busy=5, quiet=0, calls=50):
    model = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "m"}
    source = Day().hold("agent_tasks_in_progress", lambda step: 20 if step % 2 else 4, **TASK)
    source.grow("gen_ai_client_operation_duration_seconds_count", calls * STEPS, **model)

    def refused(step):
        return busy if step % 2 == 0 else quiet  # the growth of a step is seen at its end

    return source.grow("gen_ai_client_operation_duration_seconds_count", refused, error_type="RateLimitError", **model)


def test_rate_limits_that_come_with_load_speak_for_less_at_once():
    found = advice(limits())["lower_concurrency"]
    assert found.gain.unit == "calls_per_day"
    assert found.gain.value == pytest.approx(360)
    assert "With 20 or more tasks in progress 9.1%" in found.sentence


@pytest.mark.parametrize("source", [limits(busy=0.1), limits(busy=5, quiet=5), limits(busy=0, quiet=5)])
def test_rate_limits_that_load_does_not_change_are_no_advice(source):
    assert "lower_concurrency" not in advice(source)


def retries(in_vain=50, well=0, retries_each=2):
    source = Day().grow("agent_task_retries_total", lambda step: retries_each if step < in_vain + well else 0, **TASK)
    return source.grow("agent_task_duration_seconds_count", lambda step: 0 if step < in_vain else 3, outcome="success", **TASK)


def test_retries_while_nothing_succeeds_do_not_help():
    found = advice(retries())["useless_retries"]
    assert (found.gain.value, found.gain.unit) == (pytest.approx(100), "calls_per_day")
    assert "in 50 times of 10 min in which" in found.sentence


@pytest.mark.parametrize("source", [retries(in_vain=14), retries(in_vain=4, retries_each=20), retries(50, 10), retries(0, 60)])
def test_retries_of_a_short_outage_or_that_often_help_are_no_advice(source):
    assert advice(source) == {}


def test_retries_of_what_never_succeeded_do_not_help_though_no_series_has_a_success():
    source = Day().grow("agent_lm_retries_total", lambda step: step < 60, gen_ai_provider_name="openai", gen_ai_request_model="m")
    failed = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "m", "error_type": "APIError"}
    assert advice(source) == {}
    source.grow("gen_ai_client_operation_duration_seconds_count", 100, **failed)
    assert advice(source)["useless_retries"].evidence[0].value == 60


def tools(runs=500, called=0.0):
    source = Day().grow("gen_ai_execute_tool_duration_seconds_count", called, **TOOL)
    return source.grow("gen_ai_invoke_agent_duration_seconds_count", runs, **AGENT)


def test_a_tool_that_is_no_longer_called_could_be_withdrawn():
    found = advice(tools())["unused_tools"]
    assert found.gain.value is None
    assert found.labels == TOOL
    assert recommend(tools(), Grid.over(START, START + 43200, 600)) == []


@pytest.mark.parametrize("source", [tools(runs=300), tools(called=1)])
def test_a_tool_that_is_called_or_could_not_be_is_no_advice(source):
    assert advice(source) == {}


def models(price=0.2, failed=5, calls=2000, out=0.5, does="chat"):
    """Make two models: one that answers half its tokens, and one that is cheaper, fails as often, and answers ``out`` of them."""
    source = Day()
    for model, usd, bad, share, operation in (("large", 2.0, 5, 0.5, "chat"), ("small", 2.0 * price, failed, out, does)):
        name = {"gen_ai_request_model": model}
        source.grow("agent_cost_usd_total", usd, **AGENT, **name)
        source.grow("agent_tokens_total", 100_000 * share, gen_ai_token_type="output", **AGENT, **name)
        source.grow("agent_tokens_total", 100_000 * (1 - share), gen_ai_token_type="input", **AGENT, **name)
        name["gen_ai_operation_name"] = operation
        source.grow("gen_ai_client_operation_duration_seconds_count", calls - bad, **name)
        source.grow("gen_ai_client_operation_duration_seconds_count", bad, error_type="APIError", **name)
    return source


def test_the_cheaper_of_two_models_that_fail_as_rarely_is_worth_a_try():
    found = advice(models())["cheaper_model"]
    assert found.labels == {**AGENT, "gen_ai_request_model": "large"}
    assert (found.gain.value, found.gain.unit) == (pytest.approx(1.6), "usd_per_day")
    assert "used large at $20.00 a million tokens" in found.sentence
    difference = found.evidence[-1]
    assert (difference.value, difference.interval.low < 0 < difference.interval.high) == (0, True)


def test_a_price_is_what_the_same_tokens_would_cost_at_most_since_those_that_come_out_cost_more():
    mostly_in = advice(models(out=0.25))["cheaper_model"]
    assert mostly_in.evidence[1].value == pytest.approx(0.4 / 100_000 * (0.5 + 10 * 0.5) / (0.75 + 10 * 0.25))
    assert "cheaper_model" not in advice(models(price=0.5, out=0.05))  # the price of both may be the same
    assert "cheaper_model" not in advice(models(does="embeddings"))


@pytest.mark.parametrize("cut", [0, 100])
def test_a_cheaper_model_whose_answers_are_cut_more_often_is_no_advice(cut):
    source = models()
    for model, many in (("large", 0), ("small", cut)):
        for reason, count in (("stop", 2000 - many), ("length", many)):
            labels = {"gen_ai_request_model": model, "gen_ai_response_finish_reason": reason}
            source.grow("agent_lm_finish_reasons_total", count, **labels)
    assert ("cheaper_model" in advice(source)) is not cut


def test_failures_in_bursts_tell_less_than_independent_ones_and_may_be_no_advice():
    def failing(by):
        source = models(failed=0)
        source.grow("gen_ai_client_operation_duration_seconds_count", by, error_type="APIError", gen_ai_request_model="small")
        return "cheaper_model" in advice(source)

    assert failing(24 / STEPS * STEPS)
    assert not failing(lambda step: 24 if step == 70 else 0)


@pytest.mark.parametrize(
    "source", [models(failed=40), models(failed=200), models(calls=199), models(price=0.9), models(price=5, failed=100)]
)
def test_a_cheaper_model_that_may_fail_more_often_is_no_advice(source):
    assert [one.labels.get("gen_ai_request_model") for one in recommend(source, GRID)] in ([], ["small"])
    assert not any(one.labels.get("gen_ai_request_model") == "large" for one in recommend(source, GRID))


def prompts(repeated=300, calls=1000, hits=200, usd=2.0, burst=None):
    """Make calls of a model by two agents, of which some repeat a prompt and a cache answers some."""
    source, model = Day(), {"gen_ai_request_model": "m"}
    source.grow("agent_lm_repeated_prompts_total", repeated if burst is None else burst, **AGENT, **model)
    source.grow("agent_lm_repeated_prompts_total", repeated / 10, gen_ai_agent_name="planner", **model)
    source.grow("agent_lm_cache_hits_total", hits, **AGENT, **model)
    source.grow("gen_ai_client_operation_duration_seconds_count", calls, gen_ai_operation_name="chat", **model)
    return source.grow("agent_cost_usd_total", usd, **AGENT, **model) if usd else source


def test_prompts_that_one_program_repeats_speak_for_a_cache_at_the_mean_cost_of_a_paid_call():
    found = advice(prompts())["repeated_prompts"]
    assert found.labels == {"gen_ai_request_model": "m"}
    assert (found.gain.value, found.gain.unit) == (pytest.approx(330 * 2 / 800), "usd_per_day")
    assert found.gain.interval.low == pytest.approx(found.gain.interval.high)  # as many in each step
    assert (
        "330 of 1,000 calls of m (33%) sent what the same process had sent it before, 300 of them by researcher" in found.sentence
    )
    share = found.evidence[0]
    assert (share.value, share.interval.low) == (pytest.approx(0.33), pytest.approx(0.3016, abs=1e-4))  # Wilson
    assert "temperature is above 0" in found.limits
    unpriced = advice(prompts(usd=0))["repeated_prompts"]
    assert (unpriced.gain.value, unpriced.gain.unit) == (pytest.approx(330), "calls_per_day")


def test_each_job_is_advised_for_itself():
    model = {"gen_ai_request_model": "m"}
    source = Day()
    for job, repeated in (("live", 300), ("staging", 3)):
        source.grow("agent_lm_repeated_prompts_total", repeated, job=job, **AGENT, **model)
        source.grow("gen_ai_client_operation_duration_seconds_count", 1000, job=job, **model)
    assert advice(source)["repeated_prompts"].labels == {"job": "live", **model}
    assert len(recommend(source, GRID)) == 1


@pytest.mark.parametrize(
    "source",
    [
        prompts(repeated=27, calls=300),
        prompts(repeated=54),
        prompts(repeated=0),
        prompts(calls=320),
        prompts(repeated=0, burst=lambda step: 100 if step == 70 else 0),
    ],
)
def test_few_repeated_prompts_or_one_burst_or_more_than_there_were_calls_are_no_advice(source):
    assert "repeated_prompts" not in advice(source)


def test_every_query_is_promql_and_says_the_window():
    sources = (waste(), repeats(), slow(), queue(), limits(), retries(), tools(), models(), prompts())
    found = [one for source in sources for one in recommend(source, GRID)]
    assert {one.rule for one in found} == {rule.__name__ for rule in RULES}
    for one in found:
        promql_parser.parse(one.query)
        assert f"[86400s] @ {START + 86400}" in one.query or f"[86399999ms:600s] @ {START + 86400}" in one.query
        assert all(figure.count > 0 for figure in one.evidence)
        assert {figure.unit for figure in one.evidence} <= {"", "usd_per_call", *Unit}
        assert told(one).evidence.startswith(f"{one.evidence[0].name}: ")
    odd = Day().grow("agent_repeated_tool_calls_total", 100, gen_ai_agent_name='a"b\\c', gen_ai_tool_name="t")
    odd.grow("gen_ai_execute_tool_duration_seconds_count", 200, gen_ai_agent_name='a"b\\c', gen_ai_tool_name="t")
    promql_parser.parse(advice(odd)["repeated_tool_calls"].query)


def test_advice_worth_more_money_comes_first_then_time():
    source = waste()
    source.series += models().series + repeats().series
    assert [one.rule for one in recommend(source, GRID)] == ["cheaper_model", "wasted_tokens", "repeated_tool_calls"]


def test_a_window_without_series_has_no_advice():
    assert recommend(MadeSource(), GRID) == []
