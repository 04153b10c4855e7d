"""How far figures may be off: confidence intervals of functions of weights of clips.

Over clips: the bias-corrected percentile bootstrap (Efron 1981), for draws of few clips have a lower macro F1 than the
clips they are of. Where all clips agree, draws of them agree too and show nothing; the bound is Wilson's (1927) for as
many clips then. Over signers: the clips of one signer are alike, and a
bootstrap of a few signers gives intervals that are much too narrow. The jackknife, which leaves out each signer in
turn, with Student's t for as many signers less one does not, even of three (MacKinnon, Nielsen and Webb 2023).
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import binomtest, norm, t

from raysign.report.tally import Tally

LEVEL, DRAWS, SEED = 0.95, 2000, 0
FEWEST = 3  # signers
TOGETHER = 2_000_000  # weights in memory at a time
ABOUT = {
    "level": LEVEL, "method": "bias-corrected percentile bootstrap over clips", "draws": DRAWS, "seed": SEED,
    "method_signers": "jackknife over signers, Student's t",
}  # fmt: skip
Figures = Callable[[np.ndarray], dict[str, np.ndarray]]  # weights (D, N) -> each figure (D,), NaN: cannot be told
Interval = list[float]  # low, high


def drawn(rng: np.random.Generator, draws: int, count: int) -> np.ndarray:
    """(draws, count) float64: how often each of `count` things is among as many drawn with replacement."""
    chosen = rng.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=draws * count).reshape(draws, count).astype(float)


def between(values: np.ndarray, value: float) -> Interval:
    """What LEVEL of the values of many draws lie between, corrected for the bias that they have against the value of
    all clips. Draws that tell none are left out.
    """
    values = values[np.isfinite(values)]
    below = (values < value).mean() + (values == value).mean() / 2
    bias = norm.ppf(np.clip(below, 1 / DRAWS, 1 - 1 / DRAWS))
    ends = norm.cdf(2 * bias + norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return [float(end) for end in np.quantile(values, ends)]


def draws_of(figures: Figures, count: int) -> dict[str, np.ndarray]:
    """Each figure of DRAWS draws of as many clips, (DRAWS,)."""
    rng, step = np.random.default_rng(SEED), max(1, TOGETHER // count)
    parts = [figures(drawn(rng, min(step, DRAWS - first), count)) for first in range(0, DRAWS, step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def over_clips(figures: Figures, count: int) -> dict[str, Interval]:
    """Of each figure of `count` clips where it may lie for other clips of the same signers."""
    whole = figures(np.ones((1, count)))
    return {name: between(values, whole[name][0]) for name, values in draws_of(figures, count).items()}


def of_shares(tally: Tally, figures: Figures) -> dict[str, Interval]:
    """`over_clips` of figures, a method of the tally, with an interval where all clips agree too."""
    found = over_clips(figures, len(tally))
    for name, (low, high) in found.items():
        if low == high and low in (0, 1):
            found[name] = of_agreed(low, tally.told(name))
    return found


def share(right: np.ndarray) -> dict[str, float]:
    """accuracy, low and high of clips told right or not, (N,): Wilson's interval, which needs no draws."""
    low, high = binomtest(int(right.sum()), len(right)).proportion_ci(LEVEL, "wilson")
    return _rounded({"accuracy": right.mean(), "low": low, "high": high})


def difference(change: np.ndarray) -> dict[str, float]:
    """difference, difference_low and difference_high: the mean of what changed for each clip, (N,)."""
    (low, high) = over_clips(lambda weights: {"mean": (weights @ change) / len(change)}, len(change))["mean"]
    return _rounded({"difference": change.mean(), "difference_low": low, "difference_high": high})


def _rounded(numbers: dict) -> dict[str, float]:
    return {name: round(float(number), 4) for name, number in numbers.items()}


def of_agreed(value: float, count: int) -> Interval:
    """Of the share of `count` clips that all agree, 0 or 1."""
    far = rarest(count)
    return [1 - far, 1.0] if value else [0.0, far]


def rarest(count: int) -> float:
    """The greatest share that something may have of which none was found among `count`."""
    z2 = norm.ppf((1 + LEVEL) / 2) ** 2
    return float(z2 / (count + z2))


def over_signers(figures: Figures, signers: np.ndarray, clips: dict[str, Interval]) -> dict[str, Interval]:
    """Of each figure where it may lie for other signers; nothing without FEWEST signers or more.

    signers: (N,) str, "" where not known, which tells nothing of others. clips: the intervals over clips: these are
    never narrower. They may be beyond what a figure can be.
    """
    names, places = np.unique(signers, return_inverse=True)
    if len(names) < FEWEST or "" in names:
        return {}
    whole = figures(np.ones((1, len(signers))))
    left_out = [figures((places != place).astype(float)[None]) for place in range(len(names))]
    values = {name: np.array([part[name][0] for part in left_out]) for name in clips}
    return {
        name: _jackknife(float(whole[name][0]), values[name], interval)
        for name, interval in clips.items()
        if np.isfinite(values[name]).all()
    }


def _jackknife(whole: float, values: np.ndarray, least: Interval) -> Interval:
    """Around the figure of all, from those with each signer left out, (S,), and not within `least`."""
    count = len(values)
    error = np.sqrt((count - 1) / count * ((values - values.mean()) ** 2).sum())
    half = float(t.ppf((1 + LEVEL) / 2, count - 1) * error)
    return [min(whole - half, least[0]), max(whole + half, least[1])]
