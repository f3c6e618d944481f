"""What the user states: objectives for tasks, thresholds for readings, budgets, prices of models.

Objectives, thresholds and budgets are exported as series that the shipped rules obey.
"""

from __future__ import annotations

import math
import operator
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Literal, TypeVar, get_args

from agentgauge.errors import ConfigurationError

__all__ = ["DEFAULT_THRESHOLDS", "Budget", "Objective", "Operator", "Period", "Price", "Severity", "Threshold", "require_list"]

Operator = Literal[">", ">=", "<", "<="]
Severity = Literal["info", "warning", "critical"]
Period = Literal["day", "month"]
_T = TypeVar("_T")

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_UTILIZATION = re.compile(r"(?:system|container|hw)_\w+_utilization_ratio")  # that of a process may exceed 1: it has many cores
_OURS = re.compile(r"(?:agent|agentgauge|gen_ai|system|container|hw|process|python)_")
_UNITS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "%": ("ratio", 0.01),
        "percent": ("ratio", 0.01),
        "us": ("seconds", 1e-6),
        "ms": ("seconds", 1e-3),
        "s": ("seconds", 1.0),
        "min": ("seconds", 60.0),
        "h": ("seconds", 3600.0),
        "d": ("seconds", 86400.0),
        "B": ("bytes", 1.0),
        **{f"{prefix}B": ("bytes", 1000.0**power) for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
        "KB": ("bytes", 1000.0),
        **{f"{prefix}iB": ("bytes", 1024.0**power) for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
        "°C": ("celsius", 1.0),
        "W": ("watts", 1.0),
        "kW": ("watts", 1000.0),
        **{name: (name, 1.0) for name in ("ratio", "seconds", "bytes", "celsius", "watts")},
    }
)
_BASE_UNITS = frozenset(base for base, _ in _UNITS.values())


