"""What came of earlier attempts, kept from one start of the program to the next."""

from __future__ import annotations

import glob
import json
import logging
import os
import tempfile
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agentgauge.errors import ConfigurationError
from agentgauge.recovery.failure import Signature

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["OutcomeBook", "Record", "Trial"]

_logger = logging.getLogger("agentgauge")

_VERSION = 1
_MOST_TRIALS = 50  # of one action against one signature: older ones tell of a world that has changed since
_MOST_SIGNATURES = 1_000
_MOST_ACTS = 10_000  # of one recovery: more than any budget that is worth the name
_LEFT_SECONDS = 3600
_LARGEST_FILE = 64 * 1024 * 1024


class Trial(NamedTuple):
    """One attempt: whether it recovered the component, and how long that, or finding that it did not, took."""

    has_recovered: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Record:
    """How an action did.

    Attributes:
        recovered: How often it recovered the component.
        tried: How often it was tried.
        seconds: How long all those took together.
    """

    recovered: int = 0
    tried: int = 0
    seconds: float = 0.0

    @property
    def mean_seconds(self) -> float:
        """How long one took on average; 0 where there was none."""
        return self.seconds / self.tried if self.tried else 0.0


class OutcomeBook:
    """The last 50 outcomes of each action against each signature of failures, of the last 1,000 signatures.

    And when each recovery acted, so that a program that is started anew has not its whole budget again.

    A sliding window, since the world changes: A. Garivier and E. Moulines, "On upper-confidence bound policies for switching
    bandit problems", 2011.

    Args:
        path: A file to load them from, and to save them to; None to keep them in memory only. A file that is no such book, or a
            damaged one, is set aside under a name that ends with ``.corrupt``, and the book starts empty.

    Raises:
        ConfigurationError: The file cannot be read, or its folder is not there.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        if path is not None and not isinstance(path, str | os.PathLike):
            raise ConfigurationError(f"outcomes={path!r}: give the path of a file, an OutcomeBook, or leave it out")
        self.path = None if path is None else Path(path)
        self._trials: OrderedDict[Signature, dict[str, list[Trial]]] = OrderedDict()
        self._acts: dict[str, list[float]] = {}
        self.renew()
        if self.path is not None:
            self._load(self.path)

    def renew(self) -> None:
        """Get new locks, as a forked child must."""
        self._changing = threading.Lock()
        self._saving = threading.Lock()

    def add(self, signature: Signature, action: str, trial: Trial) -> None:
        """Take an outcome in."""
        with self._changing:
            trials = self._trials.setdefault(signature, {}).setdefault(action, [])
            trials.append(trial)
            del trials[:-_MOST_TRIALS]
            self._trials.move_to_end(signature)
            while len(self._trials) > _MOST_SIGNATURES:
                self._trials.popitem(last=False)

    def take_back(self, signature: Signature, action: str) -> None:
        """Note that the last recovery by ``action`` did not last: it counts as an attempt that did not help."""
        with self._changing:
            trials = self._trials.get(signature, {}).get(action, [])
            for index in range(len(trials) - 1, -1, -1):
                if trials[index].has_recovered:
                    trials[index] = trials[index]._replace(has_recovered=False)
                    return

    def note_act(self, recovery: str, at: float, since: float) -> None:
        """Take in that a recovery acts.

        Args:
            recovery: Its name for good, from one start of the program to the next.
            at: When, in Unix time.
            since: What came before need not be kept.
        """
        with self._changing:
            acts = self._acts.setdefault(recovery, [])
            acts[:] = [*(each for each in acts if each > since), at][-_MOST_ACTS:]

    def acts(self, recovery: str) -> tuple[float, ...]:
        """Return when a recovery acted, in Unix time."""
        with self._changing:
            return tuple(self._acts.get(recovery, ()))

    def record(self, signature: Signature, action: str) -> Record:
        """Return how an action did against failures of one signature."""
        with self._changing:
            return _sum(self._trials.get(signature, {}).get(action, ()))

    def record_elsewhere(self, signature: Signature, action: str, *, same_condition: bool) -> Record:
        """Return how it did against the component's failures of other signatures.

        Args:
            signature: The signature that is left out.
            action: The action's name.
            same_condition: Those of the same condition, with another type of error; else all those of other conditions.
        """
        with self._changing:
            return _sum(
                trial
                for other, by_action in self._trials.items()
                if other.component == signature.component
                and other != signature
                and (other.condition == signature.condition) is same_condition
                for trial in by_action.get(action, ())
            )

    def save(self) -> None:
        """Write the book to its file, whole or not at all; nothing to do where it has none.

        Raises:
            OSError: It cannot be written.
        """
        if self.path is None:
            return
        with self._saving:
            with self._changing:
                rows = [
                    {"signature": list(signature), "actions": {name: list(map(list, trials)) for name, trials in named.items()}}
                    for signature, named in self._trials.items()
                ]
                acts = {recovery: list(times) for recovery, times in self._acts.items()}
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"version": _VERSION, "outcomes": rows, "acts": acts}, file, separators=(",", ":"))
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self.path)
            except BaseException:
                with suppress(OSError):
                    Path(name).unlink()
                raise

    def _load(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise ConfigurationError(f"outcomes={str(path)!r}: there is no folder {str(path.parent)!r}; make it first")
        _sweep(path)
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise ValueError("it is too large")  # noqa: TRY301 - set aside like any other that is no book
            document = json.loads(path.read_bytes())
            found, acts = _parse(document), _parse_acts(document.get("acts", {}))
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigurationError(f"outcomes={str(path)!r}: cannot read it ({error.strerror})") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            aside = path.with_name(path.name + ".corrupt")
            with suppress(OSError):
                path.replace(aside)
            _logger.warning("%s is no book of outcomes (%s); it is now %s, and a new one begins", path, error, aside.name)
            return
        self._trials.update(found)
        self._acts.update(acts)


def _sweep(path: Path) -> None:
    """Remove what crashes in the middle of a save have left; what is young may be another process's."""
    with suppress(OSError):
        for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                left.unlink()


def _sum(trials: Iterable[Trial]) -> Record:
    recovered = tried = 0
    seconds = 0.0
    for trial in trials:
        recovered += trial.has_recovered
        tried += 1
        seconds += trial.seconds
    return Record(recovered, tried, seconds)


def _parse(document: Any) -> list[tuple[Signature, dict[str, list[Trial]]]]:
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']!r} is not known")
    return [
        (_signature(row["signature"]), {_text(name): _trials(trials) for name, trials in row["actions"].items()})
        for row in document["outcomes"][-_MOST_SIGNATURES:]
    ]


def _parse_acts(acts: dict[str, list[object]]) -> dict[str, list[float]]:
    return {_text(recovery): [_seconds(at) for at in times[-_MOST_ACTS:]] for recovery, times in acts.items()}


def _seconds(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < float("inf"):  # type: ignore[operator]
        raise ValueError(f"{value!r} is no number of seconds")
    return float(value)  # type: ignore[arg-type]  # a number, as was looked at


def _signature(parts: list[object]) -> Signature:
    component, condition, error_type = map(_text, parts)
    return Signature(component, condition, error_type)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _trials(rows: list[list[object]]) -> list[Trial]:
    return [_trial(*row) for row in rows[-_MOST_TRIALS:]]


def _trial(has_recovered: object, seconds: object) -> Trial:
    if not isinstance(has_recovered, bool):
        raise ValueError(f"{has_recovered!r} is no outcome")  # noqa: TRY004 - set aside like any other
    return Trial(has_recovered, _seconds(seconds))
