"""Where the slowest traces spent their time: the chain of spans that an answer had to wait for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentgauge.analytics.explain.spans import Span

__all__ = ["CriticalPath", "Share", "critical_path"]


@dataclass(frozen=True, slots=True)
class Share:
    """What one kind of work took of the critical paths.

    Attributes:
        operation: The name of its spans.
        agent: Whose work it was; empty where unknown.
        model: Which model it waited for; empty for none.
        tool: Which tool it waited for; empty for none.
        seconds: Its own time on the paths, what its children took left out; of all traces together.
        share: That, of the time of all paths: 0 to 1.
        spans: How many spans it was.
    """

    operation: str
    agent: str
    model: str
    tool: str
    seconds: float
    share: float
    spans: int


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """Where the slowest traces spent their time.

    Attributes:
        traces: How many traces were looked at.
        of: How many there were.
        seconds: How long their paths are together.
        shares: Of what, the largest first.
        repaired: How many of their spans were open, out of their parent's time, without their parent, or in a circle.
        sentence: All that in plain words.
    """

    traces: int
    of: int
    seconds: float
    shares: tuple[Share, ...]
    repaired: int
    sentence: str


def critical_path(spans: Iterable[Span], *, slowest: int = 20) -> CriticalPath:
    """Walk the slowest traces back from their end, always along the child that ended last.

    Args:
        spans: Of any number of traces, in any order.
        slowest: How many traces to look at.

    Source: Zhang, Ramanathan, Raj, Parwal, Sherwood and Chabbi, "CRISP: Critical Path Analysis of Large-Scale Microservice
    Architectures", USENIX ATC 2022.
    """
    traces: dict[str, list[Span]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    walked = sorted((_Walk(found) for found in traces.values()), key=lambda walk: -walk.seconds)[:slowest]
    shares: dict[tuple[str, str, str, str], list[float]] = {}
    for walk in walked:
        for span, seconds in walk.own.values():
            of_kind = shares.setdefault(_kind(span, walk.agents.get(span.span_id, "")), [0.0, 0])
            of_kind[0] += seconds
            of_kind[1] += 1
    whole = sum(walk.seconds for walk in walked)
    found = sorted(
        (Share(*kind, seconds, seconds / whole if whole else 0.0, int(count)) for kind, (seconds, count) in shares.items()),
        key=lambda share: (-share.seconds, share.operation, share.agent, share.model, share.tool),
    )
    said = _said(found, len(walked), len(traces), whole)
    return CriticalPath(len(walked), len(traces), whole, tuple(found), sum(walk.repaired for walk in walked), said)


def _text(span: Span, *names: str) -> str:
    return next((str(span.attributes[name]) for name in names if span.attributes.get(name)), "")


def _kind(span: Span, agent: str) -> tuple[str, str, str, str]:
    tool = _text(span, "gen_ai.tool.name")
    model = "" if tool else _text(span, "gen_ai.request.model", "gen_ai.response.model")
    return span.name, agent, model, tool


def _said(shares: list[Share], traces: int, of: int, seconds: float) -> str:
    if not shares:
        return "No trace to look at."
    first = shares[0]
    about = [f"model {first.model}"] if first.model else [f"tool {first.tool}"] if first.tool else []
    about += [f"agent {first.agent}"] if first.agent else []
    what = f"{first.operation} ({', '.join(about)})" if about else first.operation
    return (
        f"The slowest {traces} of {of} traces waited {duration(seconds / traces)} each, "
        f"{100 * first.share:.0f} % of it for the own work of {what}."
    )


class _Walk:
    """The critical path of one trace."""

    def __init__(self, spans: list[Span]) -> None:
        self.repaired = 0
        self._spans = {span.span_id: span for span in spans}
        latest = max((span.end for span in spans if span.end is not None), default=None)
        self._last = max(latest or 0.0, *(span.start for span in spans))
        self._children: dict[str | None, list[Span]] = {}
        self.agents: dict[str, str] = {}
        self._sound: set[str] = set()  # those whose ancestors are known to end at a root
        for span in self._spans.values():
            self._children.setdefault(self._parent(span), []).append(span)
            self.repaired += span.end is None
        self.own: dict[str, tuple[Span, float]] = {}
        for root in self._children.get(None, []):
            self._name_agents(root)
        # Several roots, or children whose parent is missing: the trace is a path of its own through all of them.
        roots = self._children.get(None, [])
        begin = min((root.start for root in roots), default=0.0)
        self._walk_all(roots, begin, max((self._end(root) for root in roots), default=begin))
        self.seconds = sum(seconds for _, seconds in self.own.values())

    def _end(self, span: Span) -> float:
        return max(span.start, self._last if span.end is None else span.end)

    def _parent(self, span: Span) -> str | None:
        """Return its parent, if that is there and no descendant of its own."""
        if span.parent_id is None:
            return None
        seen, above = {span.span_id}, self._spans.get(span.parent_id)
        while above is not None and above.span_id not in seen and above.span_id not in self._sound:
            seen.add(above.span_id)
            above = self._spans.get(above.parent_id) if above.parent_id else None
        is_cyclic = above is not None and above.span_id in seen and span.span_id == min(seen)
        if above is None or above.span_id in self._sound:
            self._sound |= seen
        if span.parent_id not in self._spans or is_cyclic:
            self.repaired += 1
            return None
        return span.parent_id

    def _name_agents(self, root: Span) -> None:
        ahead = [(root, "")]
        while ahead:
            span, above = ahead.pop()
            agent = _text(span, "gen_ai.agent.name") or above
            self.agents[span.span_id] = agent
            ahead += [(child, agent) for child in self._children.get(span.span_id, [])]

    def _walk_all(self, roots: list[Span], begin: float, end: float) -> None:
        """Walk back from the end: to the child that ended last, through it, and on from where that began."""
        ahead: list[tuple[Span | None, list[Span], float, float]] = [(None, roots, begin, end)]
        while ahead:
            span, children, begin, at = ahead.pop()
            own = 0.0
            for child in sorted(children, key=self._end, reverse=True):
                child_end, child_start = min(self._end(child), at), max(child.start, begin)
                self.repaired += span is not None and (self._end(child) > self._end(span) or child.start < span.start)
                if child_end <= child_start:
                    continue
                own += at - child_end
                ahead.append((child, self._children.get(child.span_id, []), child_start, child_end))
                at = child_start
            if span is not None:
                self.own[span.span_id] = (span, own + at - begin)
