"""How an ensemble is made: its weights fitted on validation clips alone, its figures of clips that chose nothing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from raysign import __version__, store
from raysign.config import Config
from raysign.errors import StoreError
from raysign.infer import confirm
from raysign.learn import bundle as bundles
from raysign.learn import ensemble as ensembles
from raysign.learn.job import Job
from raysign.report import intervals, tally

ROUNDS = 500  # of expectation maximisation: weights of some members stand still long before


@dataclass(frozen=True)
class Scored:
    """The members' probabilities of the clips of a split that all of them have, (E, N, K), and the true class (N,)."""

    probabilities: np.ndarray
    truth: np.ndarray

    def mean(self, weights: np.ndarray) -> np.ndarray:
        """(N, K): the weighted mean of the members'."""
        return np.tensordot(weights, self.probabilities, 1)


def made(config: Config, names: list[str], jobs: list[Job], directory: Path, training: str = "") -> dict:
    """Fit the weights, write the ensemble to `directory` and say what it is worth. training: what its card is to call
    the trainings of all.

    split, count, val_count (0: the weights are equal, as nothing could choose them), weights (equal or fitted: those of
    the ensemble); members, in their order: name, weight, training and of val and of the split accuracy, low, high, nll;
    equal and fitted, the means of all with such weights: the same figures; best: the name of the member of the least
    nll on validation clips (None without any); of equal and fitted also how much more is told right than by that one
    (difference, with its interval).
    StoreError when no clip of the split, or of the validation clips, is one that every member's recipe can use.
    """
    split, places = config.evaluate.split, [job.directory / "bundle" for job in jobs]
    first, found = bundles.load(places[0]), {}
    for name in dict.fromkeys(("val", split)):
        if all((store.read_card(job.clips) or {})["counts"]["split"].get(name) for job in jobs):
            found[name] = _scored(jobs, name, first.labels, config.evaluate.batch)
    equal = np.full(len(jobs), 1 / len(jobs))
    fit = fitted(found["val"]) if "val" in found else equal
    weights = fit if config.ensemble.weights == "fitted" else equal
    told = _figures(found, split, fit, names)
    rows = zip(names, weights, jobs, told.pop("members"), strict=True)
    each = [{"name": name, "weight": round(float(w), 6), "training": job.directory.name, **row}
            for name, w, job, row in rows]  # fmt: skip
    shared = ("extractor", "made_of", "landmark_lengths", "splits")
    about = {**{name: first.card.get(name) for name in shared}, "training": training or None, "metrics": told}
    ensembles.save(directory, places, names, [float(w) for w in weights], about)
    chosen = config.ensemble.weights if "val" in found else "equal"
    return {"split": split, "weights": chosen, **told, "members": each, "raysign": __version__}


def _scored(jobs: list[Job], split: str, labels: list[str], batch: int) -> Scored:
    tables = [
        confirm.predictions(job.directory / "bundle", job.clips, job.config.landmarks_dir, batch, split) for job in jobs
    ]
    ids = sorted(set.intersection(*(set(table["id"].to_pylist()) for table in tables)))
    if not ids:
        raise StoreError(f"{split} clips: none is one that every member's recipe can use; change `prepare` of some")
    tables = [_of_clips(table, ids) for table in tables]
    shares = np.stack([tally.probabilities_of(table, labels) for table in tables]).astype(np.float64)
    place = {gloss: i for i, gloss in enumerate(labels)}
    return Scored(shares, np.array([place[gloss] for (gloss,) in tables[0]["gloss"].to_pylist()]))


def _of_clips(table: pa.Table, ids: list[str]) -> pa.Table:
    place = {clip: row for row, clip in enumerate(table["id"].to_pylist())}
    return table.take([place[clip] for clip in ids])


def fitted(found: Scored) -> np.ndarray:
    """(E,) weights from 0 on, 1 in all, with which the mean of the members' probabilities is likeliest.

    The weights of a mixture of given densities, by expectation maximisation (Dempster, Laird and Rubin 1977): the
    likelihood has one peak, and each round comes nearer to it.
    """
    own = found.probabilities[:, np.arange(len(found.truth)), found.truth].clip(1e-12)
    weights = np.full(len(own), 1 / len(own))
    for _ in range(ROUNDS):
        parts = weights[:, None] * own
        weights = (parts / parts.sum(axis=0)).mean(axis=1)
    return weights


def _figures(found: dict[str, Scored], split: str, weights: np.ndarray, names: list[str]) -> dict:
    tested, validated = found[split], found.get("val")
    members = [_worth(tested, one) for one in np.eye(len(names))]
    equal = np.full(len(names), 1 / len(names))
    fused = {"equal": _worth(tested, equal), "fitted": _worth(tested, weights)}
    best = None
    if validated:
        known = [_worth(validated, one) for one in np.eye(len(names))]
        members = [{split: row, "val": val} for row, val in zip(members, known, strict=True)]
        best = int(np.argmin([row["nll"] for row in known]))
        for name, chosen in (("equal", equal), ("fitted", weights)):
            change = _right(tested, chosen) - _right(tested, np.eye(len(names))[best])
            fused[name] |= intervals.difference(change)
    else:
        members = [{split: row} for row in members]
    return {
        "count": len(tested.truth), "val_count": len(validated.truth) if validated else 0, "members": members, **fused,
        "best": None if best is None else names[best],
    }  # fmt: skip


def _right(found: Scored, weights: np.ndarray) -> np.ndarray:
    return (tally.ranks(found.truth, found.mean(weights)) < 1).astype(float)


def _worth(found: Scored, weights: np.ndarray) -> dict:
    """accuracy, low, high and nll, the mean negative log-likelihood of the true gloss."""
    own = found.mean(weights)[np.arange(len(found.truth)), found.truth].clip(1e-12)
    return {**intervals.share(_right(found, weights)), "nll": round(float(-np.log(own).mean()), 4)}
