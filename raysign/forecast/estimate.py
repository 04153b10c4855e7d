"""From a sample to the whole: a ratio estimator with an interval of 90 %."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 2000
_Z = 1.645  # of a normal distribution's middle 90 %
_SINGLE = 2.0  # one part of many says nothing of the spread: half to twice


@dataclass(frozen=True)
class Estimate:
    """A number and the ends of the interval that it lies in with 90 %."""

    value: float
    low: float
    high: float

    def __add__(self, more: "Estimate | float") -> "Estimate":
        """Of a sum; the ends are added, as of parts that err the same way."""
        other = more if isinstance(more, Estimate) else Estimate(more, more, more)
        return Estimate(self.value + other.value, self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> "Estimate":
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


NONE = Estimate(0.0, 0.0, 0.0)


def total(
    sizes: Sequence[float] | np.ndarray, costs: Sequence[float] | np.ndarray, whole: float, parts: int, seed: int = 0
) -> Estimate:
    """The cost of `parts` parts of `whole` size in all, from the sizes and costs of those in a sample, at least one.

    Sum of costs over sum of sizes, times `whole`. The interval is a bootstrap over the sample, widened for its
    smallness (as Student's t is) and narrowed by the share of all parts that it holds.
    """
    x, y, n = np.asarray(sizes, float), np.asarray(costs, float), len(sizes)
    value = float(y.sum() / x.sum() * whole)
    if n >= parts:
        return Estimate(value, value, value)
    if n == 1:
        return Estimate(value, value / _SINGLE, value * _SINGLE)
    drawn = np.random.default_rng(seed).integers(n, size=(_DRAWS, n))
    spread = y[drawn].sum(1) / x[drawn].sum(1) * whole - value
    small = (1 + (_Z * _Z + 1) / (4 * (n - 1))) * np.sqrt(n / (n - 1) * (1 - n / parts))
    low, high = value + small * np.percentile(spread, [5, 95])
    return Estimate(value, float(max(0.0, min(low, value))), float(max(high, value)))


def steadier(sizes: Sequence[float], costs: Sequence[float]) -> bool:
    """Whether the cost of a part goes more by its size than it is the same for all parts."""
    x, y = np.asarray(sizes, float), np.asarray(costs, float)
    if len(x) < 3 or not (x > 0).all() or not y.any():
        return False
    return _variation(y / x) < _variation(y)


def _variation(values: np.ndarray) -> float:
    return float(values.std() / values.mean())
