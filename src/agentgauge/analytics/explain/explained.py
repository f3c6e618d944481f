"""What moved in a window, and why."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import LEAST_PROBABILITY
from agentgauge.analytics.bounds import bounds_of
from agentgauge.analytics.deploys import find_deploys
from agentgauge.analytics.explain.both import apart, as_known, is_next, read_both, time_before
from agentgauge.analytics.explain.calls import chance_of_calls
from agentgauge.analytics.explain.critical_path import critical_path
from agentgauge.analytics.explain.deployed import deploy_of
from agentgauge.analytics.explain.explanation import Cause, Explanation, Role
from agentgauge.analytics.explain.moves import Moved, adjusted, found_move
from agentgauge.analytics.explain.places import one_instance
from agentgauge.analytics.explain.ranking import ranked
from agentgauge.analytics.explain.spans import ended_within
from agentgauge.analytics.explain.steps import LEAST_TIMES, suited_step
from agentgauge.analytics.explain.structure import Remembered, Structure
from agentgauge.analytics.explain.together import told_once
from agentgauge.analytics.explain.wording import advice, conclusion, is_last, of_finding, sentence, with_deploy
from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.signals import SOURCE_LABELS, Signal, Subject
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentgauge.analytics.deploys import Deploy
    from agentgauge.analytics.explain.alert import AlertWindow
    from agentgauge.analytics.explain.ranking import Ranked
    from agentgauge.analytics.explain.spans import Span
    from agentgauge.analytics.explain.together import Found
    from agentgauge.analytics.frames import Source

__all__ = ["explain"]

_MOST_P = 0.01
_MOST_RISE = 8


def explain(
    source: Source,
    window: Grid,
    *,
    before: Grid | None = None,
    alert: AlertWindow | None = None,
    spans: Iterable[Span] | None = None,
) -> Explanation:
    """Rank what moved in a window, and say what of it is a likely cause and what a symptom.

    Args:
        source: The local history, or a Prometheus.
        window: What to explain; a step below 30 s is taken as 30 s, or as fine as a short window and its samples allow.
        before: What to compare it with; unless given, the time before it: six times as long, or as far as the source goes back.
        alert: Of ``window_of_alert()``: what it is about is explained, and what does not lead there is a bystander; where nothing
            of it moved, all that people feel is.
        spans: Of ``read_spans()``: the critical path of the traces that ended in the window is added.

    Raises:
        ConfigurationError: The window or the time before is too short or has no samples, they overlap, or the extra ``analysis``
            is missing.
        SourceError: The source cannot be asked.
    """
    load_extra("scipy.stats", "analysis", "explain()")
    asked = Remembered(source)
    window = as_known(_coarse(asked, window, before), asked, "the window")
    before = time_before(asked, window) if before is None else as_known(apart(before, window), asked, "what it is compared with")
    if min(window.count, before.count) < LEAST_TIMES:
        step = window.step_seconds
        raise ConfigurationError(
            f"too little to judge by: explain compares {window.count * step:g} s with the {before.count * step:g} s before, in "
            f"steps of {step:g} s, and needs {LEAST_TIMES} steps ({LEAST_TIMES * step:g} s) of each; give a longer window, or a "
            "source that goes further back"
        )
    signals = [
        signal
        for measure in MEASURES
        for signal in read_both(measure, asked, before, window, per_instance=measure.subject in {Subject.PROCESS, Subject.HOST})
    ]
    moved = _moved(signals, asked, before, window)
    whole = signals[0].grid if signals and is_next(before, window) else window
    structure = Structure(asked, whole)
    about = _about(alert)
    is_told = about is not None and any(about(one.signal) for one in moved)
    order = ranked(moved, structure.is_linked, structure.depth, about if is_told else None)
    causes = [one for one in order if one.role is Role.CAUSE]
    findings = told_once((one, one_instance(one.moved, asked, before, window)) for one in causes)
    first = findings[0].cause.moved.onset if findings else window.start - window.step_seconds
    deploys = find_deploys(asked, whole)
    named = tuple(
        _named(found, first, deploy_of(found.cause.moved, structure.jobs(found.cause.moved.signal), deploys))
        for found in findings
    )
    parts = [_cause(part, {}, found, first) for found in findings for part in found.parts]
    followed = [_cause(one, {}, _finding_of(one, findings), first) for one in order if one.role is Role.SYMPTOM]
    symptoms = tuple(sorted((*parts, *followed), key=lambda one: -one.weight))
    bystanders = tuple(_cause(one, {}, None, first) for one in order if one.role is Role.BYSTANDER)
    path = None if spans is None else critical_path(ended_within(spans, window.start - window.step_seconds, window.end))
    if path is not None and not path.traces:
        path = replace(path, sentence="No trace to look at: none of the spans given is of a trace that ended in the window.")
    said = conclusion(
        [cause.sentence for cause in named],
        len(moved),
        len(signals),
        is_about_alert=is_told,
        is_alert_silent=about is not None and not is_told,
        unknown={} if alert is None or about is None or any(map(about, signals)) else _telling(alert),
    )
    return Explanation(window, before, named, symptoms, bystanders, len(signals), path, said)


def _coarse(source: Source, window: Grid, before: Grid | None) -> Grid:
    begin, extent = window.start - window.step_seconds, source.extent()
    known = begin - extent[0] if extent is not None else math.inf
    earlier = known if before is None else before.count * before.step_seconds
    step = suited_step(source, window, earlier)
    return window if step == window.step_seconds else Grid.over(begin, max(window.end, begin + step), step)


def _moved(signals: list[Signal], source: Source, before: Grid, window: Grid) -> list[Moved]:
    split, step, is_one = before.count, window.step_seconds, is_next(before, window)
    found = [(signal, move) for signal in signals if (move := found_move(signal, split, is_trend_known=is_one))]
    chances = adjusted([move.chance for _, move in found], len(signals))
    moved = []
    for (signal, move), chance in zip(found, chances, strict=True):
        # Much that moved lets what did not be taken for it now and then: of calls that is told apart, one signal for itself.
        if chance < _MOST_P and chance_of_calls(signal, move, source, before, window) * len(signals) < _MOST_P:
            slack = step * (1 + 4 / max(0.5, abs(move.deviations)))
            rise = step * min(move.rise, _MOST_RISE)
            onset, until = (window.start + (place - split) * step for place in (move.onset - 1, move.until))
            shown = signal if is_one else Signal(signal.measure, signal.labels, window, signal.values[split:])
            bounds = bounds_of(signal.measure, source, shown.grid).get(_subject(signal), ())
            moved.append(Moved(shown, move, onset, until, slack, rise, chance, bounds))
    return moved


def _subject(signal: Signal) -> tuple[str, ...]:
    return tuple(signal.labels.get(name, "") for name in signal.measure.by)


def _telling(alert: AlertWindow) -> dict[str, str]:
    """Return the labels that say what an alert is about."""
    names = {name for measure in MEASURES for name in measure.by if name in alert.labels} or set(SOURCE_LABELS)
    return {name: value for name, value in alert.labels.items() if name in names}


def _about(alert: AlertWindow | None) -> Callable[[Signal], bool] | None:
    """Return what tells whether a signal is what an alert is about: it has a label of it, and no other value of one.

    Every alert has a job, most an instance: one that names an agent, a model or a tool as well is not about all that runs there.
    """
    if alert is None:
        return None
    labels, telling = alert.labels, _telling(alert)

    def is_about(signal: Signal) -> bool:
        shared = {name for name in signal.labels if name in labels}
        return bool(shared & telling.keys()) and all(signal.labels[name] == labels[name] for name in shared)

    return is_about


def _finding_of(one: Ranked, findings: list[Found]) -> Found | None:
    return next((found for found in findings if one.cause in {found.cause.moved, *(part.moved for part in found.parts)}), None)


def _named(found: Found, first: float, deploy: Deploy | None) -> Cause:
    named = _cause(found.cause, found.where, None, first)
    behind = deploy if is_last(found.cause) else None
    return replace(
        named,
        weight=found.weight,
        explains=tuple(moved.signal.title for moved in found.explains),
        parts=tuple(part.moved.signal.title for part in found.parts),
        sentence=with_deploy(named.sentence + of_finding(found), found.cause, deploy),
        advice=advice(found.cause.moved, found.where, behind),
        deploy=deploy,
    )


def _cause(one: Ranked, where: Mapping[str, str], found: Found | None, first: float) -> Cause:
    moved, move = one.moved, one.moved.move
    above = found.cause.moved if found else None
    return Cause(
        signal=moved.signal,
        role=Role.SYMPTOM if found else one.role,
        labels={**moved.signal.labels, **where},
        onset=moved.onset,
        lag_seconds=moved.onset - (above.onset if above else first),
        effect=move.delta,
        p_value=max(moved.p_value, LEAST_PROBABILITY),
        before=move.before,
        after=move.after,
        weight=moved.weight if found else one.weight,
        explains=(),
        parts=(),
        caused_by=above.signal.title if above else "",
        sentence=sentence(one, where, above),
        advice=advice(moved, where),
        query=moved.signal.measure.query,
        bounds=moved.bounds,
    )
