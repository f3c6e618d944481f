"""Around DSPy's programs: evaluations, optimizers, threads, and answers that did not parse."""

from __future__ import annotations

import asyncio
import threading

import dspy
import pytest
from dspy_programs import Engine, Question, Writer, counts, drawn, instrumented, lm_of
from opentelemetry import trace

ANSWERED = ("lm", "chat", "openai", "offline", "offline-2026")


@pytest.fixture
def measured(fresh):
    with instrumented():
        yield fresh


def examples(count):
    return [dspy.Example(question=f"why {number}", answer="a value").with_inputs("question") for number in range(count)]


def same(example, prediction, trace=None):
    return example.answer == prediction.answer


def exact(example, prediction):
    return float(example.answer == prediction.answer)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_evaluation_is_a_workflow_in_which_each_program_is_an_agent(measured, spans, threads):
    engine = Engine()
    with dspy.context(lm=lm_of(engine)):
        result = dspy.Evaluate(devset=examples(3), metric=exact, num_threads=threads)(Writer())

    assert result.score == 100
    assert counts(measured) == {
        ("workflow", "Evaluate"): 1,
        ("agent", "Writer"): 3,
        ("task", "Writer", "forward", "success"): 3,
        ("task", "Writer", "ChainOfThought", "success"): 3,
        ("task", "Writer", "Predict", "success"): 3,
        ANSWERED: 3,
    }
    draft = ["  invoke_agent Writer", "    execute_task ChainOfThought", "      execute_task Predict", "        chat offline"]
    assert drawn(spans) == ["invoke_workflow Evaluate", *draft, *draft, *draft]
    assert engine.served == 3


def test_an_optimizer_is_a_workflow_and_what_it_makes_is_measured_as_before(measured, spans):
    engine = Engine()
    with dspy.context(lm=lm_of(engine)):
        optimizer = dspy.BootstrapFewShot(metric=same, max_bootstrapped_demos=2, max_labeled_demos=0)
        compiled = optimizer.compile(Writer(), trainset=examples(2))
        served = engine.served
        compiled(question="why")

    assert len(compiled.write.predict.demos) == 2
    found = counts(measured)
    assert found["workflow", "BootstrapFewShot.compile"] == 1
    assert found["agent", "Writer"] == served == 2
    assert found["workflow", "Writer"] == 1
    assert found[ANSWERED] == engine.served == 3
    roots = [line for line in drawn(spans) if not line.startswith(" ")]
    assert roots == ["invoke_workflow BootstrapFewShot.compile", "invoke_workflow Writer"]


def test_an_optimizer_in_an_optimizer_and_one_defined_later_are_each_counted_once(measured):
    class Repeated(dspy.teleprompt.BootstrapFewShot):
        def compile(self, student, **options):
            return super().compile(student, **options)

    with dspy.context(lm=lm_of(Engine())):
        Repeated(metric=same, max_labeled_demos=0).compile(Writer(), trainset=examples(1))
        dspy.BootstrapFewShotWithRandomSearch(
            metric=same, max_labeled_demos=1, max_bootstrapped_demos=1, num_candidate_programs=1, num_threads=1
        ).compile(Writer(), trainset=examples(2))

    found = {key[1:]: count for key, count in counts(measured).items() if key[0] == "workflow"}
    assert found["Repeated.compile",] == 1
    assert found["BootstrapFewShotWithRandomSearch.compile",] == 1
    assert found["BootstrapFewShot.compile",] == 2  # which the search runs for two of its candidates
    assert found["Evaluate",] == 4


def test_a_batch_of_a_program_is_parallel_with_the_program_in_it(measured, spans):
    engine = Engine()
    with dspy.context(lm=lm_of(engine)):
        Writer().batch(examples(2), num_threads=2, disable_progress_bar=True)

    draft = ["  invoke_workflow Writer", "    execute_task ChainOfThought", "      execute_task Predict", "        chat offline"]
    assert drawn(spans) == ["execute_task Parallel", *draft, *draft]


def test_programs_in_threads_are_under_a_span_of_the_hosts_own(measured, spans):
    tracer = trace.get_tracer("host")
    with dspy.context(lm=lm_of(Engine())), tracer.start_as_current_span("request"):
        Writer().batch(examples(2), num_threads=2, disable_progress_bar=True)

    tree = drawn(spans)
    assert tree[:2] == ["request", "  execute_task Parallel"]
    assert [line for line in tree if not line.startswith(" ")] == ["request"]


