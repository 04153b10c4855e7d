"""Numbers of a PREDICTIONS table: pure functions, the same table and labels give the same figures anywhere."""

import numpy as np
import pyarrow as pa
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from raysign.errors import BundleError, StoreError, nearest

NO_SIGNER = "(unknown)"


def truth_of(table: pa.Table, labels: list[str]) -> np.ndarray:
    """(N,) int index into `labels` of each row's gloss. BundleError naming a gloss that is not among them."""
    place = {gloss: i for i, gloss in enumerate(labels)}
    glosses = table["gloss"].to_pylist()
    for name, gloss in zip(table["id"].to_pylist(), glosses, strict=True):
        if not gloss or len(gloss) != 1:
            raise BundleError(
                f"{name}: found {len(gloss or [])} glosses, expected 1; give the clip a label to score it"
            )
        if gloss[0] not in place:
            known = f"one of the bundle's {len(labels)} labels{nearest(gloss[0], labels)}"
            raise BundleError(
                f"{name}: found gloss {gloss[0]!r}, expected {known}; train on clips of it too, or drop it"
            )
    return np.array([place[gloss[0]] for gloss in glosses], dtype=np.int64)


def probabilities_of(table: pa.Table, labels: list[str]) -> np.ndarray:
    """(N, K) float32 probabilities in the order of `labels`. BundleError when of other classes, or not finite."""
    column = table["probabilities"].combine_chunks()
    lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
    if len(table) and lengths.tolist() != [len(labels)]:
        found = ", ".join(str(length) for length in lengths.tolist())
        raise BundleError(
            f"predictions: found {found} classes, expected {len(labels)}; use the bundle they were made with"
        )
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), len(labels))
    if not np.isfinite(values).all():
        raise BundleError("predictions: found probabilities that are not finite; train again with a lower train.lr")
    return values


def ranks(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(N,) int: how many classes come before the true one, 0 when it is the answer. Ties go to the lower class."""
    own = probabilities[np.arange(len(truth)), truth][:, None]
    lower = np.arange(probabilities.shape[1])[None, :] < truth[:, None]
    return ((probabilities > own) | ((probabilities == own) & lower)).sum(axis=1)


def top_k(truth: np.ndarray, probabilities: np.ndarray, k: int) -> float:
    """Share of rows whose true class is among the k likeliest; all of them when there are no more than k classes."""
    return float((ranks(truth, probabilities) < k).mean())


def confusion(table: pa.Table, labels: list[str]) -> np.ndarray:
    """(K, K) int64 counts: row the true class, column the predicted one, both in the order of `labels`."""
    truth, predicted = truth_of(table, labels), probabilities_of(table, labels).argmax(axis=1)
    return confusion_matrix(truth, predicted, labels=np.arange(len(labels)))


def metrics(table: pa.Table, labels: list[str]) -> dict:
    """Figures of a PREDICTIONS table, all finite and fit for JSON.

    count; classes (in the bundle), classes_tested (with clips here); top1 and top5 (shares of clips); macro_f1, the
    mean F1 over the classes that occur here as truth or as answer, as scikit-learn has it: a class without clips does
    not pull the mean down unless clips of other classes were taken for it; per_class {gloss: precision, recall, f1,
    support} of every label, where 0 stands for 0/0; per_signer {signer: count, top1}. StoreError for an empty table.
    """
    if not len(table):
        raise StoreError("predictions: found no rows, expected at least one clip; evaluate a split that has clips")
    truth, probabilities = truth_of(table, labels), probabilities_of(table, labels)
    predicted = probabilities.argmax(axis=1)
    per_class = _per_class(truth, predicted, labels)
    occurring = np.union1d(truth, predicted)
    return {
        "count": len(table),
        "classes": len(labels),
        "classes_tested": len(np.unique(truth)),
        "top1": top_k(truth, probabilities, 1),
        "top5": top_k(truth, probabilities, 5),
        "macro_f1": float(np.mean([per_class[labels[i]]["f1"] for i in occurring])),
        "per_class": per_class,
        "per_signer": _per_signer(table["signer"].to_pylist(), truth == predicted),
    }


def _per_class(truth: np.ndarray, predicted: np.ndarray, labels: list[str]) -> dict[str, dict]:
    figures = precision_recall_fscore_support(truth, predicted, labels=np.arange(len(labels)), zero_division=0)  # pyright: ignore[reportArgumentType]
    columns = [np.asarray(column).tolist() for column in figures]
    rows = zip(*columns, strict=True)
    return {
        gloss: {"precision": precision, "recall": recall, "f1": f1, "support": int(support)}
        for gloss, (precision, recall, f1, support) in zip(labels, rows, strict=True)
    }


def _per_signer(signers: list[str | None], correct: np.ndarray) -> dict[str, dict]:
    hits: dict[str, list[bool]] = {}
    for signer, hit in zip(signers, correct.tolist(), strict=True):
        hits.setdefault(signer or NO_SIGNER, []).append(hit)
    return {name: {"count": len(hits[name]), "top1": sum(hits[name]) / len(hits[name])} for name in sorted(hits)}


def confused_pairs(matrix: np.ndarray, labels: list[str], limit: int = 20) -> list[dict]:
    """The pairs {gloss, predicted, count, share} confused most, most first; share is of the true gloss's clips."""
    wrong = matrix * (1 - np.eye(len(labels), dtype=matrix.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    rows, columns = np.unravel_index(order, wrong.shape)
    share = wrong / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return [
        {"gloss": labels[i], "predicted": labels[j], "count": int(wrong[i, j]), "share": float(share[i, j])}
        for i, j in zip(rows, columns, strict=True)
        if wrong[i, j]
    ]
