"""The objectives of tasks, and which tasks can have one: those that are code of the program's own, which can be decorated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge import catalogue
from agentgauge.doctor.finding import Finding, Status, counted, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentgauge.doctor.page import Program

    Task = tuple[str, str]

__all__ = ["DSPY_STEPS", "objectives"]

_DSPY_AGENTS = frozenset(("Avatar", "CodeAct", "RLM", "ReAct", "ReActV2"))
DSPY_STEPS = _DSPY_AGENTS | {
    "BestOfN",
    "ChainOfThought",
    "CompleteAndGrounded",
    "Flex",
    "GenerateModuleInstruction",
    "KNN",
    "MultiChainComparison",
    "Parallel",
    "Predict",
    "ProgramOfThought",
    "Refine",
    "RulesInductionProgram",
    "SemanticF1",
    "SingleComponentMultiModalProposer",
    "retrieve",
}
_PREBUILT_NODES = frozenset(("model", "tools"))
_MIDDLEWARE_NODES = (".before_agent", ".before_model", ".after_model", ".after_agent")
_PROMISE = "objective=Objective(success_ratio=0.99, latency_seconds=5)"


def objectives(visited: Program, _limit: int) -> Finding:
    """Tell which tasks that ran and can have an objective have none: the alerts on objectives do not watch them."""
    check = "objectives"
    page = visited.page
    ran = {_task(sample.labels) for sample in page.samples(catalogue.TASK_DURATION) if sample.value}
    promised = {
        _task(sample.labels)
        for family in (catalogue.OBJECTIVE_SUCCESS, catalogue.OBJECTIVE_LATENCY)
        for sample in page.samples(family)
    }
    if not ran:
        fix = "Let the program work, then look again. Tasks are what @task and @agent decorate, track(), and steps of frameworks."
        return Finding(check, Status.UNKNOWN, "No task has run", "no agent_task_duration_seconds series above 0", fix)
    steps = _steps(visited, ran) - promised
    own = ran - steps
    without = sorted(map(_text, own - promised))
    told = f"; {counted(len(steps), 'step')} that a framework runs can have none" if steps else ""
    if not own:
        title = "What ran are steps of a framework, which can have no objective of their own"
        fix = f"Decorate the function of yours that calls the framework: @task({_PROMISE}). No objective alert watches it else."
        return Finding(check, Status.WARN, title, f"{counted(len(steps), 'task')} ran: {listed(sorted(map(_text, steps)))}", fix)
    evidence = f"{len(own) - len(without)} of {len(own)} tasks that can have an objective have one"
    if without:
        fix = (
            f"No objective alert watches them. Decorate the function or method that each is: @task({_PROMISE}). A method of a "
            "DSPy module wants @agent on its class beside it; what track() measures takes objective= there."
        )
        status = Status.WARN if len(without) < len(own) else Status.FAIL
        return Finding(check, status, "Tasks run without an objective", f"{evidence}; not {listed(without)}{told}", fix)
    return Finding(check, Status.OK, "Every task that can have an objective has one", f"{evidence}{told}")


def _steps(visited: Program, ran: set[Task]) -> set[Task]:
    """Return the tasks that are a framework's own code.

    The page does not say who reported a task. So this goes by what frameworks call theirs, and by which of them have recorded
    calls: a function of the user's of such a name, in a program that uses that very framework, is taken for a step.
    """
    calls = visited.page.by_label(catalogue.INSTRUMENTOR_CALLS, catalogue.INSTRUMENTOR)
    return {task for name, is_step in _IS_STEP.items() if calls.get(name) for task in ran if is_step(task, ran)}


def _is_step_of_dspy(task: Task, _ran: set[Task]) -> bool:
    agent, name = task
    return name in DSPY_STEPS or (name == "forward" and agent in _DSPY_AGENTS)


def _is_step_of_langchain(task: Task, ran: set[Task]) -> bool:
    """Tell the runs of ready-made agents and their nodes from nodes of the user's own: those can be decorated."""
    agent, name = task
    is_in_run = bool(agent) and (agent, "invoke") in ran
    return (
        name == "retrieve"
        or name in _PREBUILT_NODES
        or name.endswith(_MIDDLEWARE_NODES)
        or (is_in_run and name in ("invoke", "agent"))
    )


def _is_step_of_openai_agents(task: Task, _ran: set[Task]) -> bool:
    agent, name = task
    return bool(agent) and name in ("run", "turn")


def _is_step_of_spans(task: Task, _ran: set[Task]) -> bool:
    return task[1] == "invoke_agent"


_IS_STEP: Mapping[str, Callable[[Task, set[Task]], bool]] = {
    "dspy": _is_step_of_dspy,
    "langchain": _is_step_of_langchain,
    "openai-agents": _is_step_of_openai_agents,
    "genai-spans": _is_step_of_spans,
}


def _task(labels: Mapping[str, str]) -> Task:
    return labels.get(catalogue.AGENT, ""), labels.get(catalogue.TASK, "")


def _text(task: Task) -> str:
    return "/".join(filter(None, task))
