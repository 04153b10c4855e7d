"""Numbers of a PREDICTIONS table: pure functions, the same table and labels give the same figures anywhere."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from rapidfuzz.distance import Levenshtein
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from raysign.errors import StoreError
from raysign.report import intervals
from raysign.report.tally import NONE, Tally, by_probabilities, singles

NO_SIGNER = "(unknown)"
MOST = 20  # confusions told
BINS = 10  # of confidence
LENGTHS = 4  # bins of clips by their lengths
# with an interval: those whose intervals hold the truth about as often as they say, see docs/evaluation.md
MAIN = (
    "top1", "top3", "top5", "top1_per_class", "top3_per_class", "top5_per_class", "mrr", "macro_f1", "wer",
    "sequence_accuracy", "blank", "category_top1",
)  # fmt: skip
OF_GROUPS = ("top1", "category_top1", "wer", "sequence_accuracy")  # told of each signer and length


def metrics(table: pa.Table, labels: list[str]) -> dict:
    """Figures of a PREDICTIONS table, all finite and fit for JSON; the order of its rows changes nothing.

    count; classes (in the bundle), classes_tested (in clips here).
    Of clips of one gloss, and absent without any: top1, top3, top5, shares of clips with the right one among so many;
    topK_per_class, the mean of the same over the classes with clips; mrr, the mean of 1 / place of the right one;
    precision, recall and f1 as scikit-learn has them: macro_, over the classes that occur here as truth or as answer,
    so that a class without clips does not pull the mean down unless clips of others were taken for it, weighted_, by
    clips, and per_class {gloss: precision, recall, f1, support} of every label, where 0 stands for 0/0; ece and
    reliability, see `calibration`.
    Of sequences: wer, insertions, deletions and substitutions over the glosses of all clips; sequence_accuracy, share
    of clips whose sequence is right to the last gloss; blank, the mean share of a clip's frames that are told as blank.
    category_top1: share of the clips of a category of which it is told.
    per_signer {signer: count and those of OF_GROUPS}; per_length [frames (least, most), count and those of OF_GROUPS].
    intervals: see `_intervals`.
    StoreError for an empty table, BundleError for one of other labels.
    """
    if not len(table):
        raise StoreError("predictions: found no rows, expected at least one clip; evaluate a split that has clips")
    table = table.sort_by("id")
    found = by_probabilities(table, labels)
    signers, lengths = _signers(table), _lengths(table)
    return {
        "count": len(table), "classes": len(labels),
        "classes_tested": len({word for gloss in table["gloss"].to_pylist() for word in gloss}),
        **_plain(found.figures(np.ones((1, len(found))))),
        **(_of_classes(table, found, labels) if singles(table).any() else {}),
        "per_signer": {name: _of_group(found, rows) for name, rows in signers.items()},
        "per_length": [{"frames": bounds, **_of_group(found, rows)} for bounds, rows in lengths],
        "intervals": _intervals(found, list(signers.values()), [rows for _, rows in lengths], list(signers)),
    }  # fmt: skip


def scalars(figures: dict) -> dict[str, float]:
    """The single numbers of `metrics`, and the ends of their intervals as name_low, name_high, name_signers_low, ..."""
    found = {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}
    for over, suffix in (("clips", ""), ("signers", "_signers")):
        for name, (low, high) in figures["intervals"].get(over, {}).items():
            found |= {f"{name}{suffix}_low": low, f"{name}{suffix}_high": high}
    return found


def _plain(figures: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values[0]) for name, values in figures.items()}


def _of_group(found: Tally, rows: np.ndarray) -> dict:
    part = found.take(rows)
    figures = _plain(part.shares(np.ones((1, len(part)))))
    return {"count": len(part), **_chosen(figures, OF_GROUPS)}


def _signers(table: pa.Table) -> dict[str, np.ndarray]:
    """The rows of each signer, as a mask."""
    signers = np.array([signer or NO_SIGNER for signer in table["signer"].to_pylist()])
    return {str(name): signers == name for name in np.unique(signers)}


def _lengths(table: pa.Table) -> list[tuple[list[int], np.ndarray]]:
    """Clips by their lengths, in as many bins of about as many clips: least and most frames, and the rows."""
    frames = table["frames"].to_numpy().astype(float)
    if not np.isfinite(frames).all():
        return []
    ends = np.unique(np.quantile(frames, np.arange(1, LENGTHS + 1) / LENGTHS, method="higher"))
    places = np.searchsorted(ends, frames)
    bins = [places == place for place in range(len(ends))]
    return [([int(frames[rows].min()), int(frames[rows].max())], rows) for rows in bins]


def _intervals(found: Tally, signers: list[np.ndarray], lengths: list[np.ndarray], names: list[str]) -> dict:
    """Where the figures may lie, {figure: [low, high]}: see report.intervals for how they are made.

    clips: of other clips of the same signers. signers: of other signers, where three or more are tested and each clip
    tells whose it is. per_signer {signer: of other clips of this one}; per_length, in the order of the figures.
    """
    clips = _chosen(intervals.of_shares(found, found.figures), MAIN)
    others = intervals.over_signers(found.figures, found.signers, clips)
    groups = [found.take(rows) for rows in (*signers, *lengths)]
    told = [_chosen(intervals.of_shares(part, part.shares), OF_GROUPS) for part in groups]
    return {
        **intervals.ABOUT, "clips": clips, **({"signers": _possible(others)} if others else {}),
        "per_signer": dict(zip(names, told, strict=False)), "per_length": told[len(names) :],
    }  # fmt: skip


def _chosen(figures: dict, names: tuple[str, ...]) -> dict:
    return {name: figures[name] for name in names if name in figures}


def _possible(figures: dict[str, intervals.Interval]) -> dict[str, intervals.Interval]:
    """Without what a share cannot be; of word errors there may be more than words."""
    return {name: [max(low, 0.0), high if name == "wer" else min(high, 1.0)] for name, (low, high) in figures.items()}


def confusion(table: pa.Table, labels: list[str]) -> np.ndarray:
    """(K, K) int64 counts: row the true class, column the predicted one, both in the order of `labels`."""
    found = by_probabilities(table, labels)
    single = found.truth != NONE
    return confusion_matrix(found.truth[single], found.predicted[single], labels=np.arange(len(labels)))


def _of_classes(table: pa.Table, found: Tally, labels: list[str]) -> dict:
    """The figures of clips of one gloss that are no single number."""
    single = found.truth != NONE
    confidence = table["confidence"].to_numpy()[single].astype(float)
    ece, rows = calibration(confidence, found.ranks[single] == 0)
    per_class = _per_class(found.truth[single], found.predicted[single], labels)
    return {"per_class": per_class, "ece": ece, "reliability": rows}


def calibration(confidence: np.ndarray, right: np.ndarray) -> tuple[float, list[dict]]:
    """Expected calibration error (Guo et al., ICML 2017), and of each of BINS bins of confidence that has clips: low,
    high, count, their mean confidence and the share that is right.

    confidence: (N,) in [0, 1]. right: (N,) bool. The error is the mean distance of the two over all clips. Six digits:
    the last bits of a confidence depend on which clips a network is given together.
    """
    places = np.minimum((confidence.round(6) * BINS).astype(int), BINS - 1)
    rows = [
        {
            "low": place / BINS, "high": (place + 1) / BINS, "count": int((places == place).sum()),
            "confidence": round(float(confidence[places == place].mean()), 6),
            "right": float(right[places == place].mean()),
        }
        for place in np.unique(places).tolist()
    ]  # fmt: skip
    error = sum(row["count"] * abs(row["confidence"] - row["right"]) for row in rows) / len(confidence)
    return round(error, 6), rows


def _per_class(truth: np.ndarray, predicted: np.ndarray, labels: list[str]) -> dict[str, dict]:
    figures = precision_recall_fscore_support(truth, predicted, labels=np.arange(len(labels)), zero_division=0)  # pyright: ignore[reportArgumentType]
    columns = [np.asarray(column).tolist() for column in figures]
    rows = zip(*columns, strict=True)
    return {
        gloss: {"precision": precision, "recall": recall, "f1": f1, "support": int(support)}
        for gloss, (precision, recall, f1, support) in zip(labels, rows, strict=True)
    }


def confused_pairs(matrix: np.ndarray, labels: list[str]) -> list[dict]:
    """The pairs {gloss, predicted, count, share} confused most, most first; share is of the true gloss's clips."""
    wrong = matrix * (1 - np.eye(len(labels), dtype=matrix.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST]
    rows, columns = np.unravel_index(order, wrong.shape)
    share = wrong / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return [
        {"gloss": labels[i], "predicted": labels[j], "count": int(wrong[i, j]), "share": float(share[i, j])}
        for i, j in zip(rows, columns, strict=True)
        if wrong[i, j]
    ]


def edits(table: pa.Table, limit: int = MOST) -> list[dict]:
    """What the decoded sequences get wrong most often, most first: {gloss, predicted, count}, gloss by gloss.

    predicted is None for a gloss that was missed, gloss is None for one that was added.
    """
    found = Counter(edit for row in table.select(["gloss", "decoded"]).to_pylist() for edit in _edits(**row))
    order = sorted(found.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1] or ""))
    return [{"gloss": gloss, "predicted": told, "count": count} for (gloss, told), count in order[:limit]]


def _edits(gloss: list[str], decoded: list[str]) -> Iterator[tuple[str | None, str | None]]:
    """(true gloss, told gloss) of each step of a shortest way from the one sequence to the other."""
    for step in Levenshtein.editops(gloss, decoded):
        missed = None if step.tag == "insert" else gloss[step.src_pos]
        yield missed, None if step.tag == "delete" else decoded[step.dest_pos]
