"""The figures of a predictions table: laws, and agreement with scikit-learn."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, top_k_accuracy_score

from raysign import schema
from raysign.errors import BundleError, StoreError
from raysign.report import metrics


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
