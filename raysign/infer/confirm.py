"""Two settings compared on clips that chose nothing: several seeds of each, with confidence intervals."""

from pathlib import Path

import numpy as np

from raysign import store
from raysign.errors import StoreError
from raysign.infer import evaluate
from raysign.report import intervals

SPLIT = "test"


def right(predictions) -> dict[str, bool]:
    """Whether each clip of a PREDICTIONS table was told right."""
    rows = zip(*(predictions[name].to_pylist() for name in ("id", "gloss", "predicted", "decoded")), strict=True)
    return {clip: gloss == ([predicted] if told is None else told) for clip, gloss, predicted, told in rows}


def scored(bundle: Path, clips: Path, batch: int) -> dict[str, bool]:
    """Whether a bundle tells each test clip right; its evaluation is kept beside it, and not done twice."""
    place, about = bundle.with_name("evaluation"), {"split": SPLIT, "clips": clips.name, "training": bundle.parent.name}
    try:
        known = store.read_json(place / "metrics.json")
    except StoreError:
        known = {}
    if {name: known.get(name) for name in about} != about:
        evaluate.evaluate(bundle, clips, SPLIT, place, batch=batch)
    return right(store.read_table(place / "predictions.parquet"))


def compared(best: list[dict[str, bool]], first: list[dict[str, bool]]) -> dict:
    """The shares of clips told right by each of two settings, and their difference, with intervals of 95 %.

    best, first: of each seed, whether each clip was told right. Of many draws of as many seeds and as many clips, 95 %
    have means within an interval (a bootstrap of both; Efron and Tibshirani 1993): it says how far other seeds and
    other clips of the same signers would move the figure.
    """
    names = sorted(set.intersection(*(set(clips) for clips in [*best, *first])))
    ours, theirs = (np.array([[clips[name] for name in names] for clips in side], float) for side in (best, first))
    rng = np.random.default_rng(intervals.SEED)
    clips = _drawn(rng, len(names))
    one, other = ((_drawn(rng, len(side)) @ side * clips).sum(axis=1) for side in (ours, theirs))
    difference = _row(ours.mean() - theirs.mean(), one - other)
    return {
        "split": SPLIT, "clips": len(names), "seeds": len(best),
        "best": {**_row(ours.mean(), one), "each": ours.mean(axis=1).round(4).tolist()},
        "first": {**_row(theirs.mean(), other), "each": theirs.mean(axis=1).round(4).tolist()},
        "difference": difference,
    }  # fmt: skip


def _drawn(rng: np.random.Generator, count: int) -> np.ndarray:
    """(DRAWS, count): the share of each thing of as many drawn with replacement."""
    return intervals.drawn(rng, intervals.DRAWS, count) / count


def _row(mean: float, draws: np.ndarray) -> dict[str, float]:
    low, high = intervals.between(draws)
    return {"mean": round(float(mean), 4), "low": round(low, 4), "high": round(high, 4)}
