"""How often intervals hold the truth, where they must lie, and agreement with scipy."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from raysign.infer import confirm
from raysign.report import intervals
from raysign.report.tally import Tally

CLASSES, TRIES = 8, 300
# A bootstrap of some ten clips a class is itself within 0.03 of what it says; to that come three standard errors of
# the share of TRIES data sets, 3 * sqrt(0.95 * 0.05 / 300) = 0.038.
TOLERANCE = 0.03 + 0.038


def made(rng: np.random.Generator, count: int) -> Tally:
    """Clips of CLASSES signs and of sentences, some signs harder than others."""
    truth, rows, one = rng.integers(CLASSES, size=count), np.arange(count), np.ones(count)
    logits = rng.normal(size=(count, CLASSES))
    logits[rows, truth] += 1.5 + truth / CLASSES
    ranks = (logits > logits[rows, truth][:, None]).sum(axis=1)
    glosses = rng.integers(1, 6, count).astype(float)
    edits = rng.binomial(glosses.astype(int), np.where(rng.random(count) < 0.3, 0.6, 0.1)).astype(float)
    parts = {"top1": ((ranks < 1) * 1.0, one), "mrr": (1 / (1 + ranks), one), "wer": (edits, glosses)}
    return Tally(parts, truth, logits.argmax(axis=1), ranks, np.full(count, ""))


def by_signers(rng: np.random.Generator, signers: int, clips: int) -> Tally:
    """Clips of signers of whom some are understood better than others, 0.8 of the clips in the long run."""
    right = rng.binomial(1, np.repeat(rng.beta(8, 2, signers), clips)).astype(float)
    classes = np.zeros(len(right), int)
    names = np.repeat([f"signer{i}" for i in range(signers)], clips)
    return Tally({"top1": (right, np.ones(len(right)))}, classes, classes, classes, names)


def held(truth: float, found: list[list[float]]) -> float:
    """The share of the intervals that hold the truth."""
    return float(np.mean([low <= truth <= high for low, high in found]))


def test_intervals_over_clips_hold_the_truth_as_often_as_they_say():
    rng, many = np.random.default_rng(0), 200_000
    truth = made(rng, many).figures(np.ones((1, many)))
    tallies = [made(rng, 80) for _ in range(TRIES)]
    found = [intervals.of_shares(tally, tally.figures) for tally in tallies]
    for name in ("top1", "mrr", "wer", "top1_per_class", "top3_per_class", "macro_f1"):
        assert held(truth[name][0], [one[name] for one in found]) == pytest.approx(intervals.LEVEL, abs=TOLERANCE), name


@pytest.mark.parametrize("signers", [3, 6])
def test_intervals_over_signers_hold_the_truth_where_those_over_clips_are_too_narrow(signers):
    rng, clips, others = np.random.default_rng(1), [], []
    for _ in range(TRIES):
        tally = by_signers(rng, signers, 30)
        one = intervals.of_shares(tally, tally.shares)
        clips.append(one["top1"])
        others.append(intervals.over_signers(tally.shares, tally.signers, one)["top1"])
    assert held(0.8, others) == pytest.approx(intervals.LEVEL, abs=TOLERANCE)
    assert held(0.8, clips) < 0.85


def test_the_interval_of_a_mean_is_that_of_scipy():
    right = np.random.default_rng(2).random(200) ** 2
    zeros = np.zeros(200, int)
    tally = Tally({"mrr": (right, np.ones(200))}, zeros, zeros, zeros, np.full(200, ""))
    theirs = bootstrap((right,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    assert intervals.of_shares(tally, tally.shares)["mrr"] == pytest.approx([theirs.low, theirs.high], abs=0.005)


@pytest.mark.parametrize(("right", "count"), [(1.0, 5), (0.0, 5), (1.0, 400)])
def test_where_all_clips_agree_the_interval_is_wilsons(right, count):
    zeros = np.zeros(count, int)
    tally = Tally({"top1": (np.full(count, right), np.ones(count))}, zeros, zeros, zeros, np.full(count, ""))
    theirs = binomtest(int(right * count), count).proportion_ci(method="wilson")
    assert intervals.of_shares(tally, tally.shares)["top1"] == pytest.approx([theirs.low, theirs.high])


def test_signers_who_are_alike_leave_the_interval_over_clips():
    tally = by_signers(np.random.default_rng(3), 1, 20)
    same = tally.take(np.tile(np.arange(20), 4))
    same = Tally(same.parts, same.truth, same.predicted, same.ranks, np.repeat(list("abcd"), 20))
    clips = intervals.of_shares(same, same.shares)
    assert intervals.over_signers(same.shares, same.signers, clips) == clips


@pytest.mark.parametrize("signers", [["a", "b"], ["a", "b", ""], [""]])
def test_of_too_few_signers_or_unknown_ones_there_is_no_interval_over_signers(signers):
    tally = by_signers(np.random.default_rng(0), len(signers), 5)
    names = np.repeat(signers, 5)
    assert intervals.over_signers(tally.shares, names, intervals.of_shares(tally, tally.shares)) == {}


def test_draws_in_parts_are_those_of_one(monkeypatch):
    tally = made(np.random.default_rng(4), 64)
    whole = intervals.of_shares(tally, tally.figures)
    monkeypatch.setattr(intervals, "TOGETHER", 64 * 100)
    assert intervals.of_shares(tally, tally.figures) == whole


def test_the_interval_of_a_difference_of_settings_is_that_of_the_other_way_round():
    rng = np.random.default_rng(5)
    sides = [[{f"clip{i}": bool(rng.random() < p) for i in range(60)} for _ in range(3)] for p in (0.9, 0.6)]
    one, other = confirm.compared(*sides), confirm.compared(*reversed(sides))
    assert one["best"]["mean"] == other["first"]["mean"] and one["difference"]["mean"] == -other["difference"]["mean"]
    assert one["difference"]["low"] > 0 > other["difference"]["high"]
    close = partial(pytest.approx, abs=0.03)  # the seeds are other draws
    assert (one["difference"]["low"], one["difference"]["high"]) == close(
        (-other["difference"]["high"], -other["difference"]["low"])
    )