@dataclass(frozen=True, slots=True)
class Objective:
    """A service level objective of one task (Google SRE Workbook, chapter 2).

    Attributes:
        success_ratio: The share of calls that must not end in error or timeout, between 0 and 1, both excluded.
            Cancelled and abandoned calls count in neither part.
        latency_seconds: The duration that at most 5 % of the successful calls may exceed, in seconds.

    Raises:
        ConfigurationError: A value is outside its range, or neither is given.
    """

    success_ratio: float | None = None
    latency_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.success_ratio is None and self.latency_seconds is None:
            raise ConfigurationError("Objective() promises nothing: give success_ratio, latency_seconds or both")
        if self.success_ratio is not None and not (_is_number(self.success_ratio) and 0 < self.success_ratio < 1):
            raise ConfigurationError(
                f"Objective(success_ratio={self.success_ratio!r}): give a ratio between 0 and 1, both excluded, such as 0.99"
            )
        if self.latency_seconds is not None and not (_is_number(self.latency_seconds) and 0 < self.latency_seconds < math.inf):
            raise ConfigurationError(
                f"Objective(latency_seconds={self.latency_seconds!r}): give a positive, finite number of seconds, such as 5"
            )


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit on a reading, exported as ``agentgauge_threshold{metric,severity,operator}``.

    The shipped rules obey limits with the operator ``>`` on these metrics, and on no others:

    - severity ``warning`` and ``critical``, of each instance: ``system_cpu_utilization_ratio``,
      ``system_memory_utilization_ratio``, ``system_filesystem_utilization_ratio``,
      ``system_filesystem_inodes_utilization_ratio``, ``container_memory_utilization_ratio``, ``hw_temperature_celsius``,
      ``process_open_fds``, ``python_event_loop_stall_seconds``;
    - ``warning``, of each instance: ``container_cpu_utilization_ratio``, ``hw_gpu_utilization_ratio``,
      ``hw_gpu_memory_utilization_ratio``;
    - ``warning``, the greatest of a job: ``agent_queue_depth``, ``gen_ai_invoke_agent_inference_calls``,
      ``gen_ai_execute_tool_duration_seconds``, ``gen_ai_client_operation_time_to_first_chunk_seconds``,
      ``agentgauge_scrape_duration_seconds``.

    Any other limit is for ``SystemMetricsManager``, which obeys every one, and for rules of your own; ``start()`` says so in the
    log where it is on one of these metrics, and refuses one on a misspelling of them. The manager alone looks
    at ``labels``, ``per_second``, ``hold_seconds``, ``hysteresis`` and ``minimum_samples``.

    ``start(thresholds=...)`` takes all limits that there are: ``(*DEFAULT_THRESHOLDS, Threshold(...))`` adds one to those that
    hold unless others are given.

    Attributes:
        metric: The series that the limit is about, by its name in Prometheus text, such as ``system_memory_utilization_ratio``.
        value: The limit, in ``unit``.
        severity: ``info``, ``warning`` or ``critical``.
        operator: How a reading that breaches the limit compares with it.
        unit: The unit of ``value`` and ``hysteresis``. Where the metric's name ends in a base unit (``_bytes``, ``_seconds``,
            ``_ratio``, ``_celsius``, ``_watts``), ``"GiB"``, ``"ms"``, ``"%"`` and their like are converted to that unit, and
            one that cannot be is refused. On any other metric it is for display. Empty for the metric's own.
        labels: Which series of the metric: a text that the label must equal, or a compiled pattern that it must match whole,
            by label name; a label that a series does not have is an empty text. All series unless given.
        per_second: Compare by how much the reading grows a second, for counters.
        hold_seconds: For how long a reading must breach the limit, without a break, before that is an alert.
        hysteresis: How far a reading must come back past the limit before the alert ends, in ``unit``; one that no reading can
            come back by, such as below 0 bytes, is refused.
        minimum_samples: How many readings in a row must breach the limit before that is an alert.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    metric: str
    value: float
    severity: Severity = "warning"
    operator: Operator = ">"
    unit: str = field(default="", kw_only=True)
    labels: Mapping[str, str | re.Pattern[str]] = field(default_factory=dict, hash=False, kw_only=True)
    per_second: bool = field(default=False, kw_only=True)
    hold_seconds: float = field(default=0.0, kw_only=True)
    hysteresis: float = field(default=0.0, kw_only=True)
    minimum_samples: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        if self.severity not in get_args(Severity):
            raise ConfigurationError(f"Threshold(severity={self.severity!r}): give one of {', '.join(get_args(Severity))}")
        if self.operator not in get_args(Operator):
            raise ConfigurationError(f"Threshold(operator={self.operator!r}): give one of {', '.join(get_args(Operator))}")
        if not isinstance(self.metric, str) or not _is_family_name(self.metric):
            raise ConfigurationError(f"Threshold(metric={self.metric!r}): give the name of a family, such as 'process_open_fds'")
        if not _is_number(self.value) or not abs(self.value) <= sys.float_info.max:
            raise ConfigurationError(f"Threshold(value={self.value!r}): give a finite number")
        self._check_unit()
        self._check_labels()
        self._check_patience()

    def _check_unit(self) -> None:
        if not isinstance(self.unit, str) or not self.unit.isprintable():
            raise ConfigurationError(f"Threshold(unit={self.unit!r}): give a text such as 'GiB', 'ms' or '%'")
        base, known = _base_unit(self.metric), _UNITS.get(self.unit)
        if base and self.unit and (known is None or known[0] != base):
            fitting = ", ".join(repr(unit) for unit, (of, _) in _UNITS.items() if of == base)
            raise ConfigurationError(f"Threshold(unit={self.unit!r}): {self.metric} is in {base}; give one of {fitting}")
        if not self.per_second and self.limit > 1 and _UTILIZATION.fullmatch(self.metric):
            raise ConfigurationError(
                f"Threshold(value={self.value!r}): {self.metric} is between 0 and 1; give a share such as 0.9, or unit='%'"
            )

    def _check_labels(self) -> None:
        if not isinstance(self.labels, Mapping):
            raise ConfigurationError(f"Threshold(labels={self.labels!r}): give a dict such as {_LABELS}")
        for name, matcher in self.labels.items():
            if not isinstance(name, str) or not _LABEL_NAME.fullmatch(name):
                raise ConfigurationError(f"Threshold(labels): {name!r} is no label's name; give a dict such as {_LABELS}")
            if not isinstance(matcher, str) and not (isinstance(matcher, re.Pattern) and isinstance(matcher.pattern, str)):
                raise ConfigurationError(
                    f"Threshold(labels): {name!r}: {matcher!r} is neither a text nor re.compile('a pattern')"
                )
        object.__setattr__(self, "labels", dict(self.labels))  # the caller's own may change

    def _check_patience(self) -> None:
        if not isinstance(self.per_second, bool):
            raise ConfigurationError(f"Threshold(per_second={self.per_second!r}): give True or False")
        for name, example in (("hold_seconds", "300"), ("hysteresis", "0.05")):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value <= sys.float_info.max:
                raise ConfigurationError(f"Threshold({name}={value!r}): give 0 or a positive, finite number, such as {example}")
        count = self.minimum_samples
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ConfigurationError(f"Threshold(minimum_samples={count!r}): give a whole number from 1 on, such as 3")
        self._check_end()

    def _check_end(self) -> None:
        """Refuse a hysteresis that no reading of the metric can come back by: the alert would never end."""
        is_share = not self.per_second and _UTILIZATION.fullmatch(self.metric) is not None
        if self.operator.startswith("<"):
            bound, side = 1.0 if is_share else math.inf, "above"
        else:  # who sets a limit below 0 knows that readings are
            starts_at_0 = self.limit >= 0 and (self.per_second or _is_never_negative(self.metric))
            bound, side = 0.0 if is_share or starts_at_0 else -math.inf, "below"
        if self.hysteresis and _COMPARISONS[self.operator](bound, self._end):
            raise ConfigurationError(
                f"Threshold(hysteresis={self.hysteresis!r}): the alert would end at {self.shown(self._end):g}, and {self.metric} "
                f"is never {side} {bound:g}; give a smaller one, such as {self.shown(abs(self.limit - bound)) / 10:g}"
            )

    @property
    def limit(self) -> float:
        """The limit in the metric's own unit, as it is exported."""
        return self.value * self._factor

    def shown(self, reading: float) -> float:
        """Convert a reading from the metric's own unit to ``unit``."""
        return reading / self._factor

    @property
    def _factor(self) -> float:
        base, known = _base_unit(self.metric), _UNITS.get(self.unit)
        return known[1] if base and known else 1.0

    @property
    def is_exact(self) -> bool:
        """Whether metric, severity and operator say all there is to say about which readings are compared with the limit."""
        return not self.labels and not self.per_second

    def is_breached_by(self, reading: float) -> bool:
        """Tell whether a reading, in the metric's own unit, is past the limit."""
        return _COMPARISONS[self.operator](reading, self.limit)

    def is_still_breached_by(self, reading: float) -> bool:
        """Tell whether a reading is past the limit or has not come back by the hysteresis."""
        return _COMPARISONS[self.operator](reading, self._end)

    @property
    def _end(self) -> float:
        """What a reading must come back to before an alert ends, in the metric's own unit."""
        distance = self.hysteresis * self._factor
        return self.limit + (distance if self.operator.startswith("<") else -distance)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a series of the metric with these labels is one that the limit is about."""
        for name, matcher in self.labels.items():
            text = labels.get(name, "")
            if text != matcher if isinstance(matcher, str) else matcher.fullmatch(text) is None:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Budget:
    """What LM calls may cost in a period, exported as ``agent_budget_usd{gen_ai_agent_name,period}``.

    The shipped rules compare it with what all programs under one job of Prometheus spend together, and where several of them
    export the same budget, the greatest holds: replicas share one. Programs with budgets of their own need jobs of their own.

    Attributes:
        usd: US dollars.
        period: ``day`` or ``month``, in UTC.
        agent: The agent whose own LM calls it is about; None for all of the program's.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    usd: float
    period: Period = "day"
    agent: str | None = None

    def __post_init__(self) -> None:
        if not _is_number(self.usd) or not 0 < self.usd <= sys.float_info.max:
            raise ConfigurationError(f"Budget(usd={self.usd!r}): give a positive, finite number of US dollars, such as 20")
        if self.period not in get_args(Period):
            raise ConfigurationError(f"Budget(period={self.period!r}): give one of {', '.join(get_args(Period))}")
        if self.agent is not None and (not isinstance(self.agent, str) or not self.agent.strip()):
            raise ConfigurationError(f"Budget(agent={self.agent!r}): give the name of an agent, or leave it out for all of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a million tokens of one model cost, in US dollars.

    Attributes:
        input_usd_per_million: Tokens of the prompt.
        output_usd_per_million: Tokens of the answer, those of its reasoning included.
        cache_read_usd_per_million: Tokens of the prompt that came from the provider's cache; as all input unless given.
        cache_write_usd_per_million: Tokens of the prompt that were written to it; as all input unless given.

    Raises:
        ConfigurationError: A price is no number, negative or infinite.
    """

    input_usd_per_million: float
    output_usd_per_million: float
    cache_read_usd_per_million: float | None = None
    cache_write_usd_per_million: float | None = None

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if value is None and part.default is None:
                continue
            if not _is_number(value) or not 0 <= value <= sys.float_info.max:
                raise ConfigurationError(f"Price({part.name}={value!r}): give US dollars for a million tokens, such as 2.5")


def require_list(setting: str, values: object, kind: type[_T], example: str) -> tuple[_T, ...]:
    """Return what a setting lists, checked.

    Args:
        setting: The name of the setting, for messages.
        values: What it was given.
        kind: What each of them must be.
        example: One of them, as code.

    Raises:
        ConfigurationError: It is no list of those.
    """
    if not isinstance(values, Iterable):
        raise ConfigurationError(f"{setting}={values!r}: give a list, such as [{example}]")
    checked = tuple(values)
    for value in checked:
        if not isinstance(value, kind):
            raise ConfigurationError(f"{setting}: {value!r} is no {kind.__name__}; write {example}")
    return checked


def _base_unit(metric: str) -> str:
    """Return the base unit that a metric's name ends in, or an empty text."""
    ending = metric.removesuffix("_total").removesuffix("_sum").rpartition("_")[2]
    return ending if ending in _BASE_UNITS else ""


def _is_never_negative(metric: str) -> bool:
    """Tell by a metric's name whether its readings start at 0: counts, amounts, shares, and all of ours but temperatures."""
    unit = _base_unit(metric)
    return unit != "celsius" and bool(unit or metric.endswith(("_total", "_count")) or _OURS.match(metric))


def _is_family_name(text: str) -> bool:
    return text.isascii() and text.replace(":", "_").isidentifier()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_LABELS = "{'system_filesystem_mountpoint': '/'}"

DEFAULT_THRESHOLDS = (
    Threshold("system_cpu_utilization_ratio", 0.90, "warning", hold_seconds=300, hysteresis=0.05, minimum_samples=3),
    Threshold("system_cpu_utilization_ratio", 0.97, "critical", hold_seconds=300, hysteresis=0.02, minimum_samples=3),
    Threshold("system_memory_utilization_ratio", 0.90, "warning", hold_seconds=300, hysteresis=0.02, minimum_samples=3),
    Threshold("system_memory_utilization_ratio", 0.96, "critical", hold_seconds=120, hysteresis=0.01, minimum_samples=3),
    Threshold("system_filesystem_utilization_ratio", 0.85, "warning", hold_seconds=300, hysteresis=0.01, minimum_samples=3),
    Threshold("system_filesystem_utilization_ratio", 0.95, "critical", hold_seconds=120, hysteresis=0.01, minimum_samples=3),
)
"""The limits that ``start()`` exports and ``SystemMetricsManager`` watches unless they are given others."""
