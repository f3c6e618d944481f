"""Analytics of one component that agents stand on: how its operations go, what it uses, what errors it has."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, SupportsFloat

from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.figures import mean
from agentgauge.errors import report_internal_error
from agentgauge.fork_gate import ForkGate
from agentgauge.recording.score import Score, failure_budget, score
from agentgauge.requirements import require_count, require_name

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from agentgauge.analytics.moments import Moment, Window

__all__ = ["InfrastructureAnalytics"]

OTHER = "other"

_FEW_MINUTES = timedelta(minutes=15)
_NAMING = ForkGate()
_NAME_LENGTH = 150
_KINDS = ("operation", "error")
_PERCENTAGES = ("cpu_percent", "memory_percent", "disk_percent")
_FULL_PERCENT = 100.0
_HIGH_PERCENT, _POINTS_HIGH = 80.0, 15.0
_CRITICAL_PERCENT, _POINTS_CRITICAL = 95.0, 40.0
_POINTS_AN_ERROR, _MOST_POINTS_FOR_ERRORS = 10.0, 30.0


class InfrastructureAnalytics(BaseAnalytics):
    """What one component does, such as a vector store or a queue.

    Its metrics are ``operation.NAME.duration_ms``, ``operation.NAME.success`` (1 or 0), ``resource.NAME`` and ``error.TYPE`` (1
    for each). No method that records raises: what cannot be taken is counted in ``refused()``.

    Args:
        component_name: Its name.
        max_names: How many operations, and how many types of errors, have metrics of their own; those that come later share
            ``other``, so that nothing is lost of the health score.
        settings: As ``BaseAnalytics`` takes them: ``history``, ``max_metrics``, ``write_interval_seconds``, ``clock``.

    Raises:
        ConfigurationError: An argument is not what it must be.
    """

    def __init__(self, component_name: str, *, max_names: int = 100, **settings: Any) -> None:
        require_name("component_name", component_name, "vector-store")
        require_count("max_names", max_names)
        self.component_name = component_name
        self.__most_names = max_names
        self.__names: dict[str, set[str]] = {kind: set() for kind in _KINDS}
        super().__init__(component_name, **settings)

    # --- recording --------------------------------------------------------------------------------------------------------

    def record_performance_metric(
        self, operation: str, duration_ms: SupportsFloat, success: bool, *, timestamp: Moment | None = None
    ) -> None:
        """Record that an operation ended.

        Args:
            operation: Its name, one of a bounded set.
            duration_ms: How long it took, milliseconds; not negative.
            success: Whether it did what it was to do, a bool: of anything else, such as ``"no"``, nothing is recorded.
            timestamp: When it ended; now unless given.
        """

        def record() -> None:
            if not _is_bool(success):
                self._own_book().refuse("bad_value", f"success is of type {type(success).__name__}: give True or False")
                return
            duration = self.__measured("duration_ms", duration_ms)
            name = self.__bounded("operation", operation) if duration is not None else None
            if duration is not None and name is not None:
                at = self._own_book().clock() if timestamp is None else timestamp
                self.record_metric(f"operation.{name}.duration_ms", duration, at)
                self.record_metric(f"operation.{name}.success", 1.0 if success else 0.0, at)

        _contained(record)

    def record_resource_usage(
        self,
        cpu_percent: SupportsFloat | None = None,
        memory_percent: SupportsFloat | None = None,
        disk_percent: SupportsFloat | None = None,
        network_bytes_per_second: SupportsFloat | None = None,
        *,
        timestamp: Moment | None = None,
    ) -> None:
        """Record what the component uses; None says nothing of a resource.

        A percentage is of all that it may use, several cores together: 100 is everything. What counts each core for itself, as
        ``psutil.Process.cpu_percent()`` does, is to be divided by their number; more than 100 is kept as it is, and counts as 100
        in the health score.

        Args:
            cpu_percent: Processor time, percent of all that it may use; not negative.
            memory_percent: Memory, percent.
            disk_percent: Space on its disks, percent.
            network_bytes_per_second: Sent and received together, bytes a second; not negative.
            timestamp: When it was so; now unless given.
        """

        def record() -> None:
            readings = {
                "cpu_percent": cpu_percent,
                "memory_percent": memory_percent,
                "disk_percent": disk_percent,
                "network_bytes_per_second": network_bytes_per_second,
            }
            at = self._own_book().clock() if timestamp is None else timestamp
            for resource, reading in readings.items():
                number = None if reading is None else self.__measured(resource, reading)
                if number is not None:
                    self.record_metric(f"resource.{resource}", number, at)

        _contained(record)

    def record_error(
        self, error_type: str | BaseException, error_message: object = None, *, timestamp: Moment | None = None
    ) -> None:
        """Record that an error happened.

        Args:
            error_type: Its type, one of a bounded set, or the exception.
            error_message: Not kept: messages carry prompts, ids and secrets.
            timestamp: When it happened; now unless given.
        """
        del error_message

        def record() -> None:
            given = type(error_type).__name__ if isinstance(error_type, BaseException) else error_type
            if (name := self.__bounded("error", given)) is not None:
                self.record_metric(f"error.{name}", 1.0, timestamp)

        _contained(record)

    def __measured(self, what: str, given: SupportsFloat) -> float | None:
        try:
            number = math.nan if isinstance(given, bool) else float(given)
        except Exception:  # noqa: BLE001 - a conversion of the program's may raise anything, and means: no number
            number = math.nan
        if math.isfinite(number) and number >= 0:
            return number
        self._own_book().refuse("bad_value", f"{what} is no finite number from 0 on")
        return None

    def __bounded(self, kind: str, given: object) -> str | None:
        """Return the name, ``other`` where there are too many; None where it is none."""
        known = self.__names[kind]
        if given in known:
            return str(given)
        if not isinstance(given, str) or not given.strip() or not given.isprintable() or len(given) > _NAME_LENGTH:
            self._own_book().refuse("bad_name", f"the {kind}'s name is no printable text of at most {_NAME_LENGTH} characters")
            return None
        with _NAMING.lock:
            if len(known) >= self.__most_names:
                return OTHER
            known.add(str(given))
        return str(given)

    # --- health -----------------------------------------------------------------------------------------------------------

    def get_component_health_score(self, time_window: Window = _FEW_MINUTES) -> float | None:
        """Rate the component from 0 to 100; ``component_health()`` gives the reasons too.

        Returns:
            The points; None where nothing was recorded in the window, since nothing is known then.

        Raises:
            ConfigurationError: The window is none.
        """
        found = self.component_health(time_window)
        return None if found is None else found.points

    def component_health(self, time_window: Window = _FEW_MINUTES) -> Score | None:
        """Rate the component by what is taken from 100 points.

        - 2 for each percent of its operations that failed beyond the 10 % that may, at most 60, as for an agent;
        - 10 for each error beyond the failed operations, at most 30: one failure is often reported as both;
        - for each of CPU, memory and disk 15 where its mean is 80 % or more, 40 where it is 95 % or more.

        Never below 0. Neither an error, nor a failed operation with its error, nor a higher reading ever raises it, and no
        success lowers it; a failed operation alone may raise it, where it explains an error that had no cause. Durations take
        nothing: what is slow for one operation is fast for another.

        Args:
            time_window: As ``points()`` takes it, by default the last 15 minutes.

        Returns:
            The points, from 0 to 100, and the reasons; None where nothing was recorded in the window.
        """
        ended, succeeded, errors, usage = 0, 0.0, 0, {}
        for metric in self.metrics():
            values = self.points(metric, time_window).values
            if metric.startswith("operation.") and metric.endswith(".success"):
                ended, succeeded = ended + len(values), succeeded + sum(values)
            elif metric.startswith("error."):
                errors += len(values)
            elif metric.startswith("resource.") and values:
                usage[metric.removeprefix("resource.")] = mean([min(value, _FULL_PERCENT) for value in values])
        if not (ended or errors or usage):
            return None
        failed = ended - round(succeeded)
        return _rated(failed, ended, errors, usage)

    def report_facts(self, time_window: Window = None) -> dict[str, Any]:
        """Return the health, of the report's window, with its reasons."""
        found = self.component_health(time_window)
        return {
            "component": self.component_name,
            "health_score": None if found is None else found.points,
            "health_reasons": [] if found is None else list(found.reasons),
        }

    def load(self, path: str | os.PathLike[str], validate_schema: bool = True, *, pickle_key: bytes | None = None) -> None:
        """Hold what a file has, as ``BaseAnalytics.load()`` does, the names of operations and errors included."""
        super().load(path, validate_schema, pickle_key=pickle_key)
        found: dict[str, set[str]] = {kind: set() for kind in _KINDS}
        for metric in self.metrics():
            kind, _, rest = metric.partition(".")
            if kind in found:
                found[kind].add(rest.removesuffix(".duration_ms").removesuffix(".success") if kind == "operation" else rest)
        for names in found.values():
            names.discard(OTHER)  # it takes nobody's place
        self.__names = found