def test_a_straggler_that_is_started_again_is_counted_as_often_as_it_ran(measured):
    release = threading.Event()
    ran = []

    class Slow(dspy.Module):
        def forward(self, question):
            ran.append(question)
            if len(ran) == 1:
                release.wait(60)  # until its second run is done
            else:
                release.set()
            return dspy.Prediction(answer=question)

    before = set(threading.enumerate())
    parallel = dspy.Parallel(num_threads=2, timeout=0.001, straggler_limit=3, disable_progress_bar=True)
    assert [answer.answer for answer in parallel([(Slow(), {"question": "a"})])] == ["a"]

    assert len(ran) == 2
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(60)
    assert counts(measured) == {("task", "Parallel", "success"): 1, ("workflow", "Slow"): 2}


def test_an_error_in_a_thread_is_counted_where_it_happened_and_handed_over_as_before(measured):
    class Broken(dspy.Module):
        def forward(self, question):
            raise KeyError(question)

    parallel = dspy.Parallel(num_threads=2, return_failed_examples=True, disable_progress_bar=True, max_errors=9)
    _, failed, errors = parallel([(Broken(), {"question": "a"}), (Broken(), {"question": "b"})])

    assert len(failed) == 2
    assert sorted(map(str, errors)) == ["'a'", "'b'"]
    assert counts(measured) == {("task", "Parallel", "success"): 1, ("workflow", "Broken", "KeyError"): 2}


# --- answers that did not parse -------------------------------------------------------------------------------------------


def parse_failures(measured, agent=None):
    labels = {"gen_ai_agent_name": agent} if agent else {}
    found = {
        adapter: measured.value("agent_output_parse_failures_total", adapter=adapter, **labels)
        for adapter in ("ChatAdapter", "JSONAdapter", "XMLAdapter", "TwoStepAdapter")
    }
    return {adapter: count for adapter, count in found.items() if count}


def ask(program, is_async):
    return asyncio.run(program.acall(question="why")) if is_async else program(question="why")


@pytest.mark.parametrize("is_async", [False, True])
def test_an_answer_that_the_next_adapter_can_read_is_one_failure_of_the_first(measured, is_async):
    engine = Engine(["gibberish", '{"answer": "yes"}'])
    with dspy.context(lm=lm_of(engine)):
        assert ask(dspy.Predict(Question), is_async).answer == "yes"

    assert parse_failures(measured) == {"ChatAdapter": 1}
    assert counts(measured) == {("task", "Predict", "success"): 1, ANSWERED: 2}


@pytest.mark.parametrize("is_async", [False, True])
def test_an_answer_that_no_adapter_can_read_is_a_failure_of_each(measured, is_async):
    engine = Engine(["gibberish", "more of it"])
    with dspy.context(lm=lm_of(engine)), pytest.raises(dspy.utils.exceptions.AdapterParseError):
        ask(dspy.Predict(Question), is_async)

    assert parse_failures(measured) == {"ChatAdapter": 1, "JSONAdapter": 1}
    error = "dspy.utils.exceptions.AdapterParseError"
    assert measured.value("agent_task_errors_total", agent_task="Predict", error_type=error) == 1


def test_a_parse_failure_is_of_the_agent_whose_answer_it_was(measured):
    class Program(dspy.Module):
        def forward(self):
            return Writer()(question="why")

    with dspy.context(lm=lm_of(Engine(["gibberish", '{"reasoning": "so", "answer": "yes"}']))):
        Program()()

    assert parse_failures(measured, "Writer") == {"ChatAdapter": 1}


@pytest.mark.parametrize("is_async", [False, True])
def test_an_empty_answer_is_a_parse_failure(measured, is_async):
    adapter = dspy.ChatAdapter(use_json_adapter_fallback=False)
    with dspy.context(lm=lm_of(Engine([" "])), adapter=adapter), pytest.raises(dspy.utils.exceptions.AdapterParseError):
        ask(dspy.Predict(Question), is_async)

    assert parse_failures(measured) == {"ChatAdapter": 1}


@pytest.mark.parametrize("is_async", [False, True])
def test_an_adapter_that_asks_a_second_model_fails_with_what_it_fell_back_to(measured, is_async):
    adapter = dspy.TwoStepAdapter(extraction_model=lm_of(Engine(["gibberish", "gibberish"])))
    lm = lm_of(Engine(["free prose"]))
    with dspy.context(lm=lm, adapter=adapter), pytest.raises(dspy.utils.exceptions.AdapterParseError):
        ask(dspy.Predict(Question), is_async)

    assert parse_failures(measured) == {"ChatAdapter": 1, "JSONAdapter": 1, "TwoStepAdapter": 1}
