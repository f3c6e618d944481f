"""DSPy behaves as it did: copies, saved programs, callbacks, warnings and streams; and is given back exactly."""

from __future__ import annotations

import copy
import importlib
import logging
import pickle
import sys
import types
import warnings

import cloudpickle
import dspy
import pytest
from dspy.utils import DummyLM
from dspy.utils.callback import BaseCallback
from dspy_programs import FINISH, Engine, Newsroom, Question, Writer, counts, drawn, instrumented, lm_of, look_up, step

from agentgauge.errors import contained_errors
from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.roster import Instrumentation
from agentgauge.recording.default import default_recorder


@pytest.fixture
def measured(fresh):
    with instrumented():
        yield fresh


def everything_in_dspy():
    """Return every attribute of every module and class of DSPy that is loaded."""
    owners = [module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] == "dspy" and module]
    plain = [owner for owner in owners if type(owner) is types.ModuleType]  # the rest would be loaded by looking at them
    classes = [value for owner in plain for value in list(vars(owner).values()) if isinstance(value, type)]
    return {id(owner): (owner, dict(vars(owner))) for owner in (*plain, *classes)}


def differences(before):
    found = []
    for owner, attributes in before.values():
        now = vars(owner)
        found += [(owner.__name__, name) for name in attributes.keys() | now.keys() if now.get(name) is not attributes.get(name)]
    return sorted(found)


PATCHED = [
    ("Adapter", "_call_postprocess"),
    ("BaseLM", "__call__"),
    ("BaseLM", "acall"),
    ("ColBERTv2", "__call__"),
    ("Embedder", "__call__"),
    ("Embedder", "acall"),
    ("Embeddings", "__call__"),
    ("Evaluate", "__call__"),
    ("KNN", "__call__"),
    ("Module", "__call__"),
    ("Module", "acall"),
    ("Parallel", "forward"),
    ("ParallelExecutor", "execute"),
    ("ProgramOfThought", "_execute_code"),
    ("RLM", "_execute_code"),
    ("Retrieve", "__call__"),
    ("Teleprompter", "__init_subclass__"),
    ("Tool", "__call__"),
    ("Tool", "acall"),
    ("TwoStepAdapter", "acall"),
    ("dspy.adapters.base", "adapter_message_call"),
    ("dspy.adapters.two_step_adapter", "adapter_message_call"),
    ("dspy.clients.embedding", "_acompute_embeddings"),
    ("dspy.clients.embedding", "_compute_embeddings"),
    ("dspy.clients.embedding", "_get_litellm"),
    ("dspy.clients.execution", "_account_failed_call"),
    ("dspy.clients.execution", "_retryable"),
    ("dspy.clients.execution", "finalize"),
    ("dspy.clients.execution", "stream_emitted"),
    ("dspy.clients.lm", "stream_emitted"),
]


def test_undoing_restores_every_attribute_of_dspy_and_of_optimizers_that_were_defined_meanwhile(fresh):
    for name in ("dspy.dsp.colbertv2", "dspy.retrievers.embeddings", "dspy.adapters.two_step_adapter", "dspy.predict.rlm"):
        importlib.import_module(name)
    with instrumented():  # what is loaded late is loaded
        pass
    before = everything_in_dspy()
    with instrumented():
        changed = differences(before)

        class Own(dspy.teleprompt.Teleprompter):
            def compile(self, student, **options):
                return student

        during = vars(Own)["compile"]

    assert [place for place in changed if place[1] != "compile"] == PATCHED
    assert ("BootstrapFewShot", "compile") in changed
    assert differences(before) == []
    assert vars(Own)["compile"] is not during
    assert Own().compile("student") == "student"
    with dspy.context(lm=lm_of(Engine())):
        Writer()(question="why")
    assert counts(fresh) == {}


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, dspy.Module.deepcopy, lambda program: pickle.loads(cloudpickle.dumps(program))],
    ids=["copy", "deepcopy", "dspy's deepcopy", "cloudpickle"],
)
def test_copies_of_programs_are_measured_and_answer_without_a_warning(measured, duplicate, caplog):
    with dspy.context(lm=lm_of(Engine([step("look_up", query="x"), FINISH]))), caplog.at_level(logging.WARNING):
        duplicate(Newsroom(copies=1))(question="why")

    assert caplog.records == []
    found = counts(measured)
    assert found["workflow", "Newsroom"] == found["tool", "Seeker", "look_up"] == 1


def test_state_and_whole_programs_are_saved_and_loaded_across_instrumentation(fresh, tmp_path):
    with instrumented():
        program = Newsroom(copies=1)
        program.save(tmp_path / "state.json")
        program.save(tmp_path / "whole", save_program=True)
    plain = Newsroom(copies=1)
    plain.load(tmp_path / "state.json")
    loaded = dspy.load(tmp_path / "whole", allow_pickle=True)
    assert loaded.dump_state() == plain.dump_state() == program.dump_state()
    with instrumented(), dspy.context(lm=lm_of(Engine([FINISH]))):
        loaded(question="why")

    assert counts(fresh)["workflow", "Newsroom"] == 1


