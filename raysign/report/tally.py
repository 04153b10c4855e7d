"""What the figures are made of, clip by clip, so that they can be told of any part or draw of the clips."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from rapidfuzz.distance import Levenshtein
from scipy import sparse

from raysign.errors import BundleError, nearest

TOPS = (1, 3, 5)
NONE = -1  # in place of a class: of a clip that is not one gloss


@dataclass(frozen=True)
class Tally:
    """Of N clips what each adds to the figures.

    parts: figure -> over and under, (N,) float64 each: the figure is the sum of the one divided by that of the other.
    truth, predicted: (N,) int, the class and the one told, NONE for a clip that is not one gloss. ranks: (N,) int, how
    many classes come before the true one. signers: (N,) str, "" where not known.
    """

    parts: dict[str, tuple[np.ndarray, np.ndarray]]
    truth: np.ndarray
    predicted: np.ndarray
    ranks: np.ndarray
    signers: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    def told(self, figure: str) -> int:
        """How many clips a figure is of."""
        return int((self.parts[figure][1] > 0 if figure in self.parts else self.truth != NONE).sum())

    def take(self, rows: np.ndarray) -> "Tally":
        """The same of some clips (a mask, or their places)."""
        arrays = {name: getattr(self, name)[rows] for name in ("truth", "predicted", "ranks", "signers")}
        parts = {name: (over[rows], under[rows]) for name, (over, under) in self.parts.items()}
        return replace(self, parts={name: part for name, part in parts.items() if part[1].any()}, **arrays)

    def shares(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The figures that are one sum divided by another, (D,) each.

        weights: (D, N), how often each clip counts in each of D draws. NaN in a draw of which a figure cannot be told.
        """
        with np.errstate(invalid="ignore"):
            return {name: (weights @ over) / (weights @ under) for name, (over, under) in self.parts.items()}

    def of_classes(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The figures that look at the classes one by one, (D,) each; none without a clip of a single gloss.

        topK_per_class: mean over the classes with clips of the share that is right among K. macro_*: mean over the
        classes that are true or told; weighted_*: over the true ones, by their clips. A share of nothing is 0.
        """
        single = np.flatnonzero(self.truth != NONE)
        if not len(single):
            return {}
        weights, ranks = weights[:, single], self.ranks[single]
        classes, places = np.unique([self.truth[single], self.predicted[single]], return_inverse=True)
        truth, told = places.reshape(2, -1)

        def of_each(places: np.ndarray, counted: np.ndarray) -> np.ndarray:
            """(D, K) how often the clips that are counted are of each class."""
            form = (len(classes), len(single))
            return (sparse.csr_matrix((counted, (places, np.arange(len(single)))), form) @ weights.T).T

        support, answers = (of_each(places, np.ones(len(single))) for places in (truth, told))
        hits = {k: of_each(truth, (ranks < k).astype(float)) for k in TOPS}
        figures = {
            "precision": _share(hits[1], answers), "recall": _share(hits[1], support),
            "f1": _share(2 * hits[1], support + answers),
        }  # fmt: skip
        occurring = (support + answers > 0).astype(float)
        with np.errstate(invalid="ignore"):
            return {
                **{f"top{k}_per_class": _mean(_share(hits[k], support), (support > 0).astype(float)) for k in TOPS},
                **{f"macro_{name}": _mean(values, occurring) for name, values in figures.items()},
                **{f"weighted_{name}": _mean(values, support) for name, values in figures.items()},
            }

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """All of them."""
        return {**self.shares(weights), **self.of_classes(weights)}


def _share(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return over / np.maximum(under, 1)  # both are whole numbers of clips


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (values * weights).sum(axis=1) / weights.sum(axis=1)


# ---------------------------------------------------------------- of a PREDICTIONS table


def by_probabilities(table: pa.Table, labels: list[str]) -> Tally:
    """Of a PREDICTIONS table and the labels that its probabilities are in the order of.

    BundleError for a clip without a gloss or with one that is no label, and for probabilities of other classes.
    """
    _check(table, labels)
    single = singles(table)
    rows = table.filter(pa.array(single))
    truth, probabilities = _truth(rows, labels), probabilities_of(rows, labels)
    before = ranks(truth, probabilities)
    found = _tally(table, single, truth, probabilities.argmax(axis=1), before)
    if len(rows):
        found.parts["mrr"] = (_filled(single, 1 / (1 + before), 0.0), single.astype(float))
    return found


def by_top(table: pa.Table) -> Tally:
    """Of a PREDICTIONS table alone, whatever its bundle's labels: clips are ranked as far as the column `top` goes."""
    single = np.array([len(gloss) == 1 for gloss in table["gloss"].to_pylist()], bool)
    rows = table.select(["gloss", "predicted", "top"]).filter(pa.array(single))
    answers, likeliest = rows["predicted"].to_pylist(), rows["top"].to_pylist()
    glosses = [gloss for (gloss,) in rows["gloss"].to_pylist()]
    _, places = np.unique(np.array([glosses, answers], object).astype(str), return_inverse=True)
    truth, predicted = places.reshape(2, -1)
    before = [some.index(own) if own in some else len(some) for own, some in zip(glosses, likeliest, strict=True)]
    return _tally(table, single, truth, predicted, np.array(before, np.int64))


def _tally(table: pa.Table, single: np.ndarray, truth: np.ndarray, predicted: np.ndarray, before: np.ndarray) -> Tally:
    """single: (N,) bool, the clips of one gloss; what follows is of these."""
    parts = {f"top{k}": (_filled(single, before < k, 0.0), single.astype(float)) for k in TOPS if single.any()}
    glosses, every = table["gloss"].to_pylist(), np.ones(len(table))
    if tells(table, "decoded"):
        pairs = list(zip(glosses, table["decoded"].to_pylist(), strict=True))
        lengths = np.array([len(gloss) for gloss in glosses], float)
        parts["wer"] = (np.array([distance(*pair) for pair in pairs], float), lengths)
        parts["sequence_accuracy"] = (np.array([gloss == told for gloss, told in pairs], float), every)
    if tells(table, "predicted_category"):
        known, told = table["category"].to_pylist(), table["predicted_category"].to_pylist()
        asked = np.array([bool(category) for category in known], float)
        if asked.any():
            parts["category_top1"] = (asked * [a == b for a, b in zip(known, told, strict=True)], asked)
    if tells(table, "blank"):
        parts["blank"] = (table["blank"].to_numpy().astype(float), every)
    return Tally(
        parts, _filled(single, truth, NONE), _filled(single, predicted, NONE), _filled(single, before, NONE),
        np.array([signer or "" for signer in table["signer"].to_pylist()], str),
    )  # fmt: skip


def _filled(single: np.ndarray, values: np.ndarray, empty: float) -> np.ndarray:
    found = np.full(len(single), empty)
    found[single] = values
    return found


def tells(table: pa.Table, column: str) -> bool:
    """Whether the task of the recogniser fills an optional column, such as `decoded` or `predicted_category`."""
    return column in table.column_names and table[column].null_count < len(table)


def singles(table: pa.Table) -> np.ndarray:
    """(N,) bool: the rows that can be right or wrong as one gloss: all, but of sequences only those of one gloss."""
    if not tells(table, "decoded"):
        return np.ones(len(table), bool)
    return np.array([len(gloss or ()) == 1 for gloss in table["gloss"].to_pylist()], bool)


def _truth(table: pa.Table, labels: list[str]) -> np.ndarray:
    """(N,) int index into `labels` of each row's gloss. BundleError for a row of several."""
    place = {gloss: i for i, gloss in enumerate(labels)}
    for name, gloss in zip(table["id"].to_pylist(), table["gloss"].to_pylist(), strict=True):
        if len(gloss) != 1:
            raise BundleError(f"{name}: found {len(gloss)} glosses, expected 1; give the clip one label to score it")
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


def right(table: pa.Table) -> list[bool]:
    """Whether each clip was told right, of sequences to the last gloss."""
    rows = zip(*(table[name].to_pylist() for name in ("gloss", "predicted", "decoded")), strict=True)
    return [gloss == ([predicted] if decoded is None else decoded) for gloss, predicted, decoded in rows]


def distance(gloss: list[str], decoded: list[str]) -> int:
    """The least number of insertions, deletions and substitutions that turn one sequence into the other."""
    return Levenshtein.distance(gloss, decoded)
