"""DSPy patched in place, as instrumenting it will: its programs run, copy, save and compare as they did, and are restored."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle

import cloudpickle
import dspy
import pytest
from dspy.clients import execution
from dspy.utils import DummyLM

from agentgauge import task, tool, workflow
from agentgauge.recording.patching import patch

PLACES = [
    (dspy.Module, "__call__", workflow("program")),
    (dspy.Module, "acall", workflow("program")),
    (dspy.Predict, "forward", task("predict")),
    (dspy.LM, "forward", task("request")),
    (dspy.LM, "aforward", task("request")),
    (dspy.BaseLM, "__call__", task("lm")),
    (DummyLM, "acall", task("lm")),  # which it inherits
    (dspy.Tool, "__call__", tool("search")),
    (execution, "finalize", task("finalize")),
]


class Question(dspy.Signature):
    """Answer the question."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Solver(dspy.Module):
    """Answers by one prediction and one tool."""

    def __init__(self):
        super().__init__()
        self.answer = dspy.Predict(Question)
        self.search = dspy.Tool(look_up)

    def forward(self, question):
        return self.answer(question=self.search(query=question))

    async def aforward(self, question):
        return await self.answer.acall(question=question)


def look_up(query: str) -> str:
    """Look something up."""
    return query.upper()


@pytest.fixture(params=[False, True], ids=["as it is", "patched"])
def dspy_as_it_is_and_patched(request, fresh):
    """Give whether DSPy is patched, once as it is and once patched, and a function that tells how many calls were recorded."""
    before = [vars(owner).get(name) for owner, name, _ in PLACES]
    patches = [patch(*place) for place in PLACES] if request.param else []
    yield bool(patches), lambda name, **labels: fresh.value(f"{name}_duration_seconds_count", **labels)
    assert all(made.undo() for made in patches)
    assert [vars(owner).get(name) for owner, name, _ in PLACES] == before


@pytest.fixture
def lm():
    """Let programs answer without a network."""
    with dspy.context(lm=DummyLM([{"answer": str(number)} for number in range(9)])):
        yield


def travelled(program):
    return pickle.loads(cloudpickle.dumps(program))


@pytest.mark.usefixtures("lm")
@pytest.mark.parametrize("duplicate", [lambda program: program, copy.copy, copy.deepcopy, travelled, dspy.Module.deepcopy])
def test_a_program_and_its_copies_answer_with_no_warning(dspy_as_it_is_and_patched, duplicate, caplog):
    is_patched, count = dspy_as_it_is_and_patched
    program = duplicate(Solver())

    with caplog.at_level(logging.WARNING):
        assert program(question="why").answer == "0"
        assert asyncio.run(program.acall(question="why")).answer == "1"

    assert caplog.records == []
    assert count("gen_ai_invoke_workflow", gen_ai_workflow_name="program") == (4 if is_patched else None)
    assert count("gen_ai_execute_tool", gen_ai_tool_name="search") == (1 if is_patched else None)
    assert count("agent_task", agent_task="predict", outcome="success") == (1 if is_patched else None)
    assert count("agent_task", agent_task="lm", outcome="success") == (2 if is_patched else None)
    assert count("agent_task", agent_task="finalize", outcome="success") == (2 if is_patched else None)


@pytest.mark.usefixtures("lm", "dspy_as_it_is_and_patched")
def test_a_program_is_pickled_saved_and_loaded(tmp_path):
    program = pickle.loads(pickle.dumps(Solver()))
    program.save(tmp_path / "state.json")
    program.load(tmp_path / "state.json")
    program.save(tmp_path / "whole", save_program=True)
    loaded = dspy.load(tmp_path / "whole", allow_pickle=True)

    assert loaded.dump_state() == program.dump_state()
    assert [program(question="why").answer, loaded(question="why").answer] == ["0", "1"]


@pytest.mark.usefixtures("dspy_as_it_is_and_patched")
def test_whether_a_subclass_overrides_is_told_as_before():
    assert Solver.__call__ is dspy.Module.__call__
    assert Solver.forward is not dspy.Predict.forward
    assert dspy.ChainOfThought.acall is dspy.Module.acall
    assert DummyLM.forward is not dspy.LM.forward


@pytest.mark.usefixtures("dspy_as_it_is_and_patched", "lm")
def test_threads_of_a_parallel_run_record_and_an_error_is_the_very_same():
    program = Solver()
    parallel = dspy.Parallel(num_threads=2, disable_progress_bar=True)
    answers = parallel([(program, dspy.Example(question="why").with_inputs("question")) for _ in range(3)])

    assert sorted(answer.answer for answer in answers) == ["0", "1", "2"]
    with pytest.raises(TypeError, match=r"Solver\.forward\(\) got an unexpected keyword argument 'unknown'"):
        program(unknown=1)
