"""Analytics that an agent carries with it: what it records of itself, read back, reported, saved and loaded."""

from __future__ import annotations

import logging
import time
from array import array
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, overload

from agentgauge.analytics.base_plot import plot
from agentgauge.analytics.base_report import FORMATS, as_mapping, as_text, checked_facts, gather
from agentgauge.analytics.book import MOST_METRICS, Book, PointWriter
from agentgauge.analytics.figures import Statistics, summarize
from agentgauge.analytics.formats import FormatType, Saved, load_file, save_file
from agentgauge.analytics.moments import Moment, Window, period_seconds, unix_seconds, window_seconds
from agentgauge.analytics.points import Points, Retention
from agentgauge.errors import ConfigurationError, report_internal_error
from agentgauge.fork_gate import ForkGate
from agentgauge.requirements import require_clock, require_count, require_name, require_seconds

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["BaseAnalytics"]

_HOOK = "analytics"
_SHORT_SECONDS = 60.0

_logger = logging.getLogger("agentgauge")
_BEGINNING = ForkGate()


class BaseAnalytics:
    """What agents subclass to keep numbers about themselves, in memory and, where one is given, in a history.

    Thread-safe, and a subclass need not call ``super().__init__()``: it has the defaults then. Of each metric the newest 10,000
    points are kept unless ``set_retention_policy()`` says otherwise. A copy by ``deepcopy`` or ``pickle`` has the points and
    records for itself.

    Args:
        name: Whose numbers they are; by default the name of the class. In the history it is the label ``analytics``.
        history: Where points go too; unless given, the history of the program (``start(history_file=...)``) while it keeps one,
            with each of its sweeps and a last time at its end. What ``flush()`` returned from is on the disk; what an object that
            is given up had not written by then is lost.
        max_metrics: How many names it takes; points of more are refused and counted.
        write_interval_seconds: Between two writes to a ``history`` that is given; it is written at the program's exit, too.
        clock: The time, Unix time in seconds.

    Raises:
        ConfigurationError: An argument is not what it must be; the message names it and the fix.
    """

    __book: Book  # with no default: CPython reads an attribute faster that its class has not

    def __init__(
        self,
        name: str | None = None,
        *args: Any,
        history: PointWriter | None = None,
        max_metrics: int = MOST_METRICS,
        write_interval_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
        **kwargs: Any,
    ) -> None:
        if name is not None:
            require_name("name", name, "researcher")
        require_count("max_metrics", max_metrics)
        require_seconds("write_interval_seconds", write_interval_seconds, "5")
        require_clock("clock", clock)
        if history is not None and not callable(getattr(history, "write_points", None)):
            raise ConfigurationError(f"history={history!r}: give a History, or leave it out")
        self.__begin(
            Book(
                labels=(("analytics", name or type(self).__name__),),
                history=history,
                clock=clock,
                most_metrics=max_metrics,
                write_interval_seconds=write_interval_seconds,
            )
        )
        super().__init__(*args, **kwargs)

    def __begin(self, book: Book) -> Book:
        object.__setattr__(self, "_BaseAnalytics__book", book)  # a subclass may be frozen
        return book

    def _own_book(self) -> Book:
        try:
            return self.__book
        except AttributeError:  # a subclass did not call super().__init__()
            pass
        with _BEGINNING.lock:
            try:
                return self.__book
            except AttributeError:
                return self.__begin(Book(labels=(("analytics", type(self).__name__),)))

    # --- recording --------------------------------------------------------------------------------------------------------

    def record_metric(self, metric: str, value: SupportsFloat, timestamp: Moment | None = None) -> None:
        """Record a value; never raises.

        It takes amortised constant time where times come in order; where they do not, also the logarithm of how many points are
        kept, since they are sorted now and then.

        What cannot be taken is counted (``refused()``) and logged once a minute at most: a value that is no number, a boolean,
        NaN or infinite, or an integer beyond what a float holds; a datetime without a time zone; a time that is none of the
        years 1 to 9999, such as one in milliseconds; one name too many. Any order will do; all points of one time are kept.

        Args:
            metric: Its name, one of a bounded set.
            value: A finite number; kept as a float.
            timestamp: When it was so: a datetime with a time zone, or Unix time in seconds; now unless given. One to come is the
                newest until time has gone past it.
        """
        try:
            book = self.__book
            if timestamp is None:
                timestamp = book.clock()
            if timestamp.__class__ is float and value.__class__ is float:
                tail = book.tails[metric]
                tail += (timestamp, value)  # whole, whatever other threads do
                if len(tail) >= book.full_tail:
                    book.relieve(metric)
                return
        except (AttributeError, KeyError, TypeError):
            pass  # the first point of all, or of this metric, or a name that is none
        except Exception as error:  # noqa: BLE001 - a metric costs no agent its work
            report_internal_error(_HOOK, error)
            return
        self.__record(metric, value, timestamp)

    def __record(self, metric: str, value: object, timestamp: object) -> None:
        try:
            book = self._own_book()
            at = _time(book, book.clock() if timestamp is None else timestamp)
            number = _number(book, value)
            tail = None if at is None or number is None else book.open(metric)
            if tail is not None:
                tail += (at, number)  # type: ignore[arg-type]  # both are floats
                if len(tail) >= book.full_tail:
                    book.relieve(str(metric))
        except Exception as error:  # noqa: BLE001 - a metric costs no agent its work
            report_internal_error(_HOOK, error)

    def set_retention_policy(self, retention_period: timedelta | float | None = None, max_data_points: int | None = None) -> None:
        """Keep what is not too old and not too much, from now on; what is not kept is gone at once, a history's copy apart.

        Args:
            retention_period: What is older than this by the clock goes: a timedelta, or a number of seconds, so that seven days
                are ``timedelta(days=7)`` and ``7`` is seven seconds; a number under a minute is logged. None keeps any age.
            max_data_points: Of each metric the newest by their times stay; None keeps any number, the 10,000 of before included.

        Raises:
            ConfigurationError: Either is not above 0.
        """
        period = None if retention_period is None else period_seconds("retention_period", retention_period)
        if period is not None and period < _SHORT_SECONDS and not isinstance(retention_period, timedelta):
            _logger.warning("retention_period=%r is in seconds: did you mean timedelta(days=%g)?", retention_period, period)
        if max_data_points is not None:
            require_count("max_data_points", max_data_points)
        self._own_book().set_retention(Retention(period, max_data_points))

    def flush(self) -> int:
        """Write to the history what it has not got; everything that was recorded before is on the disk when this returns.

        Returns:
            How many points it took; 0 without a history.

        Raises:
            HistoryError: Some were not taken; they wait for the next time.
        """
        return self._own_book().write()

    # --- reading back -----------------------------------------------------------------------------------------------------

    def metrics(self) -> list[str]:
        """Return the names of what was recorded, in the order in which they came."""
        return self._own_book().metrics()

    def refused(self) -> dict[str, int]:
        """Return how many points were not taken, by reason."""
        return self._own_book().refused()

    def points(self, metric: str, time_window: Window = None) -> Points:
        """Return the points of a metric, the earliest first; none where it was never recorded.

        Args:
            metric: Its name.
            time_window: The last while (timedelta or seconds), or from one time on and before another; None for all.

        Raises:
            ConfigurationError: The name is no text, or the window is none.
        """
        if not isinstance(metric, str):
            raise ConfigurationError(f"metric={metric!r}: give the name of a metric, one of metrics()")
        book = self._own_book()
        since, until = window_seconds(time_window, book.now)
        found = book.points(metric) or Points(metric, *_no_points())
        return found.between(since, until)

    def statistics(self, metric: str, time_window: Window = None) -> Statistics | None:
        """Return what the points of a metric come to; None where there are none."""
        return summarize(BaseAnalytics.points(self, metric, time_window))  # a subclass may have points of its own

    # --- reports ----------------------------------------------------------------------------------------------------------

    @overload
    def generate_analytics_report(
        self, report_format: Literal["json"] = "json", include_trends: bool = True, time_window: Window = None
    ) -> dict[str, Any]: ...

    @overload
    def generate_analytics_report(
        self, report_format: Literal["summary", "detailed"], include_trends: bool = True, time_window: Window = None
    ) -> str: ...

    def generate_analytics_report(
        self,
        report_format: Literal["json", "summary", "detailed"] = "json",
        include_trends: bool = True,
        time_window: Window = None,
    ) -> dict[str, Any] | str:
        """Tell what was recorded.

        Args:
            report_format: ``json`` gives a mapping that ``json.dumps(..., allow_nan=False)`` takes, ``summary`` a text of a line
                for each metric, ``detailed`` one with everything.
            include_trends: Say of each metric whether it rises or falls; without the extra ``analysis`` it says what to install.
            time_window: Of which points, as ``points()`` takes it.

        Raises:
            ConfigurationError: The format or the window is none, or ``report_facts()`` of a subclass returned what it must not.
        """
        if report_format not in FORMATS:
            raise ConfigurationError(f"report_format={report_format!r}: give 'json', 'summary' or 'detailed'")
        book = self._own_book()
        since, until = window_seconds(time_window, book.now)
        facts = checked_facts(self.report_facts(time_window), type(self).__name__)
        gathered = gather(book, since, until, include_trends=bool(include_trends), facts=facts)
        return as_mapping(gathered) if report_format == "json" else as_text(gathered, is_detailed=report_format == "detailed")

    def report_facts(self, time_window: Window = None) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return what else every report tells: nothing, unless a subclass overrides this.

        ``generate_analytics_report()`` calls it once, with the report's own ``time_window``. ``json`` has each fact as a field
        beside its own, a text has a line for each.

        Args:
            time_window: That of the report, for ``self.points(metric, time_window)`` and its kin.

        Returns:
            Facts by their names, which are none of the report's own fields; ``json.dumps(..., allow_nan=False)`` takes them.
        """
        return {}

    def generate_metric_plot(self, metric: str, time_window: Window = None) -> Any:
        """Draw a metric over time.

        Returns:
            A ``plotly.graph_objects.Figure``: notebooks show it, ``.show()`` opens it, ``.write_html("metric.html")`` writes a
            page that opens offline.

        Raises:
            ConfigurationError: plotly is not installed (the message says what to type), or the window is none.
        """
        return plot(BaseAnalytics.points(self, metric, time_window), dict(self._own_book().labels)["analytics"])

    # --- files ------------------------------------------------------------------------------------------------------------

    def save(
        self,
        path: str | os.PathLike[str],
        format_type: FormatType = "auto",
        compress: bool = False,
        create_backup: bool = True,
        *,
        pickle_key: bytes | None = None,
    ) -> Path:
        """Write everything to a file, which is there whole or not at all, and on the disk when this returns.

        Args:
            path: Where to; a link stays, permissions too.
            format_type: ``auto`` goes by the path's ending (``.json``, ``.db``, ``.sqlite``, ``.sqlite3``, ``.pickle``, ``.pkl``,
                each maybe with ``.gz``) and is JSON where that tells nothing; one that means another format, such as ``.csv``, is
                refused.
            compress: Write gzip; so does a path that ends in ``.gz``.
            create_backup: Keep the file that was there, with ``.bak`` appended to its name.
            pickle_key: For ``pickle`` alone: at least 16 secret bytes, by which the file is signed.

        Returns:
            The path.

        Raises:
            ConfigurationError: An argument is not what it must be.
            HistoryError: It cannot be written; what was there is unchanged.
        """
        book = self._own_book()
        held = {points.metric: (points.times, points.values) for points in book.all_points()}
        saved = Saved(dict(book.labels)["analytics"], book.now(), book.retention, held)
        return save_file(
            path, saved, format_type, compress=bool(compress), keeps_previous=bool(create_backup), pickle_key=pickle_key
        )

    def load(self, path: str | os.PathLike[str], validate_schema: bool = True, *, pickle_key: bytes | None = None) -> None:
        """Hold what a file has, points and retention, in the place of what was recorded; where this raises, nothing changes.

        What it is, JSON, SQLite or pickle, compressed or not, is told by its content. A history does not get these points again.

        Args:
            path: Where from.
            validate_schema: Refuse a file in which anything is amiss, more than ``max_metrics`` names included, and name the
                field; else what is amiss is left out and counted (``refused()``), as long as the file can be read at all.
            pickle_key: That with which a pickle was saved; without it, or with another, it is not opened.

        Raises:
            ConfigurationError: An argument is not what it must be, or the file is a pickle and there is no key.
            HistoryError: It cannot be read, or is not what ``save()`` writes.
        """
        book = self._own_book()
        saved, left_out = load_file(path, is_strict=bool(validate_schema), most_metrics=book.most_metrics, pickle_key=pickle_key)
        book.replace(saved.points, saved.retention)
        if left_out:
            book.refuse("bad_file", "parts of a file were left out, since they were amiss", left_out)


def _no_points() -> tuple[Any, Any]:
    return array("d"), array("d")


def _time(book: Book, timestamp: object) -> float | None:
    try:
        return unix_seconds("timestamp", timestamp)
    except ConfigurationError as error:
        book.refuse("bad_time", str(error))
        return None


def _number(book: Book, value: object) -> float | None:
    if isinstance(value, SupportsFloat) and not isinstance(value, bool):
        try:
            return float(value)
        except Exception:  # noqa: BLE001 - a conversion of the program's may raise anything, and means: no number
            book.refuse("bad_value", "a value cannot be made a float")
            return None
    book.refuse("bad_value", f"a value of type {type(value).__name__} is no number")
    return None
