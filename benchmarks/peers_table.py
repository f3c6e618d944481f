"""The table of peers as Markdown, and its place in the README."""

from __future__ import annotations

import re
import statistics
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["KINDS", "Peer", "Result", "plain_reason", "render"]

KINDS = ("sync", "async")
_LONGEST_REASON = 160
_FAIRNESS = """\
CPU time that is added to a function that returns its argument, the fastest window of each; ratios are sync / async,
each within one process. Every call was sampled, and counted when it came out at the exporter or in the metrics; whether
its span bears the argument and the result was looked at, not believed. What is compared is not the same: a peer's span
bears more attributes than the bare span and than ours, and the last column sets a record of each call against counts
and durations of all calls. Content is one small integer here; prompts cost more. agentops has no setting for an
exporter, so its own was exchanged; traceloop-sdk got httpx beside it, which it imports and does not require."""
_HEAD = """\
| decorator | a call records | content | sync | async | against the yardstick | against agentgauge for the same | \
against agentgauge, metrics only |
|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Peer:
    """One row: a decorator of another library, set up in one way.

    Attributes:
        package: The distribution that is installed.
        decorator: How users write it.
        content: Whether arguments and return values are recorded: "on", "off", "always" where nothing switches it, or
            "none" where there is no such thing.
        is_span: Whether a call becomes a span; metrics otherwise.
        not_for: Why one kind of callable is not measured, by kind.
        records: What a call records, where it is more than the span or the metrics.
        also: Packages that it imports and does not require.
    """

    package: str
    decorator: str
    content: str
    is_span: bool = True
    not_for: Mapping[str, str] = field(default_factory=dict)
    records: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What became of a row.

    Attributes:
        peer: The row.
        nanoseconds: The CPU time of one call by kind and subject: "bare", "prometheus", "span", "ours", "ours, span", "peer".
        versions: Of the packages in the peer's environment.
        failure: Why nothing was measured at all.
        failures: Why one kind was not, by kind.
    """

    peer: Peer
    nanoseconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    failures: Mapping[str, str] = field(default_factory=dict)

    def added(self, kind: str, subject: str) -> float | None:
        """Return what a subject adds to a call of the bare function in nanoseconds, None where it was not measured."""
        measured = self.nanoseconds.get(kind, {})
        return measured[subject] - measured["bare"] if subject in measured else None


def render(results: Sequence[Result], machine: str) -> str:
    """Return the table and what there is to say about it.

    Args:
        results: The rows, in order.
        machine: When and where it was measured: one sentence without its full stop.
    """
    lines = [_HEAD, *_yardsticks(results), *(_row(result) for result in results)]
    notes = [
        f"- {_name(result)}, {kind}: {reason}."
        for result in results
        for kind, reason in {**result.peer.not_for, **result.failures}.items()
    ]
    told = _wrapped(f"{machine}. {_environments(results)}")
    return "\n".join([*lines, "", _wrapped(_FAIRNESS), "", told, *(["", *notes] if notes else [])])


def plain_reason(output: str) -> str:
    """Return the last line of a failed command's output that tells something, without addresses and paths."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    line = next((line for line in reversed(lines) if re.search(r"error|because|no solution|requires", line, re.IGNORECASE)), "")
    line = re.sub(r"\w+://\S+|(?<![\w.])/[\w./-]+", "...", line or (lines[-1] if lines else "it said nothing")).replace("|", "/")
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 140, break_long_words=False, break_on_hyphens=False)


def _name(result: Result) -> str:
    version = result.versions.get(result.peer.package, "")
    return f"{result.peer.package} {version}".rstrip() + f" `{result.peer.decorator}`"


def _row(result: Result) -> str:
    peer = result.peer
    records = peer.records or ("span" if peer.is_span else "metrics")
    if result.failure:
        return f"| {_name(result)} | {records} | {peer.content} | not measured: {result.failure} | | | | |"
    yardstick, same = ("span", "ours, span") if peer.is_span else ("prometheus", "ours")
    times = " | ".join(_microseconds(result.added(kind, "peer")) for kind in KINDS)
    ratios = " | ".join(_ratios(result, against) for against in (yardstick, same, "ours"))
    return f"| {_name(result)} | {records} | {peer.content} | {times} | {ratios} |"


def _yardsticks(results: Sequence[Result]) -> list[str]:
    """Return the rows of what is measured in every environment: medians over them."""
    rows = []
    for name, records, content, subject, yardstick in (
        ("**agentgauge `@task`, metrics only**", "metrics", "none", "ours", "prometheus"),
        ("**agentgauge `@task`, sampled span**", "span and metrics", "off", "ours, span", "span"),
        ("yardstick: prometheus_client, bound beforehand", "histogram, counter, gauge", "none", "prometheus", None),
        ("yardstick: OpenTelemetry's `start_as_current_span`", "span without attributes", "none", "span", None),
    ):
        times = " | ".join(_microseconds(_median([result.added(kind, subject) for result in results])) for kind in KINDS)
        ratios = " / ".join(_times(_median([_ratio(result, kind, subject, yardstick) for result in results])) for kind in KINDS)
        rows.append(f"| {name} | {records} | {content} | {times} | {ratios if yardstick else ''} | | |")
    return rows


def _ratio(result: Result, kind: str, subject: str, against: str | None) -> float | None:
    numerator = result.added(kind, subject)
    denominator = None if against is None else result.added(kind, against)
    return numerator / denominator if numerator is not None and denominator else None


def _ratios(result: Result, against: str) -> str:
    return " / ".join(_times(_ratio(result, kind, "peer", against)) for kind in KINDS)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _microseconds(nanoseconds: float | None) -> str:
    return "-" if nanoseconds is None else f"{nanoseconds / 1e3:.2f} µs" if nanoseconds < 9995 else f"{nanoseconds / 1e3:.0f} µs"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.0f}x" if ratio >= 9.95 else f"{ratio:.1f}x" if ratio >= 0.995 else f"{ratio:.2f}x"


def _environments(results: Sequence[Result]) -> str:
    """Say which version of the two libraries below was in which environment."""
    sentences = []
    for package in ("opentelemetry-sdk", "prometheus-client"):
        peers: dict[str, list[str]] = {}
        for result in results:
            if package in result.versions:
                beside = peers.setdefault(result.versions[package], [])
                if result.peer.package not in beside:
                    beside.append(result.peer.package)
        sentences += [f"{package} {version} beside {', '.join(names)}" for version, names in peers.items()]
    return f"{'; '.join(sentences)}." if sentences else "Nothing was installed."
