"""How far other clips of the same signers would move a figure: intervals of 95 %."""

import numpy as np

DRAWS = 1000  # of the bootstrap
Z = 1.96  # standard deviations of a normal variable that hold 95 %


def share(right: np.ndarray) -> dict[str, float]:
    """accuracy, low and high of clips told right or not, (N,).

    Wilson's interval (1927), which knows that a few clips that are all right are no certainty.
    """
    mean, count = float(np.mean(right)), len(right)
    middle = mean + Z * Z / (2 * count)
    half = Z * np.sqrt(mean * (1 - mean) / count + Z * Z / (4 * count * count))
    low, high = (min(max((middle + side) / (1 + Z * Z / count), 0), 1) for side in (-half, half))
    return _rounded({"accuracy": mean, "low": low, "high": high})


def difference(change: np.ndarray) -> dict[str, float]:
    """difference, difference_low and difference_high: the mean of what changed for each clip, (N,).

    A percentile bootstrap of 1,000 draws (Efron and Tibshirani 1993), the same ones for as many clips.
    """
    rng, count = np.random.default_rng(0), len(change)
    means = [change[rng.integers(count, size=count)].mean() for _ in range(DRAWS)]
    low, high = np.percentile(means, [2.5, 97.5])
    return _rounded({"difference": change.mean(), "difference_low": low, "difference_high": high})


def _rounded(numbers: dict) -> dict[str, float]:
    return {name: round(float(number), 4) for name, number in numbers.items()}