def _rated(failed: int, ended: int, errors: int, usage: dict[str, float]) -> Score:
    rated = score(failed=failed, judged=ended, failure_budget_ratio=failure_budget(None), stuck=0)
    points, reasons = rated.points, list(rated.reasons)
    if (unexplained := max(0, errors - failed)) > 0:
        off = min(_POINTS_AN_ERROR * unexplained, _MOST_POINTS_FOR_ERRORS)
        points -= off
        reasons.append(
            f"{unexplained} {'error' if unexplained == 1 else 'errors'} beside failed operations: {off:.1f} points off"
        )
    for resource in _PERCENTAGES:
        used = usage.get(resource, 0.0)
        if used >= _HIGH_PERCENT:
            off = _POINTS_CRITICAL if used >= _CRITICAL_PERCENT else _POINTS_HIGH
            points -= off
            reasons.append(f"{resource} is {used:.1f} on average: {off:.1f} points off")
    return Score(round(max(0.0, points), 1), tuple(reasons))


def _is_bool(given: object) -> bool:
    """Tell whether it is a bool, Python's own or one that a comparison in numpy returned."""
    return isinstance(given, bool) or (type(given).__module__ == "numpy" and type(given).__name__ in {"bool", "bool_"})


def _contained(record: Callable[[], None]) -> None:
    try:
        record()
    except Exception as error:  # noqa: BLE001 - a metric costs no component its work
        report_internal_error("analytics", error)