def test_an_optimizer_of_the_main_module_travels_with_a_program_that_names_it(measured):
    names = {"__name__": "__main__", "dspy": dspy}
    exec(OWN_OPTIMIZER, names)  # a class that cloudpickle takes apart
    assert names["Own"]().compile("student") == "student"
    arrived = pickle.loads(cloudpickle.dumps(names["Program"]()))

    assert arrived()().compile("student") == "student"
    assert measured.value("gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="Own.compile") == 2


OWN_OPTIMIZER = """
class Own(dspy.teleprompt.Teleprompter):
    def compile(self, student, **options):
        return student

class Program(dspy.Module):
    def forward(self):
        return Own
"""


def test_instrumented_methods_are_still_told_apart_from_overridden_ones(measured):
    assert Writer.__call__ is dspy.Module.__call__
    assert dspy.ChainOfThought.acall is dspy.Module.acall
    assert dspy.Predict.__call__ is not dspy.Module.__call__
    assert DummyLM.__call__ is dspy.BaseLM.__call__


class Listener(BaseCallback):
    def __init__(self):
        self.heard = []

    def on_module_start(self, call_id, instance, inputs):
        self.heard.append(type(instance).__name__)

    def on_lm_end(self, call_id, outputs, exception=None):
        self.heard.append("lm")

    def on_tool_end(self, call_id, outputs, exception=None):
        self.heard.append("tool")


@pytest.mark.parametrize("is_before", [True, False])
def test_callbacks_of_the_user_are_called_whether_configured_before_or_after(fresh, is_before):
    listener = Listener()
    react = dspy.ReAct(Question, tools=[look_up])
    engine = Engine([step("look_up", query="x"), FINISH])
    configured = {"lm": lm_of(engine), "callbacks": [listener]}
    if is_before:
        with dspy.context(**configured), instrumented():
            react(question="why")
    else:
        with instrumented(), dspy.context(**configured):
            react(question="why")

    assert listener.heard == ["ReAct", "Predict", "lm", "tool", "Predict", "lm", "tool", "ChainOfThought", "Predict", "lm"]
    assert counts(fresh)["agent", "ReAct"] == 1
    assert counts(fresh)["tool", "ReAct", "look_up"] == 1


def test_a_deprecation_of_dspy_is_blamed_on_the_program_as_before(measured):
    class Own(dspy.BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            raise NotImplementedError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(NotImplementedError):
            Own("own")("hello")

    assert [warning.filename for warning in caught] == [__file__]


def test_usage_tracking_and_history_of_dspy_go_on(measured):
    lm = lm_of(Engine())
    with dspy.context(lm=lm, track_usage=True):
        answer = Writer()(question="why")

    assert answer.get_lm_usage()["openai/offline"]["prompt_tokens"] == 10
    assert len(lm.history) == 1


def test_a_stream_is_the_same_with_and_without_instrumentation(fresh, spans):
    def streamed():
        listener = dspy.streaming.StreamListener(signature_field_name="answer")
        with dspy.context(lm=lm_of(Engine([{"reasoning": "so it is", "answer": "one two three four"}]))):
            program = dspy.streamify(Writer(), stream_listeners=[listener], async_streaming=False)
            return [value.answer if isinstance(value, dspy.Prediction) else value.chunk for value in program(question="why")]

    plain = streamed()
    with instrumented():
        assert streamed() == plain
    assert drawn(spans) == [
        "invoke_workflow Writer",
        "  execute_task ChainOfThought",
        "    execute_task Predict",
        "      chat offline",
    ]


def test_a_redactor_that_fails_costs_the_content_and_nothing_else(fresh, spans):
    def redact(text, name):
        raise ValueError("no")

    with instrumented(Content(is_captured=True, redact=redact)):
        contained_errors.is_reraising = False
        assert lm_of(Engine(["fine"]))("hello") == ["fine"]

    assert "gen_ai.output.messages" not in spans.get_finished_spans()[0].attributes
    assert counts(fresh) == {("lm", "chat", "openai", "offline", "offline-2026"): 1}
    assert contained_errors.count_by_hook == {"content": 2}


def test_it_is_in_the_roster_and_shown_as_active(fresh):
    instrumentation = Instrumentation(default_recorder(), Content(), ("dspy",))
    instrumentation.start()
    try:
        with dspy.context(lm=DummyLM([{"answer": "yes"}])):
            dspy.Predict(Question)(question="why")
        assert fresh.value("agentgauge_instrumentor_active", instrumentor="dspy") == 1
    finally:
        instrumentation.stop()

    assert fresh.value("agentgauge_instrumentor_active", instrumentor="dspy") == 0
    assert fresh.value("agentgauge_instrumentor_calls_total", instrumentor="dspy") == 2


def test_what_another_version_of_dspy_lacks_is_said_and_the_rest_is_measured(fresh, monkeypatch, caplog):
    monkeypatch.delattr("dspy.predict.program_of_thought.ProgramOfThought._execute_code")
    monkeypatch.delattr("dspy.clients.lm.stream_emitted")
    with caplog.at_level(logging.WARNING), instrumented():
        assert lm_of(Engine(["fine"]))("hello") == ["fine"]

    lacking = ("dspy.clients.lm:stream_emitted", "dspy.predict.program_of_thought:ProgramOfThought._execute_code")
    assert [record.getMessage() for record in caplog.records] == [
        f"agentgauge: this DSPy has no {place}; what is told there is not recorded" for place in lacking
    ]
    assert counts(fresh) == {("lm", "chat", "openai", "offline", "offline-2026"): 1}
