"""The figures of a predictions table: laws, and agreement with scikit-learn."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    label_ranking_average_precision_score,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from raysign import schema
from raysign.errors import BundleError, StoreError
from raysign.report import metrics, tally


def predictions(truth, probabilities, labels, signers=None):
    """A PREDICTIONS table of the given true classes (N,) and probabilities (N, K)."""
    rows = []
    for i, (true, row) in enumerate(zip(truth, probabilities, strict=True)):
        order = np.argsort(-row, kind="stable")[:5]
        rows.append(
            {
                "id": f"clip{i}", "gloss": [labels[true]], "signer": signers[i] if signers else None, "split": "test",
                "frames": 20, "predicted": labels[order[0]], "confidence": float(row[order[0]]),
                "top": [labels[j] for j in order], "probabilities": row.astype(np.float32),
            }
        )  # fmt: skip
    return schema.to_table(rows, schema.PREDICTIONS)


def drawn(classes, count, seed, tested=None):
    """Labels, true classes and random probabilities."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), count).astype(np.float32)
    return [f"sign{i}" for i in range(classes)], random.integers(0, tested or classes, count), probabilities


@given(st.integers(2, 9), st.integers(1, 40), st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_permuting_the_classes_permutes_the_confusion_matrix_and_leaves_the_figures_alone(classes, count, seed):
    labels, truth, probabilities = drawn(classes, count, seed)
    order = np.random.default_rng(seed + 1).permutation(classes)
    table = predictions(truth, probabilities, labels)
    other_labels = [labels[i] for i in order]
    other = predictions(np.argsort(order)[truth], probabilities[:, order], other_labels)
    matrix = metrics.confusion(table, labels)
    assert (metrics.confusion(other, other_labels) == matrix[np.ix_(order, order)]).all()
    one, two = metrics.metrics(table, labels), metrics.metrics(other, other_labels)
    assert one["per_class"] == two["per_class"]
    assert one["macro_f1"] == pytest.approx(two["macro_f1"])
    assert (one["top1"], one["top5"]) == (two["top1"], two["top5"])


@pytest.mark.parametrize("classes", [1, 2, 3, 5, 30])
def test_perfect_predictions_score_one_everywhere(classes):
    labels, truth, _ = drawn(classes, 40, 0)
    found = metrics.metrics(predictions(truth, np.eye(classes)[truth], labels), labels)
    assert found["top1"] == found["top5"] == found["macro_f1"] == 1.0
    assert all(figures["f1"] == 1.0 for figures in found["per_class"].values() if figures["support"])


@pytest.mark.parametrize("classes", [6, 12])
def test_top_k_is_what_scikit_learn_says(classes):
    labels, truth, probabilities = drawn(classes, 200, 3)
    found = metrics.metrics(predictions(truth, probabilities, labels), labels)
    for k in (1, 5):
        theirs = top_k_accuracy_score(truth, probabilities, k=k, labels=np.arange(classes))
        assert found[f"top{k}"] == pytest.approx(theirs)
    assert found["top5"] >= found["top1"]


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_means_over_classes_are_what_scikit_learn_says(average):
    labels, truth, probabilities = drawn(9, 120, 4, tested=6)
    found = metrics.metrics(predictions(truth, probabilities, labels), labels)
    predicted = probabilities.argmax(1)
    theirs = precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)  # pyright: ignore[reportArgumentType]
    assert [found[f"{average}_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(list(theirs[:3]))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_top_k_per_class_is_the_mean_over_the_classes_with_clips():
    labels, truth, probabilities = drawn(9, 120, 6, tested=7)
    found = metrics.metrics(predictions(truth, probabilities, labels), labels)
    assert found["top1_per_class"] == pytest.approx(balanced_accuracy_score(truth, probabilities.argmax(1)))
    order = np.argsort(-probabilities, axis=1)
    for k in (3, 5):
        hits = (order[:, :k] == truth[:, None]).any(axis=1)
        assert found[f"top{k}_per_class"] == pytest.approx(np.mean([hits[truth == i].mean() for i in np.unique(truth)]))


def test_mean_reciprocal_rank_is_what_scikit_learn_says():
    labels, truth, probabilities = drawn(12, 80, 7)
    theirs = label_ranking_average_precision_score(np.eye(12)[truth], probabilities)
    assert metrics.metrics(predictions(truth, probabilities, labels), labels)["mrr"] == pytest.approx(theirs)


def test_calibration_is_the_distance_of_confidence_and_share_right_over_all_clips():
    confidence = np.array([0.95, 0.91, 0.93, 0.55, 0.51, 1.0])
    right = np.array([True, True, False, True, False, True])
    error, rows = metrics.calibration(confidence, right)
    assert [(row["low"], row["count"], row["right"]) for row in rows] == [(0.5, 2, 0.5), (0.9, 4, 0.75)]
    assert error == pytest.approx((2 * abs(0.53 - 0.5) + 4 * abs(0.9475 - 0.75)) / 6, abs=1e-6)


def test_who_is_as_sure_as_right_has_no_calibration_error():
    error, _ = metrics.calibration(np.full(10, 0.8), np.arange(10) < 8)
    assert error == 0


def numbers(found, weights=None) -> dict[str, float]:
    """The figures of a tally, each clip counted once or as often as the weights say."""
    weights = np.ones(len(found)) if weights is None else weights.astype(float)
    return {name: float(values[0]) for name, values in found.figures(weights[None]).items()}


@given(st.integers(2, 6), st.integers(1, 30), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_clip_that_counts_twice_is_two_clips(classes, count, seed):
    labels, truth, probabilities = drawn(classes, count, seed)
    weights = np.random.default_rng(seed).integers(0, 3, count)
    weights[0] = 1
    found = tally.by_probabilities(predictions(truth, probabilities, labels), labels)
    repeated = found.take(np.repeat(np.arange(count), weights))
    assert numbers(found, weights) == pytest.approx(numbers(repeated))


def test_the_order_of_clips_changes_nothing():
    labels, truth, probabilities = drawn(6, 50, 1)
    table = predictions(truth, probabilities, labels, [f"s{i % 4}" for i in range(50)])
    assert metrics.metrics(table, labels) == metrics.metrics(
        table.take(np.random.default_rng(0).permutation(50)), labels
    )


def test_what_the_column_top_tells_is_what_the_probabilities_tell():
    labels, truth, probabilities = drawn(9, 60, 3)
    table = predictions(truth, probabilities, labels)
    one, other = numbers(tally.by_probabilities(table, labels)), numbers(tally.by_top(table))
    assert {name: one[name] for name in other} == pytest.approx(other)
    assert set(one) - set(other) == {"mrr"}


def test_lengths_divide_the_clips_into_bins_that_say_their_bounds():
    labels, truth, probabilities = drawn(4, 41, 9)
    rows = predictions(truth, probabilities, labels).to_pylist()
    for i, row in enumerate(rows):
        row["frames"] = 10 + i * i // 7
    found = metrics.metrics(schema.to_table(rows, schema.PREDICTIONS), labels)
    bounds = [row["frames"] for row in found["per_length"]]
    assert [bounds[0][0], bounds[-1][1]] == [10, max(row["frames"] for row in rows)]
    assert all(low <= high < following for (low, high), (following, _) in itertools.pairwise(bounds))
    assert sum(row["count"] for row in found["per_length"]) == 41 and len(bounds) == metrics.LENGTHS
    assert sum(row["top1"] * row["count"] for row in found["per_length"]) == pytest.approx(41 * found["top1"])


def test_each_figure_lies_in_its_interval_and_that_of_new_signers_is_no_narrower():
    labels, truth, probabilities = drawn(5, 90, 2)
    probabilities = probabilities + np.eye(5)[truth] / 2
    table = predictions(
        truth, probabilities / probabilities.sum(1, keepdims=True), labels, [f"s{i % 3}" for i in range(90)]
    )
    found = metrics.metrics(table, labels)
    told = found["intervals"]
    assert set(told["clips"]) == set(told["signers"]) >= {"top1", "top1_per_class", "macro_f1", "mrr"}
    for name, (low, high) in told["clips"].items():
        assert 0 <= told["signers"][name][0] <= low <= found[name] <= high <= told["signers"][name][1] <= 1
    assert all(told["per_signer"][name]["top1"][0] <= row["top1"] for name, row in found["per_signer"].items())
    assert len(told["per_length"]) == len(found["per_length"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_numbers_for_a_tracker_are_the_figures_and_the_ends_of_their_intervals():
    labels, truth, probabilities = drawn(5, 30, 2)
    found = metrics.metrics(predictions(truth, probabilities, labels, [f"s{i % 3}" for i in range(30)]), labels)
    numbers = metrics.scalars(found)
    assert numbers["top1_low"] <= numbers["top1"] == found["top1"] <= numbers["top1_high"]
    assert numbers["macro_f1_signers_high"] == found["intervals"]["signers"]["macro_f1"][1]
    assert all(isinstance(value, float) for value in numbers.values())


def test_top5_of_fewer_than_five_classes_is_one():
    labels, truth, probabilities = drawn(3, 20, 1)
    assert metrics.metrics(predictions(truth, probabilities, labels), labels)["top5"] == 1.0


def test_macro_f1_is_scikit_learns_mean_over_the_classes_that_occur():
    labels, truth, probabilities = drawn(10, 60, 5, tested=4)
    found = metrics.metrics(predictions(truth, probabilities, labels), labels)
    theirs = f1_score(truth, probabilities.argmax(1), average="macro", zero_division=0)  # pyright: ignore[reportArgumentType]
    assert found["macro_f1"] == pytest.approx(theirs)


def test_classes_without_clips_do_not_pull_macro_f1_down():
    labels, truth, _ = drawn(50, 30, 2, tested=3)
    found = metrics.metrics(predictions(truth, np.eye(50)[truth], labels), labels)
    assert found["macro_f1"] == 1.0
    assert (found["classes"], found["classes_tested"]) == (50, 3)


def test_every_figure_is_finite_and_survives_json():
    labels, truth, probabilities = drawn(7, 5, 8)
    found = metrics.metrics(predictions(truth, probabilities, labels), labels)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(math.isfinite(value) for figures in found["per_class"].values() for value in figures.values())


def test_the_clips_of_all_signers_add_up_to_the_whole():
    labels, truth, probabilities = drawn(4, 30, 4)
    signers = [None if i % 5 == 0 else f"s{i % 3}" for i in range(30)]
    found = metrics.metrics(predictions(truth, probabilities, labels, signers), labels)
    parts = found["per_signer"].values()
    assert sum(part["count"] for part in parts) == 30
    assert sum(part["top1"] * part["count"] for part in parts) == pytest.approx(found["top1"] * 30)
    assert metrics.NO_SIGNER in found["per_signer"]


def test_equal_probabilities_count_one_class_as_the_answer():
    labels = ["a", "b", "c"]
    table = predictions([0, 1, 2], np.full((3, 3), 1 / 3), labels)
    assert metrics.metrics(table, labels)["top1"] == pytest.approx(1 / 3)


def test_the_most_confused_pairs_are_those_of_the_matrix():
    matrix = np.array([[5, 3, 0], [1, 4, 0], [0, 0, 0]])
    pairs = metrics.confused_pairs(matrix, ["a", "b", "c"])
    assert [(pair["gloss"], pair["predicted"], pair["count"]) for pair in pairs] == [("a", "b", 3), ("b", "a", 1)]
    assert pairs[0]["share"] == 3 / 8


def test_an_empty_table_is_refused():
    with pytest.raises(StoreError, match="no rows"):
        metrics.metrics(schema.PREDICTIONS.empty_table(), ["a"])


def test_a_gloss_the_labels_lack_is_named():
    table = predictions([0], np.ones((1, 1)), ["hello"])
    with pytest.raises(BundleError, match=r"clip0: found gloss 'hello'.*did you mean 'hell'"):
        metrics.metrics(table, ["hell"])


def test_probabilities_of_another_number_of_classes_are_refused():
    table = predictions([0], np.ones((1, 1)), ["hello"])
    with pytest.raises(BundleError, match="found 1 classes, expected 2"):
        metrics.metrics(table, ["hello", "you"])


def test_probabilities_that_are_not_finite_are_refused():
    table = predictions([0, 1], np.full((2, 2), np.nan), ["hello", "you"])
    with pytest.raises(BundleError, match="not finite"):
        metrics.metrics(table, ["hello", "you"])


# ---------------------------------------------------------------- sequences and categories


def sequences(glosses, decoded, labels, signers=None):
    """A PREDICTIONS table of sentences and what was told of them; as one gloss, each is taken for the first label."""
    rows = [
        {
            "id": f"clip{i}", "gloss": gloss, "signer": signers[i] if signers else None, "decoded": told,
            "predicted": labels[0], "confidence": 0.9, "top": labels[:5],
            "probabilities": np.eye(len(labels), dtype=np.float32)[0],
        }
        for i, (gloss, told) in enumerate(zip(glosses, decoded, strict=True))
    ]  # fmt: skip
    return schema.to_table(rows, schema.PREDICTIONS)


words = st.lists(st.sampled_from(["a", "thank you", "c"]), min_size=1, max_size=4)


@given(st.lists(st.tuples(words, words | st.just([])), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_word_errors_are_the_edits_over_the_words_of_all_clips(pairs):
    glosses, decoded = zip(*pairs, strict=True)
    table = sequences(glosses, decoded, ["a", "thank you", "c"])
    found, edits = metrics.metrics(table, ["a", "thank you", "c"]), metrics.edits(table, limit=999)
    count, length = sum(edit["count"] for edit in edits), sum(map(len, glosses))
    assert found["wer"] == pytest.approx(count / length)
    assert found["sequence_accuracy"] == sum(g == d for g, d in pairs) / len(pairs)
    added, missed = (sum(e["count"] for e in edits if e[key] is None) for key in ("gloss", "predicted"))
    assert sum(map(len, decoded)) == length + added - missed
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_is_told_right_has_no_edits_and_what_is_not_told_is_missed():
    glosses = [["a", "b", "a"], ["b"]]
    assert metrics.edits(sequences(glosses, glosses, ["a", "b"])) == []
    assert metrics.metrics(sequences(glosses, glosses, ["a", "b"]), ["a", "b"])["wer"] == 0
    silent = sequences(glosses, [[], []], ["a", "b"])
    assert metrics.metrics(silent, ["a", "b"])["wer"] == 1
    assert metrics.edits(silent) == [{"gloss": g, "predicted": None, "count": 2} for g in ("a", "b")]


def test_figures_of_single_glosses_are_of_the_clips_of_one_gloss():
    labels = ["a", "b"]
    table = sequences([["a"], ["a", "b"], ["b"]], [["a"], ["a", "b"], []], labels, ["s1", "s2", "s1"])
    found = metrics.metrics(table, labels)
    assert (found["count"], found["top1"], found["per_class"]["b"]["support"]) == (3, 0.5, 1)
    assert found["per_signer"]["s1"] == {"count": 2, "top1": 0.5, "wer": 0.5, "sequence_accuracy": 0.5}
    assert found["per_signer"]["s2"] == {"count": 1, "wer": 0, "sequence_accuracy": 1}
    assert not {"top1", "top5", "macro_f1", "per_class"} & set(metrics.metrics(table.slice(1, 1), labels))


@pytest.mark.parametrize(("gloss", "message"), [([], "found no gloss"), (["a", "hallo"], "found gloss 'hallo'")])
def test_a_sentence_that_cannot_be_scored_is_named(gloss, message):
    with pytest.raises(BundleError, match=f"clip0: {message}"):
        metrics.metrics(sequences([gloss], [["a"]], ["a", "b"]), ["a", "b"])


def test_categories_are_scored_where_they_are_known():
    labels, truth, probabilities = drawn(3, 4, 0)
    rows = predictions(truth, probabilities, labels).to_pylist()
    assert "category_top1" not in metrics.metrics(schema.to_table(rows, schema.PREDICTIONS), labels)
    for row, category, told in zip(rows, ["x", "y", "x", None], ["x", "x", "x", "y"], strict=True):
        row.update(category=category, predicted_category=told)
    assert metrics.metrics(schema.to_table(rows, schema.PREDICTIONS), labels)["category_top1"] == 2 / 3
