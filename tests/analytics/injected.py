"""Series with a day's season, autocorrelated noise and a trend, and faults of five shapes put into them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agentgauge.analytics.analysis.findings import Shape

DAY = 96
DAYS = 10
SHAPES = (Shape.SPIKE, Shape.LEVEL_SHIFT, Shape.DRIFT, Shape.VARIANCE, Shape.MISSING)


@dataclass(frozen=True)
class Injected:
    """A series, and where its fault lies; a clean one has none."""

    values: np.ndarray
    shape: Shape | None
    first: int = 0
    last: int = 0


def series(seed: int, shape: Shape | None) -> Injected:
    """Make a series of ten days at 15 minutes."""
    random = np.random.default_rng((seed, 0 if shape is None else SHAPES.index(shape) + 1))
    size = DAY * DAYS
    at = np.arange(size)
    phi = random.choice([0.0, 0.3, 0.6])
    noise = _autocorrelated(random, size, phi)
    swing = random.choice([0.0, 1.0, 3.0, 8.0])
    turn = random.uniform(0, 2 * np.pi)
    season = swing * (np.sin(2 * np.pi * at / DAY + turn) + 0.4 * np.sin(4 * np.pi * at / DAY + 2 * turn))
    trend = random.uniform(-3, 3) * at / size
    level = 1.6 * swing + random.uniform(12, 30)
    scale = random.choice([0.01, 1.0, 250.0])
    values = level + season + trend + noise
    if shape is None:
        return Injected(values * scale, None)
    sign = random.choice([-1.0, 1.0])
    length = {
        Shape.SPIKE: random.integers(1, 4),
        Shape.LEVEL_SHIFT: random.integers(24, 121),
        Shape.DRIFT: random.integers(96, 221),
        Shape.VARIANCE: random.integers(32, 121),
        Shape.MISSING: random.integers(6, 61),
    }[shape]
    first = int(random.integers(DAY // 2, size - length + 1))
    inside = slice(first, first + length)
    if shape is Shape.SPIKE:
        values[inside] += sign * random.uniform(8, 15)
    elif shape is Shape.LEVEL_SHIFT:
        values[inside] += sign * random.uniform(3, 8)
    elif shape is Shape.DRIFT:
        values[inside] += sign * random.uniform(5, 10) * np.arange(1, length + 1) / length
    elif shape is Shape.VARIANCE:
        values[inside] += noise[inside] * (random.uniform(3, 6) - 1)
    else:
        values[inside] = np.nan if random.random() < 0.3 else 0.0
    return Injected(values * scale, shape, first, first + length - 1)


def _autocorrelated(random: np.random.Generator, size: int, phi: float) -> np.ndarray:
    """Return first-order autoregressive noise whose standard deviation is 1."""
    fresh = random.normal(size=size) * np.sqrt(1 - phi**2)
    noise = np.empty(size)
    noise[0] = random.normal()
    for at in range(1, size):
        noise[at] = phi * noise[at - 1] + fresh[at]
    return noise
