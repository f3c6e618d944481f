"""What is found, in plain words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount, counted, duration, moment
from agentgauge.analytics.bounds import bucket, bucket_words
from agentgauge.analytics.explain.deployed import deploy_words
from agentgauge.analytics.explain.effects import is_felt
from agentgauge.analytics.explain.explanation import Role
from agentgauge.analytics.signals import SOURCE_LABELS, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentgauge.analytics.deploys import Deploy
    from agentgauge.analytics.explain.moves import Moved
    from agentgauge.analytics.explain.ranking import Ranked
    from agentgauge.analytics.explain.together import Found

__all__ = ["advice", "conclusion", "is_last", "level", "of_finding", "sentence", "with_deploy"]

_MOST_NAMED = 3
_ELSEWHERE = {  # what does not need a dashboard: a history on a laptop has none
    Subject.AGENT: "what ran then, and the slowest traces of it",
    Subject.MODEL: "the status page, the quota and the region of the provider",
    Subject.TOOL: "what the tool calls, and whether that was slow or failed",
    Subject.PROCESS: "a profile of the program",
    Subject.HOST: "what else runs on that host",
}
_ADVICE = {
    "task_rate": "who calls, and whether there are enough replicas",
    "lm_error_ratio": "the error types of the provider's answers: rate limits, time-outs, or refused keys",
    "lm_input_tokens_mean": "what was deployed then: prompts, retrieved passages or histories got longer",
    "lm_output_tokens_mean": "what was deployed then: answers got longer; a limit of output tokens bounds them",
    "run_steps_mean": "traces of runs with many steps: an agent that goes in circles calls the same tool again",
    "repeated_tool_call_rate": "traces of runs with many steps: an agent that goes in circles calls the same tool again",
    "process_memory": "what the program keeps: memory that grows until collections of garbage stop everything",
    "event_loop_lag_p95": "calls in coroutines that do not await: they stop all others",
}


def _place(where: Mapping[str, str]) -> str:
    return ", ".join(where[name] for name in SOURCE_LABELS if name in where)


def _whom(moved: Moved, where: Mapping[str, str]) -> str:
    place = _place(where)
    title = moved.signal.title
    return f"{title}, in {place} alone" if place and place not in title else title


def level(value: float, unit: str, bounds: Sequence[float]) -> str:
    """Return a level as people read it; of a percentile, between which bounds it lies: within its bucket it is a guess.

    Args:
        value: The level.
        unit: Of its measure.
        bounds: Of the buckets that a percentile is read from; none for what is no percentile.
    """
    if not bounds or not math.isfinite(value):
        return amount(value, unit)
    lies = bucket(value, bounds)
    words = bucket_words(lies, unit)
    return words if math.isinf(lies.high) else f"about {amount(value, unit)}, {words},"


def sentence(ranked: Ranked, where: Mapping[str, str], above: Moved | None) -> str:
    """Return what moved, by how much and since when, and what followed or went before.

    Args:
        ranked: What moved.
        where: The job and instance that alone moved, or nothing.
        above: Of a symptom, what is named as its cause.
    """
    moved = ranked.moved
    unit = moved.signal.measure.unit
    verb = "rose" if moved.sign > 0 else "fell"
    said = (
        f"{_whom(moved, where)} {verb} to {level(moved.move.after, unit, moved.bounds)} from {moment(moved.onset)} on, "
        f"{level(moved.move.before, unit, moved.bounds)} before"
    )
    if above and ranked.cause:
        return f"{said}; it can follow from {above.signal.title}."
    if above:
        return f"{said}; it is one finding with {above.signal.title}."
    own = "; nothing that is measured and could be behind it moved" if is_last(ranked) else ""
    if ranked.explains:
        first = ranked.explains[0]
        lag = first.onset - moved.onset
        when = f"{duration(lag)} later" if lag >= moved.slack_seconds else "at about the same time"
        more = f", and {len(ranked.explains) - 1} more moved" if len(ranked.explains) > 1 else ""
        return f"{said}; {first.signal.title} {'rose' if first.sign > 0 else 'fell'} {when}{more}{own}."
    return f"{said}{own}."


def is_last(ranked: Ranked) -> bool:
    """Tell whether a cause is itself what people feel, with nothing behind it that is measured."""
    return ranked.role is Role.CAUSE and is_felt(ranked.moved.signal.measure.name, ranked.moved.sign)


def with_deploy(said: str, ranked: Ranked, deploy: Deploy | None) -> str:
    """Return the sentence of a cause with the deploy that came with it: in its place where nothing measured is behind it."""
    if deploy is None:
        return said
    words = deploy_words(deploy)
    return f"{words}, with which {said}" if is_last(ranked) else f"{said} {words[0].upper()}{words[1:]} came with it."


def of_finding(found: Found) -> str:
    """Return what else is of one finding with a cause, as a sentence that goes on; nothing where there is nothing else."""
    titles = [part.moved.signal.title for part in found.parts]
    if not titles:
        return ""
    more = f" and {len(titles) - _MOST_NAMED} more" if len(titles) > _MOST_NAMED else ""
    return f" One finding with it: {'; '.join(titles[:_MOST_NAMED])}{more}."


def advice(moved: Moved, where: Mapping[str, str], deploy: Deploy | None = None) -> str:
    """Return where to look next; ``deploy`` is one that is the likely cause."""
    if deploy is not None:
        return "Look at what was changed then, and whether undoing it undoes this; then at the slowest traces since."
    measure = moved.signal.measure
    place = _place(where)
    first = f"what sets {place} apart from the other instances, then " if place and measure.subject not in _MACHINES else ""
    return f"Look at {first}{_ADVICE.get(measure.name, _ELSEWHERE[measure.subject])}."


_MACHINES = {Subject.PROCESS, Subject.HOST}


def conclusion(
    causes: list[str],
    moved: int,
    looked_at: int,
    *,
    is_about_alert: bool,
    is_alert_silent: bool,
    unknown: Mapping[str, str],
) -> str:
    """Return the whole in one or two sentences.

    Args:
        causes: The sentences of the causes, the likeliest first.
        moved: How many signals moved.
        looked_at: Of how many.
        is_about_alert: Whether what an alert names was explained.
        is_alert_silent: Whether an alert was given of which nothing moved.
        unknown: Labels of that alert, where no signal has them.
    """
    named = " and ".join(f'{name}="{value}"' for name, value in unknown.items())
    why = f"No signal that was looked at has the alert's {named}" if named else "Nothing that the alert names moved"
    silent = f" {why}; all that people feel was looked at instead." if is_alert_silent else ""
    if causes:
        others = f" {counted(len(causes) - 1, 'more finding')} may have a part in it." if len(causes) > 1 else ""
        return f"Likely cause: {causes[0]}{others}{silent}"
    if moved:
        felt = "the alert names" if is_about_alert else "people feel"
        return f"No cause found: {moved} of {looked_at} signals moved, but nothing that {felt} followed from them.{silent}"
    return f"No cause found: none of {looked_at} signals moved by more than chance, the trend and the noise before allow.{silent}"
