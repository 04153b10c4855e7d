"""Numbers of a PREDICTIONS table: pure functions, the same table and labels give the same figures anywhere."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from rapidfuzz.distance import Levenshtein
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from raysign.errors import BundleError, StoreError, nearest

NO_SIGNER = "(unknown)"
MOST = 20  # confusions told


def tells(table: pa.Table, column: str) -> bool:
    """Whether the task of the recogniser fills an optional column: `decoded` or `predicted_category`."""
    return column in table.column_names and table[column].null_count < len(table)


def isolated(table: pa.Table) -> pa.Table:
    """The rows that can be right or wrong as one gloss: all, but of sequences only those of a single gloss."""
    if not tells(table, "decoded"):
        return table
    return table.filter(pa.array([len(gloss or ()) == 1 for gloss in table["gloss"].to_pylist()], pa.bool_()))


def truth_of(table: pa.Table, labels: list[str]) -> np.ndarray:
    """(N,) int index into `labels` of each row's gloss. BundleError naming a gloss that is not among them."""
    place = {gloss: i for i, gloss in enumerate(labels)}
    for name, gloss in zip(table["id"].to_pylist(), table["gloss"].to_pylist(), strict=True):
        if not gloss or len(gloss) != 1:
            raise BundleError(
                f"{name}: found {len(gloss or [])} glosses, expected 1; give the clip a label to score it"
            )
    _check(table, labels)
    return np.array([place[gloss] for (gloss,) in table["gloss"].to_pylist()], dtype=np.int64)


def _check(table: pa.Table, labels: list[str]) -> None:
    """BundleError for a row without a gloss, or with one that is no label."""
    known = set(labels)
    for name, gloss in zip(table["id"].to_pylist(), table["gloss"].to_pylist(), strict=True):
        if not gloss:
            raise BundleError(f"{name}: found no gloss, expected one or more; give the clip a label to score it")
        if strange := [word for word in gloss if word not in known]:
            expected = f"one of the bundle's {len(labels)} labels{nearest(strange[0], labels)}"
            raise BundleError(
                f"{name}: found gloss {strange[0]!r}, expected {expected}; train on clips of it too, or drop it"
            )


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
    table = isolated(table)
    truth, predicted = truth_of(table, labels), probabilities_of(table, labels).argmax(axis=1)
    return confusion_matrix(truth, predicted, labels=np.arange(len(labels)))


def metrics(table: pa.Table, labels: list[str]) -> dict:
    """Figures of a PREDICTIONS table, all finite and fit for JSON.

    count; classes (in the bundle), classes_tested (in clips here); those of `shares`; top5 (share of clips); macro_f1,
    the mean F1 over the classes that occur here as truth or as answer, as scikit-learn has it: a class without clips
    does not pull the mean down unless clips of other classes were taken for it; per_class {gloss: precision, recall,
    f1, support} of every label, where 0 stands for 0/0; per_signer {signer: count and those of `shares`}. Where
    sequences are told, top1, top5, macro_f1 and per_class are of the clips of a single gloss, and absent without any.
    StoreError for an empty table.
    """
    if not len(table):
        raise StoreError("predictions: found no rows, expected at least one clip; evaluate a split that has clips")
    signers = np.array([signer or NO_SIGNER for signer in table["signer"].to_pylist()])
    groups = {str(name): table.filter(pa.array(signers == name)) for name in np.unique(signers)}
    found = {
        "count": len(table), "classes": len(labels), **shares(table, labels),
        "classes_tested": len({word for gloss in table["gloss"].to_pylist() for word in gloss}),
        "per_signer": {name: {"count": len(rows), **shares(rows, labels)} for name, rows in groups.items()},
    }  # fmt: skip
    return found | (_of_classes(isolated(table), labels) if len(isolated(table)) else {})


def shares(table: pa.Table, labels: list[str]) -> dict[str, float]:
    """The figures that say most of some clips.

    top1: share of clips of a single gloss that are recognised; category_top1: share of the clips of a category of
    which it is told; sequence_accuracy: share of clips whose sequence is right to the last gloss; wer: insertions,
    deletions and substitutions over the glosses of all clips. Those that cannot be told are absent.
    """
    found, single = {}, isolated(table)
    if len(single):
        found["top1"] = top_k(truth_of(single, labels), probabilities_of(single, labels), 1)
    if tells(table, "decoded"):
        _check(table, labels)
        pairs = list(zip(table["gloss"].to_pylist(), table["decoded"].to_pylist(), strict=True))
        found["wer"] = sum(distance(gloss, told) for gloss, told in pairs) / sum(len(gloss) for gloss, _ in pairs)
        found["sequence_accuracy"] = sum(gloss == told for gloss, told in pairs) / len(pairs)
    if tells(table, "predicted_category"):
        pairs = zip(table["category"].to_pylist(), table["predicted_category"].to_pylist(), strict=True)
        if right := [category == told for category, told in pairs if category]:
            found["category_top1"] = sum(right) / len(right)
    return found


def _of_classes(table: pa.Table, labels: list[str]) -> dict:
    """The figures of a `metrics` that look at the classes one by one."""
    truth, probabilities = truth_of(table, labels), probabilities_of(table, labels)
    predicted = probabilities.argmax(axis=1)
    per_class, occurring = _per_class(truth, predicted, labels), np.union1d(truth, predicted)
    macro = float(np.mean([per_class[labels[i]]["f1"] for i in occurring]))
    return {"top5": top_k(truth, probabilities, 5), "macro_f1": macro, "per_class": per_class}


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


def distance(gloss: list[str], decoded: list[str]) -> int:
    """The least number of insertions, deletions and substitutions that turn one sequence into the other."""
    return Levenshtein.distance(gloss, decoded)


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
