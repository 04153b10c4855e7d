"""Two settings compared on clips that chose nothing: several seeds of each, with confidence intervals."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from raysign import store
from raysign.config import of_split
from raysign.errors import StoreError
from raysign.infer import evaluate
from raysign.report import intervals, tally

SPLIT = "test"


def right(predictions) -> dict[str, bool]:
    """Whether each clip of a PREDICTIONS table was told right."""
    return dict(zip(predictions["id"].to_pylist(), tally.right(predictions), strict=True))


def predictions(bundle: Path, clips: Path, landmarks: Path, batch: int, split: str = SPLIT) -> pa.Table:
    """A bundle's PREDICTIONS of a split; its evaluation is kept beside it, and not done twice."""
    place = bundle.with_name(of_split("evaluation", split))
    about = {"split": split, "clips": clips.name, "training": bundle.parent.name}
    try:
        known = store.read_json(place / "metrics.json")
    except StoreError:
        known = {}
    if {name: known.get(name) for name in about} != about:
        evaluate.evaluate(bundle, clips, split, place, batch=batch, landmarks_dir=landmarks)
    return store.read_table(place / "predictions.parquet")


def scored(bundle: Path, clips: Path, landmarks: Path, batch: int) -> dict[str, bool]:
    """Whether a bundle tells each test clip right."""
    return right(predictions(bundle, clips, landmarks, batch))


def compared(best: list[dict[str, bool]], first: list[dict[str, bool]]) -> dict:
    """The shares of clips told right by each of two settings, and their difference, with intervals of 95 %.

    best, first: of each seed, whether each clip was told right. Of many draws of as many seeds and as many clips, 95 %
    have means within an interval (the bootstrap of report.intervals, of both): it says how far other seeds and
    other clips of the same signers would move the figure.
    """
    names = sorted(set.intersection(*(set(clips) for clips in [*best, *first])))
    ours, theirs = (np.array([[clips[name] for name in names] for clips in side], float) for side in (best, first))
    rng = np.random.default_rng([intervals.SEED, 1])  # of the seeds; clips are drawn by another one

    def means(clips: np.ndarray) -> dict[str, np.ndarray]:
        """Of each draw of clips the share told right, by as many seeds of each side, drawn too."""
        sides = {"best": ours, "first": theirs}
        seeds = {name: intervals.drawn(rng, len(clips), len(side)) / len(side) for name, side in sides.items()}
        return {name: (seeds[name] @ side * clips).mean(axis=1) for name, side in sides.items()}

    draws = intervals.draws_of(means, len(names))
    difference = _row(ours.mean() - theirs.mean(), draws["best"] - draws["first"])
    return {
        "split": SPLIT, "clips": len(names), "seeds": len(best),
        "best": {**_row(ours.mean(), draws["best"]), "each": ours.mean(axis=1).round(4).tolist()},
        "first": {**_row(theirs.mean(), draws["first"]), "each": theirs.mean(axis=1).round(4).tolist()},
        "difference": difference,
    }  # fmt: skip


def _row(mean: float, draws: np.ndarray) -> dict[str, float]:
    low, high = intervals.between(draws, mean)
    return {"mean": round(float(mean), 4), "low": round(low, 4), "high": round(high, 4)}
