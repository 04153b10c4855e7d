"""How well the recogniser of a config does on its test clips: several seeds, a confidence interval, a baseline.

The interval is a bootstrap over the test clips of each clip's share of right answers among the seeds: it says how far
another draw of such clips would move the figure. Of clips of one signer it says nothing about other signers. The
baseline is a random forest on the same prepared clips and the same split.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pydantic import PositiveInt
from scipy.stats import bootstrap

from raysign import config, pipeline, schema, store
from raysign.infer.confirm import right as told_right
from raysign.report.intervals import of_agreed

FRAMES = 16  # that the forest is given of each clip, evenly spaced


def run(
    path: str, settings: tuple[str, ...] = (), seeds: PositiveInt = 3, forest: bool = True, out: str | None = None
) -> dict:
    """Print a table and, as the last line, one JSON object; return it.

    path: YAML file of a line. settings: overrides such as model.kind=mlp. seeds: trainings; each draws its own split
    where the config draws one. out: folder to work in, where an interrupted benchmark goes on; None takes one that is
    removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="raysign-bench-") as place:
        return _measured([path, *settings], seeds, forest, Path(out or place))


def _measured(words: list[str], seeds: int, forest: bool, out: Path) -> dict:
    began, right, trees = time.perf_counter(), [], []
    for seed in range(seeds):
        one = config.load([*words, f"out={out}", "mlflow.enabled=false", f"seed={seed}"])
        if not seed:
            pipeline.landmarks(one)
        pipeline.evaluate(one)
        right.append(told_right(pq.read_table(one.of_split("evaluation") / "predictions.parquet")))
        if forest:
            trees.append(_forest(pipeline.prepare(one), one.evaluate.split, seed))
    shares = _shares(right)
    low, high = _interval(shares)
    each = [round(float(np.mean(list(clips.values()))), 4) for clips in right]
    found = {
        "config": words[0], "settings": words[1:], "split": one.evaluate.split, "clips": len(shares),
        "top1": round(float(shares.mean()), 4), "low": low, "high": high, "each": each,
        "forest": round(float(np.mean(trees)), 4) if forest else None,
        "seconds": round(time.perf_counter() - began),
    }  # fmt: skip
    print(f"{' '.join([Path(words[0]).stem, *words[1:]])}: top-1 {found['top1']:.3f} ({low:.3f} to {high:.3f}) "
          f"on {found['clips']} {found['split']} clips; each seed {each}")  # fmt: skip
    if forest:
        print(f"{'a random forest on the same clips':40} top-1 {found['forest']:.3f}")
    print(json.dumps(found))
    return found


def _shares(right: list[dict[str, bool]]) -> np.ndarray:
    """(N,) share of right answers of each clip that any seed tested, among the seeds that did."""
    names = sorted(set().union(*right))
    return np.array([np.mean([clips[name] for clips in right if name in clips]) for name in names])


def _interval(shares: np.ndarray) -> tuple[float, float]:
    """Of the mean of the shares: 95 % of resampled means are within; if all are right or all wrong, Wilson's bound."""
    if np.ptp(shares) == 0:
        low, high = of_agreed(shares[0], len(shares))
    else:
        low, high = bootstrap((shares,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return round(float(low), 4), round(float(high), 4)


def _forest(clips_dir: Path, split: str, seed: int) -> float:
    """Top-1 on a split of a forest that was trained on the training clips."""
    from sklearn.ensemble import RandomForestClassifier

    glosses, rows, splits = zip(*_flat(clips_dir), strict=True)
    x, y, which = np.stack(rows), np.array(glosses), np.array(splits)
    trees = RandomForestClassifier(500, random_state=seed, n_jobs=-1).fit(x[which == "train"], y[which == "train"])
    return float((trees.predict(x[which == split]) == y[which == split]).mean())


def _flat(clips_dir: Path) -> Iterator[tuple[str, np.ndarray, str]]:
    """(gloss, the first person's points in FRAMES frames as one row, split) of each clip."""
    for _, table in store.tables(clips_dir):
        arrays = schema.arrays(table, "x", "persons", "frames", "points", "channels")
        for about, x in zip(table.select(["gloss", "split"]).to_pylist(), arrays, strict=True):
            chosen = np.linspace(0, x.shape[1] - 1, FRAMES).round().astype(int)
            yield " ".join(about["gloss"]), x[0, chosen].ravel(), about["split"]
