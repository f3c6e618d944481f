"""What the user states: objectives for tasks, thresholds for readings, prices of models.

Objectives and thresholds are exported as series that the shipped rules obey.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from typing import Literal, get_args

from agentgauge.errors import ConfigurationError

__all__ = ["DEFAULT_THRESHOLDS", "Objective", "Price", "Threshold"]

Operator = Literal[">", ">=", "<", "<="]
Severity = Literal["info", "warning", "critical"]


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

    The shipped rules obey limits with the operator ``>`` and the severity ``warning`` or ``critical`` on the families of
    ``DEFAULT_THRESHOLDS``; any other is there for dashboards and rules of your own.

    Attributes:
        metric: The family that the limit is about, such as ``system_memory_utilization_ratio``.
        value: The limit, in the family's own unit.
        severity: ``info``, ``warning`` or ``critical``.
        operator: How a reading that breaches the limit compares with it.

    Raises:
        ConfigurationError: The severity or the operator is unknown, or the value is not finite.
    """

    metric: str
    value: float
    severity: Severity = "warning"
    operator: Operator = ">"

    def __post_init__(self) -> None:
        if self.severity not in get_args(Severity):
            raise ConfigurationError(f"Threshold(severity={self.severity!r}): give one of {', '.join(get_args(Severity))}")
        if self.operator not in get_args(Operator):
            raise ConfigurationError(f"Threshold(operator={self.operator!r}): give one of {', '.join(get_args(Operator))}")
        if not isinstance(self.metric, str) or not _is_family_name(self.metric):
            raise ConfigurationError(f"Threshold(metric={self.metric!r}): give the name of a family, such as 'process_open_fds'")
        if not _is_number(self.value) or not abs(self.value) <= sys.float_info.max:
            raise ConfigurationError(f"Threshold(value={self.value!r}): give a finite number")


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


def _is_family_name(text: str) -> bool:
    return text.isascii() and text.replace(":", "_").isidentifier()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


DEFAULT_THRESHOLDS = (
    Threshold("system_cpu_utilization_ratio", 0.90, "warning"),
    Threshold("system_cpu_utilization_ratio", 0.97, "critical"),
    Threshold("system_memory_utilization_ratio", 0.90, "warning"),
    Threshold("system_memory_utilization_ratio", 0.96, "critical"),
    Threshold("system_filesystem_utilization_ratio", 0.85, "warning"),
    Threshold("system_filesystem_utilization_ratio", 0.95, "critical"),
)
"""The limits that ``start()`` exports unless it is given others."""
