"""What the recorder's collector hands to its readers: families whose points are ready to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["Exemplar", "HistogramPoint", "Labels", "Point", "clean_label", "label_text"]

Labels = tuple[tuple[str, str], ...]

_LABEL_LENGTH = 200


class Exemplar(NamedTuple):
    """One measured call of a histogram bucket, linked to its span (OpenMetrics 1.0, exemplars)."""

    trace_id: int
    span_id: int
    value: float
    timestamp: float


class Point(NamedTuple):
    """One series of a counter, gauge, info or state set."""

    label_text: str
    labels: Labels
    value: float


class HistogramPoint(NamedTuple):
    """One child of a histogram: ``counts`` a bucket, not cumulative, ``+Inf`` last; exemplars by bucket index."""

    label_text: str
    labels: Labels
    counts: Sequence[int]
    sum: float
    exemplars: Mapping[int, Exemplar]


def label_text(labels: Labels) -> str:
    r"""Render labels as both text formats spell them between braces, escaped: ``a="x",b="say \"hi\""``."""
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in labels if value])  # an empty value means an absent label


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def clean_label(value: object) -> str:
    """Make any value fit for a label: text that UTF-8 can encode, at most 200 characters."""
    text = str(value)[:_LABEL_LENGTH]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()  # no second copy of nearly every name
