"""One series under scrutiny: what is found is explained, and what is left is looked at again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentgauge.analytics.analysis.baseline import robust_scale
from agentgauge.analytics.analysis.findings import Finding, Shape
from agentgauge.analytics.analysis.windows import (
    TAIL,
    best_ramp,
    best_stretch,
    error,
    moving_median,
    tail_freedom,
    tail_of_bursts,
    window_means,
    window_medians,
)
from agentgauge.analytics.extras import load_extra

if TYPE_CHECKING:
    from agentgauge.analytics.analysis.baseline import Array, Baseline

__all__ = ["Scan"]

_special: Any = load_extra("scipy.special", "analysis", "find_anomalies()")
_LEAST_FREEDOM = 3.0
_MOST_FINDINGS = 12
_MAD_EFFICIENCY = 0.37  # of n values a MAD knows as much of the spread as a standard deviation of 0.37 n
_MAD_ERROR = 1.17  # the standard error of a MAD of n values, times the root of n
_CLIP = 3.0
_FAR_CLIP = 10.0
_FARTHEST = 1e9  # standard deviations: what is farther is no more out of the ordinary, and its square must not be endless
_LONGEST_SPIKE = 4
_OFFSET_WINDOWS = (6, 12, 24, 48, 96, 192)
_VARIANCE_WINDOWS = (20, 32, 64)
_HALF_NORMAL_MEDIAN = 0.6744897501960817
_LOCAL = 17
_LEAST_RATIO = 1.8
_LEAST_OFFSET = 1.0
_PART_OF_SPIKE = 0.5
_ONE_SIDED = 0.9
_SHORT_OF_A_FINDING = 0.99


def _in_units(values: Array, scale: Array | float) -> Array:
    with np.errstate(over="ignore"):
        return np.clip(values / scale, -_FARTHEST, _FARTHEST)


@dataclass(slots=True)
class Scan:
    """One series under scrutiny; what is explained is taken out of ``around`` step by step.

    What is ``far`` out for long had no part in what is usual, nor has it in how much chance sways.
    """

    values: Array
    fitted: Baseline
    alpha: float
    findings: list[Finding]
    far: npt.NDArray[np.bool_]
    around: Array = field(init=False)
    phi: float = field(init=False)
    explained: Array = field(init=False)
    dismissed: npt.NDArray[np.bool_] = field(init=False)
    latest: float = 0.0

    def __post_init__(self) -> None:
        self.around = _in_units(self.values - self.fitted.expected, self.fitted.scale)
        self.phi = self.fitted.phi
        self.explained = np.zeros_like(self.around)
        self.dismissed = np.zeros(self.size, dtype=bool)

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.around.size

    def limit(self, tests: float, known: float) -> float:
        """Return what chance passes once in ``1 / alpha`` series of so many tests, of a scale made of so many values."""
        return float(-_special.stdtrit(max(_LEAST_FREEDOM, _MAD_EFFICIENCY * known), self.alpha / (2 * tests)))

    def _limit_of_tails(self, freedom: float) -> float:
        """Return what single values of noise with such tails pass so seldom, in standard deviations as its median tells them."""
        if freedom == np.inf:
            return 0.0
        middle = _special.stdtrit(freedom, 0.75) / _HALF_NORMAL_MEDIAN
        return float(-_special.stdtrit(freedom, self.alpha / (2 * self.size)) / middle)

    def _limit_of_bursts(self, new: Array) -> float:
        """Return what bursts pass so seldom: where one value in 33 is farther out than any tail here lets the median expect.

        The median then tells of the time between bursts and nothing of their size, so the tail begins at the 97th percentile.
        """
        freedom, begin = tail_of_bursts(new)
        if not begin > 0:
            return 0.0
        return float(begin * _special.stdtrit(freedom, self.alpha / (2 * self.size)) / _special.stdtrit(freedom, (1 - TAIL) / 2))

    # --- levels that stay ---------------------------------------------------------------------------------------------------

    def offsets(self) -> None:
        """Find levels that stay for a while, and lines that lead away."""
        for _ in range(_MOST_FINDINGS):
            found = self._worst_offset()
            if found is None:
                return
            first, last, score = found
            self._explain(first, last, score)

    def _worst_offset(self) -> tuple[int, int, float] | None:
        rest = self.around - self.explained
        # what is far out for long is no spike, which must not pass for a level
        most = np.where(self.far & (self.explained == 0), _FAR_CLIP, _CLIP)
        clipped = np.where(self.dismissed, np.nan, np.clip(rest * self._calm(), -most, most))
        best: tuple[float, int, int, float] | None = None
        latest = 0.0
        for length in _OFFSET_WINDOWS:
            if length > self.size // 4:
                break
            means = window_means(clipped, length)
            lags = np.arange(1, length)
            theory = np.sqrt((1 + 2 * np.sum((1 - lags / length) * self.phi**lags)) / length)
            spread = float(np.fmax(theory, robust_scale(window_means(np.where(self.far, np.nan, clipped), length))))
            known = np.count_nonzero(np.isfinite(clipped)) / np.sqrt(length)
            scores = np.abs(means) / spread / self.limit(self.size / length * 2 * len(_OFFSET_WINDOWS), known)
            scores[np.abs(means) < _LEAST_OFFSET] = 0.0
            scores = np.nan_to_num(scores)
            at = int(np.argmax(scores))
            latest = max(latest, float(scores[-1]))
            if best is None or scores[at] > best[0]:
                best = float(scores[at]), at, length, float(np.sign(means[at]))
        if best is None or best[0] < 1:
            self.latest = max(self.latest, latest)
            return None
        score, at, length, sign = best
        height = float(np.nanmean(clipped[at : at + length])) * sign
        gain = np.nan_to_num(sign * clipped - height / 2)
        first, last = best_stretch(gain, at, at + length - 1)
        return first, last, score

    def _calm(self) -> Array:
        """Divide by how much louder a stretch is, so that noise is no level."""
        calm = np.ones(self.size)
        for found in self._louder():
            calm[found[0] : found[1] + 1] = 1 / found[3]
        for level in self.findings:
            if level.shape is Shape.LEVEL_SHIFT:  # what is ten times as high sways more
                inside = slice(level.first, level.last + 1)
                spread = robust_scale((self.around - self.explained)[inside])
                calm[inside] = np.minimum(calm[inside], 1 / max(1.0, spread))
        return calm

    def _explain(self, first: int, last: int, score: float) -> None:
        rest = self.around - self.explained
        smooth = moving_median(rest, 5)
        length = last - first + 1
        low, high = max(0, first - 2 * length), min(self.size - 1, last + length)
        around = smooth[low : high + 1]
        step = np.zeros_like(around)
        level = float(np.nanmedian(smooth[first : last + 1]))
        if abs(level) < _LEAST_OFFSET / 2:  # most of it is where it always is: a few events more, where there are few at all
            self.dismissed[first : last + 1] = True
            return
        step[first - low : last - low + 1] = level
        step_error = error(around, step)
        ramp_error, ramp, begin = best_ramp(around, first - low, last - low)
        is_drift = length >= 2 * _LONGEST_SPIKE and ramp_error < step_error
        if is_drift:
            first, model = low + begin, ramp
        else:
            model = step
        self.explained[low : high + 1] += model
        expected = float(np.mean(self.fitted.expected[first : last + 1]))
        shape = Shape.DRIFT if is_drift else Shape.LEVEL_SHIFT
        observed = float(np.nanmean(self.values[first : last + 1]))
        if is_drift:
            expected = float(self.fitted.expected[last])
            observed = expected + float(model[last - low] * self.fitted.scale[last])
        elif length <= _LONGEST_SPIKE:
            shape = Shape.SPIKE
        self.findings.append(Finding(first, last, shape, score, expected, observed))

    # --- noise that grows ---------------------------------------------------------------------------------------------------

    def _innovations(self) -> Array:
        rest = self.around - self.explained
        before = np.concatenate(([np.nan], rest[:-1]))
        # where the value before is not known, as at the beginning, all of its sway is new, and that much more is due to chance
        new = np.where(np.isfinite(before), rest - self.phi * np.nan_to_num(before), rest * np.sqrt(1 - self.phi**2))
        scale = robust_scale(new)
        return _in_units(new, scale) if scale > 0 else np.zeros_like(new)

    def _louder(self) -> list[tuple[int, int, float, float]]:
        """Return the stretches whose noise is greater: first, last, score and how many times."""
        new = self._innovations()
        size = np.abs(new - moving_median(new, _LOCAL))  # else a level that is not explained yet is noise
        scale = _HALF_NORMAL_MEDIAN / float(np.nanmedian(size)) if np.nanmedian(size) > 0 else 1.0
        size *= scale
        found: list[tuple[int, int, float, float]] = []
        for _ in range(_MOST_FINDINGS):
            best = (1.0, 0, 0, 1.0)
            for length in _VARIANCE_WINDOWS:
                if length > self.size // 4:
                    break
                every = length // 5
                middles = window_medians(size, length, every)
                # the median of so many uniform numbers has a beta distribution
                chance = _special.betaincc((length + 1) / 2, (length + 1) / 2, np.maximum(2 * _special.ndtr(middles) - 1, 0.0))
                away = -_special.ndtri(np.clip(chance, 1e-300, 1 - 1e-16))
                known = np.count_nonzero(np.isfinite(size)) / np.sqrt(length)
                limit = self.limit(self.size / length * 4 * len(_VARIANCE_WINDOWS), known)
                scores = np.nan_to_num(away / max(1.0, robust_scale(away)) / limit)
                scores[~(middles > _LEAST_RATIO * _HALF_NORMAL_MEDIAN)] = 0.0
                at = int(np.argmax(scores))
                if scores[at] > best[0]:
                    best = float(scores[at]), at * every, length, float(middles[at] / _HALF_NORMAL_MEDIAN)
            score, at, length, ratio = best
            if not length:
                return found
            # log likelihood of noise that is so many times as great, of values that no spike makes greater than it may
            clipped = np.minimum(size, 1.5 * ratio)
            gain = np.nan_to_num(clipped**2 / 2 * (1 - 1 / ratio**2) - np.log(ratio))
            first, last = best_stretch(gain, at, at + length - 1)
            if not self._is_louder(size, first, last):
                size[first : last + 1] = np.nan
                continue
            ratio = max(_LEAST_RATIO, float(np.nanmedian(size[first : last + 1])) / _HALF_NORMAL_MEDIAN)
            found.append((first, last, score, ratio))
            size[first : last + 1] = np.nan
        return found

    def _is_louder(self, size: Array, first: int, last: int) -> bool:
        """Tell it by means, too: of values that are few and far between, such as 0, 1 or 2 events, medians leap by chance."""
        within, beside = size[first : last + 1], np.concatenate((size[:first], size[last + 1 :]))
        within, beside = within[np.isfinite(within)], beside[np.isfinite(beside)]
        if not within.size or not beside.size:
            return False
        spread = float(np.std(beside)) / np.sqrt(within.size)
        more = float(np.mean(within) - np.mean(beside))
        return bool(more > self.limit(self.size / within.size, beside.size) * spread)

    def variances(self) -> None:
        """Find stretches of greater noise."""
        for first, last, score, ratio in self._louder():
            if last - first + 1 > self.size / 2:  # what fills most of the window is the ordinary
                continue
            if self._is_of_a_level(first, last):
                continue
            if self._is_one_sided(first, last):
                self._rise(first, last, score)
                continue
            usual = float(np.mean(self.fitted.scale[first : last + 1]))
            self.findings.append(Finding(first, last, Shape.VARIANCE, score, usual, usual * ratio))

    def _is_of_a_level(self, first: int, last: int) -> bool:
        """Tell whether most of a stretch is at a level that was found: what is ten times as high sways more, too."""
        levels = [one for one in self.findings if one.shape in (Shape.LEVEL_SHIFT, Shape.DRIFT)]
        return any(2 * (min(last, one.last) - max(first, one.first) + 1) > last - first + 1 for one in levels)

    def _is_one_sided(self, first: int, last: int) -> bool:
        """Tell whether a stretch sways to one side alone: that is another level, of few calls, and no sway."""
        rest = self.around[first : last + 1] - self.explained[first : last + 1]
        above, below = np.count_nonzero(rest > 0), np.count_nonzero(rest < 0)
        return bool(max(above, below) >= _ONE_SIDED * (above + below)) and abs(float(np.nanmedian(rest))) > _LEAST_OFFSET

    def _rise(self, first: int, last: int, score: float) -> None:
        stretch = slice(first, last + 1)
        self.explained[stretch] += float(np.nanmedian(self.around[stretch] - self.explained[stretch]))
        expected, observed = float(np.mean(self.fitted.expected[stretch])), float(np.nanmean(self.values[stretch]))
        self.findings.append(Finding(first, last, Shape.LEVEL_SHIFT, score, expected, observed))

    # --- single values ------------------------------------------------------------------------------------------------------

    def spikes(self) -> None:
        """Find single values, and a few of them in a row, that are far out."""
        rest = self.around - self.explained
        new = self._innovations()
        limit = max(self.limit(self.size, self.fitted.known), self._limit_of_tails(tail_freedom(new)), self._limit_of_bursts(new))
        limit *= 1 + _MAD_ERROR / max(1.0, float(np.count_nonzero(np.isfinite(new)))) ** 0.5
        scores = np.nan_to_num(np.minimum(np.abs(new), np.abs(rest) * 1.5) / limit)
        self.latest = max(self.latest, min(float(scores[-1]), _SHORT_OF_A_FINDING))
        taken = np.zeros(self.size, dtype=bool)
        for found in self.findings:
            edge = 4 if found.shape in (Shape.LEVEL_SHIFT, Shape.DRIFT) else 1
            if found.shape is Shape.LEVEL_SHIFT:  # what is ten times as high sways more: by that a spike in it is judged
                inside = slice(found.first, found.last + 1)
                scores[inside] /= max(1.0, robust_scale(new[inside]))
            for at in (found.first, found.last):
                taken[max(0, at - edge) : at + edge + 1] = True
            if found.shape is Shape.VARIANCE:
                taken[max(0, found.first - 4) : found.last + 5] = True
        for _ in range(_MOST_FINDINGS):
            open_scores = np.where(taken, 0.0, scores)
            at = int(np.argmax(open_scores))
            if open_scores[at] < 1:
                return
            first = last = at
            while last + 1 < self.size and rest[last + 1] / rest[at] > _PART_OF_SPIKE:
                last += 1
            while first > 0 and rest[first - 1] / rest[at] > _PART_OF_SPIKE:
                first -= 1
            taken[max(0, first - 1) : last + 3] = True
            self.findings.append(self._far_out(first, last, float(scores[at])))

    def _far_out(self, first: int, last: int, score: float) -> Finding:
        if last - first >= 2 * _LONGEST_SPIKE:  # too long for a moment: a level that no window of means told from the noise
            stretch = slice(first, last + 1)
            expected, observed = float(np.mean(self.fitted.expected[stretch])), float(np.nanmean(self.values[stretch]))
            return Finding(first, last, Shape.LEVEL_SHIFT, score, expected, observed)
        rest = self.around - self.explained
        worst = first + int(np.nanargmax(np.abs(rest[first : last + 1])))
        return Finding(first, last, Shape.SPIKE, score, float(self.fitted.expected[worst]), float(self.values[worst]))

    def now(self) -> float:
        """Return the score of the end: of what reaches it, else how near its last values come to a finding."""
        return max([self.latest, *(one.score for one in self.findings if one.last >= self.size - 2)])
